"""One file, written atomically.

At any error or kill the file is what it was or what it is to be. It keeps its permission bits. What
is no plain file (a pipe, /dev/stdout), or lies in a folder that may not be written to, is written
directly.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sentune.disk import drafts


def write(path: Path, content: bytes) -> None:
    """Write a file; folders around it are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with opened(path) as file:
        file.write(content)


def append(path: Path, content: bytes, *, start: bytes = b"") -> None:
    """Add to the end of a small file, atomically; folders around it are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() and path.is_file():
        path = path.resolve()
    with drafts.held(path.parent):  # processes that add to files of one folder take turns
        if _is_direct(path):
            with path.open("ab") as file:
                file.write(content)
                _sync(file)
            return
        before = path.read_bytes() if path.exists() else start
        with opened(path, through_links=True) as file:
            file.write(before + content)


@contextmanager
def opened(path: Path, *, through_links: bool = False) -> Iterator[IO[bytes]]:
    """A file to write to, which is put in its place when the block ends without an error.

    Its folder must be there. A link is replaced, or with `through_links` written to where it leads.
    """
    if through_links and (path.is_file() or not path.exists()):  # a pipe may have no other name
        path = path.resolve()
    if _is_direct(path):
        with path.open("wb") as file:
            yield file
            _sync(file)
        return
    with drafts.new(path, path.parent, Path.touch) as draft:
        try:
            with draft.open("wb") as file:
                yield file
                _sync(file)
            if path.is_file() and not path.is_symlink():
                shutil.copymode(path, draft)
            os.replace(draft, path)
            drafts.sync(path.parent)
        finally:
            draft.unlink(missing_ok=True)


def _is_direct(path: Path) -> bool:
    """Whether something is there that no other file can replace."""
    return path.exists() and not (path.is_file() and os.access(path.parent, os.W_OK))


def _sync(file: IO[bytes]) -> None:
    """Wait until what was written is on the disk, if the file is on a disk."""
    file.flush()
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        os.fsync(file.fileno())
