"""The nearest entries among embeddings in few bits, by tiles; no other library is needed.

Numbers of one byte are multiplied as float32, and first as bfloat16 where the chip has it: both
hold them exactly. Bits are compared 64 at a time. A product of int8 by torch would be faster still,
but on chips without VNNI its sums saturate and are wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from sentune.search.running import Nearest
from sentune.search.semantic import nearest
from sentune.search.tiles import Comparison, Hits, columns_to_screen
from sentune.search.top import Best
from sentune.vectors.similarity import dot_score

_CHUNK = 16_384  # entries turned into float32 at a time
_ROWS = 512  # of a tile of distances
_TILE = _ROWS * 4096
_CACHED = 1 << 16  # of its distances that are computed at a time: 512 KiB for 64 bits of each


def _bits_of(words: np.ndarray, out: np.ndarray) -> None:
    """How many bits of each word are set, by sums of 2, 4 and 8 neighbours; for numpy before 2."""
    twos, fours, eights = (np.uint64(int(byte * 8, 16)) for byte in ("55", "33", "0f"))
    words = words - ((words >> np.uint64(1)) & twos)
    words = (words & fours) + ((words >> np.uint64(2)) & fours)
    words = (words + (words >> np.uint64(4))) & eights
    out[...] = (words * np.uint64(int("01" * 8, 16))) >> np.uint64(56)


_count_bits = getattr(np, "bitwise_count", _bits_of)


def nearest_codes(
    queries: np.ndarray, corpus: np.ndarray, k: int, precision: str
) -> tuple[np.ndarray, np.ndarray]:
    """The scores and places of the `k` nearest entries, `(q, k)` each; fewer in a small corpus.

    Scores are dot products, highest first, or numbers of bits that differ, lowest first. Equal ones
    come in the order of the corpus. A score that is NaN is minus infinity.

    Args:
        queries: `(q, d)` in the precision of the corpus, bits as "ubinary".
        corpus: `(c, d)`; may be on the disk.
        k: How many.
        precision: "float32", "int8", "uint8", "binary" or "ubinary".
    """
    if precision in ("binary", "ubinary"):
        best = _nearest_bits(queries, corpus, k, offset=0x80 if precision == "binary" else 0)
        return -best.scores.numpy(), best.columns.numpy()
    rows = torch.from_numpy(np.ascontiguousarray(queries)).float()
    size = max(_CHUNK, columns_to_screen(k))
    chunks = (_as_float(corpus[at : at + size]) for at in range(0, len(corpus), size))
    best = nearest(rows, chunks, {"": dot_score}, k)[""]
    return best.scores.numpy(), best.columns.numpy()


def _as_float(codes: np.ndarray) -> Tensor:
    return torch.from_numpy(codes.astype(np.float32))


def _nearest_bits(queries: np.ndarray, corpus: np.ndarray, k: int, offset: int) -> Best:
    """The entries that differ in the fewest bits; scores are minus their number."""
    threads = max(1, min(torch.get_num_threads(), len(queries) // 8))
    parts = np.array_split(queries, threads)
    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(lambda part: _of_some(part, corpus, k, offset), parts))
    return Best(*(torch.cat(both) for both in zip(*found, strict=True)))


def _of_some(queries: np.ndarray, corpus: np.ndarray, k: int, offset: int) -> Best:
    """The same, by one thread."""
    found = Nearest(Comparison(dot_score), len(queries), k, torch.empty(0))
    words = _words(queries)
    width = _TILE // max(len(queries[:_ROWS]), 16)
    for first, columns in _columns(corpus, width, offset):
        for start in range(0, len(queries), _ROWS):
            rows = slice(start, min(start + _ROWS, len(queries)))
            _add(found, rows, _distances(words[:, rows], columns), first)
    width = min(k, len(corpus))
    return Best(found.best.scores[:, :width], found.best.columns[:, :width])


def _columns(corpus: np.ndarray, width: int, offset: int) -> Iterator[tuple[int, np.ndarray]]:
    """The corpus in parts, each with the place of its first entry."""
    for first in range(0, len(corpus), width):
        part = corpus[first : first + width].view(np.uint8)
        yield first, _words(part ^ np.uint8(offset) if offset else part)


def _words(codes: np.ndarray) -> np.ndarray:
    """Bytes `(n, w)` as words of 64 bits, `(ceil(w / 8), n)`; the last is filled with zeros."""
    filled = np.pad(codes, ((0, 0), (0, -codes.shape[1] % 8)))
    return np.ascontiguousarray(filled.view(np.uint64).T)


def _distances(queries: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """How many bits differ, `(q, c)`, of words `(w, q)` and `(w, c)`."""
    shape = (queries.shape[1], columns.shape[1])
    counts = np.zeros(shape, dtype=np.uint16 if len(queries) < 1024 else np.uint32)
    height = max(1, _CACHED // shape[1])
    differing = np.empty((height, shape[1]), dtype=np.uint64)
    bits = np.empty((height, shape[1]), dtype=np.uint8)
    for start in range(0, shape[0], height):
        part = counts[start : start + height]
        size = len(part)
        for left, right in zip(queries[:, start : start + height], columns, strict=True):
            np.bitwise_xor(left[:, None], right, out=differing[:size])
            _count_bits(differing[:size], out=bits[:size])
            np.add(part, bits[:size], out=part)
    return counts


def _add(found: Nearest, rows: slice, distances: np.ndarray, first: int) -> None:
    """A tile of distances, to what was found for its rows."""
    floors = found.floors(rows)
    if bool(floors.isinf().any()):  # there are places left
        last = min(found.best.scores.shape[1], distances.shape[1]) - 1
        farthest = np.partition(distances, last, axis=1)[:, last].astype(np.float32)
    else:
        farthest = -floors.numpy() - 1  # of equal distances the earlier ones stay
    is_near = distances <= np.maximum(farthest, 0).astype(distances.dtype)[:, None]
    is_near[farthest < 0] = False  # all that were found are equal to their query
    places = np.flatnonzero(is_near)
    at_row, at_column = np.divmod(places, distances.shape[1])
    scores = -distances.ravel()[places].astype(np.float32)
    found.add(rows.start, Hits(*map(torch.from_numpy, (at_row, at_column, scores))), first)
