"""Git LFS pointers: small files that a clone without Git LFS has in place of large ones."""

from __future__ import annotations

from pathlib import Path

_START = b"version https://git-lfs.github.com/spec/"


def advice(path: Path) -> str | None:
    """What to do about a file that is a pointer; None if it is none."""
    with path.open("rb") as file:
        if file.read(len(_START)) != _START:
            return None
    return (
        f"{path} is a Git LFS pointer, which only names the file; get the file with "
        "`git lfs install` and `git lfs pull`"
    )
