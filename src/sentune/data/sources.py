"""What somebody names as data -> the files that are read."""

from __future__ import annotations

import csv
import glob
import io
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

from sentune.checks import near_word, one_of
from sentune.data import corpus_files, raw
from sentune.data.corpus_files import File
from sentune.data.raw import FORMATS, LOOKED_AT
from sentune.errors import DatasetError, MissingDatasetError

T = TypeVar("T")

STANDARD = "-"  # in place of a file: standard input
STANDARD_NAME = "standard input"
_PATTERN = re.compile(r"[*?\[]")
_SHOWN = 1 << 16  # bytes that show what standard input is
_TABLES = {"\t": ".tsv", ",": ".csv", ";": ".csv", "|": ".csv"}
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"PK\x03\x04")
_SHEETS = (".xlsx", ".xls", ".ods", ".numbers")
# Words in names of files that say which part of a dataset they are.
_PARTS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "eval"),
    "test": ("test", "testing"),
}
_WORDS = {word: part for part, words in _PARTS.items() for word in words}
_NAMED = 5  # files that a note names


class MissingPartError(DatasetError):
    """Data with several parts do not have the one that was asked for."""


class OtherColumnsError(DatasetError):
    """A file does not have the columns of the others."""


class Source(NamedTuple):
    """What is read.

    Attributes:
        files: In order, without those that are there twice.
        notes: What a person should know of how they were chosen, as sentences.
        temporary: Those of the files that are to be removed when they are read.
    """

    files: list[File]
    notes: list[str]
    temporary: list[Path]


def files_of(names: Sequence[str | Path], split: str, format: str | None) -> Source | None:
    """The files that are named by paths, patterns, folders or `-`; None for an id on the Hub.

    Args:
        names: Of files, folders or patterns; an address such as `s3://...`; `-`.
        split: Which part is wanted of a folder whose files are named by their parts.
        format: What the files are, as csv or jsonl, whatever their names.

    Raises:
        DatasetError: If there is no such file, or what is in it is not known.
    """
    ending = _ending(format)
    notes: list[str] = []
    files: list[File] = []
    for name in names:
        found = _of_name(name, split, ending, notes)
        if found is None and len(names) > 1:
            raise MissingDatasetError(f"there is no file {name}{near_file(name)}")
        if found is None:
            return None
        files += found
    files = list({file.address: file for file in files}.values())
    given = [Path(file.address) for file in files if file.name == STANDARD]
    return Source([_usable(file) for file in _with_names(files)], notes, given)


def own_part(read: Callable[[str], T], own: str, other: str) -> T:
    """What is read of the part with its own name; where there is no such part, of another one."""
    try:
        return read(own)
    except MissingPartError:
        return read(other)


def near_file(name: str | Path) -> str:
    """The end of a sentence about a file that is not there: one with nearly its name."""
    path = Path(name).expanduser()
    try:
        there = [other.name for other in path.parent.iterdir()]
    except OSError:
        return ""
    found = near_word(path.name, there)
    return f"; did you mean {path.parent / found}?" if found else ""


def _ending(format: str | None) -> str:
    if format is None:
        return ""
    one_of("format", format, tuple(ending.lstrip(".") for ending in FORMATS))
    return f".{format}"


def _of_name(name: str | Path, split: str, ending: str, notes: list[str]) -> list[File] | None:
    if str(name) == STANDARD:
        return [_standard_input(ending, notes)]
    if corpus_files.is_remote(name):
        return [_as(file, ending) for file in _in_folder(name, split, ending, notes)]
    path = Path(name).expanduser()
    if path.is_file():
        return [_here(name, path, ending)]
    if path.is_dir():
        return _in_folder(path, split, ending, notes)
    if not _PATTERN.search(str(name)):
        return None
    found = [Path(one) for one in sorted(glob.glob(str(path), recursive=True))]
    files = [_here(one, one, ending) for one in found if one.is_file()]
    if not files:
        raise MissingDatasetError(f"there is no file that matches {name}")
    return files


def _here(name: str | Path, path: Path, ending: str) -> File:
    return File(str(name), str(path.absolute()), path.stat().st_size, ending)


def _as(file: File, ending: str) -> File:
    return file._replace(format=ending) if ending else file


def _with_names(files: list[File]) -> list[File]:
    """The files with short names, as far as these differ."""
    short = [
        STANDARD_NAME if file.name == STANDARD else file.name.rsplit("/", 1)[-1] for file in files
    ]
    return [
        file._replace(name=name) if short.count(name) == 1 else file
        for file, name in zip(files, short, strict=True)
    ]


def _usable(file: File) -> File:
    """The file, after a look at its ending and whether there is something in it."""
    if file.ending in _SHEETS:
        raise DatasetError(
            f"{file.name} is a spreadsheet and has none of the known endings {', '.join(FORMATS)}; "
            "save the sheet as csv"
        )
    if file.ending not in FORMATS:
        raise DatasetError(
            f"{file.name} has none of the known endings {', '.join(FORMATS)}; rename it, say what "
            "it is (format='csv', --format csv), or read it with the datasets library and pass the "
            "dataset"
        )
    if not corpus_files.is_remote(file.address):
        raw.check(Path(file.address))
    return file


# Folders ------------------------------------------------------------------------------------------


def _in_folder(folder: str | Path, split: str, ending: str, notes: list[str]) -> list[File]:
    """The files of a folder, which must be of one kind."""
    try:
        files, left_out = corpus_files.listed(folder, tuple(FORMATS), split)
    except MissingDatasetError:
        raise
    except DatasetError as error:
        raise DatasetError(
            f"{error}; a folder is read that has files of one kind, or that Dataset.save_to_disk "
            "wrote"
        ) from error
    files = of_part(folder, [file for file in files if file.size], split, notes)
    kinds = sorted({FORMATS[file.ending] for file in files})
    if len(kinds) > 1:
        example = f"{str(folder).rstrip('/')}/*{files[0].ending}"
        raise DatasetError(
            f"{folder} has files of several kinds: {', '.join(kinds)}; name those to read, as in "
            f"{example!r}"
        )
    if left_out:
        notes.append(f"{folder}: left out, because of their endings: {_listed(left_out)}")
    return [_as(file, ending) for file in files]


def parts_of(files: Sequence[File]) -> list[str]:
    """The parts of a dataset that files are of by their names, as test and train."""
    return sorted({part for part in map(_part_of, files) if part})


def of_part(folder: str | Path, files: list[File], split: str, notes: list[str]) -> list[File]:
    """The files of the part that is wanted, where their names say which part they are of."""
    wanted = split.split("[")[0]
    wanted = _WORDS.get(wanted, wanted)
    parts = [_part_of(file) for file in files]
    if not any(parts):
        return files
    chosen = [file for file, part in zip(files, parts, strict=True) if part == wanted]
    if not chosen and wanted == "train":
        chosen = [file for file, part in zip(files, parts, strict=True) if part is None]
    if not chosen:
        has = ", ".join(parts_of(files))
        raise MissingPartError(f"{folder} has files of the parts {has}, not {split!r}")
    others = [file.name for file in files if file not in chosen]
    if others:
        notes.append(f"{folder}: part {wanted!r} is read; other files in it: {_listed(others)}")
    return chosen


def _part_of(file: File) -> str | None:
    stem = file.name.rsplit("/", 1)[-1].lower()
    return next((_WORDS[word] for word in re.split(r"[^a-z]+", stem) if word in _WORDS), None)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (" ..." if len(names) > _NAMED else "")


# Standard input -----------------------------------------------------------------------------------


def _standard_input(ending: str, notes: list[str]) -> File:
    """Standard input as a file, which whoever reads it removes."""
    given: Any = getattr(sys.stdin, "buffer", None)
    source: IO[bytes] = given or io.BytesIO(sys.stdin.read().encode("utf-8", "surrogatepass"))
    first = source.read(_SHOWN)
    if not first:
        or_table = "" if ending == ".txt" else ", or a table (csv, tsv, json, jsonl)"
        raise DatasetError(f"standard input is empty; give it a text per line{or_table}")
    if any(first.startswith(mark) for mark in _COMPRESSED):
        raise DatasetError(
            "standard input is compressed; decompress it first, as in `zcat FILE | sentune ...`"
        )
    handle, path = tempfile.mkstemp(prefix="sentune-input-")
    with os.fdopen(handle, "wb") as file:
        block = first
        while block:
            file.write(block)
            block = source.read(1 << 20)
    if not ending:
        ending = kind_of(first)
        if ending != ".txt":
            kind = ending.lstrip(".")
            notes.append(f"{STANDARD_NAME} is read as {kind}; say --format to read it otherwise")
    return File(STANDARD, path, os.path.getsize(path), ending)


def kind_of(first: bytes) -> str:
    """The ending of a file that starts with these bytes; `.txt` where nothing else is plain."""
    if first[:4] == b"PAR1":
        return ".parquet"
    if first[:6] == b"ARROW1":
        return ".arrow"
    encoding = "utf-16" if first[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    text = first.decode(encoding, "replace").lstrip()
    if text[:1] in ("{", "["):
        return _kind_of_json(text)
    lines = text.splitlines(keepends=True)
    if len(first) == _SHOWN:
        lines = lines[:-1]  # which is not whole
    for separator, ending in _TABLES.items():
        if _is_table(lines[:LOOKED_AT], separator):
            return ending
    return ".txt"


def _kind_of_json(text: str) -> str:
    line = text.splitlines()[0]
    try:
        return ".jsonl" if isinstance(json.loads(line), dict) else ".json"
    except ValueError:
        return ".json" if re.match(r"[\[{]\s*[\[{\"\]}]", text) else ".txt"


def _is_table(lines: Sequence[str], separator: str) -> bool:
    """Whether lines are those of a table: as many cells each, and a head that has names."""
    rows = [row for row in csv.reader(lines, delimiter=separator) if row]
    if len(rows) < 2 or len(rows[0]) < 2 or {len(row) for row in rows} != {len(rows[0])}:
        return False
    head = rows[0]
    are_names = all(re.fullmatch(r"[^\W\d][\w .:-]{0,39}", name) for name in head)
    return are_names and len(set(head)) == len(head) and all(cell == cell.strip() for cell in head)
