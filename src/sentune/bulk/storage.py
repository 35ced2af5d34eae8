"""Where shards are written: a folder, or object storage. A file is there whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

from sentune._lazy import need
from sentune.data.corpus_files import is_remote
from sentune.disk import drafts, files
from sentune.errors import OutputError, SentuneError

# File systems of fsspec whose writes appear whole; on others a file is written aside and renamed.
_WHOLE = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "r2", "hf", "memory")


class Storage(Protocol):
    """A place for files of one folder.

    Attributes:
        address: Of the folder, for `storage_at` in any process.
        shown: The same for people, as it was given.
    """

    address: str
    shown: str

    def names(self) -> set[str]:
        """The files that are there, without drafts."""

    def has(self, name: str) -> bool:
        """Whether a file is there."""

    def read(self, name: str) -> bytes:
        """The content of a file."""

    def reading(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """A file to read parts of."""

    def writing(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """A new file, which appears when the block ends without an error, and then is whole."""

    def once(self, name: str, content: bytes) -> bytes:
        """Write a file if it is not there; what is in it then, by whoever wrote it first."""


def storage_at(address: str | Path) -> Storage:
    """The storage of a path, or of an address as `s3://bucket/folder`."""
    if str(address).startswith("file://"):
        address = str(address).removeprefix("file://")
    return Remote(str(address)) if is_remote(address) else Local(Path(address).expanduser())


class Local:
    """A folder of this machine, or one that several share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.address, self.shown = str(self.folder), str(folder)

    def names(self) -> set[str]:
        """The files that are there, without drafts."""
        if not self.folder.is_dir():
            return set()
        return {path.name for path in self.folder.iterdir() if not drafts.is_draft(path)}

    def has(self, name: str) -> bool:
        """Whether a file is there."""
        return (self.folder / name).is_file()

    def read(self, name: str) -> bytes:
        """The content of a file."""
        return (self.folder / name).read_bytes()

    def reading(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """A file to read parts of."""
        return (self.folder / name).open("rb")

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """A new file: a draft beside it, brought to the disk and renamed."""
        with _reported(self.shown):
            self.folder.mkdir(parents=True, exist_ok=True)
            with files.opened(self.folder / name) as file:
                yield file

    def once(self, name: str, content: bytes) -> bytes:
        """Write a file if it is not there; what is in it then, by whoever wrote it first."""
        with _reported(self.shown):
            self.folder.mkdir(parents=True, exist_ok=True)
            with drafts.held(self.folder):
                if not self.has(name):
                    files.write(self.folder / name, content)
                return self.read(name)


class Remote:
    """A folder of object storage, or of another file system that fsspec knows."""

    def __init__(self, address: str) -> None:
        self.address = self.shown = address.rstrip("/")
        core = need("fsspec", extra="bulk").core
        with _reached(self.shown):
            self._system, self._root = core.url_to_fs(self.address)

    def names(self) -> set[str]:
        """The files that are there."""
        with _reached(self.shown):
            try:
                found = self._system.ls(self._root, detail=False, refresh=True)
            except FileNotFoundError:
                return set()
        names = {str(path).rstrip("/").rpartition("/")[2] for path in found}
        return {name for name in names if not drafts.is_draft(Path(name))}

    def has(self, name: str) -> bool:
        """Whether a file is there."""
        with _reached(self.shown):
            self._system.invalidate_cache(self._root)
            return bool(self._system.exists(self._path(name)))

    def read(self, name: str) -> bytes:
        """The content of a file."""
        with _reached(self.shown):
            return bytes(self._system.cat_file(self._path(name)))

    def reading(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """A file to read parts of."""
        with _reached(self.shown):
            found: Any = self._system.open(self._path(name), "rb")
        return found

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """A new file: a temporary one of this machine, sent when it is whole."""
        with _reported(tempfile.gettempdir()):
            folder = tempfile.TemporaryDirectory(prefix="sentune-")
        with folder as place:
            path = Path(place) / name
            with _reported(tempfile.gettempdir()), path.open("wb") as file:
                yield file
            with _reached(self.shown):
                self._send(path, name)

    def once(self, name: str, content: bytes) -> bytes:
        """Write a file if it is not there; what is in it then.

        Of two who write it in the same moment the last one stays, and what it says is given.
        """
        if not self.has(name):
            with self.writing(name) as file:
                file.write(content)
        return self.read(name)

    def _send(self, path: Path, name: str) -> None:
        protocol = self._system.protocol
        names = (protocol,) if isinstance(protocol, str) else protocol
        if any(one in _WHOLE for one in names):
            self._system.put_file(str(path), self._path(name))
            return
        draft = self._path(f".{name}.{os.urandom(4).hex()}.unfinished")
        self._system.makedirs(self._root, exist_ok=True)
        self._system.put_file(str(path), draft)
        self._system.mv(draft, self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


@contextmanager
def _reached(place: str) -> Iterator[None]:
    """Errors of object storage, of which each library has its own, as one."""
    try:
        yield
    except SentuneError:
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise OutputError(
            f"{place} cannot be reached: {reason}; check the address and the credentials"
        ) from error


@contextmanager
def _reported(place: str) -> Iterator[None]:
    """Errors of writing as one that says what to do."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise OutputError(
                f"{place} is full ({error.strerror}); the shards that are there are whole. Free "
                "some space and start the same command again: it goes on where it stopped"
            ) from error
        if error.errno in (errno.ENOTDIR, errno.EEXIST):
            raise OutputError(
                f"{place} cannot be written to: it is a file, or in one; give a folder"
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise OutputError(f"{place} cannot be written to: {error.strerror}") from error
        raise
