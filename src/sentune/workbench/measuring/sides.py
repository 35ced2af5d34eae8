"""Held-out rows, and the vectors that two models give their texts, each text encoded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from sentune.data.forms import Form
from sentune.models.router import Router
from sentune.types import Encoder
from sentune.vectors.tensors import to_tensor
from sentune.workbench.rows.columns import Rows
from sentune.workbench.rows.roles import SEARCHES

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Sides:
    """All texts, each once for each role, and their vectors of length 1 by both models.

    `places` has the number of each cell of a column.
    """

    texts: list[str]
    places: dict[str, Ints]
    before: Floats
    after: Floats

    @classmethod
    def of(cls, before: Encoder, after: Encoder, rows: Rows, form: Form) -> Sides:
        """Encode all texts of the rows by both models."""
        has_roles = form.name in SEARCHES and (_tells_apart(before) or _tells_apart(after))
        known: dict[tuple[str, str], int] = {}
        places = {}
        for number, (name, cells) in enumerate(rows.columns.items()):
            role = ("document" if number else "query") if has_roles else "text"
            keys = [(role, cell) for cell in cells]
            places[name] = np.array([known.setdefault(key, len(known)) for key in keys], np.int64)
        keys = list(known)
        texts = [text for _, text in keys]
        return cls(texts, places, _vectors(before, keys), _vectors(after, keys))

    @property
    def both(self) -> tuple[Floats, Floats]:
        """The vectors by the one and by the other."""
        return self.before, self.after


def _tells_apart(model: Any) -> bool:
    """Whether a model may give a text another vector as a query than as a document."""
    prompts = getattr(model, "prompts", None)
    modules = getattr(model, "modules", None)
    if prompts is None or modules is None:
        return True
    has_routes = any(isinstance(module, Router) for module in modules())
    return has_routes or any(prompts.values())


def _vectors(model: Any, keys: Sequence[tuple[str, str]]) -> Floats:
    """Vectors of length 1 `(n, d)` of texts with their roles; zeros for one that is not finite."""
    encode = {"query": model.encode_query, "document": model.encode_document, "text": model.encode}
    parts: dict[str, list[int]] = {}
    for place, (role, _) in enumerate(keys):
        parts.setdefault(role, []).append(place)
    found: Floats | None = None
    for role, chosen in parts.items():
        given = encode[role]([keys[place][1] for place in chosen], show_progress_bar=False)
        vectors = to_tensor(given).float().cpu().numpy()
        if found is None:
            found = np.zeros((len(keys), vectors.shape[1]), np.float32)
        found[chosen] = vectors
    vectors = np.nan_to_num(cast(Floats, found), posinf=0, neginf=0)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return cast(Floats, vectors / np.maximum(lengths, 1e-12))
