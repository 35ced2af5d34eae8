"""The files of a corpus: found in a folder, here or in object storage, and opened as bytes."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from sentune._lazy import need
from sentune.data.encodings import Transcoded
from sentune.data.raw import COMPRESSIONS, OPENERS
from sentune.disk import pointers
from sentune.errors import DatasetError, MissingDatasetError

# Endings of files that are a document each.
DOCUMENTS = (".txt", ".text", ".md", ".markdown", ".rst", ".adoc", ".org", ".tex")

_INDEX = ".lance"  # the ending of a folder with the table of an index, which is no corpus
_SAMPLE = 16 << 10  # bytes at the start, in the middle and at the end that tell files apart
_SPOOLED = 64 << 20  # bytes of a decompressed file that stay in memory, where it must be seekable


class File(NamedTuple):
    """One file of a corpus.

    Attributes:
        name: Its path in the folder, with slashes; of a single file its name.
        address: Where it is: a path, or an address of object storage.
        size: In bytes.
        format: The ending that says what is in it, where the name does not.
        encoding: Of its characters; empty for UTF-8.
        has_old_ends: Whether its lines end with carriage returns alone.
    """

    name: str
    address: str
    size: int
    format: str = ""
    encoding: str = ""
    has_old_ends: bool = False

    @property
    def ending(self) -> str:
        """The ending that says what is in it, without that of a compression."""
        if self.format:
            return self.format
        endings = [ending.lower() for ending in PurePosixPath(self.name).suffixes]
        if self.compression:
            endings.pop()
        return endings[-1] if endings else ""

    @property
    def compression(self) -> str:
        """The ending of its compression, or nothing."""
        ending = PurePosixPath(self.name).suffix.lower()
        return ending if ending in COMPRESSIONS else ""


def is_remote(source: str | Path) -> bool:
    """Whether this is an address as `s3://bucket/folder`."""
    return "://" in str(source)


def absolute(source: str | Path) -> str:
    """The source as a whole path, or the address that it is."""
    return str(source) if is_remote(source) else str(Path(source).expanduser().absolute())


def holds(folder: str | Path, place: str) -> bool:
    """Whether a place is a folder or something below it."""
    if is_remote(folder) or is_remote(place):
        return PurePosixPath(place).is_relative_to(PurePosixPath(str(folder)))
    whole = Path(absolute(folder)).resolve()
    return whole.is_dir() and Path(place).resolve().is_relative_to(whole)


def listed(
    source: str | Path, endings: tuple[str, ...], split: str
) -> tuple[list[File], list[str]]:
    """The files of a source that have one of the endings, in the order of their names.

    Returns:
        These files, empty ones too, and the names of those that are left out, which are not hidden.

    Raises:
        MissingDatasetError: If there is no such file or folder.
        DatasetError: If none of its files can be read, or one is a Git LFS pointer.
    """
    files, is_folder = _of_address(str(source)) if is_remote(source) else _of_path(source)
    if is_folder:
        files = _saved(files, source, split) or files
    found = [file for file in files if file.ending in endings]
    if not found and is_folder:
        raise DatasetError(
            f"{source} has no file with one of the endings {', '.join(endings)}"
            + _other_way(files, endings)
        )
    if not found:
        raise DatasetError(
            f"{files[0].name} has none of the known endings {', '.join(endings)}; rename it, or "
            "read it with another library and write it as Parquet"
        )
    _check(found, source)
    left_out = [file.name for file in files if file.ending not in endings]
    return found, left_out


def sample(file: File) -> str:
    """A short hash of some bytes of a file, to notice that it is another one now."""
    if is_remote(file.address):
        return ""
    digest = hashlib.sha256()
    with open(file.address, "rb") as stream:
        for start in (0, max(0, file.size // 2 - _SAMPLE // 2), max(0, file.size - _SAMPLE)):
            stream.seek(start)
            digest.update(stream.read(_SAMPLE))
    return digest.hexdigest()[:16]


def version(file: File) -> str | int:
    """Another value when a file is written again, as far as its storage says so."""
    if not is_remote(file.address):
        return Path(file.address).stat().st_mtime_ns
    system, path = need("fsspec", extra="bulk").core.url_to_fs(file.address)
    return str(system.ukey(path))


@contextmanager
def opened(file: File, offset: int = 0) -> Iterator[IO[bytes]]:
    """The content of a file from a byte on, decompressed and in UTF-8.

    It can be sought in if that is 0 and neither had to be done.

    Raises:
        DatasetError: If it cannot be decompressed, when it is read.
    """
    with _raw(file) as raw:
        is_other_text = bool(file.encoding) or file.has_old_ends
        if not file.compression and not is_other_text:
            raw.seek(offset)
            yield raw
            return
        with ExitStack() as stack:
            stream: Any = raw
            if file.compression:
                stream = stack.enter_context(_decompressed(raw, file.compression))
            if is_other_text:
                text = Transcoded(stream, file.encoding or "utf-8-sig", file.has_old_ends)
                stream = io.BufferedReader(text, 1 << 16)
            left = offset
            while left > 0 and (skipped := stream.read(min(left, 1 << 20))):
                left -= len(skipped)
            yield stream


@contextmanager
def seekable(file: File) -> Iterator[IO[bytes]]:
    """The content of a file of which parts are read; what is compressed goes to a temporary one."""
    with opened(file) as stream:
        if not file.compression:
            yield stream
            return
        with tempfile.SpooledTemporaryFile(_SPOOLED) as spool:
            shutil.copyfileobj(stream, spool, 1 << 20)
            spool.seek(0)
            yield spool


def _raw(file: File) -> Any:
    if is_remote(file.address):
        return need("fsspec", extra="bulk").open(file.address, "rb")
    return open(file.address, "rb")


def _decompressed(raw: IO[bytes], compression: str) -> Any:
    if compression == ".zst":
        stream: Any = need("pyarrow", extra="bulk").CompressedInputStream(raw, "zstd")
        return io.BufferedReader(stream, 1 << 16)  # which has lines
    return OPENERS[compression](raw)


def _of_path(source: str | Path) -> tuple[list[File], bool]:
    path = Path(absolute(source))
    if path.is_file():
        return [File(path.name, str(path), path.stat().st_size)], False
    if not path.is_dir():
        raise MissingDatasetError(
            f"there is no file or folder {source}; a dataset of the Hub has the address "
            "hf://datasets/OWNER/NAME"
        )
    return _visible(list(_below(path))), True


def _below(folder: Path) -> Iterator[File]:
    """All files below a folder, and, to be named, the links that lead to none."""

    def fail(error: OSError) -> None:
        raise DatasetError(f"{error.filename} cannot be read: {error.strerror}") from error

    for place, folders, names in os.walk(folder, onerror=fail):
        links = [name for name in folders if Path(place, name).is_symlink()]
        for name in (*names, *links):
            one = Path(place, name)
            known = one.relative_to(folder).as_posix()
            if one.is_file():
                yield File(known, str(one), one.stat().st_size)
            elif one.is_symlink():
                yield File(f"{known}/ (a link)", str(one), 0)


def _of_address(source: str) -> tuple[list[File], bool]:
    core = need("fsspec", extra="bulk").core
    try:
        system, root = core.url_to_fs(source)
        found = system.find(root, detail=True)
    except Exception as error:  # each library for a kind of storage has errors of its own
        raise DatasetError(f"{source} cannot be opened: {error}") from error
    if not found:
        raise MissingDatasetError(f"there is no file or folder {source}")
    if list(found) == [root]:
        return [File(PurePosixPath(root).name, source, found[root]["size"])], False
    files = [
        File(path[len(root) :].lstrip("/"), system.unstrip_protocol(path), about["size"])
        for path, about in found.items()
    ]
    return _visible(files), True


def _visible(files: list[File]) -> list[File]:
    """Without hidden files, files in hidden folders, and those of an index; in order."""
    return sorted((file for file in files if _is_visible(file)), key=lambda file: file.name)


def _is_visible(file: File) -> bool:
    *folders, name = file.name.split("/")
    is_hidden = any(part.startswith(".") for part in (*folders, name))
    return not is_hidden and not any(folder.endswith(_INDEX) for folder in folders)


def _saved(files: list[File], source: str | Path, split: str) -> list[File]:
    """The files of a folder that `Dataset.save_to_disk` wrote; none if it is another folder."""
    by_name = {file.name: file for file in files}
    below = ""
    if "dataset_dict.json" in by_name:
        splits = _json(by_name["dataset_dict.json"])["splits"]
        if split not in splits:
            raise DatasetError(f"{source} has the parts {', '.join(splits)}, not {split!r}")
        below = f"{split}/"
    if f"{below}state.json" not in by_name:
        return []
    names = [part["filename"] for part in _json(by_name[f"{below}state.json"])["_data_files"]]
    if missing := [name for name in names if below + name not in by_name]:
        raise DatasetError(f"{source} cannot be read: {missing[0]} is missing")
    return [by_name[below + name] for name in names]


def _json(file: File) -> Any:
    with opened(file) as stream:
        return json.load(stream)


def _other_way(files: list[File], endings: tuple[str, ...]) -> str:
    """What else can be done with the files of a folder."""
    if ".csv" in endings and any(file.ending in DOCUMENTS for file in files):
        return "; to read each text file in it as one document, say per='file' (--per file)"
    return ""


def _check(files: list[File], source: str | Path) -> None:
    if not any(file.size for file in files):
        raise DatasetError(f"{source} is empty" if len(files) == 1 else f"{source} has no rows")
    for file in files:
        local = not is_remote(file.address) and file.size < 1024  # pointers are small
        if local and (found := pointers.advice(Path(file.address))):
            raise DatasetError(found)
