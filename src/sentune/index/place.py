"""What is in a folder where an index is, or may be made."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, TypeAlias

from sentune._lazy import need
from sentune.errors import SettingError
from sentune.index.failures import damaged
from sentune.index.settings import Settings

State: TypeAlias = Literal["none", "unfinished", "published", "foreign"]

TABLE = "texts"
PUBLISHED = "published"  # the tag of the version that readers see
# Metadata of the column "id": tells a first build that was killed from an index without its tags.
MARK, _UNFINISHED = "sentune.state", "unfinished"


def connected(where: Path) -> Any:
    """The tables of a folder, which is made if it is not there."""
    # The warnings of LanceDB are about its own lists; whoever sets the variable sees them.
    os.environ.setdefault("LANCEDB_LOG", "error")
    return need("lancedb", extra="index").connect(where)


def state_of(where: Path) -> State:
    """What is in a folder, as far as it is about indexes.

    Raises:
        ModelFileError: If there is an index, or another table, that cannot be read.
    """
    folder = where / f"{TABLE}.lance"
    if not any((folder / "_versions").glob("*.manifest")):
        # A build that was killed before there was a table leaves no data.
        return "foreign" if any((folder / "data").glob("*")) else "none"
    try:
        table = connected(where).open_table(TABLE)
        is_published = PUBLISHED in table.tags.list()
    except (ValueError, RuntimeError, OSError) as error:
        raise damaged(where, error) from error
    if not Settings.are_in(table.schema):
        return "foreign"
    if is_published:
        return "published"
    if is_marked(table.schema):
        return "unfinished"
    raise damaged(where, FileNotFoundError(f"{TABLE}.lance/_refs names no version"))


def is_index(where: Path) -> bool:
    """Whether an index is in a folder; one whose first build was not finished is none.

    Raises:
        ModelFileError: If there is a table that cannot be read.
    """
    return state_of(where) == "published"


def check_place(where: Path, overwrite: bool) -> None:
    """Raise a SettingError if no index can be made in a folder."""
    if where.exists() and not where.is_dir():
        raise SettingError(f"an index is a folder, and {where} is a file; name another place")
    state = state_of(where)
    if state == "published" and not overwrite:
        raise SettingError(
            f"there is an index in {where}; add to it (--add, Index.open(...).add), replace it "
            "(--overwrite, overwrite=True), or name another place"
        )
    if state == "published" or not where.is_dir():
        return
    names = [path.name for path in where.iterdir()]
    others = [name for name in names if state == "foreign" or name != f"{TABLE}.lance"]
    if others:
        raise SettingError(
            f"the folder {where} holds other files, as {others[0]}; name a new folder for the index"
        )


def marked(schema: Any) -> Any:
    """The columns of a table that is not finished."""
    place = schema.get_field_index("id")
    metadata = {**(schema.field(place).metadata or {}), MARK: _UNFINISHED}
    return schema.set(place, schema.field(place).with_metadata(metadata))


def is_marked(schema: Any) -> bool:
    """Whether the columns are those of a table that was never finished."""
    metadata = schema.field("id").metadata or {}
    return bool(metadata.get(MARK.encode()) == _UNFINISHED.encode())
