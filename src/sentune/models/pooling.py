"""Token embeddings -> one vector per text: pure functions first, then the module.

Every function takes `tokens (b, t, d)` and a `mask (b, t)`, or None where every token counts. The
packed layout is served by the same functions: each run of rows of equal length is a view
`(n, L, d)` without a mask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from sentune.engine import packing, segments
from sentune.errors import InputError, SettingError
from sentune.models import layouts as rows
from sentune.models.base import PER_ROW, Module
from sentune.text import layouts
from sentune.types import Features

PoolingMode = Literal["cls", "lasttoken", "max", "mean", "mean_sqrt_len_tokens", "weightedmean"]

# Keeps a text without tokens from dividing by zero, as existing model files expect.
_TINY = 1e-9


def cls(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """The first token that counts, `(b, d)`."""
    if mask is None:
        return tokens[:, 0]
    return _at(tokens, mask.int().argmax(dim=1))


def lasttoken(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """The last token that counts, `(b, d)`; zeros for a row of which none does."""
    if mask is None:
        return tokens[:, -1]
    last = mask.shape[1] - 1 - mask.int().flip(1).argmax(dim=1)
    return _at(tokens, last) * mask.any(dim=1, keepdim=True)


def maximum(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """The largest value of each dimension, `(b, d)`."""
    if mask is not None:
        tokens = tokens.masked_fill(~mask[:, :, None], float("-inf"))
    return tokens.max(dim=1).values


def mean(tokens: Tensor, mask: Tensor | None, weight_sum: Tensor | None = None) -> Tensor:
    """The average, `(b, d)`, summed in float32 at least.

    It divides by `weight_sum (b,)` in place of the number of tokens, where an earlier module has
    weighted the tokens.
    """
    total, count = _sum(tokens, mask)
    divisor = count if weight_sum is None else weight_sum[:, None]
    return (total / divisor.clamp(min=_TINY)).to(tokens.dtype)


def mean_sqrt_len(tokens: Tensor, mask: Tensor | None, weight_sum: Tensor | None = None) -> Tensor:
    """The sum divided by the square root of the number of tokens, `(b, d)`; else as `mean`."""
    total, count = _sum(tokens, mask)
    divisor = count if weight_sum is None else weight_sum[:, None]
    return (total / divisor.clamp(min=_TINY).sqrt()).to(tokens.dtype)


def weightedmean(
    tokens: Tensor,
    mask: Tensor | None,
    weight_sum: Tensor | None = None,
    position: Tensor | None = None,
) -> Tensor:
    """The average in which a later token counts more, `(b, d)`; else as `mean`.

    The weight of a token is its `position (b, t)` in its text, from 1. A prompt that is left out by
    the mask still counts as places.

    Source: Muennighoff 2022, "SGPT: GPT Sentence Embeddings for Semantic Search", equation 2.
    """
    if position is None:
        position = _positions(tokens, mask)
    weights = (position if mask is None else position * mask).float()  # (b, t)
    total = (tokens.float() * weights[:, :, None]).sum(dim=1)
    divisor = weights.sum(dim=1) if weight_sum is None else weight_sum
    return (total / divisor[:, None].clamp(min=_TINY)).to(tokens.dtype)


# The old flags; several that are on are concatenated in this order.
_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
MODES = tuple(_FLAGS.values())


def _reads_flags(init: Callable[..., None]) -> Callable[..., None]:
    """A constructor that takes the flags of earlier versions, too; a `pooling_mode` wins."""

    @wraps(init)
    def with_flags(self: Any, *args: Any, **kwargs: Any) -> None:
        if len(args) > 1 and isinstance(args[1], bool):
            kwargs = {**dict(zip(_FLAGS, args[1:], strict=False)), **kwargs}
            args = args[:1]
        if args[1:] == (None,):
            args = args[:1]
        flagged = [mode for flag, mode in _FLAGS.items() if kwargs.pop(flag, False)]
        if flagged and len(args) < 2 and kwargs.get("pooling_mode") is None:
            kwargs["pooling_mode"] = flagged
        init(self, *args, **kwargs)

    return with_flags


class Pooling(Module):
    """Pools the token embeddings of each text into one vector.

    Args:
        embedding_dimension: d, width of the token embeddings.
        pooling_mode: "cls", "lasttoken", "max", "mean", "mean_sqrt_len_tokens" or "weightedmean";
            or several of them, whose results are concatenated in that order.
        include_prompt: Whether the tokens of a prompt count. Some instruction-tuned models were
            trained without.
        **older: Names of earlier versions: `word_embedding_dimension`, and flags such as
            `pooling_mode_mean_tokens=True`.
    """

    reads_packed = True
    outputs = PER_ROW
    config_file_name: ClassVar[str] = "config.json"
    config_keys = ["embedding_dimension", "pooling_mode", "include_prompt"]
    config_key_renames: ClassVar[dict[str, str]] = {
        "word_embedding_dimension": "embedding_dimension"
    }
    POOLING_MODES: ClassVar[tuple[str, ...]] = MODES

    @_reads_flags
    def __init__(
        self,
        embedding_dimension: int | None = None,
        pooling_mode: PoolingMode | Sequence[PoolingMode] | str = "mean",
        include_prompt: bool = True,
        *more: bool,
        **older: Any,
    ) -> None:
        super().__init__()
        if embedding_dimension is None:
            embedding_dimension = older.pop("word_embedding_dimension", None)
        if not isinstance(embedding_dimension, int) or embedding_dimension < 1:
            raise SettingError(
                f"embedding_dimension must be a positive int, got {embedding_dimension!r}; "
                "use the width of the module before: transformer.get_embedding_dimension()"
            )
        if more:
            raise SettingError(
                f"Pooling takes 3 arguments by position, and got {3 + len(more)}: after "
                f"pooling_mode={pooling_mode!r} and include_prompt come none; the flags of "
                "earlier versions stand in place of pooling_mode"
            )
        if older:
            raise SettingError(
                f"Pooling got unknown arguments {sorted(older)}; it takes embedding_dimension, "
                f"pooling_mode, include_prompt and {sorted(_FLAGS)}"
            )
        self.embedding_dimension = embedding_dimension
        self.modes = _modes(pooling_mode)
        self.include_prompt = include_prompt

    def forward(self, features: Features, **kwargs: Any) -> Features:
        """Add `sentence_embedding (b, d · number of modes)`, rows in the caller's order."""
        if not self.modes:
            raise SettingError(
                f"every pooling mode was switched off; set pooling_mode to one of {sorted(MODES)}"
            )
        if layouts.is_packed(features):
            embedding = self._pool_packed(features)
        elif "cu_seq_lens_q" in features:
            embedding = self._pool_padded(rows.padded(features))
        else:
            embedding = self._pool_padded(features)
        return {**features, "sentence_embedding": embedding}

    @property
    def pooling_mode(self) -> str | tuple[str, ...]:
        """The mode, or several; may be set."""
        return self.modes[0] if len(self.modes) == 1 else self.modes

    @pooling_mode.setter
    def pooling_mode(self, mode: str | Sequence[str]) -> None:
        self.modes = _modes(mode)

    @property
    def word_embedding_dimension(self) -> int:
        """As `embedding_dimension`."""
        return self.embedding_dimension

    @property
    def pooling_output_dimension(self) -> int:
        """Width of the result."""
        return self.embedding_dimension * len(self.modes)

    def get_embedding_dimension(self) -> int:
        """Width of the result."""
        return self.pooling_output_dimension

    def get_pooling_mode_str(self) -> str:
        """The modes joined by "+"."""
        return "+".join(self.modes)

    def settings(self) -> dict[str, Any]:
        """Arguments that build an equal module."""
        return {
            "embedding_dimension": self.embedding_dimension,
            "pooling_mode": self.modes[0] if len(self.modes) == 1 else list(self.modes),
            "include_prompt": self.include_prompt,
        }

    def __getattr__(self, name: str) -> Any:
        """Answer the old flags, `pooling_mode_mean_tokens` and so on."""
        if name in _FLAGS:
            return _FLAGS[name] in self.modes
        return super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an old flag as if all of them were given anew; one must be on in the end."""
        if name not in _FLAGS:
            return super().__setattr__(name, value)
        others = [mode for mode in self.modes if mode != _FLAGS[name]]
        on = [*others, _FLAGS[name]] if value else others
        self.modes = tuple(mode for mode in MODES if mode in on)

    def _pool_padded(self, features: Features) -> Tensor:
        tokens = features["token_embeddings"]  # (b, t, d)
        self._check_width(tokens)
        mask = rows.mask_of(features, tokens)
        if mask.shape[-1] != tokens.shape[1]:  # a module has merged tokens
            mask = tokens.new_ones(tokens.shape[:2], dtype=torch.bool)
        prompts = None if self.include_prompt else layouts.prompts_in(features, len(tokens))
        return self._pool(tokens, mask.bool(), prompts, features)

    def _pool_packed(self, features: Features) -> Tensor:
        tokens, order = features["token_embeddings"], features["order"]
        self._check_width(tokens)
        prompts = None if self.include_prompt else features.get("prompt_lengths")
        weights = features.get("token_weights_sum")
        weights = None if weights is None else weights[order]
        if tokens.is_cuda and prompts is None and len(tokens):
            at_once = segments.pool(tokens, features["cu_seqlens"], self.modes, weights)
            return packing.to_caller_order(at_once, order)
        pooled, row = [], 0
        for run in packing.row_views(tokens, features["lengths"]):
            place = slice(row, row + len(run))
            own = {} if weights is None else {"token_weights_sum": weights[place]}
            pooled.append(self._pool(run, None, None if prompts is None else prompts[place], own))
            row += len(run)
        if not pooled:
            return tokens.new_zeros((0, self.pooling_output_dimension))
        return packing.to_caller_order(torch.cat(pooled), order)

    def _pool(
        self,
        tokens: Tensor,
        mask: Tensor | None,
        prompt_lengths: Sequence[int] | None,
        features: Features,
    ) -> Tensor:
        """The modes' results side by side; features hold what earlier modules left for this."""
        if tokens.shape[1] == 0:  # texts without a single token
            return tokens.new_zeros((len(tokens), self.pooling_output_dimension))
        weight_sum = features.get("token_weights_sum")
        position = _positions(tokens, mask)
        if prompt_lengths is not None:
            is_text = position > torch.tensor(prompt_lengths, device=tokens.device)[:, None]
            mask = is_text if mask is None else mask & is_text
        results = {
            "cls": lambda: features.get("cls_token_embeddings", cls(tokens, mask)),
            "lasttoken": lambda: lasttoken(tokens, mask),
            "max": lambda: maximum(tokens, mask),
            "mean": lambda: mean(tokens, mask, weight_sum),
            "mean_sqrt_len_tokens": lambda: mean_sqrt_len(tokens, mask, weight_sum),
            "weightedmean": lambda: weightedmean(tokens, mask, weight_sum, position),
        }
        return torch.cat([results[mode]() for mode in self.modes], dim=1)

    def _check_width(self, tokens: Tensor) -> None:
        if tokens.shape[-1] != self.embedding_dimension:
            raise InputError(
                f"Pooling was made for embedding_dimension={self.embedding_dimension}, but the "
                f"module before it gives token embeddings of width {tokens.shape[-1]}; "
                f"build it as Pooling({tokens.shape[-1]})"
            )


def _modes(mode: str | Sequence[str] | None) -> tuple[str, ...]:
    """The modes asked for, in order."""
    mode = "mean" if mode is None else mode
    modes = (mode,) if isinstance(mode, str) else tuple(mode)
    wrong = [name for name in modes if name not in MODES]
    if wrong or not modes:
        raise SettingError(
            f"pooling_mode must be one of {sorted(MODES)} or a tuple of them, got {mode!r}"
        )
    return modes


def _sum(tokens: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Sum of the tokens that count `(b, d)` and their number `(b, 1)`, in float32 at least."""
    wide = tokens.float() if tokens.dtype in (torch.float16, torch.bfloat16) else tokens
    if mask is None:
        return wide.sum(dim=1), wide.new_full((len(wide), 1), wide.shape[1])
    total = (wide * mask[:, :, None]).sum(dim=1)
    return total, mask.sum(dim=1, keepdim=True).to(wide.dtype)


def _at(tokens: Tensor, index: Tensor) -> Tensor:
    """Row i's token number `index[i]`, `(b, d)`."""
    return tokens[torch.arange(len(tokens), device=tokens.device), index]


def _positions(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """Place of each token among those of its row that count, from 1, `(b, t)`."""
    if mask is None:
        return torch.arange(1, tokens.shape[1] + 1, device=tokens.device).expand(tokens.shape[:2])
    return mask.cumsum(dim=1)
