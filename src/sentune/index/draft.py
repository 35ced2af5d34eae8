"""The next version of an index while it is made, which nobody sees before it is published."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from sentune._lazy import need
from sentune.errors import InputError
from sentune.index.failures import explained, written
from sentune.index.filters import literal, whole, with_ids
from sentune.index.names import folders_with

_FOLDERS = "sentune.folders"  # in the metadata of the column "id"


class Draft:
    """A table of LanceDB that is filled or changed by one writer.

    Errors of LanceDB are reported as those of the folder; errors of whoever makes the rows are not
    its business and stay what they are.

    Args:
        table: The table, which no other process changes.
        where: The folder of the index.
    """

    def __init__(self, table: Any, where: Path) -> None:
        self._table, self._where = table, where
        with written(where):
            places = table.search().select(["place"]).to_arrow()["place"]
        pc = need("pyarrow.compute", extra="index")
        self._first = self._next = (pc.max(places).as_py() + 1) if len(places) else 0

    @property
    def schema(self) -> Any:
        """The columns."""
        return self._table.schema

    @property
    def next_place(self) -> int:
        """The place of the next row."""
        return self._next

    def next_number(self) -> int:
        """What the next document without an id is called: the highest number so far, plus one."""
        pc = need("pyarrow.compute", extra="index")
        with written(self._where):
            ids = self._table.search().select(["id"]).to_arrow()["id"]
        numbers = ids.filter(pc.match_substring_regex(ids, "^[0-9]{1,18}$"))
        return int(pc.max(numbers.cast("int64")).as_py()) + 1 if len(numbers) else 0

    def folders_with(self, folder: str) -> dict[str, str]:
        """What ids of files start with, by their folder; this one is kept with the others."""
        known = self._folders()
        found = folders_with(known, folder, self._is_free)
        if found != known:
            update = {"path": "id", "metadata": {_FOLDERS: json.dumps(found)}}
            with written(self._where):
                self._table.update_field_metadata(update)
        return found

    def add(self, rows: Any) -> None:
        """Add rows, a `pyarrow.RecordBatch` of all columns."""
        with written(self._where):
            self._table.add(rows)
        self._next += rows.num_rows

    def make_way(self, ids: list[str], *, replace: bool) -> int:
        """Delete the documents of some ids, and give how many there were.

        Raises:
            InputError: If an id came before in what is added; or is in the index, and `replace` is
                not set.
        """
        known = next(((id, self._next) for id, times in Counter(ids).items() if times > 1), None)
        replaced = 0
        for condition in with_ids(ids):
            # One look at the rows for each condition: there may be millions.
            known = known or self._one(
                f"{condition} AND place >= {self._first}" if replace else condition
            )
            if known is not None:
                raise _taken(known[0], is_twice=known[1] >= self._first)
            if replace:
                with written(self._where):
                    replaced += self._table.count_rows(f"{condition} AND chunk = 0")
                    self._table.delete(condition)
        return replaced

    def delete(self, condition: str) -> int:
        """Delete the documents of which a condition holds for some chunk; how many there were."""
        table, chosen = self._table, whole(condition)
        with written(self._where), explained(condition, table.schema.names):
            found = table.search().where(chosen).select(["id"]).to_arrow()["id"]
            ids = found.unique().to_pylist()
            has_chunks = table.count_rows("chunk > 0") > 0
            table.delete(chosen)
            for rest in with_ids(ids) if has_chunks else ():
                if table.count_rows(rest):  # chunks for which it does not hold
                    table.delete(rest)
        return len(ids)

    def _folders(self) -> dict[str, str]:
        found = (self.schema.field("id").metadata or {}).get(_FOLDERS.encode())
        return {} if found is None else json.loads(found)

    def _is_free(self, start: str) -> bool:
        """Whether no id starts with that."""
        with written(self._where):
            return not self._table.count_rows(f"starts_with(id, {literal(start)})")

    def _one(self, condition: str) -> tuple[str, int] | None:
        """Id and place of a row for which a condition holds; None if there is none."""
        with written(self._where):
            found = self._table.search().where(condition).limit(1).select(["id", "place"])
            rows = found.to_arrow().to_pylist()
        return (rows[0]["id"], rows[0]["place"]) if rows else None


def _taken(id: str, *, is_twice: bool) -> InputError:
    """The error for an id that came before."""
    if is_twice:
        return InputError(f"the id {id!r} comes twice; ids must differ")
    return InputError(
        f"the id {id!r} is in the index already; delete the old document, or add with replace=True"
    )
