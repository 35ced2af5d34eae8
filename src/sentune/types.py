"""Types that several packages share, and the letters of their shapes.

Letters, everywhere the same: `b` rows (texts), `t` tokens of a padded row, `T` real tokens of a
whole batch, `d` embedding width, `n` columns, `v` vocabulary, `w` processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

# One item to embed: a text, a pair of texts, or {route: text} for a routed model.
Text: TypeAlias = "str | Sequence[str] | Mapping[str, str]"

# A batch on its way through the modules of a model: a plain dict, because modules from the Hub
# expect one. The three layouts of it are described in `sentune.text.layouts`.
Features: TypeAlias = "dict[str, Any]"


# What a module gives: a value per row `(b, ...)` in the caller's order; per token, `(T, ...)` or
# padded `(b, t, ...)`; or of the whole batch.
OutputKind: TypeAlias = Literal["row", "token", "batch"]


class Encoder(Protocol):
    """What evaluation and search need of a model: texts in, vectors out, and how to compare."""

    similarity_fn_name: Any

    def encode(self, inputs: Any, **kwargs: Any) -> Any:
        """Embeddings of the inputs, `(b, d)`."""

    def encode_query(self, inputs: Any, **kwargs: Any) -> Any:
        """Embeddings of queries, `(b, d)`."""

    def encode_document(self, inputs: Any, **kwargs: Any) -> Any:
        """Embeddings of documents, `(b, d)`."""

    def similarity(self, a: Any, b: Any) -> Any:
        """Scores of all pairs of embeddings, `(b_a, b_b)`, by the model's similarity."""

    def similarity_pairwise(self, a: Any, b: Any) -> Any:
        """Scores of the embeddings row by row, `(b,)`, by the model's similarity."""


class EmbeddingModel(Protocol):
    """What a loss needs of a model: features in, features with `sentence_embedding (b, d)` out."""

    def __call__(self, features: Features, /) -> Features:
        """Run the model."""


ArrayLike: TypeAlias = "Tensor | np.ndarray | Sequence[Any]"
