"""Text files as blocks of rows, read by Arrow: fast, and only right if each line is a row."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from sentune._lazy import need
from sentune.data.corpus_files import File, opened
from sentune.data.corpus_rows import rows
from sentune.data.corpus_types import array_of
from sentune.data.csv_rows import Head
from sentune.data.lines import How

_BLOCK = 1 << 20  # bytes of a file at a time
_SEEN = 1_000  # rows of a JSON file that show what is in it


def csv_blocks(file: File, head: Head) -> Iterator[Any]:
    """The rows of a table as `pyarrow.RecordBatch`es of texts.

    Raises:
        pyarrow.ArrowInvalid: If it has a row that is broken, or longer or shorter than the head.
    """
    pa = need("pyarrow", extra="train")
    table = need("pyarrow.csv", extra="train")
    with opened(file) as stream:
        yield from table.open_csv(
            stream,
            read_options=table.ReadOptions(
                column_names=head.names, skip_rows=head.lines, block_size=_BLOCK
            ),
            parse_options=table.ParseOptions(delimiter=head.separator),
            convert_options=table.ConvertOptions(
                column_types=dict.fromkeys(head.names, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
            ),
        )


def json_blocks(file: File, how: How) -> Iterator[Any]:
    """The rows of JSON lines as `pyarrow.RecordBatch`es; none if they hold more than plain values.

    Raises:
        pyarrow.ArrowInvalid: If a row is broken, or is not as the first ones are.
    """
    schema, table = _schema(file, how), need("pyarrow.json", extra="train")
    if schema is None or not hasattr(table, "open_json"):  # which older versions do not have
        return
    with opened(file) as stream:
        yield from table.open_json(
            stream,
            read_options=table.ReadOptions(block_size=_BLOCK),
            parse_options=table.ParseOptions(
                explicit_schema=schema, unexpected_field_behavior="error"
            ),
        )


def _schema(file: File, how: How) -> Any | None:
    """The types of the first rows, if they hold texts, numbers and truth values."""
    pa = need("pyarrow", extra="train")
    seen = [row.values for row in islice(rows(file, how=how), _SEEN)]
    if not seen or any(values is None for values in seen):
        return None
    names = list(dict.fromkeys(name for values in seen for name in values or ()))
    fields = []
    for name in names:
        array = array_of([(values or {}).get(name) for values in seen])
        plain = (pa.string(), pa.int64(), pa.float64(), pa.bool_())
        if array is None or array.type not in plain:
            return None
        fields.append((name, array.type))
    return pa.schema(fields)
