"""The rows of one text file, one after the other: csv, JSON, JSON lines, a text per line.

A row that cannot be read, in a file that can, is given with the reason in place of its values.
"""

from __future__ import annotations

import csv
import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from sentune.data import raw
from sentune.data.corpus_files import File, opened
from sentune.errors import DatasetError

BOM = b"\xef\xbb\xbf"
_OTHER_BOMS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_LONGEST_CELL = 16 << 20  # characters of a cell of a csv file
_MOST_LINES = 10_000  # of a row of a table, after which a quote counts as not closed
_NOT_CLOSED = "a quote is opened and not closed"
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
NUMBERED = "column_"  # and a number, from 1: names of columns in a file without a head
_START = re.compile(r"\s*(\]\s*)?")  # of a JSON array, after its bracket
_GAP = re.compile(r"\s*(,|\])\s*")  # between the items of a JSON array


class Row(NamedTuple):
    """One row.

    Attributes:
        values: By column; None if the row cannot be read.
        problem: Why not, or None.
        offset: Byte at which it starts in the decompressed file; None if it cannot be read from.
        line: Number of its first line, from 1; None if that is not known.
        raw: How it is written, if it cannot be read.
    """

    values: dict[str, Any] | None
    problem: str | None = None
    offset: int | None = None
    line: int | None = None
    raw: str = ""


class How(NamedTuple):
    """How text files are read, where they do not say it themselves.

    Attributes:
        names: Of the columns of a csv file without a head.
        separator: Of the cells of a csv file; None if it is to be detected.
        field: Of a JSON file, what has the rows.
        is_table: Whether all columns are wanted, also those without a name, and whether reading
            goes on in the next line where a quote is never closed.
    """

    names: Sequence[str] | None = None
    separator: str | None = None
    field: str | None = None
    is_table: bool = False


def text_rows(file: File, kind: str, how: How, offset: int) -> Iterator[Row]:
    """The rows of a text file from a byte on, at which one starts."""
    is_whole = kind == "json" and (how.field is not None or not _is_lines(file))
    read = _whole if is_whole else _READERS[kind]
    return read(file, how, offset)


# Lines --------------------------------------------------------------------------------------------


def _text_lines(file: File, how: How, offset: int) -> Iterator[Row]:
    for number, (line, place, _) in enumerate(_raw_lines(file, offset), 1):
        try:
            yield Row({"text": line.rstrip(b"\r\n").decode("utf-8")}, None, place, number)
        except UnicodeDecodeError as error:
            yield Row(None, not_decoded(error, file), place, number, _shown_line(line))


def _json_lines(file: File, how: How, offset: int) -> Iterator[Row]:
    for number, (line, place, _) in enumerate(_raw_lines(file, offset), 1):
        if line.isspace():
            continue
        row = _json_row(line, file, is_table=how.is_table)
        raw_line = "" if row.problem is None else _shown_line(line)
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
    """Whether a json file has an object on each line."""
    first = next((line for line, _, _ in _raw_lines(file, 0) if not line.isspace()), b"")
    try:
        return isinstance(json.loads(first), dict)
    except ValueError:
        return False


# Tables -------------------------------------------------------------------------------------------


class Head(NamedTuple):
    """What the start of a csv file says.

    Attributes:
        names: Of the columns; one that has none, or that of another, gets a number.
        separator: Of cells.
        offset: Where the rows start, in bytes.
        lines: How many lines are before them.
    """

    names: list[str]
    separator: str
    offset: int
    lines: int


def head_of(file: File, how: How) -> Head:
    """The head of a csv file."""
    usual = how.separator or ("\t" if file.ending == ".tsv" else ",")
    shown = islice(_raw_lines(file, 0), raw.LOOKED_AT)
    first = [line.decode("utf-8", "replace") for line, _, _ in shown]
    is_known = not first or how.separator or how.names is not None
    separator = usual if is_known else raw.separator_of(first, usual)
    if how.names is not None:
        return Head(list(how.names), separator, 0, 0)
    lines = _Lines(file, 0)
    names = next((cells for cells in csv.reader(lines, delimiter=separator) if cells), [])
    if lines.problem:
        raise DatasetError(f"{file.name} cannot be read: its head is {lines.problem}")
    if how.is_table and _are_data(names):
        names = [f"{NUMBERED}{place}" for place in range(1, len(names) + 1)]
        return Head(names, separator, 0, 0)
    if how.is_table:
        names = [name.strip() or f"Unnamed: {place}" for place, name in enumerate(names)]
    numbered = [name if name not in names[:n] else f"{name}.{n}" for n, name in enumerate(names)]
    return Head(numbered, separator, lines.end, lines.number)


def _are_data(cells: Sequence[str]) -> bool:
    """Whether the first row of a table is no head: it has a number in place of a name."""
    return any(_NUMBER.fullmatch(cell.strip()) for cell in cells)


def _csv(file: File, how: How, offset: int) -> Iterator[Row]:
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))
    head = head_of(file, how)
    lines = _Lines(file, offset or head.offset, head.lines, _MOST_LINES if how.is_table else None)
    reader = csv.reader(lines, delimiter=head.separator)
    while True:
        lines.start_row()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield _problem_row(lines, _reason_of(error))
            continue
        if not cells:
            continue
        yield _csv_row(head, cells, lines, how)


def _csv_row(head: Head, cells: list[str], lines: _Lines, how: How) -> Row:
    """The row that `csv.reader` has made of the lines."""
    problem = _in_quotes(lines, head.separator, how)
    if problem is not None and how.is_table:
        lines.read_again()
        literal = _shown_line(lines.row[0][0]).split(head.separator)
        if head.separator == "\t" and len(literal) == len(head.names) and not lines.problem:
            cells, problem = literal, None  # tables with tabs often do without quotes
    problem = problem or lines.problem
    if problem is None and len(cells) > len(head.names):
        problem = (
            f"the row has {len(cells)} cells, more than the {len(head.names)} columns of the head"
        )
    if problem is not None:
        return _problem_row(lines, problem)
    cells += [""] * (len(head.names) - len(cells))
    values = {n: cell or None for n, cell in zip(head.names, cells, strict=True) if n}
    return Row(values, None, lines.row[0][1], lines.row_number)


def _reason_of(error: csv.Error) -> str:
    if "new-line character" in str(error):
        return "a cell without quotes has a line end (a carriage return) in it"
    return str(error)


def _problem_row(lines: _Lines, problem: str) -> Row:
    shown = _shown_line(b"".join(line for line, _, _ in lines.row))
    return Row(None, problem, lines.row[0][1], lines.row_number, shown)


def _in_quotes(lines: _Lines, separator: str, how: How) -> str | None:
    """What is wrong with the quotes of the row."""
    if lines.is_over:  # the reader looked for more of the row
        end = "the end of the file" if not lines.is_cut else f"{_MOST_LINES:,} lines later"
        return f"{_NOT_CLOSED} until {end}"
    if how.is_table and len(lines.row) > 1:
        texts = [line.decode("utf-8", "replace") for line, _, _ in lines.row]
        try:
            list(csv.reader(texts, delimiter=separator, strict=True))
        except csv.Error:
            return f"{_NOT_CLOSED} in the line"
    return None


class _Lines:
    """Lines as text for `csv.reader`, with where they are and what was wrong with them.

    Attributes:
        row: The lines of the row that is read: their bytes, where they start and where they end.
        end: Where the last line ends, in bytes.
        number: Number of the last line.
        problem: Of the row, or None.
        is_over: Whether there were no more lines in the midst of a row.
        is_cut: Whether that was because it has too many.
    """

    def __init__(self, file: File, start: int, number: int = 0, most: int | None = None) -> None:
        self._file, self._most = file, most
        self._lines = _raw_lines(file, start)
        self._again: deque[tuple[bytes, int, int]] = deque()
        self.row: list[tuple[bytes, int, int]] = []
        self.end, self.number, self.row_number = start, number, number + 1
        self.problem: str | None = None
        self.is_over = self.is_cut = False

    def start_row(self) -> None:
        """Take the next line as the first one of a row."""
        self.row, self.problem, self.row_number = [], None, self.number + 1
        self.is_over = False

    def read_again(self) -> None:
        """Give all lines of the row but the first one again."""
        self._again.extendleft(reversed(self.row[1:]))
        self.number -= len(self.row) - 1
        del self.row[1:]

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        self.is_cut = self._most is not None and len(self.row) >= self._most
        if self.is_cut:
            self.is_over = True
            raise StopIteration
        try:
            item = self._again.popleft() if self._again else next(self._lines)
        except StopIteration:
            self.is_over = bool(self.row)
            raise
        self.row.append(item)
        line, _, self.end = item
        self.number += 1
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError as error:
            self.problem = self.problem or not_decoded(error, self._file)
            return line.decode("utf-8", "replace")


_READERS: dict[str, Callable[[File, How, int], Iterator[Row]]] = {
    "txt": _text_lines,
    "jsonl": _json_lines,
    "json": _json_lines,
    "csv": _csv,
}


# Bytes --------------------------------------------------------------------------------------------


def _raw_lines(file: File, offset: int) -> Iterator[tuple[bytes, int, int]]:
    """Lines as bytes with their ends, and the bytes at which each starts and ends in the file."""
    with opened(file, offset) as stream:
        place = offset
        for line in stream:
            end = place + len(line)
            if not place:
                check_encoding(line, file)
                line = line.removeprefix(BOM)
            yield line, place, end
            place = end


def check_encoding(start: bytes, file: File) -> None:
    """Refuse the start of a file in another encoding than UTF-8."""
    if name := _OTHER_BOMS.get(start[:2]):
        raise DatasetError(
            f"{file.name} cannot be read: it is in {name}, not UTF-8; convert it with "
            f"`iconv -f {name} -t UTF-8`"
        )


def not_decoded(error: UnicodeDecodeError, file: File) -> str:
    """What is wrong with bytes that are no text."""
    if file.encoding:
        return f"not {file.encoding}: a character at {error.start} cannot be decoded"
    return f"not UTF-8: byte 0x{error.object[error.start]:02x} at {error.start}"


def _shown_line(line: bytes) -> str:
    return line.decode("utf-8", "backslashreplace").rstrip("\r\n")


def _shown(value: Any) -> str:
    words = repr(value)
    return words if len(words) <= 60 else f"{words[:57]}..."
