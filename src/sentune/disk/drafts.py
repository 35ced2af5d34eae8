"""Drafts: what is written under a name of its own until it is finished.

A draft of `model` is called `.model.KEY.unfinished`. The process that writes it holds a lock on it,
which the system drops however the process ends. A draft that nobody holds was left by a kill; the
next one who writes to the same place removes it.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_SUFFIX = ".unfinished"
# Where there are no locks, a draft that old is taken for a leftover.
_DAY_S = 24 * 60 * 60


def is_draft(path: Path) -> bool:
    """Whether a path has the name of a draft."""
    return path.name.startswith(".") and path.name.endswith(_SUFFIX)


@contextmanager
def new(place: Path, home: Path, make: Callable[[Path], None]) -> Iterator[Path]:
    """A draft, held until the end of the block; leftovers of earlier ones are removed first."""
    _remove_leftovers(place)
    with ExitStack() as stack:
        while True:
            draft = home / f".{place.name}.{secrets.token_hex(4)}{_SUFFIX}"
            make(draft)
            with suppress(FileNotFoundError):  # another process took it for a leftover before this
                stack.enter_context(held(draft))
                break
        yield draft


@contextmanager
def held(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold what is at a path; whether no other process does. FileNotFoundError if it is gone."""
    if fcntl is None:
        yield wait or _is_old(path)
        return
    while True:
        handle = os.open(path, os.O_RDONLY)
        try:
            is_free = _lock(handle, path, wait)
            if not is_free or os.path.samestat(os.fstat(handle), os.stat(path)):
                yield is_free
                return  # else another folder was put there while this process waited
        finally:
            with suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_UN)  # processes that were forked have it, too
            os.close(handle)


def sync(path: Path) -> None:
    """Wait until the content of a file, or the names in a folder, are on the disk."""
    if os.name == "nt":
        return  # a file that is open for reading cannot be waited for there
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:  # file systems without it for folders
        if error.errno not in (errno.EINVAL, errno.EBADF) or not path.is_dir():
            raise
    finally:
        os.close(handle)


def _remove_leftovers(place: Path) -> None:
    pattern = re.compile(rf"\.{re.escape(place.name)}\.\w+{re.escape(_SUFFIX)}")
    found: list[Path] = []
    for home in (place.parent, place):
        with suppress(OSError):  # no folder, or one whose names may not be read
            found += home.iterdir()
    for path in found:
        if pattern.fullmatch(path.name):
            with suppress(OSError), held(path, wait=False) as is_free:  # others may be at it, too
                if is_free and path.is_dir():
                    shutil.rmtree(path)
                elif is_free:
                    path.unlink()


def _lock(handle: int, path: Path, wait: bool) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return wait or _is_old(path)
    return True


def _is_old(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > _DAY_S
