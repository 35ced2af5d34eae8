"""Documents that look like the answer to a query and are not."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from torch import Tensor

from sentune._lazy import need
from sentune.checks import check_sizes, one_of
from sentune.disk import files
from sentune.errors import DatasetError, InputTypeError
from sentune.search.limits import NOTHING, Candidates, Limits
from sentune.search.mined import FORMATS, Mined
from sentune.search.same import same_texts
from sentune.search.semantic import nearest
from sentune.tables import cells, column_names, rows_of
from sentune.types import Encoder
from sentune.vectors.similarity import to_tensor

CORPUS_CHUNK = 50_000
_PAIRS = 32  # judged by a cross encoder at a time
MOST_QUERIES = 1024  # compared with a chunk of the corpus at a time: 200 MB of scores


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
            `predict(pairs, batch_size=...)`.
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
        cache_folder: Folder to keep the embeddings in, for the next run with the same texts.
        as_triplets: Older name of `output_format`: "triplet" if True, "n-tuple" if False.
        margin: Older name of `absolute_margin`.
        exclude_same_text: Whether no candidate is the anchor's own text or a positive's, apart from
            case, white space and punctuation. False leaves out the positives only, and gives what
            sentence-transformers gives.

    Raises:
        DatasetError: If the dataset is empty or lacks a column.
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
    pairs = _pairs(anchors, answers, () if corpus is None else rows_of(corpus, "corpus"))
    by_score = (max_score, min_score, absolute_margin, relative_margin)
    limits = Limits(num_negatives, range_min, range_max, *by_score, sampling_strategy)
    limits = limits.with_range(pairs.most_positives, cross_encoder is not None)

    with _workers(model, use_multi_process) as workers:
        options = {"batch_size": batch_size, "show_progress_bar": verbose, **workers}
        prompts = {"prompt_name": corpus_prompt_name, "prompt": corpus_prompt}
        documents = _embed(model, "document", pairs.corpus, {**options, **prompts}, cache_folder)
        prompts = {"prompt_name": query_prompt_name, "prompt": query_prompt}
        queries = _embed(model, "query", pairs.queries, {**options, **prompts}, cache_folder)

    left_out = _left_out(pairs, include_positives, exclude_same_text)
    depth = (limits.range_max or 0) + max(pairs.most_positives, *map(len, left_out))
    candidates = _search(model, queries, documents, depth, min(faiss_batch_size, MOST_QUERIES))
    scores = _positive_scores(model, queries, documents, pairs)
    if cross_encoder is not None and limits.uses_scores:
        candidates, scores = _rescored(cross_encoder, pairs, candidates, batch_size)
    candidates = _without(candidates, left_out)
    by_query = np.split(scores, np.cumsum([len(places) for places in pairs.positives])[:-1])
    negatives, skipped = limits.choose(candidates, np.array([row.min() for row in by_query]))
    mined = Mined(
        pairs.queries, pairs.corpus, pairs.positives, [row.tolist() for row in by_query], negatives
    )
    if verbose:
        print(_report(mined, skipped))  # noqa: T201  (the caller asked for it)
    return datasets.Dataset.from_dict(mined.columns(names, output_format, output_scores))


class Pairs(NamedTuple):
    """The dataset with each text once."""

    queries: list[str]
    corpus: list[str]
    positives: list[list[int]]  # for each query, places in the corpus
    most_positives: int  # rows of the query that has most


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


def _pairs(anchors: list[str], answers: list[str], corpus: Sequence[str]) -> Pairs:
    documents = list(dict.fromkeys([*corpus, *answers]))
    place = {text: row for row, text in enumerate(documents)}
    positives: dict[str, dict[int, None]] = {}  # an ordered set for each query
    for anchor, answer in zip(anchors, answers, strict=True):
        positives.setdefault(anchor, {})[place[answer]] = None
    most = max(Counter(anchors).values())
    return Pairs(list(positives), documents, [list(rows) for rows in positives.values()], most)


@contextmanager
def _workers(model: Any, devices: bool | list[str]) -> Iterator[dict[str, Any]]:
    """The option of `encode` that makes it use several processes, or none."""
    if not devices:
        yield {}
        return
    pool = model.start_multi_process_pool(None if devices is True else devices)
    try:
        yield {"pool": pool}
    finally:
        model.stop_multi_process_pool(pool)


def _embed(
    model: Any, side: str, texts: list[str], options: dict[str, Any], folder: str | None
) -> Tensor:
    """Unit embeddings of one side, from the folder where they are there already."""
    encode = getattr(model, f"encode_{side}")
    options = {"normalize_embeddings": True, "convert_to_numpy": True, **options}
    if folder is None:
        return to_tensor(encode(texts, **options))
    # One embedding represents the model in the name: another model would make another.
    sample = encode(texts[:1], **{**options, "show_progress_bar": False})
    prompts = [options["prompt_name"], options["prompt"]]
    known = repr((prompts, np.asarray(sample).round(3).tolist(), texts))
    name = hashlib.sha256(known.encode("utf-8", "surrogatepass")).hexdigest()
    path = Path(folder) / f"{side}_embeddings_{name}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.opened(path) as file:
            np.save(file, encode(texts, **options))
    return to_tensor(np.load(path))


def _search(
    model: Encoder, queries: Tensor, documents: Tensor, depth: int, query_chunk_size: int
) -> Candidates:
    queries = queries.to(getattr(model, "device", "cpu"))
    largest = (query_chunk_size, CORPUS_CHUNK)
    best = nearest(queries, [documents], {"": model.similarity}, depth, largest)[""]
    return Candidates(_to_numpy(best.scores), best.columns.cpu().numpy())


def _positive_scores(
    model: Encoder, queries: Tensor, documents: Tensor, pairs: Pairs
) -> np.ndarray:
    """The scores of all positives, query by query."""
    rows = [row for row, places in enumerate(pairs.positives) for _ in places]
    places = [place for places in pairs.positives for place in places]
    return _to_numpy(model.similarity_pairwise(queries[rows], documents[places]))


def _rescored(
    cross_encoder: Any, pairs: Pairs, candidates: Candidates, batch_size: int | None
) -> tuple[Candidates, np.ndarray]:
    """The candidates and the positives with the scores of the cross encoder."""

    def judge(documents: Iterable[Iterable[int]]) -> np.ndarray:
        texts = [
            (query, pairs.corpus[place])
            for query, places in zip(pairs.queries, documents, strict=True)
            for place in places
        ]
        scores = cross_encoder.predict(texts, batch_size=batch_size or _PAIRS)
        return _to_numpy(to_tensor(scores))

    scores = judge(candidates.documents).reshape(candidates.scores.shape)
    return Candidates(scores, candidates.documents), judge(pairs.positives)


def _left_out(pairs: Pairs, with_positives: bool, exclude_same: bool) -> list[list[int]]:
    """For each query, places in the corpus that are no candidates."""
    own: list[list[int]] = [[] for _ in pairs.queries] if with_positives else pairs.positives
    if not exclude_same:
        return own
    groups = [
        [query, *(pairs.corpus[place] for place in places)]
        for query, places in zip(pairs.queries, own, strict=True)
    ]
    same = same_texts(pairs.corpus, groups)
    if not with_positives:
        return same
    both = zip(same, pairs.positives, strict=True)
    return [[place for place in places if place not in known] for places, known in both]


def _without(candidates: Candidates, left_out: list[list[int]]) -> Candidates:
    """The candidates with those out that are none."""
    both = zip(candidates.documents, left_out, strict=True)
    is_out = [np.isin(found, places) for found, places in both]
    return candidates._replace(scores=np.where(is_out, NOTHING, candidates.scores))


def _to_numpy(scores: Tensor) -> np.ndarray:
    return scores.detach().float().cpu().numpy()


def _report(mined: Mined, skipped: dict[str, int]) -> str:
    """What was found, in words."""
    positives = np.concatenate([np.asarray(scores) for scores in mined.positive_scores])
    is_found = np.isfinite(mined.negatives.scores)
    negatives = mined.negatives.scores[is_found]
    lines = [
        f"{len(mined.queries):,} anchors, {len(mined.corpus):,} documents",
        f"{len(positives):,} positives, mean score {positives.mean():.4f}",
        f"{len(negatives):,} negatives"
        + (f", mean score {negatives.mean():.4f}" if len(negatives) else ""),
    ]
    lines += [f"{count:,} candidates left out by {name}" for name, count in skipped.items()]
    if too_few := int((~is_found).any(axis=1).sum()):
        lines.append(f"{too_few:,} anchors have too few negatives; widen range_max or the limits")
    return "\n".join(lines)
