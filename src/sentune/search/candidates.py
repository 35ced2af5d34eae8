"""The documents that are nearest to each query, and which of them can be no negatives.

Queries go through in blocks, so that the memory does not grow with queries times candidates.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat

import numpy as np
from torch import Tensor

from sentune.search.limits import Candidates
from sentune.search.same import same_texts
from sentune.search.semantic import nearest
from sentune.types import Encoder

MOST_CANDIDATES = 1 << 20  # of the queries of a block together: 120 MB with what is done to them
MOST_QUERIES = 1 << 16  # in a block; each block reads the corpus once
MOST_COMPARED = 1024  # queries with a chunk of the corpus, by a function of a model's own: 200 MB
CORPUS_CHUNK = 50_000  # documents that are moved to the model's device at a time
_PAIRS_SCORED = 1 << 16


@dataclass(frozen=True)
class Pairs:
    """The dataset with each text once."""

    queries: list[str]
    corpus: list[str]
    positives: list[list[int]]  # for each query, places in the corpus
    most_positives: int  # rows of the query that has most

    @staticmethod
    def of(anchors: list[str], answers: list[str], corpus: Sequence[str]) -> Pairs:
        """Those of a dataset whose row i is an anchor and its answer."""
        documents = list(dict.fromkeys([*corpus, *answers]))
        place = {text: row for row, text in enumerate(documents)}
        positives: dict[str, dict[int, None]] = {}  # an ordered set for each query
        for anchor, answer in zip(anchors, answers, strict=True):
            positives.setdefault(anchor, {})[place[answer]] = None
        most = max(Counter(anchors).values())
        return Pairs(list(positives), documents, [list(rows) for rows in positives.values()], most)


@dataclass(frozen=True)
class LeftOut:
    """Which documents are no candidates of a query, whatever their score."""

    pairs: Pairs
    with_positives: bool  # whether positives are candidates
    exclude_same: bool  # whether the anchor's own text and other spellings are none

    @cached_property
    def _numbers(self) -> tuple[np.ndarray, np.ndarray]:
        """Of queries and of documents, equal where their texts are the same."""
        numbers = same_texts([*self.pairs.queries, *self.pairs.corpus])
        count = len(self.pairs.queries)
        return numbers[:count], numbers[count:]

    def _same(self, query: int) -> np.ndarray:
        """The numbers of the texts that are the same as the query or a positive of it."""
        queries, documents = self._numbers
        own = [] if self.with_positives else self.pairs.positives[query]
        return np.unique(np.append(documents[own], queries[query]))

    def counts(self) -> Iterator[int]:
        """How many documents are left out of each query's candidates."""
        positives = self.pairs.positives
        if not self.exclude_same:
            yield from (repeat(0, len(positives)) if self.with_positives else map(len, positives))
            return
        queries, documents = self._numbers
        sizes = np.bincount(documents, minlength=int(queries.max()) + 1)
        for query, places in enumerate(positives):
            count = int(sizes[self._same(query)].sum())
            if self.with_positives:  # a positive that spells the query in another way stays
                count -= int((documents[places] == queries[query]).sum())
            yield count

    def applied(self, candidates: Candidates, rows: slice, dropped: Counter[str]) -> Candidates:
        """The candidates of some queries without them; what is dropped is counted."""
        documents = candidates.documents
        is_positive = _is_among(documents, self.pairs.positives[rows], len(self.pairs.corpus))
        if not self.with_positives:
            dropped["positive"] += int((is_positive & candidates.is_in).sum())
            candidates = candidates.without(is_positive)
        if self.exclude_same:
            numbers = self._numbers[1]
            allowed = [self._same(query) for query in range(len(self.pairs.queries))[rows]]
            is_same = _is_among(numbers[documents], allowed, len(self.pairs.queries) + len(numbers))
            is_same &= ~is_positive & candidates.is_in
            dropped["same_text"] += int(is_same.sum())
            candidates = candidates.without(is_same)
        return candidates


def _is_among(
    values: np.ndarray, known: Sequence[Sequence[int] | np.ndarray], n: int
) -> np.ndarray:
    """Which values `(q, c)`, all below n, are among those that are known for their row."""
    rows = np.repeat(np.arange(len(known)), [len(row) for row in known])
    flat = np.concatenate([np.asarray(row, dtype=np.int64) for row in known])
    return np.isin(np.arange(len(values))[:, None] * n + values, rows * n + flat)


def blocks(depths: Iterator[int]) -> Iterator[tuple[slice, np.ndarray]]:
    """The queries in order, as many at a time as have room, and their depths.

    Args:
        depths: How many candidates each query has.
    """
    start, deepest = 0, 0
    block: list[int] = []
    for depth in depths:
        count, deeper = len(block) + 1, max(deepest, depth)
        if block and (count > MOST_QUERIES or count * deeper > MOST_CANDIDATES):
            yield slice(start, start + len(block)), np.array(block)
            start, block, deeper = start + len(block), [], depth
        block.append(depth)
        deepest = deeper
    yield slice(start, start + len(block)), np.array(block)


def found(
    model: Encoder,
    queries: Tensor,
    documents: Tensor,
    depths: np.ndarray,
    most: int,
    dropped: Counter[str],
) -> Candidates:
    """The nearest documents of each query of a block, as many as its depth.

    Args:
        model: Compares.
        queries: `(q, d)`.
        documents: `(c, d)`; they may be on the disk.
        depths: `(q,)`.
        most: Queries that a similarity of the model's own is given at most.
        dropped: Counts candidates without a score: their embedding or the query's has NaN.
    """
    device = getattr(model, "device", "cpu")
    deepest = int(depths.max())
    largest = (min(most, MOST_COMPARED), CORPUS_CHUNK)
    chunks = (chunk.to(device) for chunk in documents.split(CORPUS_CHUNK))
    best = nearest(queries.to(device), chunks, {"": model.similarity}, deepest, largest)[""]
    scores = best.scores.detach().float().cpu().numpy()
    candidates = Candidates(scores, best.columns.cpu().numpy())
    is_meant = np.arange(scores.shape[1]) < depths[:, None]
    is_known = np.isfinite(scores)
    dropped["no_score"] += int((is_meant & ~is_known).sum())
    return candidates.without(~(is_meant & is_known))


def positive_scores(
    model: Encoder, queries: Tensor, documents: Tensor, positives: Sequence[Sequence[int]]
) -> np.ndarray:
    """The scores of the positives of a block's queries `(q, d)`, query by query."""
    rows = np.repeat(np.arange(len(positives)), [len(places) for places in positives])
    places = np.concatenate([np.asarray(one, dtype=np.int64) for one in positives])
    parts = []
    for start in range(0, len(rows), _PAIRS_SCORED):
        part = slice(start, start + _PAIRS_SCORED)
        scores = model.similarity_pairwise(queries[rows[part]], documents[places[part]])
        parts.append(scores.detach().float().cpu().numpy())
    return np.concatenate(parts)
