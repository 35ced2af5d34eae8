"""Documents on their way into an index: a stream, and the columns made of some of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sentune._lazy import need
from sentune.data.corpus import Document
from sentune.errors import InputError


@dataclass(frozen=True)
class Target:
    """What documents are read for; a new index, unless something else is said.

    Attributes:
        first: The number of the first document that has no id.
        folders: What ids of the files of a folder start with, by folder.
        types: Types of Arrow of the columns that there are, by name.
    """

    first: int = 0
    folders: Mapping[str, str] = field(default_factory=dict)
    types: Mapping[str, Any] = field(default_factory=dict)


class Documents:
    """Documents as a stream, which can be read once, and what is known of them before.

    Args:
        read: Gives them for a target.
        schema: A `pyarrow.Schema` of the metadata.
        total: How many there are; None if that is not known.
        notes: What a person should know of how they are read, as sentences.
        is_counted: Whether those without an id get numbers.
        folder: Where the files are that ids are made of; None if they are made of none.

    Attributes:
        target: What they are read for; it may be set before the first one is.
    """

    def __init__(
        self,
        read: Callable[[Target], Iterator[Document]],
        schema: Any,
        total: int | None = None,
        notes: Iterable[str] = (),
        *,
        is_counted: bool = False,
        folder: str | None = None,
    ) -> None:
        self._read = read
        self.schema, self.total, self.notes = schema, total, list(notes)
        self.is_counted, self.folder = is_counted, folder
        self.target = Target()

    def __iter__(self) -> Iterator[Document]:
        """The documents, in order."""
        return self._read(self.target)


def metadata_of(columns: Any) -> Any:
    """The part of the columns of an index that holds metadata."""
    pa = need("pyarrow", extra="index")
    own = columns.names.index("vectors")
    return pa.schema(list(columns)[own + 1 :])


def check_known(names: Iterable[str], known: Iterable[str], whose: str) -> None:
    """Raise an InputError if an index lacks a column."""
    there = list(known)
    unknown = sorted(set(names) - set(there))
    if unknown:
        raise InputError(
            f"{whose} a column {unknown[0]!r}, and the index has {', '.join(there) or 'none'}; "
            "leave it out, or build the index anew with all columns"
        )


def columns_of(documents: list[Document], schema: Any) -> dict[str, Any]:
    """The metadata of documents as columns of the types in the schema.

    Raises:
        InputError: If a document has a column that the schema lacks, or a value of another type.
    """
    pa = need("pyarrow", extra="index")
    for document in documents:
        check_known(document.metadata, schema.names, f"document {document.id!r} has")
    found = {}
    for column in schema:
        values = [document.metadata.get(column.name) for document in documents]
        try:
            found[column.name] = pa.array(values, column.type)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise InputError(
                f"column {column.name!r} holds {column.type} in this index, and one of the "
                f"documents {documents[0].id!r} to {documents[-1].id!r} has something else: {error}"
            ) from error
    return found
