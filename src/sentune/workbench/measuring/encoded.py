"""A model whose embeddings are kept, so that figure and checks encode each text once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Encoded:
    """An encoder that keeps what it has encoded of one state of a model.

    Args:
        model: The model; its weights must not change as long as this is used.

    Attributes:
        texts: How many texts were encoded.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.similarity_fn_name = model.similarity_fn_name
        self.texts = 0
        self._known: dict[tuple[str, str], Tensor] = {}

    def __getattr__(self, name: str) -> Any:
        """Everything else is the model's: tokenizer, limits, names."""
        return getattr(self.model, name)

    def encode(self, inputs: Any, **kwargs: Any) -> Any:
        """Embeddings `(b, d)`; `normalize_embeddings` and the kind of array as in the model's."""
        return self._rows("encode", inputs, **kwargs)

    def encode_query(self, inputs: Any, **kwargs: Any) -> Any:
        """Embeddings of queries `(b, d)`."""
        return self._rows("encode_query", inputs, **kwargs)

    def encode_document(self, inputs: Any, **kwargs: Any) -> Any:
        """Embeddings of documents `(b, d)`."""
        return self._rows("encode_document", inputs, **kwargs)

    def similarity(self, a: Any, b: Any) -> Any:
        """Scores of all pairs of embeddings."""
        return self.model.similarity(a, b)

    def similarity_pairwise(self, a: Any, b: Any) -> Any:
        """Scores row by row."""
        return self.model.similarity_pairwise(a, b)

    def _rows(
        self,
        role: str,
        texts: Sequence[str],
        *,
        normalize_embeddings: bool = False,
        convert_to_tensor: bool = False,
        convert_to_numpy: bool = True,
        **_: Any,
    ) -> Any:
        new = [text for text in dict.fromkeys(texts) if (role, text) not in self._known]
        if new:
            encode = getattr(self.model, role)
            rows = encode(new, convert_to_tensor=True, show_progress_bar=False).cpu()
            self._known.update({(role, text): row for text, row in zip(new, rows, strict=True)})
            self.texts += len(new)
        found = torch.stack([self._known[role, text] for text in texts])
        if normalize_embeddings:
            found = torch.nn.functional.normalize(found.float(), dim=1)
        return found if convert_to_tensor or not convert_to_numpy else found.float().numpy()
