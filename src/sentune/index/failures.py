"""Errors of LanceDB, which are of many kinds, as errors that say what is wrong with an index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sentune.errors import ModelFileError, OutputError, SentuneError, SettingError

_IO = "LanceError(IO)"
_SIGNS_OF_DAMAGE = (
    "Not found: ",
    "Invalid range ",
    "failed to fill whole buffer",
    "not appear to be a Lance file",
)


@contextmanager
def written(where: Path) -> Iterator[None]:
    """Errors of writing as one that says what is there and what to do."""
    try:
        yield
    except SentuneError:
        raise
    except (OSError, RuntimeError, ValueError) as error:  # LanceDB's are of the last two
        if is_damage(error):
            raise damaged(where, error) from error
        if not isinstance(error, OSError) and _IO not in str(error):
            raise
        raise OutputError(
            f"{where} cannot be written: {_reason(error)}. What was there before is whole; see "
            "whether the disk is full or may not be written to, and do it again"
        ) from error


@contextmanager
def explained(condition: str | None, columns: Sequence[str]) -> Iterator[None]:
    """Errors of a condition that LanceDB does not take as one that says what there is."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        if condition is None or is_unreadable(error):
            raise
        known = ", ".join(["id", "text", *columns[columns.index("vectors") + 1 :]])
        raise SettingError(
            f"the filter {condition} cannot be used ({_reason(error)}); the columns are {known}"
        ) from error


def damaged(where: Path, error: Exception) -> ModelFileError:
    """The error for an index whose files are missing or cannot be made sense of."""
    return ModelFileError(
        f"the index in {where} cannot be read: {_reason(error)}. It is damaged, copied in "
        "part, or of a newer LanceDB; copy it again, install a newer one (pip install -U "
        "lancedb), or delete it and build it anew"
    )


def is_damage(error: Exception) -> bool:
    """Whether LanceDB misses a file of the index, or cannot make sense of it."""
    is_plain = not isinstance(error, SentuneError)
    return is_plain and any(sign in str(error) for sign in _SIGNS_OF_DAMAGE)


def is_unreadable(error: Exception) -> bool:
    """Whether an error of reading is about the files of an index."""
    return is_damage(error) or (not isinstance(error, SentuneError) and _IO in str(error))


def _reason(error: Exception) -> str:
    """The first line of an error of LanceDB, without the place in its source."""
    return str(error).strip().splitlines()[0].split(", /")[0]
