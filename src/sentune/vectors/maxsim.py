"""Similarity of texts that have a vector per token: for each token of one the best of the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from sentune.errors import InputError, InputTypeError
from sentune.types import ArrayLike
from sentune.vectors.tensors import to_tensor

Tokens: TypeAlias = "ArrayLike | Sequence[ArrayLike]"

_MOST_ELEMENTS = 100_000_000  # in memory at a time: 400 MB in float32
_NO_TOKEN = -1e9  # score of a document without tokens: below all others, and not infinite


def maxsim(
    a: Tokens,
    b: Tokens,
    a_mask: Any = None,
    b_mask: Any = None,
    chunk_elements: int | None = None,
    length_normalize: bool = False,
    device: str | torch.device | None = None,
) -> Tensor:
    """Scores of all pairs, `(q, c)` float32: sums over query tokens of their best document token.

    `score[i, j] = sum_s max_t a[i, s] . b[j, t]`; a document without tokens scores -1e9.

    Args:
        a: Queries: a list of `(tokens, d)`, a padded `(q, tokens, d)`, in which rows of zeros are
            padding where there is no mask, or one query `(tokens, d)`.
        b: Documents, likewise.
        a_mask: Which query tokens count, `(q, tokens)`, `(tokens,)` or a list of these.
        b_mask: Which document tokens count, likewise.
        chunk_elements: Numbers in memory at a time, padded tokens and scores of tokens; None for
            100 million. A single pair may need more. The result does not depend on it.
        length_normalize: Divide by the number of query tokens.
        device: Where to compute; None for the device of the documents, where the result is, too.

    Source: ColBERT, equation 3, https://arxiv.org/abs/2004.12832.
    """
    queries, documents = _side(a, a_mask, "a_mask"), _side(b, b_mask, "b_mask")
    place = documents.device or queries.device or torch.device("cpu")
    if not len(queries) or not len(documents):
        return torch.zeros(len(queries), len(documents), device=place)
    most = _MOST_ELEMENTS if chunk_elements is None else chunk_elements
    longest, width = max(documents.widths), documents.dimension
    rows = []
    left = most - longest * width
    for start, end in _chunks(queries.widths, longest + width, left):
        part, weights = queries.part(start, end, device or place)
        scores = [
            _best("ash,bth->abst", part, weights[:, None], *documents.part(*ends, device or place))
            for ends in _chunks(
                documents.widths, len(part) * part.shape[1] + width, most - part.numel()
            )
        ]
        rows.append(torch.cat([found.to(place) for found in scores], dim=1))
    total = torch.cat(rows)
    return total / queries.counts.to(place)[:, None] if length_normalize else total


def maxsim_pairwise(
    a: Tokens,
    b: Tokens,
    a_mask: Any = None,
    b_mask: Any = None,
    chunk_elements: int | None = None,
    length_normalize: bool = False,
    device: str | torch.device | None = None,
) -> Tensor:
    """As `maxsim`, but the scores of query i and document i, `(b,)`."""
    queries, documents = _side(a, a_mask, "a_mask"), _side(b, b_mask, "b_mask")
    if len(queries) != len(documents):
        raise InputError(
            f"cannot compare pair by pair {len(queries)} with {len(documents)} texts; give as many"
        )
    place = documents.device or queries.device or torch.device("cpu")
    if not len(queries):
        return torch.zeros(0, device=place)
    most = _MOST_ELEMENTS if chunk_elements is None else chunk_elements
    longest, width = max(queries.widths), documents.dimension
    scores = [
        _best(
            "bsh,bth->bst",
            *queries.part(*ends, device or place),
            *documents.part(*ends, device or place),
        ).to(place)
        for ends in _chunks(documents.widths, longest + width, most, fixed=longest * width)
    ]
    total = torch.cat(scores)
    return total / queries.counts.to(place) if length_normalize else total


def mean_maxsim(
    a: Tokens,
    b: Tokens,
    a_mask: Any = None,
    b_mask: Any = None,
    chunk_elements: int | None = None,
    length_normalize: bool = True,
    device: str | torch.device | None = None,
) -> Tensor:
    """As `maxsim`, divided by the number of query tokens: scores of queries can be compared."""
    return maxsim(a, b, a_mask, b_mask, chunk_elements, length_normalize, device)


def mean_maxsim_pairwise(
    a: Tokens,
    b: Tokens,
    a_mask: Any = None,
    b_mask: Any = None,
    chunk_elements: int | None = None,
    length_normalize: bool = True,
    device: str | torch.device | None = None,
) -> Tensor:
    """As `maxsim_pairwise`, divided by the number of query tokens."""
    return maxsim_pairwise(a, b, a_mask, b_mask, chunk_elements, length_normalize, device)


def _best(equation: str, a: Tensor, a_weights: Tensor, b: Tensor, b_weights: Tensor) -> Tensor:
    """Sums of the best scores; the weights have the shapes of the scores but for one axis."""
    is_there = b_weights != 0  # (b, t)
    is_empty = ~is_there.any(dim=-1)
    if not b.shape[1]:  # no document has a token
        shape = (len(a), len(b)) if equation.startswith("ash") else (len(b),)
        return torch.full(shape, _NO_TOKEN, device=b.device)
    scores = torch.einsum(equation, a, b)
    lowest = torch.finfo(scores.dtype).min
    scores = scores.masked_fill_(~is_there[:, None], lowest)
    # In float32, because sums of many tokens in half precision would make near scores equal.
    sums = (scores.max(dim=-1).values.float() * a_weights).sum(dim=-1)
    return sums.masked_fill(is_empty, _NO_TOKEN)


@dataclass(frozen=True)
class _Side:
    """Texts with a vector per token; those of a list are padded when they are needed."""

    items: Tensor | list[Tensor]
    mask: Tensor | None  # (b, widest)
    widths: list[int]

    def __len__(self) -> int:
        return len(self.widths)

    @property
    def device(self) -> torch.device | None:
        return self.items[0].device if len(self) else None

    @property
    def dimension(self) -> int:
        return int(self.items[0].shape[-1])

    @property
    def counts(self) -> Tensor:
        """Tokens of each text, at least 1."""
        if self.mask is not None:
            return (self.mask != 0).sum(dim=-1).clamp(min=1)
        return torch.tensor(self.widths).clamp(min=1)

    def part(self, start: int, end: int, device: Any) -> tuple[Tensor, Tensor]:
        """Some of the texts, padded, `(b, t, d)`, and their weights, `(b, t)`."""
        items = self.items[start:end]
        padded = pad_sequence(items, batch_first=True) if isinstance(items, list) else items
        width = padded.shape[1]
        if self.mask is not None:
            weights = self.mask[start:end, :width]
        else:
            places = torch.arange(width)
            weights = places < torch.tensor(self.widths[start:end])[:, None]
        return padded.to(device), weights.to(device)


def _side(given: Any, mask: Any, name: str) -> _Side:
    """One side of a comparison; a single text is a batch of one."""
    if isinstance(given, (list, tuple)):
        items: Any = [_floating(to_tensor(item)) for item in given]
        widths = [len(item) for item in items]
        is_bad = any(item.dim() != 2 for item in items)
    else:
        items = _floating(to_tensor(given))
        items = items[None] if items.dim() == 2 else items
        is_bad = items.dim() != 3
        widths = [] if is_bad else [items.shape[1]] * len(items)
    if is_bad:
        raise InputError(
            "texts with a vector per token must be a list of (tokens, d), or (texts, tokens, d)"
        )
    weights = _mask(mask, name)
    if weights is None and isinstance(items, Tensor):
        weights = items.any(dim=-1)  # rows of zeros are padding
    if weights is not None and widths and weights.shape[-1] != max(widths):
        raise InputError(
            f"{name} covers {weights.shape[-1]} tokens, and the longest text has {max(widths)}"
        )
    return _Side(items, None if weights is None else weights.expand(len(widths), -1), widths)


def _mask(mask: Any, name: str) -> Tensor | None:
    if mask is None:
        return None
    try:
        if isinstance(mask, (list, tuple)):
            return pad_sequence([to_tensor(one) for one in mask], batch_first=True)
        return torch.atleast_2d(to_tensor(mask))
    except InputTypeError as error:
        raise InputTypeError(
            f"{name} must be a tensor, an array or a list of these, got {type(mask).__name__}"
        ) from error


def _floating(tensor: Tensor) -> Tensor:
    return tensor if tensor.is_floating_point() else tensor.float()


def _chunks(
    widths: Sequence[int], per_token: int, most: int, fixed: int = 0
) -> Iterator[tuple[int, int]]:
    """Start and end of parts whose padded size is at most `most`, or one text."""
    start = widest = 0
    for place, width in enumerate(widths):
        widest = max(widest, width)
        count = place - start + 1
        if count > 1 and (per_token * widest + fixed) * count > most:
            yield start, place
            start, widest = place, width
    yield start, len(widths)
