"""What can be indexed -> documents with ids and metadata, as a stream."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

from sentune._lazy import need
from sentune.data.corpus import Corpus, Document
from sentune.data.corpus_files import DOCUMENTS, File, listed
from sentune.data.corpus_types import Types
from sentune.data.raw import FORMATS
from sentune.errors import DatasetError, InputError, InputTypeError
from sentune.tables import column_names, records_of
from sentune.text.inputs import bad_unicode

_SEEN = 4_096  # documents of a stream that the types of columns are found from


class Documents:
    """Documents as a stream, which can be read once, and what is known of them before.

    Args:
        items: What documents are made of.
        make: Makes one of an item and its number, which becomes the id where it has none; None if
            the items are documents.

    Attributes:
        schema: A `pyarrow.Schema` of the metadata.
        total: How many there are; None if that is not known.
        notes: What a person should know of how they are read, as sentences.
        first: The number of the first one.
    """

    def __init__(
        self,
        items: Iterable[Any],
        schema: Any,
        total: int | None = None,
        notes: Iterable[str] = (),
        make: Callable[[Any, int], Document] | None = None,
    ) -> None:
        self._items, self._make = items, make
        self.schema, self.total, self.notes = schema, total, list(notes)
        self.first = 0

    @property
    def is_counted(self) -> bool:
        """Whether numbers may become ids."""
        return self._make is not None

    def __iter__(self) -> Iterator[Document]:
        """The documents, in order."""
        if self._make is None:
            return iter(self._items)
        return map(self._make, self._items, count(self.first))

    def metadata_of(self, columns: Any) -> Any:
        """The part of the columns of an index that holds metadata."""
        pa = need("pyarrow", extra="index")
        own = columns.names.index("vectors")
        return pa.schema(list(columns)[own + 1 :])


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
        source = corpus_of(source, text, id)
    if isinstance(source, Corpus):
        return _of_corpus(source)
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
    return Documents(chain(first, stream), types.schema(), total, make=make)


def _of_corpus(corpus: Corpus) -> Documents:
    """Its documents, without a column "id" that does not name them: an index has ids of its own."""
    schema = corpus.schema
    documents: Iterable[Document] = corpus
    notes = [*corpus.notes, *_other_columns(corpus)]
    if "id" in schema.names:
        schema = schema.remove(schema.get_field_index("id"))
        documents = (
            one._replace(metadata={k: v for k, v in one.metadata.items() if k != "id"})
            for one in corpus
        )
    return Documents(documents, schema, len(corpus), notes)


def _other_columns(corpus: Corpus) -> list[str]:
    """A note where the texts might have been those of another column."""
    pa = need("pyarrow", extra="index")
    others = [field.name for field in corpus.schema if pa.types.is_string(field.type)]
    asked = corpus.plan["asked"]
    if asked["text"] is not None or corpus.text == "text" or not others:
        return []
    return [
        f"the texts are those of column {corpus.text!r}; --text (text=...) takes "
        f"{' or '.join(others)}"
    ]


def corpus_of(source: str | Path, text: str | None = None, id: str | None = None) -> Corpus:
    """The corpus in a file or folder; text files of a folder are one document each."""
    path = Path(source).expanduser()
    ending = File(path.name, str(path), 0).ending
    if path.is_file() and ending in DOCUMENTS and ending not in FORMATS:
        return Corpus.open(path, text, id, per="file")
    if not path.is_dir():
        return Corpus.open(source, text, id)
    try:
        listed(path, DOCUMENTS, "train")
    except DatasetError:  # tables only
        return Corpus.open(path, text, id)
    return Corpus.open(path, text, id, per="file")


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


def columns_of(documents: list[Document], schema: Any) -> dict[str, Any]:
    """The metadata of documents as columns of the types in the schema.

    Raises:
        InputError: If a document has a column that the schema lacks, or a value of another type.
    """
    pa = need("pyarrow", extra="index")
    for document in documents:
        unknown = document.metadata.keys() - set(schema.names)
        if unknown:
            known = ", ".join(schema.names) or "none"
            raise InputError(
                f"document {document.id!r} has a column {sorted(unknown)[0]!r}, and the index has "
                f"{known}; leave it out, or build the index anew with all columns"
            )
    found = {}
    for field in schema:
        values = [document.metadata.get(field.name) for document in documents]
        try:
            found[field.name] = pa.array(values, field.type)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise InputError(
                f"column {field.name!r} holds {field.type} in this index, and one of the documents "
                f"{documents[0].id!r} to {documents[-1].id!r} has something else: {error}"
            ) from error
    return found
