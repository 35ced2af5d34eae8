"""Pairs and texts -> token ids by a chat template, as generative rerankers are asked.

A pair becomes a message of role "query" and one of role "document"; a text, one of role "user"; a
prompt, a "system" message before them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from sentune.errors import InputError
from sentune.text import inputs
from sentune.text.tokens import TokenReader, own_core
from sentune.types import Features

# Two renderings that differ in all messages share at their end what the template puts there.
_FILLERS = ("0", "1 2 3 4")
_MOST_SUFFIXES = 100  # kept; with a new prompt in every call there could be many


class ChatReader(TokenReader):
    """Reads items through the chat template of a tokenizer.

    An item that is too long is truncated before what the template puts at the end: the token that
    would be generated next depends on it.

    The arguments are those of `TokenReader`; the tokenizer has a `chat_template`.
    """

    adds_special_tokens = False  # the template has them

    def __init__(self, tokenizer: Any, max_length: int | None, lower_case: bool = False) -> None:
        super().__init__(tokenizer, max_length, lower_case)
        self._whole = own_core(tokenizer, None)
        self._are_parts: dict[int, bool] = {}
        self._suffixes: dict[tuple[int, str | None], list[int]] = {}

    def read(self, items: Sequence[Any], prompt: str | None = None) -> Features:
        """Items in the ragged layout; InputError if the template leaves out one of the messages."""
        if self.lower_case:
            items = [inputs.map_texts(item, str.lower) for item in items]
        texts = [tuple(inputs.texts_of(item)) for item in items]
        rendered = [self._rendered(parts, prompt) for parts in texts]
        ids, _, truncated = self._encode(rendered)
        for parts, row in zip(texts, ids, strict=True):
            if len(row) == self.max_length:
                suffix = self._suffix(len(parts), prompt)[-len(row) :]
                row[len(row) - len(suffix) :] = suffix
        return self._ragged(ids, truncated=truncated)

    def _rendered(self, parts: Sequence[str], prompt: str | None) -> str:
        """What the template makes of the messages of an item."""
        messages = _messages(parts, prompt, are_parts=self._takes_parts(len(parts)))
        return self.tokenizer.apply_chat_template(messages, tokenize=False)

    def _takes_parts(self, texts: int) -> bool:
        """Whether the template expects a message's content as a list of parts, not as a text."""
        if texts not in self._are_parts:
            self._are_parts[texts] = self._tried(texts)
        return self._are_parts[texts]

    def _tried(self, texts: int) -> bool:
        """Render items that differ in one message, to see whether each message is in the result."""
        probes = [["1" if n == place else "0" for n in range(texts)] for place in range(-1, texts)]
        error: Exception | None = None
        for are_parts in (False, True):
            try:
                first, *others = (
                    self.tokenizer.apply_chat_template(
                        _messages(probe, None, are_parts=are_parts), tokenize=False
                    )
                    for probe in probes
                )
            except Exception as found:  # whatever a template raises
                error = found
                continue
            if first not in others:
                return are_parts
        roles = " and ".join(_ROLES[texts])
        raise InputError(
            f"the tokenizer's chat template does not render the messages of role {roles}"
            f"{f' ({error})' if error else ''}; set tokenizer.chat_template to one that does, "
            "or to None to read texts and pairs without one"
        )

    def _suffix(self, texts: int, prompt: str | None) -> list[int]:
        """The tokens that the template puts after all messages."""
        key = (texts, prompt)
        if key not in self._suffixes:
            first, second = (
                self._ids_of(self._rendered([filler] * texts, prompt)) for filler in _FILLERS
            )
            both = zip(reversed(first), reversed(second), strict=False)
            same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], both))
            found = first[len(first) - same :] if same < min(len(first), len(second)) else []
            if len(self._suffixes) >= _MOST_SUFFIXES:
                self._suffixes.clear()
            self._suffixes[key] = found
        return self._suffixes[key]

    def _ids_of(self, text: str) -> list[int]:
        if self._whole is None:
            with self._lock:
                return self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return self._whole.encode(text, add_special_tokens=False).ids


_ROLES = {1: ("user",), 2: ("query", "document")}


def _messages(parts: Sequence[str], prompt: str | None, *, are_parts: bool) -> list[dict[str, Any]]:
    roles = [*(["system"] if prompt else ()), *_ROLES[len(parts)]]
    texts = [*([prompt] if prompt else ()), *parts]
    return [
        {"role": role, "content": [{"type": "text", "text": text}] if are_parts else text}
        for role, text in zip(roles, texts, strict=True)
    ]
