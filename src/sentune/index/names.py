"""What files are called in the ids of an index that has files of several folders.

A file is one document, or its rows are, however it is named: `notes/a.md`, or `a.md` of the folder
`notes`. So an index knows the folders that its files came from. Names of the first one stand alone,
those of another start with as much of its path as tells it from the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count


def folders_with(
    known: Mapping[str, str], folder: str, is_free: Callable[[str], bool]
) -> dict[str, str]:
    """The folders of an index after one was added, each with what its ids start with.

    Args:
        known: The folders so far.
        folder: One more, with slashes; one that is below a known one changes nothing.
        is_free: Whether no id starts with that.
    """
    if _nearest(known, f"{folder}/") is not None:
        return dict(known)
    parts = [part for part in folder.split("/") if part]
    paths = ["/".join(parts[-length:]) for length in range(1, len(parts) + 1)]
    starts = ["", *(f"{path}/" for path in paths)] if not known else [f"{p}/" for p in paths]
    last = parts[-1] if parts else "files"
    start = next((one for one in starts if one not in known.values() and is_free(one)), None)
    if start is None:
        start = next(one for n in count(2) if is_free(one := f"{last}-{n}/"))
    return {**known, folder: start}


def names_in(folders: Mapping[str, str], folder: str) -> Callable[[str], str]:
    """What gives the name in ids of a file of a folder."""

    def name(file: str) -> str:
        whole = f"{folder}/{file}"
        nearest = _nearest(folders, whole)
        return file if nearest is None else folders[nearest] + whole[len(nearest) + 1 :]

    return name


def _nearest(folders: Mapping[str, str], path: str) -> str | None:
    """The deepest of some folders that a path is in."""
    return max((one for one in folders if path.startswith(f"{one}/")), key=len, default=None)
