"""The rows of a table of text, as csv: its head, and its cells in quotes or without."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from sentune.data import raw
from sentune.data.corpus_files import File
from sentune.data.lines import How, Row, not_decoded, raw_lines, shown_line
from sentune.errors import DatasetError

NUMBERED = "column_"  # and a number, from 1: names of columns in a file without a head
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
_LONGEST_CELL = 16 << 20  # characters of a cell of a csv file
_MOST_LINES = 100_000  # of a row, after which a quote counts as not closed; a book has fewer
_NOT_CLOSED = "a quote is opened and not closed"


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
    shown = islice(raw_lines(file, 0), raw.LOOKED_AT)
    first = [line.decode("utf-8", "replace") for line, _, _ in shown]
    is_known = not first or how.separator or how.names is not None
    separator = usual if is_known else raw.separator_of(first, usual)
    if how.names is not None:
        return Head(list(how.names), separator, 0, 0)
    lines = _Lines(file, 0)
    names = _names_in(lines, separator, file)
    if how.is_table and _are_data(names):
        names = [f"{NUMBERED}{place}" for place in range(1, len(names) + 1)]
        return Head(names, separator, 0, 0)
    if how.is_table:
        names = [name.strip() or f"Unnamed: {place}" for place, name in enumerate(names)]
    return Head(_numbered(names), separator, lines.end, lines.number)


def _names_in(lines: _Lines, separator: str, file: File) -> list[str]:
    """The cells of the first row that has some."""
    reader = csv.reader(lines, delimiter=separator)
    names: list[str] = []
    while not names:
        lines.start_row()
        try:
            names = next(reader)
        except StopIteration:
            return []
    names, problem = _closed(names, lines, separator)
    if problem is not None:
        raise DatasetError(
            f"{file.name} cannot be read: in its head (line {lines.number}) {problem}"
        )
    if lines.problem:
        raise DatasetError(f"{file.name} cannot be read: its head is {lines.problem}")
    return names


def _numbered(names: Sequence[str]) -> list[str]:
    """The names, each but the first of several equal ones with a number that makes it another."""
    found: list[str] = []
    for place, name in enumerate(names):
        number, new = place, name
        while new in found or (new != name and new in names):
            new, number = f"{name}.{number}", number + 1
        found.append(new)
    return found


def _are_data(cells: Sequence[str]) -> bool:
    """Whether the first row of a table is no head: it has a number in place of a name."""
    return any(_NUMBER.fullmatch(cell.strip()) for cell in cells)


def csv_rows(file: File, how: How, offset: int) -> Iterator[Row]:
    """The rows from a byte on, at which one starts."""
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))
    head = head_of(file, how)
    lines = _Lines(file, offset or head.offset, head.lines)
    reader = csv.reader(lines, delimiter=head.separator)
    while True:
        lines.start_row()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            lines.read_again()
            yield _problem_row(lines, _reason_of(error))
            continue
        if not cells:
            continue
        yield _csv_row(head, cells, lines)


def _csv_row(head: Head, cells: list[str], lines: _Lines) -> Row:
    """The row that `csv.reader` has made of the lines."""
    problem = None
    if len(lines.row) > 1 or lines.is_over:
        cells, problem = _closed(cells, lines, head.separator, len(head.names))
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
    shown = shown_line(b"".join(line for line, _, _ in lines.row))
    return Row(None, problem, lines.row[0][1], lines.row_number, shown)


def _closed(
    cells: list[str], lines: _Lines, separator: str, width: int | None = None
) -> tuple[list[str], str | None]:
    """The cells of a row, and what is wrong with its quotes; then its first line alone is read.

    Tables with tabs often do without quotes: of these, such a line is read as it is written.
    """
    problem = _in_quotes(lines, separator)
    if problem is None:
        return cells, None
    lines.read_again()
    literal = shown_line(lines.row[0][0]).split(separator)
    if separator == "\t" and width in (None, len(literal)) and not lines.problem:
        return literal, None
    return cells, problem


def _in_quotes(lines: _Lines, separator: str) -> str | None:
    """What is wrong with the quotes of the row."""
    if lines.is_over:  # the reader looked for more of the row
        end = "the end of the file" if not lines.is_cut else f"{_MOST_LINES:,} lines later"
        return f"{_NOT_CLOSED} until {end}"
    if len(lines.row) > 1:
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

    def __init__(self, file: File, start: int, number: int = 0) -> None:
        self._file = file
        self._lines = raw_lines(file, start)
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
        self.end, self.problem = self.row[0][2], None
        self._decoded(self.row[0][0])

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        self.is_cut = len(self.row) >= _MOST_LINES
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
        return self._decoded(line)

    def _decoded(self, line: bytes) -> str:
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError as error:
            self.problem = self.problem or not_decoded(error, self._file)
            return line.decode("utf-8", "replace")
