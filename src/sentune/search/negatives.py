"""Documents that look like the answer to a query and are not."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import Tensor

from sentune._lazy import need
from sentune.checks import check_sizes, one_of
from sentune.errors import DatasetError, InputTypeError
from sentune.search import kept
from sentune.search.candidates import LeftOut, Pairs, blocks, found, positive_scores
from sentune.search.limits import Limits
from sentune.search.mined import FORMATS, Mined
from sentune.search.report import MiningReport, summary
from sentune.search.rescoring import Judge, judge_of, judged, rescored
from sentune.tables import cells, column_names, rows_of
from sentune.types import Encoder
from sentune.vectors.similarity import to_tensor

logger = logging.getLogger(__name__)


def mine_hard_negatives(
    dataset: Any,
    model: Encoder,
    anchor_column_name: str | None = None,
    positive_column_name: str | None = None,
    corpus: Sequence[str] | None = None,
    cross_encoder: Any = None,
    range_min: int = 0,
    range_max: int | None = None,
    max_score: float | None = None,
    min_score: float | None = None,
    absolute_margin: float | None = None,
    relative_margin: float | None = None,
    num_negatives: int = 3,
    sampling_strategy: Literal["random", "top"] = "top",
    query_prompt_name: str | None = None,
    query_prompt: str | None = None,
    corpus_prompt_name: str | None = None,
    corpus_prompt: str | None = None,
    include_positives: bool = False,
    output_format: Literal[
        "triplet", "n-tuple", "labeled-pair", "labeled-list", "n-tuple-scores"
    ] = "triplet",
    output_scores: bool = False,
    batch_size: int | None = None,
    faiss_batch_size: int = 16384,
    use_faiss: bool = False,
    use_multi_process: bool | list[str] = False,
    verbose: bool = True,
    cache_folder: str | None = None,
    as_triplets: bool | None = None,
    margin: float | None = None,
    *,
    exclude_same_text: bool = True,
    output_report: bool = False,
) -> Any:
    """A `datasets.Dataset` of anchors and positives with negatives close to the anchors.

    The nearest documents of each anchor, without its own text and its own positives, are its
    candidates. All rows with the same anchor are positives of it.

    Args:
        dataset: A `datasets.Dataset` of pairs, or a DataFrame.
        model: Embeds both sides and compares them.
        anchor_column_name: The column of anchors; by default the first.
        positive_column_name: The column of positives; by default the second.
        corpus: More documents to find negatives in, besides all positives.
        cross_encoder: Scores the candidates again where scores limit them; anything with
            `predict(pairs, batch_size=...)`, with `rank(query, documents)` as of a `CrossEncoder`,
            or a function that gives a score for each of a list of pairs (query, document).
        range_min: How many of the nearest remaining candidates to pass over.
        range_max: The last rank used; by default enough for `num_negatives` and the positives,
            ten times as many where limits on the score will drop some.
        max_score: Highest score of a negative.
        min_score: Lowest score of a negative.
        absolute_margin: How far below the lowest score of the anchor's positives.
        relative_margin: The same as a part of the size of that score; 0.05 is a usual value.
        num_negatives: Negatives per anchor.
        sampling_strategy: "top" takes the nearest, "random" any of the range, by Python's `random`.
        query_prompt_name: Name of the model's prompt to put before each anchor.
        query_prompt: Text to put there instead.
        corpus_prompt_name: The same for documents.
        corpus_prompt: The same for documents.
        include_positives: Whether positives stay among the candidates, to have a ranking as a
            first search gives it; the format is then "n-tuple".
        output_format: "triplet": a row per negative; "n-tuple": columns `negative_1` ...;
            "labeled-pair": anchor, document, label 1 or 0; "labeled-list": anchor, list of
            documents, list of labels; "n-tuple-scores": older name of "n-tuple" with scores.
        output_scores: Whether to add the scores, or to put them in place of the labels.
        batch_size: Of encoding; None to choose it by tokens, for speed.
        faiss_batch_size: Anchors compared at a time, at most 1024.
        use_faiss: Has no effect: the search is exact and needs no index.
        use_multi_process: Whether to encode in several processes; a list names their devices.
        verbose: Whether to print what was found.
        cache_folder: Folder to keep the embeddings in, for the next run with the same model and
            texts. They are read from there as they are needed, so the documents' embeddings may be
            larger than the memory.
        as_triplets: Older name of `output_format`: "triplet" if True, "n-tuple" if False.
        margin: Older name of `absolute_margin`.
        exclude_same_text: Whether no candidate is the anchor's own text or a positive's, apart from
            case, white space and punctuation. False leaves out the positives only, and gives what
            sentence-transformers gives.
        output_report: Whether to give `(dataset, report)`, with a `MiningReport` of what was found
            and what was dropped.

    Raises:
        DatasetError: If the dataset is empty or lacks a column.
        InputError: If the cross encoder does not give one score per pair.
        SettingError: If a setting is outside of what is allowed.
    """
    datasets = need("datasets", extra="train")
    if as_triplets is not None:
        output_format = "triplet" if as_triplets else "n-tuple"
    if include_positives or output_format == "n-tuple-scores":
        output_scores = output_scores or not include_positives
        output_format = "n-tuple"
    one_of("output_format", output_format, list(FORMATS))
    absolute_margin = absolute_margin if margin is None else margin
    check_sizes(batch_size=batch_size, faiss_batch_size=faiss_batch_size)
    names = _column_names(dataset, anchor_column_name, positive_column_name)
    anchors, answers = (cells(dataset, name) for name in names)
    pairs = Pairs.of(anchors, answers, () if corpus is None else rows_of(corpus, "corpus"))
    by_score = (max_score, min_score, absolute_margin, relative_margin)
    limits = Limits(num_negatives, range_min, range_max, *by_score, sampling_strategy)
    limits = limits.with_range(pairs.most_positives, cross_encoder is not None)
    _check_judge(cross_encoder, limits)

    with _workers(model, use_multi_process) as workers:
        options = {"batch_size": batch_size, "show_progress_bar": verbose, **workers}
        prompts = {"prompt_name": corpus_prompt_name, "prompt": corpus_prompt}
        documents = _embed(model, "document", pairs.corpus, {**options, **prompts}, cache_folder)
        prompts = {"prompt_name": query_prompt_name, "prompt": query_prompt}
        queries = _embed(model, "query", pairs.queries, {**options, **prompts}, cache_folder)

    left_out = LeftOut(pairs, include_positives, exclude_same_text)
    with _judge(cross_encoder, limits, batch_size, use_multi_process) as judge:
        miner = _Miner(model, pairs, left_out, limits, judge, faiss_batch_size)
        account = _Account(pairs, limits)
        columns: dict[str, list[Any]] = {}
        for mined in miner.blocks(queries, documents, account):
            account.add(mined)
            for name, values in mined.columns(names, output_format, output_scores).items():
                columns.setdefault(name, []).extend(values)
    report = account.report()
    if verbose:
        print(report)  # noqa: T201  (the caller asked for it)
    result = datasets.Dataset.from_dict(columns)
    return (result, report) if output_report else result


@dataclass(frozen=True)
class _Miner:
    """The steps for a block of queries: candidates, scores, filter, pick."""

    model: Encoder
    pairs: Pairs
    left_out: LeftOut
    limits: Limits
    judge: Judge | None  # scores candidates again
    most_compared: int  # queries at a time

    def blocks(self, queries: Tensor, documents: Tensor, account: _Account) -> Iterator[Mined]:
        """What is mined for the queries `(q, d)`, block by block."""
        wanted, most = self.limits.range_max or 0, self.pairs.most_positives
        depths = (wanted + max(most, count) for count in self.left_out.counts())
        for rows, depth in blocks(depths):
            account.looked_at += int(np.minimum(depth, len(documents)).sum())
            yield self._mined(rows, queries[rows], documents, depth, account.dropped)

    def _mined(
        self,
        rows: slice,
        queries: Tensor,
        documents: Tensor,
        depths: np.ndarray,
        dropped: Counter[str],
    ) -> Mined:
        texts, corpus = self.pairs.queries[rows], self.pairs.corpus
        positives = self.pairs.positives[rows]
        candidates = found(self.model, queries, documents, depths, self.most_compared, dropped)
        candidates = self.left_out.applied(candidates, rows, dropped)
        if self.judge is None:
            scores = positive_scores(self.model, queries, documents, positives)
        else:
            candidates = rescored(self.judge, texts, corpus, candidates)
            scores = judged(self.judge, texts, corpus, positives)
        candidates = candidates.known(dropped)
        by_query = np.split(scores, np.cumsum([len(places) for places in positives])[:-1])
        lowest = np.array([row.min() for row in by_query])
        candidates = self.limits.allowed(candidates, lowest, dropped)
        negatives = self.limits.picked(candidates, dropped)
        return Mined(texts, corpus, positives, [row.tolist() for row in by_query], negatives)


class _Account:
    """Counts for the report, block by block."""

    def __init__(self, pairs: Pairs, limits: Limits) -> None:
        self.pairs, self.limits = pairs, limits
        self.looked_at = 0
        self.dropped: Counter[str] = Counter()
        self._counts: list[np.ndarray] = []  # negatives of each anchor
        self._scores: dict[str, list[np.ndarray]] = {"positive": [], "negative": []}

    def add(self, mined: Mined) -> None:
        """What was mined for a block."""
        is_in = mined.negatives.is_in
        self._counts.append(is_in.sum(axis=1))
        self._scores["negative"].append(mined.negatives.scores[is_in])
        self._scores["positive"].append(np.concatenate(mined.positive_scores))

    def report(self) -> MiningReport:
        """All of it."""
        counts = np.concatenate(self._counts)
        return MiningReport(
            anchors=len(self.pairs.queries),
            documents=len(self.pairs.corpus),
            positives=sum(map(len, self.pairs.positives)),
            looked_at=self.looked_at,
            dropped={name: count for name, count in self.dropped.items() if count},
            negatives=int(counts.sum()),
            too_few=int((counts < self.limits.num_negatives).sum()),
            without=int((counts == 0).sum()),
            limits=self.limits,
            scores={side: summary(scores) for side, scores in self._scores.items()},
        )


def _column_names(dataset: Any, anchor: str | None, positive: str | None) -> list[str]:
    columns = column_names(dataset)
    if columns is None:
        raise InputTypeError(
            f"dataset must be a datasets.Dataset, got a {type(dataset).__name__}; make one with "
            "Dataset.from_dict or Dataset.from_list"
        )
    if not len(dataset):
        raise DatasetError("the dataset has no rows; give one with anchors and positives")
    names = [anchor or columns[0], positive or (columns[1] if len(columns) > 1 else "positive")]
    if missing := [name for name in names if name not in columns]:
        raise DatasetError(
            f"the dataset has the columns {', '.join(columns)}; {', '.join(missing)} missing"
        )
    return names


@contextmanager
def _workers(model: Any, devices: bool | list[str]) -> Iterator[dict[str, Any]]:
    """The option of `encode` or `predict` that makes it use several processes, or none."""
    if not devices:
        yield {}
        return
    pool = model.start_multi_process_pool(None if devices is True else devices)
    try:
        yield {"pool": pool}
    finally:
        model.stop_multi_process_pool(pool)


def _check_judge(cross_encoder: Any, limits: Limits) -> None:
    """Refuse what cannot score before anything is embedded."""
    if cross_encoder is not None:
        judge_of(cross_encoder, None, {})
        if not limits.by_score:
            logger.warning(
                "cross_encoder has no effect, since no limit looks at scores: set max_score, "
                "min_score, absolute_margin or relative_margin"
            )


@contextmanager
def _judge(
    cross_encoder: Any, limits: Limits, batch_size: int | None, devices: bool | list[str]
) -> Iterator[Judge | None]:
    """What scores candidates again; None where nothing does, or no limit looks at scores."""
    if cross_encoder is None or not limits.by_score:
        yield None
        return
    has_pool = hasattr(cross_encoder, "start_multi_process_pool")
    with _workers(cross_encoder, devices if has_pool else False) as workers:
        yield judge_of(cross_encoder, batch_size, workers)


def _embed(
    model: Any, side: str, texts: list[str], options: dict[str, Any], folder: str | None
) -> Tensor:
    """Unit embeddings of one side, from the folder where they are there already."""
    encode = getattr(model, f"encode_{side}")
    options = {"normalize_embeddings": True, "convert_to_numpy": True, **options}
    if folder is None:
        return to_tensor(encode(texts, **options))
    name = {"document": "corpus"}.get(side, side)
    return kept.embedded(model, encode, name, texts, options, folder)
