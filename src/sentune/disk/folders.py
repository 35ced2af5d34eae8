"""A folder of files, written atomically.

What is written is a draft beside the folder. When all of it is on the disk it replaces the folder
in one of three ways, chosen by what the system can do:

- The folder is not there yet: the draft is renamed.
- On Linux, files that are to stay are linked into the draft (no copies), and the two folders change
  places in one step. At any kill every reader finds the old content or the new, whole. A file that
  another process puts there in that moment is moved along.
- Elsewhere, and where a folder must stay the same one (a mount point; the working folder of a
  process, or around one; with more than 10,000 other files; without a right to write beside it),
  the draft becomes a folder `.sentune-save` inside, from which moment on the new content counts;
  then its files are moved up. A kill within these renames leaves files of both. `finish`, which
  every load and save of sentune calls first, moves the rest; other programs see the mixture.

Before that moment an error or a kill changes nothing. Other files in the folder are not touched,
and it keeps owner and permission bits, as do files that are replaced. What a killed process leaves
behind is hidden, and the next save removes it. Processes that save to one folder at the same time
take turns: the last one stays. Who reads several files during a save may get files of both.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from glob import glob
from itertools import islice
from pathlib import Path

from sentune.disk.drafts import held, is_draft, new, sync
from sentune.errors import ModelFileError

_PENDING = ".sentune-save"
_STALE = ".stale"  # in it: names of files that go, each ended by a zero byte
_MOST_LINKS = 10_000
_ONE_USER = stat.S_IRUSR | stat.S_IWUSR
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # of the Linux kernel


def walk(folder: Path, below: Path = Path()) -> Iterator[Path]:
    """What is in a folder, as paths relative to it: folders before what they hold."""
    with os.scandir(folder / below) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        yield below / entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from walk(folder, below / entry.name)


@contextmanager
def replaced(target: Path, own: Callable[[Path], Iterable[Path]] = walk) -> Iterator[Path]:
    """A folder to write into, which replaces another when the block ends without error.

    That other one is made if it is not there; of a link it is where it leads. `own` gives what goes
    of a folder when it is replaced, as relative paths; the rest stays.
    """
    target = target.resolve()
    finish(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with new(target, _home(target), Path.mkdir) as draft:
        try:
            yield draft
            put(draft, target, own)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def put(draft: Path, target: Path, own: Callable[[Path], Iterable[Path]] = walk) -> None:
    """Put a finished folder on the same disk in the place of another; `own` is as for `replaced`.

    Afterwards the draft is gone, or holds what it replaced. An `OSError` says that this is not
    possible; the target is then what it was.
    """
    fresh = set(walk(draft))
    _open_to_readers(draft, fresh)
    for path in (*fresh, Path()):
        if not (draft / path).is_symlink():
            sync(draft / path)
    try:
        if not target.exists():
            os.rename(draft, target)
            sync(target.parent)
            return
    except OSError:
        if not target.is_dir():  # else another process has made it in the meantime
            raise
    with held(target):
        _move_up(target)
        _fit(draft, target, fresh)
        stale = {path for path in own(target) if not is_draft(Path(path.parts[0]))} - fresh
        if _must_stay(target) or not _exchange_with(draft, target, fresh, stale):
            _place_inside(draft, target, stale)


def finish(target: Path) -> None:
    """Finish what a killed process left unfinished in a folder, if there is such."""
    try:
        if _is_folder(target / _PENDING):
            with held(target):
                _move_up(target)
    except OSError as error:
        raise ModelFileError(
            f"a save into {target} was interrupted and cannot be finished: {error}; load or save "
            "it once from where it may be written to"
        ) from error


def _home(target: Path) -> Path:
    """Where its draft is made: beside it, unless nothing can be moved from there into it."""
    if not target.is_dir():
        return target.parent
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "it may not be written to", str(target))
    try:
        is_mounted = os.path.ismount(target) or _mount_of(target) != _mount_of(target.parent)
    except OSError:
        is_mounted = True
    return target if is_mounted or not os.access(target.parent, os.W_OK) else target.parent


def _mount_of(path: Path) -> str:
    """An id of the mount that a folder is in; bind mounts of one disk differ in nothing else."""
    if sys.platform != "linux":
        return ""
    handle = os.open(path, os.O_PATH)
    try:
        return Path(f"/proc/self/fdinfo/{handle}").read_text().partition("mnt_id:")[2].split()[0]
    finally:
        os.close(handle)


def _open_to_readers(draft: Path, fresh: Iterable[Path]) -> None:
    """Let others read the files as far as the process's umask does: safetensors 0.8 lets nobody."""
    probe = draft / ".sentune-mode"
    probe.touch()
    usual = stat.S_IMODE(probe.stat().st_mode)
    probe.unlink()
    for path in fresh:
        about = (draft / path).lstat()
        if (
            stat.S_ISREG(about.st_mode)
            and stat.S_IMODE(about.st_mode) == stat.S_IRUSR | stat.S_IWUSR
        ):
            (draft / path).chmod(usual)


def _fit(draft: Path, target: Path, fresh: Iterable[Path]) -> None:
    """Check that each new file has a place, and give it the bits of the one it replaces."""
    for path in fresh:
        here, there = draft / path, target / path
        if there.is_symlink() or not there.exists():
            continue
        if there.is_dir() != _is_folder(here):
            raise FileExistsError(errno.EEXIST, "a file and a folder have one name", str(there))
        if here.is_file() and not here.is_symlink():
            shutil.copymode(there, here)


def _must_stay(target: Path) -> bool:
    """Whether others rely on this very folder: a process works in it, or it is in a draft."""
    for link in (".", *glob("/proc/[0-9]*/cwd")):
        with suppress(OSError):  # a working folder that is gone, a process that has ended
            if Path(os.path.realpath(link)).is_relative_to(target):
                return True
    return any(map(is_draft, target.parents))


def _exchange_with(draft: Path, target: Path, fresh: set[Path], stale: set[Path]) -> bool:
    """Let the folders change places; False, with nothing changed, where the system cannot."""
    if sys.platform != "linux" or draft.parent == target:
        return False
    gone, rest = fresh | stale, list[Path]()
    try:
        rest += islice((path for path in walk(target) if path not in gone), _MOST_LINKS + 1)
        if len(rest) > _MOST_LINKS:
            return False
        for path in rest:
            _link(target / path, draft / path)
        for path in (*walk(draft), Path()):
            if _is_folder(draft / path):
                if _is_folder(target / path):
                    _copy_look(target / path, draft / path)
                sync(draft / path)
        _exchange(draft, target)
    except OSError:
        for path in reversed(rest):
            _remove(draft / path)
        return False
    sync(target.parent)
    for path in list(walk(draft)):  # what came into the old folder since it was walked over
        if path not in gone:
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            if _is_folder(draft / path):
                (target / path).mkdir(exist_ok=True)
            else:
                os.replace(draft / path, target / path)  # nothing, if both are names of one file
    return True


def _link(there: Path, here: Path) -> None:
    """Make a second name for a file, or a second folder, whose files have names of their own."""
    here.parent.mkdir(parents=True, exist_ok=True)
    if not _is_folder(there):
        os.link(there, here, follow_symlinks=False)
    elif os.access(there, os.W_OK):
        here.mkdir()
    else:
        raise PermissionError(errno.EACCES, "its files could not be removed", str(there))


def _copy_look(folder: Path, copy: Path) -> None:
    was, now = folder.stat(), copy.stat()
    if (was.st_uid, was.st_gid) != (now.st_uid, now.st_gid):
        os.chown(copy, was.st_uid, was.st_gid)
    shutil.copystat(folder, copy)
    os.utime(copy)  # it is as new as it is


def _exchange(one: Path, other: Path) -> None:
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "renameat2"):
        raise OSError(errno.ENOSYS, "the C library cannot exchange folders")
    names = _AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other)
    if library.renameat2(*names, _RENAME_EXCHANGE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(other))


def _place_inside(draft: Path, target: Path, stale: Iterable[Path]) -> None:
    """Put the draft into the target, from when on it counts, and move its files up."""
    note = draft / _STALE
    note.write_bytes(b"".join(os.fsencode(path) + b"\0" for path in sorted(stale, reverse=True)))
    sync(note)
    sync(draft)
    os.rename(draft, target / _PENDING)
    sync(target)
    _move_up(target)


def _move_up(target: Path) -> None:
    """Move the files of a pending folder to their places, however often that was begun before."""
    pending = target / _PENDING
    if not _is_folder(pending):
        return
    note = pending / _STALE
    if note.is_file():  # else all was moved
        fresh = [path for path in walk(pending) if path != Path(_STALE)]
        folders = {path for path in fresh if _is_folder(pending / path)}
        for path in fresh:
            place = target / path
            if path not in folders:
                os.replace(pending / path, place)
                continue
            if place.is_symlink():  # what it leads to is not written to
                place.unlink()
            place.mkdir(exist_ok=True)
        for name in note.read_bytes().split(b"\0")[:-1]:
            path = target / os.fsdecode(name)
            # Whoever wrote the note, nothing outside of the folder is removed.
            if path.parent.resolve().is_relative_to(target.resolve()):
                _remove(path)
        for path in (*folders, Path()):
            sync(target / path)
        note.unlink()
        sync(pending)
    shutil.rmtree(pending)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _remove(path: Path) -> None:
    """Remove a file, a link or an empty folder, if it is there."""
    if _is_folder(path):
        with suppress(OSError):
            path.rmdir()
    else:
        path.unlink(missing_ok=True)
