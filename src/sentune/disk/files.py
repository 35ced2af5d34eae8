"""One file, written atomically.

At any error or kill the file is what it was or what it is to be. It keeps its permission bits. What
is no plain file (a pipe, /dev/stdout), or lies in a folder that may not be written to, is written
directly.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sentune.disk import drafts


def write(path: Path, content: bytes) -> None:
    """Write a file; folders around it are made.

    Args:
        path: The file.
        content: What it is to hold.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with opened(path) as file:
        file.write(content)


@contextmanager
def opened(path: Path, *, through_links: bool = False) -> Iterator[IO[bytes]]:
    """A file to write to, which is put in its place when the block ends without an error.

    Args:
        path: The file; its folder must be there.
        through_links: Whether to write to where a link leads; else the file replaces the link.
    """
    if path.exists() and not (path.is_file() and os.access(path.parent, os.W_OK)):
        with path.open("wb") as file:
            yield file
        return
    path = path.resolve() if through_links else path
    with drafts.new(path, path.parent, Path.touch) as draft:
        try:
            with draft.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if path.is_file() and not path.is_symlink():
                shutil.copymode(path, draft)
            os.replace(draft, path)
            drafts.sync(path.parent)
        finally:
            draft.unlink(missing_ok=True)
