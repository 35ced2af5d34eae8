"""Files and folders -> documents for an index: text files as they are, tables by row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from sentune._lazy import need
from sentune.data.corpus import Corpus, Document, left_out_note
from sentune.data.corpus_files import DOCUMENTS, File, is_remote, listed
from sentune.data.corpus_types import Types, fitting
from sentune.data.raw import FORMATS
from sentune.errors import DatasetError
from sentune.index.names import names_in
from sentune.index.settings import OWN, free_name
from sentune.index.stream import Documents, Target


def of_path(source: str | Path, text: str | None, id: str | None) -> Documents:
    """The documents in a file or folder.

    Raises:
        DatasetError: If there is no such source or column, or none of its files can be read.
    """
    path = Path(source).expanduser()
    if not path.is_dir():
        ending = File(path.name, str(path), 0).ending
        is_document = path.is_file() and ending in DOCUMENTS and ending not in FORMATS
        return of_corpora([Corpus.open(source, text, id, per="file" if is_document else "line")])
    files, left_out = listed(path, tuple(dict.fromkeys([*DOCUMENTS, *FORMATS])), "train")
    endings = {file.ending for file in files}
    corpora = []
    if endings - set(DOCUMENTS):
        corpora.append(Corpus.open(path, text, id, per="table"))
    if endings & set(DOCUMENTS):
        named = (
            (None, None) if corpora else (text, id)
        )  # where there are tables, columns are theirs
        corpora.insert(0, Corpus.open(path, *named, per="file"))
    return of_corpora(corpora, left_out)


def of_corpora(corpora: Sequence[Corpus], left_out: Sequence[str] | None = None) -> Documents:
    """The documents of corpora of the same place, one after the other.

    Args:
        corpora: The corpora.
        left_out: Names of files that none of them reads; None for those of the first.
    """
    types = Types()
    for corpus in corpora:
        for column in corpus.schema:
            types.add(column.name, column.type)
    schema = types.schema()
    names = _kept_as(schema.names)
    notes = [*chain.from_iterable(corpus.plan["notes"] for corpus in corpora)]
    notes += left_out_note(corpora[0].left_out if left_out is None else left_out)
    notes += [note for corpus in corpora for note in _other_columns(corpus)]
    notes += [_renamed(name, kept) for name, kept in names.items() if name != kept]
    kinds = {names[column.name]: column.type for column in schema}
    folder = _folder_of(corpora[0])

    def read(target: Target) -> Iterator[Document]:
        fits = {
            name: _fit(kept, target.types.get(kept, kinds[kept])) for name, kept in names.items()
        }
        for corpus in corpora:
            for one in corpus.as_written(names_in(target.folders, folder)):
                values = {names[k]: fits[k](v, one.id) for k, v in one.metadata.items()}
                yield one._replace(metadata=values)

    columns = need("pyarrow", extra="index").schema(list(kinds.items()))
    return Documents(read, columns, sum(map(len, corpora)), notes, folder=folder)


def _folder_of(corpus: Corpus) -> str:
    """Where the names of the files of a corpus start, with slashes and no links."""
    is_file = corpus.plan["is_file"]
    if is_remote(corpus.source):
        return corpus.source.rpartition("/")[0] if is_file else corpus.source.rstrip("/")
    path = Path(corpus.source)
    return (path.parent if is_file else path).resolve().as_posix().rstrip("/")


def _kept_as(names: Sequence[str]) -> dict[str, str]:
    """What columns are called in an index, which has columns and rules of its own."""
    found = {name: name for name in names if free_name(name) == name}
    for name in names:
        if name not in found:
            found[name] = free_name(name, found.values())
    return {name: found[name] for name in names}


def _renamed(name: str, kept: str) -> str:
    reason = f"has its own {name!r}" if name in OWN else "cannot have that name"
    return f"column {name!r} is kept as {kept!r}, since an index {reason}"


def _fit(name: str, kind: Any) -> Callable[[Any, str], Any]:
    """What makes a value of the type of a column of the index, for the document of an id."""
    plain = fitting(kind)

    def fit(value: Any, id: str) -> Any:
        try:
            return plain(value)
        except (ValueError, TypeError, OverflowError) as error:
            what = "whole numbers" if str(kind).startswith(("int", "uint")) else "numbers"
            raise DatasetError(
                f"column {name!r} of the index holds {what}, and {id} has {value!r}; correct it, "
                "or build the index anew of all files"
            ) from error

    return fit


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
