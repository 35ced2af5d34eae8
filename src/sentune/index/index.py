"""Index: texts on disk, to be searched by meaning, by words, or by both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from sentune.checks import check_positive, check_sizes, one_of
from sentune.errors import InputError, InputTypeError, SettingError
from sentune.index import rows, store
from sentune.index.documents import documents_of
from sentune.index.filters import condition, with_ids
from sentune.index.model import IndexModel
from sentune.index.searching import Hit as Hit
from sentune.index.searching import How, hits, scorer_of
from sentune.index.settings import EXACT_BELOW, Settings, schema
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
        given = model if model is not None else opened.settings.model
        self._model: IndexModel | None = None
        if given is not None:
            is_kept = model is None
            self._model = given if isinstance(given, IndexModel) else IndexModel(given, is_kept)

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
                each, tables (csv, jsonl, parquet ...) have one per row. Or a list, an iterable or
                a table of texts or of dicts with "text", and if they like "id" and other columns;
                or a dict of id -> text.
            model: A `SentenceTransformer`, or a folder or id of one. None if `embeddings` come
                without a model.
            embeddings: `(n, d)`, one for each document, which is then not cut into chunks; made by
                the model, if one is given. None to have them made.
            text: Column with the texts; None for "text", or for files the first column of texts.
            id: Column with the ids; None for "id" where there is one; else rows are counted.
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
            InputError: If documents lack texts or have equal ids; the message names one.
            MissingDependencyError: If LanceDB is not installed.
        """
        place = Path(where).expanduser()
        store.check_place(place, overwrite)
        given = documents_of(documents, text, id)
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
        with Store.made(place, columns, overwrite=overwrite) as table:
            rest = batches if first is None else chain([first], batches)
            write(table, given, rest, replace=False)
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
    ) -> None:
        """Add documents; searches find all of them from the end of the call on, or none.

        Args:
            documents: As for `build`, with columns that the index has.
            embeddings: As for `build`.
            text: As for `build`.
            id: As for `build`.
            replace: Whether a document takes the place of one with the same id; texts without ids
                take that of none, since their numbers go on from the highest of the index.
            on_progress: As for `build`.

        Raises:
            InputError: If an id is there already, or twice in the documents, and `replace` is not
                set; or a document does not fit the columns.
            SettingError: If the model is not the one of the index.
        """
        given = documents_of(documents, text, id)
        settings = self.settings
        used = None if embeddings is not None else self._checked_model()
        chunker = None
        if used is not None and settings.chunk_tokens is not None:
            chunker = used.chunker(settings.chunk_tokens, settings.chunk_overlap)
        likeness = settings.similarity
        batches = batches_of(given, used, embeddings, likeness, chunker, on_progress)
        with self._store.writing() as table:
            write(table, given, batches, replace=replace)

    def replace(self, documents: Any, **options: Any) -> None:
        """As `add`, where each document takes the place of one with the same id, if there is one.

        Args:
            documents: The documents.
            **options: As for `add`.
        """
        self.add(documents, replace=True, **options)

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
        with self._store.writing() as table:
            for one in wanted:
                deleted += self._store.delete_in(table, one)
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
        texts, vectors, is_single = self._asked(query, embedding, mode)
        scorer = scorer_of(reranker, query)
        how = How(mode, top_k, max(candidates, top_k), condition(filter), exact, probes, scorer)
        found = [
            hits(self._store, text, vector, how)
            for text, vector in zip(texts, vectors, strict=True)
        ]
        return found[0] if is_single else found

    def _asked(
        self, query: Any, embedding: Any, mode: str
    ) -> tuple[list[str], Sequence[Any], bool]:
        """Texts and vectors of the queries, and whether there is a single one."""
        if query is None and embedding is None:
            raise SettingError("give a query, or the embedding of one")
        is_single = isinstance(query, str) or (query is None and np.ndim(embedding) == 1)
        if query is not None:
            texts = [query] if isinstance(query, str) else list(query)
            wrong = next((text for text in texts if not isinstance(text, str)), None)
            if wrong is not None:
                raise InputTypeError(f"a query must be a text, got {wrong!r}")
        if embedding is not None:
            vectors = rows.as_stored(np.atleast_2d(embedding), self.settings.similarity, _query)
            if query is None:
                texts = [""] * len(vectors)
        elif mode == "text" or not texts:
            return texts, [None] * len(texts), is_single
        else:
            made = self._checked_model().queries(texts)
            vectors = rows.as_stored(made, self.settings.similarity, _query)
        self._check_width(vectors, len(texts))
        return texts, list(vectors), is_single

    def _check_width(self, vectors: np.ndarray, queries: int) -> None:
        width = self.settings.dimension
        if vectors.shape != (queries, width):
            raise InputError(
                f"the index has vectors of {width} numbers, and the queries give the shape "
                f"{vectors.shape}; give one of {width} for each query"
            )

    def _checked_model(self) -> IndexModel:
        """The model, after checking that it is the one of the index."""
        settings = self.settings
        where = self._store.where
        if self._model is None:
            raise SettingError(
                f"{where} does not say where its model is; give it: Index.open({str(where)!r}, "
                "model=...), or --model" + ("" if settings.identity else "; or give embeddings")
            )
        if settings.identity is not None and not self._model.is_of(settings):
            raise SettingError(
                f"{where} was built with the model {settings.model or 'of a program'} (hash "
                f"{settings.identity[:8]}), and {self._model.name or 'the model given'} is another "
                f"one (hash {self._model.identity[:8]}), whose vectors cannot be compared with "
                "those of the index; search with the first, or build the index anew"
            )
        return self._model


def _query(number: int) -> str:
    return f"query {number}"
