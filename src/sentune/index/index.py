"""Index: texts on disk, to be searched by meaning, by words, or by both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from sentune.checks import check_positive, check_sizes, one_of
from sentune.errors import InputError, InputTypeError, SettingError
from sentune.index import rows
from sentune.index.documents import documents_of
from sentune.index.filters import condition, with_ids
from sentune.index.model import IndexModel
from sentune.index.place import check_place
from sentune.index.searching import Hit as Hit
from sentune.index.searching import How, check_words, hits, scorer_of, texts_of
from sentune.index.settings import EXACT_BELOW, Settings, check_columns, schema
from sentune.index.store import Store
from sentune.index.writing import batches_of, dimension_of, write

Mode: TypeAlias = Literal["hybrid", "vector", "text"]
Filter: TypeAlias = "str | Mapping[str, Any] | None"

MODES = ("hybrid", "vector", "text")
CANDIDATES = 100


class Index:
    """Texts on disk, to be searched by meaning, by words, or by both.

    Made by `Index.build` or `Index.open`. Any number of processes may read an index while one
    writes to it; a second writer waits. Each `add` and `delete` is visible as a whole or, after an
    error or a kill, not at all. The model is not loaded before a search or an `add` needs it.

    Example:
        >>> index = sentune.Index.build("notes.index", "notes/", model="all-MiniLM-L6-v2")
        ... # doctest: +SKIP
        >>> index.search("how do I renew my passport?")[0].text  # doctest: +SKIP
        'A passport is renewed at ...'
    """

    def __init__(self, opened: Store, model: Any = None) -> None:
        self._store = opened
        self._given = model if model is None or isinstance(model, IndexModel) else IndexModel(model)
        self._kept: tuple[Settings, IndexModel] | None = None

    # Making -------------------------------------------------------------------------------------

    @classmethod
    def build(
        cls,
        where: str | Path,
        documents: Any,
        model: Any = None,
        *,
        embeddings: Any = None,
        text: str | None = None,
        id: str | None = None,
        chunk_tokens: int | None = None,
        chunk_overlap: int | None = None,
        similarity: str | None = None,
        language: str | None = "English",
        exact_below: int = EXACT_BELOW,
        overwrite: bool = False,
        on_progress: Callable[[int, int | None], None] | None = None,
    ) -> Index:
        """A new index of documents, in bounded memory.

        Args:
            where: A folder that is not there yet, or is empty.
            documents: A file or folder: text files (md, rst, txt in a folder ...) are one document
                each, tables (csv, jsonl, parquet ...) have one per row; their columns whose names
                the index uses itself get a "_" at the end. Or a list, an iterable or
                a table of texts or of dicts with "text", and if they like "id" and other columns;
                or a dict of id -> text.
            model: A `SentenceTransformer`, or a folder or id of one. None if `embeddings` come
                without a model.
            embeddings: `(n, d)`, one for each document, which is then not cut into chunks; made by
                the model, if one is given. None to have them made.
            text: Column with the texts; None for "text", or for files the first column whose texts
                have several words.
            id: Column with the ids; None for "id" where there is one. Rows of files without one are
                named by file and number, others are counted.
            chunk_tokens: Most tokens of a chunk, at most as many as the model reads, which is the
                value for None. See `sentune.text.chunks`.
            chunk_overlap: Most tokens that a chunk shares with the one before; None for an eighth.
            similarity: "cosine", "dot" or "euclidean"; None for that of the model.
            language: Of the texts, for stems and stop words of the full text, as "German"; None
                for neither.
            exact_below: From so many chunks on, the search by vectors is approximate.
            overwrite: Whether to replace an index that is there. It can be read until the new one
                is finished.
            on_progress: Called with the number of documents that are done, and of all if known.

        Raises:
            SettingError: If something else is at the place, or an option is out of range.
            InputError: If documents lack texts or have equal ids, or a column of Python documents
                has a name that the index uses itself; the message names one.
            ModelFileError: If there is an index that cannot be read, even with `overwrite`.
            MissingDependencyError: If LanceDB is not installed.
        """
        place = Path(where).expanduser()
        check_place(place, overwrite)
        given = documents_of(documents, text, id)
        check_columns(given.schema)
        check_sizes(chunk_tokens=chunk_tokens)
        used = None if model is None else IndexModel(model)
        if used is None and embeddings is None:
            raise SettingError("give a model, or embeddings with a vector for each document")
        likeness = similarity or ("cosine" if used is None else used.similarity)
        chunker = None
        if used is not None and embeddings is None:
            chunker = used.chunker(chunk_tokens, chunk_overlap)
        batches = batches_of(given, used, embeddings, likeness, chunker, on_progress)
        first = next(batches, None)
        width = first.vectors.shape[1] if first is not None else 0
        settings = Settings(
            model=used.name if used else None,
            identity=used.identity if used else None,
            stamp=used.stamp if used else None,
            dimension=width or dimension_of(used, embeddings),
            similarity=likeness,
            chunk_tokens=chunker.tokens if chunker else None,
            chunk_overlap=chunker.overlap if chunker else 0,
            language=language,
            exact_below=exact_below,
        )
        columns = settings.stored_in(schema(settings.dimension, given.schema))
        with Store.made(place, columns, overwrite=overwrite) as draft:
            rest = batches if first is None else chain([first], batches)
            write(draft, given, rest, replace=False)
        return cls(Store(place), used)

    @classmethod
    def open(cls, where: str | Path, model: Any = None) -> Index:
        """The index in a folder.

        Args:
            where: The folder.
            model: The model that it was built with, or where that is; None for where it was then.

        Raises:
            MissingFolderError: If there is no index.
        """
        return cls(Store(Path(where).expanduser()), model)

    @property
    def settings(self) -> Settings:
        """What it was built with."""
        return self._store.settings

    @property
    def rows(self) -> int:
        """How many chunks there are."""
        return self._store.read(lambda: self._store.rows)

    def __repr__(self) -> str:
        """Where it is and what is in it."""
        return f"Index({str(self._store.where)!r}): {len(self)} documents, {self._store.rows} rows"

    def __len__(self) -> int:
        """How many documents there are."""
        return self._store.read(lambda: self._store.count("chunk = 0"))

    def __contains__(self, id: object) -> bool:
        """Whether there is a document of this id."""
        one = next(with_ids([str(id)]))
        return self._store.read(lambda: self._store.count(one)) > 0

    # Changing -----------------------------------------------------------------------------------

    def add(
        self,
        documents: Any,
        *,
        embeddings: Any = None,
        text: str | None = None,
        id: str | None = None,
        replace: bool = False,
        on_progress: Callable[[int, int | None], None] | None = None,
    ) -> int:
        """Add documents; searches find all of them from the end of the call on, or none.

        Args:
            documents: As for `build`, with columns that the index has. Ids of files of another
                folder than the first start with its name.
            embeddings: As for `build`.
            text: As for `build`.
            id: As for `build`.
            replace: Whether a document takes the place of one with the same id; texts without ids
                take that of none, since their numbers go on from the highest of the index.
            on_progress: As for `build`.

        Returns:
            How many documents of the index were replaced.

        Raises:
            InputError: If an id is there already, or twice in the documents, and `replace` is not
                set; or a document does not fit the columns.
            DatasetError: If a value of a file would lose something in the type of its column.
            SettingError: If the model is not the one of the index.
        """
        given = documents_of(documents, text, id)
        with self._store.writing() as draft:
            settings = self.settings  # of what is changed: another build may have replaced it
            used = None if embeddings is not None else self._model_of(settings)
            chunker = None
            if used is not None and settings.chunk_tokens is not None:
                chunker = used.chunker(settings.chunk_tokens, settings.chunk_overlap)
            likeness = settings.similarity
            batches = batches_of(given, used, embeddings, likeness, chunker, on_progress)
            return write(draft, given, batches, replace=replace)

    def replace(self, documents: Any, **options: Any) -> int:
        """As `add`, where each document takes the place of one with the same id, if there is one.

        Args:
            documents: The documents.
            **options: As for `add`.

        Returns:
            How many documents of the index were replaced.
        """
        return self.add(documents, replace=True, **options)

    def delete(self, ids: Iterable[str] | None = None, *, filter: Filter = None) -> int:
        """Delete documents, and give how many there were.

        Args:
            ids: Their ids; those that are not there are passed over.
            filter: Delete those that it holds for, whole if it is for one of their chunks; as for
                `search`.
        """
        if (ids is None) == (filter is None):
            raise SettingError("give either ids or a filter of the documents to delete")
        if isinstance(ids, str):
            raise InputTypeError(f"ids must be a list, got the text {ids!r}; give [{ids!r}]")
        chosen = condition(filter)
        if filter is not None and chosen is None:
            raise SettingError("an empty filter would delete all; say filter='TRUE' if you mean it")
        wanted = [chosen] if chosen else list(with_ids(map(str, ids or ())))
        deleted = 0
        with self._store.writing() as draft:
            for one in wanted:
                deleted += draft.delete(one)
        return deleted

    # Searching ----------------------------------------------------------------------------------

    def search(
        self,
        query: Any = None,
        top_k: int = 10,
        *,
        mode: Mode = "hybrid",
        filter: Filter = None,
        embedding: Any = None,
        reranker: Any = None,
        candidates: int = CANDIDATES,
        exact: bool = False,
        probes: int | None = None,
    ) -> Any:
        """The documents that answer a query best, each with its best chunk.

        Args:
            query: A text, or a list of q texts.
            top_k: How many documents.
            mode: "vector" compares meanings; "text" compares words, by BM25, and needs no model;
                "hybrid" joins both rankings by reciprocal rank fusion.
            filter: Which documents may be found: SQL over the columns, as
                `"year >= 2020 AND lang = 'en'"`, or a dict of column -> value or list of values.
            embedding: `(d,)` or `(q, d)`: vectors of the queries; None to have them made.
            reranker: A `CrossEncoder`, or a folder or id of one, which scores the best candidates
                again, each by its best chunk.
            candidates: How many documents of each ranking are joined, or scored again.
            exact: Whether to compare with all vectors, however many there are.
            probes: Lists of the approximate search that are looked through; more find more, and
                take longer. None for LanceDB's choice.

        Returns:
            A list of `Hit`, best first; or q such lists, if there are q queries.

        Raises:
            SettingError: If the model is not the one of the index, or the filter cannot be used.
        """
        check_positive(top_k=top_k, candidates=candidates)
        check_sizes(probes=probes)
        one_of("mode", mode, MODES)
        texts, is_single = texts_of(query, embedding)
        if mode == "text":
            check_words(query, exact=exact, probes=probes)
        vectors = self._vectors(texts, embedding, mode)
        scorer = scorer_of(reranker, query)
        how = How(mode, top_k, max(candidates, top_k), condition(filter), exact, probes, scorer)
        found = [
            hits(self._store, text, partial(_numbered, vectors, number), how)
            for number, text in enumerate(texts)
        ]
        return found[0] if is_single else found

    def _vectors(
        self, texts: list[str], embedding: Any, mode: str
    ) -> Callable[[Settings], Sequence[Any]]:
        """What gives the vectors of the queries for an index of some settings.

        It is asked for each version that is read, which may be of another build and model; the
        answer for the last settings is kept.
        """

        @lru_cache(maxsize=1)
        def vectors(settings: Settings) -> Sequence[Any]:
            if mode == "text" and embedding is None:
                return [None] * len(texts)
            if embedding is not None:
                made = np.atleast_2d(embedding)
            else:
                made = self._model_of(settings).queries(texts)
            stored = rows.as_stored(made, settings.similarity, _query)
            _check_shape(stored, (len(texts), settings.dimension))
            return list(stored)

        return vectors

    def _model_of(self, settings: Settings) -> IndexModel:
        """The model for an index of some settings, after checking that it is the one of it."""
        where = self._store.where
        if self._given is not None:
            found = self._given
        elif settings.model is None:
            raise SettingError(
                f"{where} does not say where its model is; give it: Index.open({str(where)!r}, "
                "model=...), or --model" + ("" if settings.identity else "; or give embeddings")
            )
        else:
            if self._kept is None or self._kept[0] != settings:
                self._kept = (settings, IndexModel(settings.model, is_kept=True))
            found = self._kept[1]
        if settings.identity is not None and not found.is_of(settings):
            raise SettingError(
                f"{where} was built with the model {settings.model or 'of a program'} (hash "
                f"{settings.identity[:8]}), and {found.name or 'the model given'} is another "
                f"one (hash {found.identity[:8]}), whose vectors cannot be compared with "
                "those of the index; search with the first, or build the index anew"
            )
        return found


def _check_shape(vectors: np.ndarray, wanted: tuple[int, int]) -> None:
    if vectors.shape != wanted:
        raise InputError(
            f"the index has vectors of {wanted[1]} numbers, and the queries give the shape "
            f"{vectors.shape}; give one of {wanted[1]} for each query"
        )


def _numbered(vectors: Callable[[Settings], Sequence[Any]], number: int, settings: Settings) -> Any:
    return vectors(settings)[number]


def _query(number: int) -> str:
    return f"query {number}"
