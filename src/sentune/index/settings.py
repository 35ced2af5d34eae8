"""What an index says of itself, and the columns of its rows."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from sentune._lazy import need
from sentune._version import __version__
from sentune.checks import check_positive, one_of
from sentune.errors import InputError, ModelFileError

EXACT_BELOW = 100_000
SIMILARITIES = ("cosine", "dot", "euclidean")
# How the store names them. Vectors compared by cosine are stored with length 1.
DISTANCES = {"cosine": "dot", "dot": "dot", "euclidean": "l2"}

_KEY = b"sentune"
# The columns that an index has itself.
OWN = ("id", "place", "chunk", "chunk_start", "chunk_end", "text", "vector", "sparse", "vectors")
# Columns that the store adds to what it finds.
_OF_STORE = ("_rowid", "_rowaddr", "_rowoffset", "_distance", "_score", "_relevance_score")
_FORMAT = 1


@dataclass(frozen=True)
class Settings:
    """What an index says of itself.

    Attributes:
        model: Name of the model that made the vectors; None if they came without one.
        identity: Its hash, of `sentune.encoder.identity`.
        dimension: Of the vectors.
        similarity: How vectors are compared: "cosine", "dot" or "euclidean".
        chunk_tokens: Most tokens of a chunk; None if documents are not cut.
        chunk_overlap: Most tokens that a chunk shares with the one before.
        language: Of the full text, for stems and stop words; None for neither.
        exact_below: From so many rows on, search by vectors is approximate.
        kind: What stands for a row: "vector". "sparse" and "vectors" have their columns already.
        format: Of these settings and the columns.
        stamp: Hash of the names, sizes and times of the model's files; None if it has none.
        version: Of sentune, which made the index.
    """

    model: str | None
    identity: str | None
    dimension: int
    similarity: str = "cosine"
    chunk_tokens: int | None = None
    chunk_overlap: int = 0
    language: str | None = "English"
    exact_below: int = EXACT_BELOW
    kind: str = "vector"
    format: int = _FORMAT
    stamp: str | None = None
    version: str = __version__

    def __post_init__(self) -> None:
        one_of("similarity", self.similarity, SIMILARITIES)
        check_positive(dimension=self.dimension, exact_below=self.exact_below)

    def stored_in(self, schema: Any) -> Any:
        """A schema of Arrow with the settings in its metadata."""
        return schema.with_metadata({_KEY: json.dumps(asdict(self)).encode()})

    @staticmethod
    def are_in(schema: Any) -> bool:
        """Whether there are settings in the metadata of a schema."""
        return _KEY in (schema.metadata or {})

    @classmethod
    def of(cls, schema: Any, where: str) -> Settings:
        """The settings in the metadata of a schema.

        Raises:
            ModelFileError: If there are none, or those of a later version.
        """
        stored = (schema.metadata or {}).get(_KEY)
        if stored is None:
            raise ModelFileError(f"{where} was not made by sentune; build an index of its texts")
        values = json.loads(stored)
        if values["format"] > _FORMAT:
            raise ModelFileError(
                f"{where} was made by sentune {values['version']}, in a format that this version "
                f"({__version__}) does not read; install a newer one"
            )
        return cls(**values)


def free_name(name: str, taken: Iterable[str] = ()) -> str:
    """The name for a column of the metadata, with underscores where an index cannot have it.

    Args:
        name: What documents call it.
        taken: Names of other columns.
    """
    found = name.replace(".", "_").replace("`", "_")  # which SQL cannot say
    used = {*OWN, *_OF_STORE, *taken}
    while not found or found in used:
        found += "_"
    return found


def check_columns(metadata: Any) -> None:
    """Raise an InputError if an index cannot have a column of some metadata."""
    for name in metadata.names:
        if free_name(name) != name:
            raise InputError(
                f"the documents have a column {name!r}, which an index cannot have: "
                f"{', '.join(OWN)} are its own, and names have no '.' or '`'; rename it, or "
                "leave it out"
            )


def schema(dimension: int, metadata: Any) -> Any:
    """The columns of an index; a row is a chunk of a document.

    `sparse` and `vectors` are for models that give weights of tokens, or a vector for each token;
    they are empty in an index of vectors.

    Args:
        dimension: Of the vectors.
        metadata: Schema of the columns that documents have besides their texts.
    """
    pa = need("pyarrow", extra="index")
    vector = pa.list_(pa.float32(), dimension)
    weights = pa.struct([("token", pa.int32()), ("weight", pa.float32())])
    own = pa.schema(
        [
            ("id", pa.string()),  # of the document
            ("place", pa.int64()),  # of the row, in the order in which rows were added
            ("chunk", pa.int32()),  # its number in the document
            ("chunk_start", pa.int64()),  # where it starts in the text of the document
            ("chunk_end", pa.int64()),
            ("text", pa.string()),  # of the chunk
            ("vector", vector),
            ("sparse", pa.list_(weights)),
            ("vectors", pa.list_(vector)),
        ]
    )
    return pa.schema([*own, *metadata])
