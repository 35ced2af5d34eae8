"""What can be indexed -> documents with ids and metadata, as a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

from sentune.data.corpus import Corpus, Document
from sentune.data.corpus_types import Types
from sentune.errors import InputError, InputTypeError
from sentune.index.files import of_corpora, of_path
from sentune.index.stream import Documents, Target
from sentune.tables import column_names, records_of
from sentune.text.inputs import bad_unicode

_SEEN = 4_096  # documents of a stream that the types of columns are found from


def documents_of(source: Any, text: str | None = None, id: str | None = None) -> Documents:
    """The documents of a source.

    Args:
        source: A file or folder, as text or path: text files of a folder (txt, md, rst ...) are one
            document each, as is a single one but of txt, which has a text per line; tables have
            one per row. Or a `Corpus`. Or an iterable, or a table, of `Document`s, texts or dicts;
            or a dict of id -> text.
        text: Column, or key of the dicts, with the texts; None for "text".
        id: Column, or key, with the ids; None for "id" where there is one, else they are counted.

    Raises:
        DatasetError: If there is no such source or column.
        InputTypeError: If it is none of these.
    """
    if isinstance(source, Documents):
        return source
    if isinstance(source, (str, Path)):
        return of_path(source, text, id)
    if isinstance(source, Corpus):
        return of_corpora([source])
    if isinstance(source, Mapping) and column_names(source) is None:
        given: Iterable[Any] = (Document(str(key), value, {}) for key, value in source.items())
    elif column_names(source) is not None:
        given = records_of(source, "documents")
    elif isinstance(source, Iterable):
        given = source
    else:
        raise InputTypeError(
            "documents must be a file, a folder, a Corpus or a list of texts or dicts, got a "
            f"{type(source).__name__}"
        )
    total = len(source) if hasattr(source, "__len__") else None

    def make(item: Any, number: int) -> Document:
        return _checked(_document(item, number, text, id), number)

    stream = iter(given)
    first = list(islice(stream, _SEEN))
    types = Types()
    types.see([document.metadata for document in map(make, first, count())])

    def read(target: Target) -> Iterator[Document]:
        return map(make, chain(first, stream), count(target.first))

    return Documents(read, types.schema(), total, is_counted=True)


def _document(item: Any, number: int, text: str | None, id: str | None) -> Document:
    if isinstance(item, Document):
        return item
    if isinstance(item, str):
        return Document(str(number), item, {})
    if not isinstance(item, Mapping):
        raise InputTypeError(
            f"document {number} must be a text or a dict with a text, got {item!r}"
        )
    rest = dict(item)
    key = text or "text"
    if key not in rest:
        raise InputError(f"document {number} has no {key!r} but {', '.join(map(str, rest))}")
    words = rest.pop(key)
    own = rest.pop(id or "id", None)
    if own is None and id is not None:
        raise InputError(f"document {number} has no {id!r}")
    problem = None if isinstance(words, str) else f"its text is no string but {words!r}"
    name = str(number) if own is None else str(own)
    return Document(name, words if problem is None else None, rest, problem)


def _checked(document: Document, number: int) -> Document:
    """The document, if its id, text and metadata are whole characters."""
    values = [document.id, document.text, *document.metadata.values()]
    texts = [value for value in values if isinstance(value, str)]
    if (error := bad_unicode([texts], number)) is not None:
        raise error
    return document
