"""The rows of one text file, one after the other: csv, JSON, JSON lines, a text per line.

A row that cannot be read, in a file that can, is given with the reason in place of its values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sentune.data.corpus_files import File, opened
from sentune.data.csv_rows import csv_rows
from sentune.data.lines import BOM, How, Row, check_encoding, not_decoded, raw_lines, shown_line
from sentune.errors import DatasetError

_START = re.compile(r"\s*(\]\s*)?")  # of a JSON array, after its bracket
_GAP = re.compile(r"\s*(,|\])\s*")  # between the items of a JSON array


def text_rows(file: File, kind: str, how: How, offset: int) -> Iterator[Row]:
    """The rows of a text file from a byte on, at which one starts."""
    is_whole = kind == "json" and (how.field is not None or not _is_lines(file))
    read = _whole if is_whole else _READERS[kind]
    return read(file, how, offset)


# Lines --------------------------------------------------------------------------------------------


def _text_lines(file: File, how: How, offset: int) -> Iterator[Row]:
    for number, (line, place, _) in enumerate(raw_lines(file, offset), 1):
        try:
            yield Row({"text": line.rstrip(b"\r\n").decode("utf-8")}, None, place, number)
        except UnicodeDecodeError as error:
            yield Row(None, not_decoded(error, file), place, number, shown_line(line))


def _json_lines(file: File, how: How, offset: int) -> Iterator[Row]:
    for number, (line, place, _) in enumerate(raw_lines(file, offset), 1):
        if line.isspace():
            continue
        row = _json_row(line, file, is_table=how.is_table)
        raw_line = "" if row.problem is None else shown_line(line)
        yield row._replace(offset=place, line=number, raw=raw_line)


def _json_row(line: bytes, file: File, *, is_table: bool) -> Row:
    try:
        values = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return Row(None, not_decoded(error, file))
    except ValueError as error:
        return Row(None, f"the line is not JSON: {_reason(error)}")
    if is_table:
        values = _with_names(values)
    return _checked(values, has_escapes=b"\\u" in line)


def _reason(error: ValueError) -> str:
    """Why a line is not JSON, without the number of the line, which it does not know."""
    if not isinstance(error, json.JSONDecodeError):
        return str(error)
    return f"{error.msg} at character {error.pos + 1}"


def _with_names(values: Any) -> Any:
    """A row that is a list of texts as one with names."""
    if not isinstance(values, list) or not values or not all(isinstance(v, str) for v in values):
        return values
    return {f"text_{place}": text for place, text in enumerate(values, 1)}


def _checked(values: Any, *, has_escapes: bool) -> Row:
    """A row of JSON, if it is one that can be written again."""
    if not isinstance(values, dict):
        return Row(None, f"the row is not a JSON object but {_shown(values)}")
    if has_escapes:
        try:
            json.dumps(values, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            return Row(None, "a text in it has half of a character (a lone surrogate)")
    return Row(values)


# JSON ---------------------------------------------------------------------------------------------


def _whole(file: File, how: How, offset: int) -> Iterator[Row]:
    """A json file that is one array of objects, or one object of columns."""
    with opened(file) as stream:
        content = stream.read()
    check_encoding(content, file)
    try:
        text = content.removeprefix(BOM).decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DatasetError(
            f"{file.name} cannot be read: line {line} is {not_decoded(error, file)}"
        ) from error
    if how.field is None and text.lstrip()[:1] == "[":
        yield from _items(text)
        return
    found = json.loads(text)
    if how.field is not None:
        if not isinstance(found, dict) or how.field not in found:
            has = ", ".join(found) if isinstance(found, dict) else _shown(found)
            raise DatasetError(f"{file.name} has no field {how.field!r}; it has {has}")
        found = found[how.field]
    if isinstance(found, dict) and found and all(isinstance(v, list) for v in found.values()):
        lengths = {name: len(cells) for name, cells in found.items()}
        if len(set(lengths.values())) > 1:
            raise DatasetError(f"the columns must be equally long, got {lengths}")
        found = [
            dict(zip(found, cells, strict=True)) for cells in zip(*found.values(), strict=True)
        ]
    for values in found if isinstance(found, list) else [found]:
        yield _checked(values, has_escapes=True)


def _items(text: str) -> Iterator[Row]:
    """The objects of an array, each with the line in which it starts."""
    decoder = json.JSONDecoder()
    at = text.index("[") + 1
    counted, line = 0, 1
    is_over = False
    if start := _START.match(text, at):
        at, is_over = start.end(), start[1] is not None
    while not is_over:
        values, end = decoder.raw_decode(text, at)
        line += text.count("\n", counted, at)
        counted = at
        row = _checked(values, has_escapes=True)
        yield row._replace(line=line, raw="" if row.problem is None else text[at:end])
        gap = _GAP.match(text, end)
        if gap is None:
            raise json.JSONDecodeError("Expecting ',' or ']'", text, end)
        at, is_over = gap.end(), gap[1] == "]"
    if text[at:]:
        raise json.JSONDecodeError("Extra data", text, at)


def _is_lines(file: File) -> bool:
    """Whether a json file has an object on each line; one alone may be all columns."""
    lines = (line for line, _, _ in raw_lines(file, 0) if not line.isspace())
    try:
        found = json.loads(next(lines, b""))
    except ValueError:
        return False
    return isinstance(found, dict) and (not _are_columns(found) or next(lines, None) is not None)


def _are_columns(found: Mapping[str, Any]) -> bool:
    """Whether an object may be a table: lists of the same length."""
    cells = list(found.values())
    is_table = bool(cells) and all(isinstance(one, list) for one in cells)
    return is_table and len({len(one) for one in cells}) == 1


def _shown(value: Any) -> str:
    words = repr(value)
    return words if len(words) <= 60 else f"{words[:57]}..."


_READERS: dict[str, Callable[[File, How, int], Iterator[Row]]] = {
    "txt": _text_lines,
    "jsonl": _json_lines,
    "json": _json_lines,
    "csv": csv_rows,
}
