"""The rows of an index on disk: a table of LanceDB, of which one version is published.

LanceDB never changes a file: each change is a new version of the table, made of the old files and
of new ones. A writer makes as many versions as it needs, and then points the tag `published` at the
last one, in one step. Readers read the published version, so that they see all of a write or
nothing of it. What a killed writer leaves behind is not published, and the next writer drops it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from sentune._lazy import need
from sentune.disk.drafts import held
from sentune.errors import MissingFolderError, ModelFileError, SettingError
from sentune.index.draft import Draft
from sentune.index.failures import damaged, explained, is_unreadable, written
from sentune.index.filters import whole
from sentune.index.place import (
    MARK,
    PUBLISHED,
    TABLE,
    check_place,
    connected,
    is_marked,
    marked,
    state_of,
)
from sentune.index.settings import DISTANCES, Settings

T = TypeVar("T")

_VECTOR_INDEX = "vector_of_"  # and the number of rows that it was trained on
_TEXT_INDEX = "text_index"
_GROWTH = 4  # times more rows, and the vector index is trained again
_LARGE = 60  # binary digits of the largest number of a query by dot product
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
        ModelFileError: If it is damaged, or not one of sentune.
    """

    def __init__(self, where: Path) -> None:
        self.where = where
        state = state_of(where)
        if state == "foreign":
            raise ModelFileError(f"{where} was not made by sentune; build an index of its texts")
        if state != "published":
            raise MissingFolderError(
                f"there is no index in {where}; make one: sentune index CORPUS -o {where}"
            )
        self._db = connected(where)
        self._table = self._db.open_table(TABLE)
        self._version = -1
        self.refresh()

    @classmethod
    @contextmanager
    def made(cls, where: Path, schema: Any, *, overwrite: bool) -> Iterator[Draft]:
        """A new, empty table to fill, which is published at the end of the block.

        Raises:
            SettingError: If there is an index and `overwrite` is not set, or other files are there.
        """
        check_place(where, overwrite)
        settings = Settings.of(schema, str(where))
        with ExitStack() as stack:
            with written(where):
                where.mkdir(parents=True, exist_ok=True)
                stack.enter_context(held(where))
                check_place(where, overwrite)  # another process may have been faster
                state, db = state_of(where), connected(where)
                if state == "published":
                    _at_published(db)
                mode = "create" if state == "none" else "overwrite"
                table = db.create_table(TABLE, schema=marked(schema), mode=mode)
                _index_text(table, settings)
            yield Draft(table, where)
            with written(where):
                _publish(table, settings)
                # If there was no index, nobody can have read an older version.
                _clean(table, _KEPT if state == "published" else timedelta(milliseconds=1))

    @contextmanager
    def writing(self) -> Iterator[Draft]:
        """The table to change; what was done is published at the end of the block, or not at all.

        One writer at a time: another one waits. In the block `settings` are those of the version
        that is changed.
        """
        with ExitStack() as stack:
            with written(self.where):
                stack.enter_context(held(self.where))
                table = _at_published(self._db)
                self.refresh()
            yield Draft(table, self.where)
            with written(self.where):
                _publish(table, self.settings)
        self.refresh()

    # Reading ------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Turn to the version that is published now."""
        while (version := self._table.tags.get_version(PUBLISHED)) != self._version:
            try:
                self._table.checkout(version)
                self.settings = Settings.of(self._table.schema, str(self.where))
                self.rows: int = self._table.count_rows()
                self._version = version
            except Exception:
                if self._table.tags.get_version(PUBLISHED) == version:
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
                if self._table.tags.get_version(PUBLISHED) != self._version:
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
        with explained(condition, self._table.schema.names):
            return self._table.count_rows(condition and whole(condition))

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
        limit = self._limit(limit)
        factor = _factor(vector) if distance == "dot" else 1.0
        asked = np.asarray(vector, np.float32) * np.float32(factor)
        query = self._table.search(asked, vector_column_name="vector", query_type="vector")
        query = query.distance_type(distance).limit(limit)
        if is_exact:
            query = query.bypass_vector_index()
        elif probes is not None:
            query = query.nprobes(probes)
        found = self._found(query, condition, "_distance", _score_of(distance, factor))
        if len(found) < limit and not is_exact:  # the lists that were looked through hold no more
            return self.nearest(vector, limit, condition, exact=True)
        return found

    def matching(self, words: str, limit: int, condition: str | None = None) -> list[Row]:
        """The rows with some of the words, by BM25; whatever characters are in the words."""
        match = need("lancedb.query", extra="index").MatchQuery(words, "text")
        query = self._table.search(match, query_type="fts").limit(self._limit(limit))
        return self._found(query, condition, "_score", float)

    def details(self, keys: list[int]) -> list[dict[str, Any]]:
        """All columns but those of vectors, for rows that were found."""
        names = [name for name in self._table.schema.names if name not in _OF_VECTORS]
        query = self._table.take_row_ids(keys).select([*names, "_rowid"])
        by_key = {row.pop("_rowid"): row for row in query.to_arrow().to_pylist()}
        return [by_key[key] for key in keys]

    def _limit(self, wanted: int) -> int:
        """As many rows as are wanted and there, but one: LanceDB takes no larger numbers."""
        return min(wanted, max(self.rows, 1))

    def _found(
        self, query: Any, condition: str | None, column: str, score: Callable[[float], float]
    ) -> list[Row]:
        if condition is not None:
            query = query.where(whole(condition), prefilter=True)
        query = query.with_row_id(True).select([*_LIGHT, column])
        with explained(condition, self._table.schema.names):
            found = query.to_arrow()
        columns = [found[name].to_pylist() for name in (*_LIGHT, column, "_rowid")]
        rows = [
            Row(id_, chunk, place, score(value), key)
            for id_, chunk, place, value, key in zip(*columns, strict=True)
        ]
        return sorted(rows, key=lambda row: (-row.score, row.place))


def _factor(vector: Any) -> float:
    """A power of two that makes the numbers of a query large.

    LanceDB gives 1 - dot in float32, where the 1 hides the last digits of a small dot product, or
    all of them. Beside the dot product with a larger query it vanishes; a power of two changes no
    digit of the product.
    """
    largest = float(np.abs(vector).max(initial=0.0))
    return 2.0 ** (_LARGE - math.frexp(largest)[1]) if largest else 1.0


def _score_of(distance: str, factor: float) -> Callable[[float], float]:
    """What makes a score of a distance to a query that was made larger by a factor."""
    if distance == "dot":
        return lambda value: (1.0 - value) / factor
    return lambda value: 0.0 - max(value, 0.0) ** 0.5


_OF_VECTORS = ("vector", "sparse", "vectors")


def _index_text(table: Any, settings: Settings) -> None:
    index = need("lancedb.index", extra="index")
    language = settings.language
    is_known = language is not None
    config = index.FTS(
        language=language or "English",
        stem=is_known,
        remove_stop_words=is_known,
        max_token_length=None,  # addresses and keys are words, too
    )
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
    if PUBLISHED in table.tags.list():
        table.tags.update(PUBLISHED, table.version)
    else:
        table.tags.create(PUBLISHED, table.version)
    if is_marked(table.schema):
        table.update_field_metadata({"path": "id", "metadata": {MARK: PUBLISHED}})
        table.tags.update(PUBLISHED, table.version)


def _at_published(db: Any) -> Any:
    """The table at its published version, without what killed writers and older versions left."""
    table = db.open_table(TABLE)
    if table.version != table.tags.get_version(PUBLISHED):  # a writer was killed
        table.checkout(PUBLISHED)
        table.restore()
        table.tags.update(PUBLISHED, table.version)
    _clean(table, _KEPT)
    return table


def _clean(table: Any, older_than: timedelta) -> None:
    """Remove the files of versions that are older than that, and what killed writers left.

    This is done when the latest version is the published one, which is never removed. Who reads one
    that is removed meanwhile turns to the new one.
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
