"""The rows of an index on disk: a table of LanceDB, of which one version is published.

LanceDB never changes a file: each change is a new version of the table, made of the old files and
of new ones. A writer makes as many versions as it needs, and then points the tag `published` at the
last one, in one step. Readers read the published version, so that they see all of a write or
nothing of it. What a killed writer leaves behind is not published, and the next writer drops it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from sentune._lazy import need
from sentune.disk.drafts import held
from sentune.errors import InputError, MissingFolderError, SettingError
from sentune.index.failures import damaged, is_unreadable, written
from sentune.index.filters import with_ids
from sentune.index.settings import DISTANCES, Settings

T = TypeVar("T")

_TABLE = "texts"
_PUBLISHED = "published"
_VECTOR_INDEX = "vector_of_"  # and the number of rows that it was trained on
_TEXT_INDEX = "text_index"
_GROWTH = 4  # times more rows, and the vector index is trained again
_LIGHT = ("id", "chunk", "place")
_KEPT = timedelta(minutes=1)  # an older version stays so long for those who read it
_NEVER = timedelta(days=36_500)


class Row(NamedTuple):
    """A row that was found.

    Attributes:
        id: Of its document.
        chunk: Its number in the document.
        place: Its number in the order in which rows were added.
        score: Higher is better.
        key: Its address in the store, for `Store.details` of the same version.
    """

    id: str
    chunk: int
    place: int
    score: float
    key: int


class Store:
    """The published version of an index, and the way to the next one.

    Args:
        where: The folder.

    Raises:
        MissingFolderError: If there is no index.
    """

    def __init__(self, where: Path) -> None:
        self.where = where
        self._db = _connected(where)
        if not is_index(where):
            raise MissingFolderError(
                f"there is no index in {where}; make one: sentune index CORPUS -o {where}"
            )
        self._table = self._db.open_table(_TABLE)
        self._version = -1
        self.refresh()

    @classmethod
    @contextmanager
    def made(cls, where: Path, schema: Any, *, overwrite: bool) -> Iterator[Any]:
        """A new, empty table to fill, which is published at the end of the block.

        Raises:
            SettingError: If there is an index and `overwrite` is not set, or other files are there.
        """
        check_place(where, overwrite)
        with written(where):
            where.mkdir(parents=True, exist_ok=True)
        with written(where), held(where):
            check_place(where, overwrite)  # another process may have been faster
            db = _connected(where)
            mode = "overwrite" if any(where.iterdir()) else "create"
            table = db.create_table(_TABLE, schema=schema, mode=mode)
            settings = Settings.of(schema, str(where))
            _index_text(table, settings)
            yield table
            _publish(table, settings)
            if mode == "create":  # nobody can have read an older version
                _clean(table, timedelta(milliseconds=1))

    @contextmanager
    def writing(self) -> Iterator[Any]:
        """The table to change; what was done is published at the end of the block, or not at all.

        One writer at a time: another one waits.
        """
        with written(self.where), held(self.where):
            table = self._db.open_table(_TABLE)
            published = table.tags.get_version(_PUBLISHED)
            if table.version != published:  # a writer was killed
                table.checkout(_PUBLISHED)
                table.restore()
                table.tags.update(_PUBLISHED, table.version)
            _clean(table, _KEPT)
            self.refresh()
            yield table
            _publish(table, self.settings)
        self.refresh()

    # Reading ------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Turn to the version that is published now."""
        while (version := self._table.tags.get_version(_PUBLISHED)) != self._version:
            try:
                self._table.checkout(version)
                self.settings = Settings.of(self._table.schema, str(self.where))
                self.rows: int = self._table.count_rows()
                self._version = version
            except Exception:
                if self._table.tags.get_version(_PUBLISHED) == version:
                    raise

    def read(self, work: Callable[[], T]) -> T:
        """What `work` finds in the version that is published now.

        If a writer publishes other versions meanwhile, and removes this one, it is done again.
        """
        while True:
            try:
                self.refresh()
                return work()
            except Exception as error:
                if self._table.tags.get_version(_PUBLISHED) != self._version:
                    continue
                if is_unreadable(error):
                    raise damaged(self.where, error) from error
                raise

    @property
    def metadata_columns(self) -> list[str]:
        """The columns that documents have besides their texts."""
        names = list(self._table.schema.names)
        return names[names.index("vectors") + 1 :]

    def count(self, condition: str | None = None) -> int:
        """How many rows there are, or for how many a condition holds."""
        with self._said(condition):
            return self._table.count_rows(condition)

    def delete_in(self, table: Any, condition: str) -> int:
        """Delete documents of a table that is being changed, and give how many there were."""
        with self._said(condition):
            return delete_where(table, condition)

    def nearest(
        self,
        vector: Any,
        limit: int,
        condition: str | None = None,
        *,
        exact: bool = False,
        probes: int | None = None,
    ) -> list[Row]:
        """The rows with the most similar vectors; all of them if there are no more than `limit`."""
        is_exact = exact or self.rows < self.settings.exact_below
        distance = DISTANCES[self.settings.similarity]
        query = self._table.search(vector, vector_column_name="vector", query_type="vector")
        query = query.distance_type(distance).limit(limit)
        if is_exact:
            query = query.bypass_vector_index()
        elif probes is not None:
            query = query.nprobes(probes)
        found = self._found(query, condition, "_distance", _SCORES[distance])
        if len(found) < limit and not is_exact:  # the lists that were looked through hold no more
            return self.nearest(vector, limit, condition, exact=True)
        return found

    def matching(self, words: str, limit: int, condition: str | None = None) -> list[Row]:
        """The rows with some of the words, by BM25; whatever characters are in the words."""
        match = need("lancedb.query", extra="index").MatchQuery(words, "text")
        query = self._table.search(match, query_type="fts").limit(limit)
        return self._found(query, condition, "_score", float)

    def details(self, keys: list[int]) -> list[dict[str, Any]]:
        """All columns but those of vectors, for rows that were found."""
        names = [name for name in self._table.schema.names if name not in _OF_VECTORS]
        query = self._table.take_row_ids(keys).select([*names, "_rowid"])
        by_key = {row.pop("_rowid"): row for row in query.to_arrow().to_pylist()}
        return [by_key[key] for key in keys]

    def _found(
        self, query: Any, condition: str | None, column: str, score: Callable[[float], float]
    ) -> list[Row]:
        if condition is not None:
            query = query.where(condition, prefilter=True)
        query = query.with_row_id(True).select([*_LIGHT, column])
        with self._said(condition):
            found = query.to_arrow()
        columns = [found[name].to_pylist() for name in (*_LIGHT, column, "_rowid")]
        rows = [
            Row(id_, chunk, place, score(value), key)
            for id_, chunk, place, value, key in zip(*columns, strict=True)
        ]
        return sorted(rows, key=lambda row: (-row.score, row.place))

    @contextmanager
    def _said(self, condition: str | None) -> Iterator[None]:
        """Say what can be wrong with a condition that the store does not take."""
        try:
            yield
        except (ValueError, RuntimeError) as error:
            if condition is None or is_unreadable(error):
                raise
            known = ", ".join(["id", "text", *self.metadata_columns])
            reason = str(error).strip().splitlines()[0]
            raise SettingError(
                f"the filter {condition} cannot be used ({reason}); the columns are {known}"
            ) from error


def is_index(where: Path) -> bool:
    """Whether an index is in a folder; one whose first build was not finished is none.

    Raises:
        ModelFileError: If there is a table that cannot be read.
    """
    if not any((where / f"{_TABLE}.lance" / "_versions").glob("*.manifest")):
        return False  # killed before there was a table
    try:
        return _PUBLISHED in _connected(where).open_table(_TABLE).tags.list()
    except (ValueError, RuntimeError, OSError) as error:
        raise damaged(where, error) from error


def check_place(where: Path, overwrite: bool) -> None:
    """Raise a SettingError if no index can be made in a folder."""
    if where.exists() and not where.is_dir():
        raise SettingError(f"an index is a folder, and {where} is a file; name another place")
    is_there = is_index(where)
    if is_there and not overwrite:
        raise SettingError(
            f"there is an index in {where}; add to it (--add, Index.open(...).add), replace it "
            "(--overwrite, overwrite=True), or name another place"
        )
    others = [] if not where.is_dir() else [p for p in where.iterdir() if p.suffix != ".lance"]
    if not is_there and others:
        raise SettingError(
            f"the folder {where} holds other files, as {others[0].name}; name a new folder for "
            "the index"
        )


def delete_where(table: Any, condition: str) -> int:
    """Delete the documents of which a condition holds for some chunk; how many there were."""
    found = table.search().where(condition).select(["id"]).to_arrow()["id"].unique().to_pylist()
    has_chunks = table.count_rows("chunk > 0") > 0
    table.delete(condition)
    for rest in with_ids(found) if has_chunks else ():
        if table.count_rows(rest):  # chunks for which it does not hold
            table.delete(rest)
    return len(found)


def next_place(table: Any) -> int:
    """The place of the next row."""
    places = table.search().select(["place"]).to_arrow()["place"]
    pc = need("pyarrow.compute", extra="index")
    return (pc.max(places).as_py() + 1) if len(places) else 0


def next_number(table: Any) -> int:
    """What the next document without an id is called: one more than the highest number so far."""
    pc = need("pyarrow.compute", extra="index")
    ids = table.search().select(["id"]).to_arrow()["id"]
    numbers = ids.filter(pc.match_substring_regex(ids, "^[0-9]{1,18}$"))
    return int(pc.max(numbers.cast("int64")).as_py()) + 1 if len(numbers) else 0


def make_way(table: Any, ids: list[str], *, replace: bool) -> None:
    """Delete the documents of some ids, or raise an InputError if there are such.

    It is raised also if an id comes twice.
    """
    twice = [id for id, times in Counter(ids).items() if times > 1]
    if twice:
        raise InputError(f"the id {twice[0]!r} comes twice; ids must differ")
    for condition in with_ids(ids):
        if replace:
            table.delete(condition)
            continue
        found = table.search().where(condition).limit(1).select(["id"]).to_arrow()["id"]
        if len(found):
            raise InputError(
                f"the id {found[0].as_py()!r} is in the index already, or comes twice; delete the "
                "old document, or add with replace=True"
            )


def _similarity_of_dot(distance: float) -> float:
    return 1.0 - distance


def _similarity_of_l2(distance: float) -> float:
    return 0.0 - max(distance, 0.0) ** 0.5


_SCORES = {"dot": _similarity_of_dot, "l2": _similarity_of_l2}
_OF_VECTORS = ("vector", "sparse", "vectors")


def _connected(where: Path) -> Any:
    # Its warnings are about its own lists; whoever sets the variable sees them.
    os.environ.setdefault("LANCEDB_LOG", "error")
    return need("lancedb", extra="index").connect(where)


def _index_text(table: Any, settings: Settings) -> None:
    index = need("lancedb.index", extra="index")
    language = settings.language
    is_known = language is not None
    config = index.FTS(language=language or "English", stem=is_known, remove_stop_words=is_known)
    try:
        table.create_index("text", config=config, name=_TEXT_INDEX)
    except (ValueError, RuntimeError) as error:
        if not is_known:
            raise
        reason = str(error).strip().splitlines()[0]
        raise SettingError(
            f"language must be a language as 'English' or 'German', or None for no stems and stop "
            f"words, got {language!r} ({reason})"
        ) from error


def _publish(table: Any, settings: Settings) -> None:
    """Bring the indexes up to date, and let readers see the table as it is."""
    table.optimize(cleanup_older_than=_NEVER)
    _index_vectors(table, settings)  # of files that stay as they are now
    if _PUBLISHED in table.tags.list():
        table.tags.update(_PUBLISHED, table.version)
    else:
        table.tags.create(_PUBLISHED, table.version)


def _clean(table: Any, older_than: timedelta) -> None:
    """Remove the files of versions that are older than that, and what killed writers left.

    This is done at the start of a write, when the latest version is the published one, which is
    never removed. Who reads one that is removed meanwhile turns to the new one.
    """
    with suppress(RuntimeError):  # the published version is not the latest; the next write cleans
        table.optimize(cleanup_older_than=older_than, delete_unverified=True)


def _index_vectors(table: Any, settings: Settings) -> None:
    """Train the index for approximate search, if there are enough rows, or many more than then."""
    rows = table.count_rows()
    named = [index.name for index in table.list_indices()]
    old = [name for name in named if name.startswith(_VECTOR_INDEX)]
    trained_on = max((int(name.removeprefix(_VECTOR_INDEX)) for name in old), default=0)
    if rows < settings.exact_below or rows < _GROWTH * trained_on:
        return
    index = need("lancedb.index", extra="index")
    config = index.IvfFlat(distance_type=DISTANCES[settings.similarity])
    for name in old:
        table.drop_index(name)
    table.create_index("vector", config=config, name=f"{_VECTOR_INDEX}{rows}")
