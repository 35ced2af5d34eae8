"""Items -> token ids, in the ragged layout; truncation, pairs, and the length of a prompt."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from sentune.text import inputs, layouts
from sentune.types import Features
from sentune.vectors.rows import zeros_like


class TokenReader:
    """Reads items as token ids; safe to call from several threads at once.

    A transformers tokenizer sets truncation and padding on its Rust core in every call, which two
    threads may not do at once ("Already borrowed"). This reader has its own core, whose truncation
    to `max_length` (special tokens included) is set once; a tokenizer without one runs locked.
    """

    adds_special_tokens = True

    def __init__(self, tokenizer: Any, max_length: int | None, lower_case: bool = False) -> None:
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.lower_case = lower_case
        self._lock = threading.Lock()
        self._core = own_core(tokenizer, max_length)
        self._prompt_lengths: dict[str, int] = {}
        self._uses_types = "token_type_ids" in getattr(tokenizer, "model_input_names", ())
        self._types_matter = self._uses_types and any(self._encode(["a"])[1][0])

    def read(self, items: Sequence[Any], prompt: str | None = None) -> Features:
        """Items, each behind the prompt, in the ragged layout; InputError for what is no text."""
        inputs.check_items(list(items))
        if prompt:
            items = [inputs.with_prefix(item, prompt) for item in items]
        has_pairs = not set(map(type, items)) <= {str}
        ids, types, truncated = self._encode(items)
        wants_types = self._types_matter or (has_pairs and self._uses_types)
        return self._ragged(ids, types if wants_types else None, prompt, truncated)

    def _ragged(
        self,
        ids: Sequence[Sequence[int]],
        types: Sequence[Sequence[int]] | None = None,
        prompt: str | None = None,
        truncated: int = 0,
    ) -> Features:
        lengths = list(map(len, ids))
        return layouts.ragged(
            _flat(ids, lengths),
            lengths,
            None if types is None else _flat(types, lengths),
            [min(self.prompt_length(prompt), n) for n in lengths] if prompt else None,
            truncated,
        )

    def prompt_length(self, prompt: str) -> int:
        """How many leading tokens of an item belong to the prompt.

        The prompt alone is tokenised, and a special token at its end, the separator that comes
        after the whole text, is not counted.
        """
        if prompt not in self._prompt_lengths:
            ids = self._encode([prompt])[0][0]
            special = getattr(self.tokenizer, "all_special_ids", ())
            self._prompt_lengths[prompt] = len(ids) - bool(len(ids) and ids[-1] in special)
        return self._prompt_lengths[prompt]

    def type_ids(self, features: Features) -> Features:
        """Features with the `token_type_ids` that the tokenizer itself would have given."""
        if self._uses_types and "token_type_ids" not in features:
            return {**features, "token_type_ids": zeros_like(features["input_ids"])}
        return features

    def _encode(self, items: Sequence[Any]) -> tuple[list[list[int]], list[list[int]], int]:
        """Token ids and type ids of each item, and how many items were truncated."""
        if self.lower_case:
            items = [inputs.map_texts(item, str.lower) for item in items]
        items = [item if isinstance(item, str) else tuple(item) for item in items]
        if self._core is None:
            return self._encode_slowly(items)
        special = self.adds_special_tokens
        try:
            encodings = self._core.encode_batch_fast(items, add_special_tokens=special)
        except TypeError as error:
            raise inputs.bad_unicode(items) or error from None
        return (
            [encoding.ids for encoding in encodings],
            [encoding.type_ids for encoding in encodings] if self._wants_types(items) else [],
            sum(1 for encoding in encodings if encoding.overflowing),
        )

    def _wants_types(self, items: Sequence[Any]) -> bool:
        # Before `_types_matter` is known (in the constructor) the answer must be yes.
        return getattr(self, "_types_matter", True) or not set(map(type, items)) <= {str}

    def _encode_slowly(self, items: Sequence[Any]) -> tuple[list[list[int]], list[list[int]], int]:
        """As `_encode`, for a tokenizer written in Python."""
        with self._lock:
            first = [item if isinstance(item, str) else item[0] for item in items]
            second = None if all(isinstance(i, str) for i in items) else [i[1] for i in items]
            options = {
                "padding": False,
                "verbose": False,
                "return_token_type_ids": True,
                "add_special_tokens": self.adds_special_tokens,
            }
            whole = self.tokenizer(first, second, truncation=False, **options)
            limit = self.max_length or max(map(len, whole["input_ids"]), default=0)
            is_long = [len(ids) > limit for ids in whole["input_ids"]]
            if any(is_long):
                whole = self.tokenizer(
                    first, second, truncation="longest_first", max_length=limit, **options
                )
        return whole["input_ids"], whole["token_type_ids"], sum(is_long)


def own_core(tokenizer: Any, max_length: int | None) -> Tokenizer | None:
    """A copy of a tokenizer's Rust core, if it has one, with truncation set and padding off."""
    shared = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(shared, Tokenizer):
        return None
    core = Tokenizer.from_str(shared.to_str())
    core.no_padding()
    if max_length is None:
        core.no_truncation()
    else:
        side = getattr(tokenizer, "truncation_side", "right")
        core.enable_truncation(max_length, strategy="longest_first", direction=side)
    return core


def _flat(rows: Sequence[Sequence[int]], lengths: Sequence[int]) -> np.ndarray:
    """The rows end to end, `(T,)` int64."""
    return np.fromiter(chain.from_iterable(rows), dtype=np.int64, count=sum(lengths))
