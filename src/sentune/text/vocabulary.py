"""Tokens that a tokenizer gives and a table of embeddings has no row for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sentune.errors import InputError


def check_rows(ids: np.ndarray, rows: int | None, tokenizer: Any, cure: str) -> None:
    """Raise for the first token id that is not below the number of rows.

    Args:
        ids: Token ids of any shape.
        rows: Rows of the table; None if they are not known.
        tokenizer: What gave the ids; its `get_vocab` has the token for the message.
        cure: How the table is enlarged.

    Raises:
        InputError: If a token has no row.
    """
    if rows is None or not ids.size or ids.max() < rows:
        return
    number = int(ids[ids >= rows][0])
    names = {place: token for token, place in _vocabulary(tokenizer).items()}
    raise InputError(
        f"token {names.get(number, '?')!r} has the id {number}, and the table of token embeddings "
        f"has {rows} rows, for ids 0 to {rows - 1}: tokens were added to the tokenizer, or it is "
        f"one of another model. Give each token a row by {cure}"
    )


def has_more_than(tokenizer: Any, rows: int | None) -> bool:
    """Whether the tokenizer knows tokens whose id is not below the number of rows."""
    return rows is not None and max(_vocabulary(tokenizer).values(), default=-1) >= rows


def _vocabulary(tokenizer: Any) -> Mapping[str, int]:
    """Token -> id, with those that were added."""
    core = getattr(tokenizer, "backend_tokenizer", tokenizer)
    found: Mapping[str, int] = core.get_vocab() if hasattr(core, "get_vocab") else {}
    return found
