"""Which rows of a dataset share a value: a number for every value of each row."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sentune._lazy import need
from sentune.training.dataset_rows import DATASET_NAME, column_names, column_of

_PLAIN = (str, int, float, bytes, type(None))
_HASH_BYTES = 16


@dataclass(frozen=True)
class Hashing:
    """How values are hashed: so many rows at a time, a `datasets.Dataset` in several processes."""

    rows_at_a_time: int
    processes: int | None = None


def numbered_values(
    dataset: Any, label_columns: Sequence[str], hashing: Hashing | None = None
) -> list[tuple[int, ...]]:
    """Per row, a number for each of its values; equal values have equal numbers.

    Labels and the name of the dataset are no values. With `hashing` no value is kept, only hashes.
    """
    skipped = {*label_columns, DATASET_NAME}
    columns = [name for name in column_names(dataset) if name not in skipped]
    numbers: dict[str | bytes, int] = {}
    rows: list[tuple[int, ...]] = [()] * len(dataset)
    for keys in _keys_of(dataset, columns, hashing):
        for row, key in enumerate(keys):
            number = numbers.setdefault(key, len(numbers))
            if number not in rows[row]:
                rows[row] += (number,)
    return rows


def _keys_of(
    dataset: Any, columns: Sequence[str], hashing: Hashing | None
) -> Iterator[Iterable[str | bytes]]:
    """Column by column, what tells the values of the rows apart."""
    if hashing is None or not hasattr(dataset, "map"):
        make: Callable[[Any], str | bytes] = _key if hashing is None else _hash
        yield from (map(make, column_of(dataset, name)) for name in columns)
    elif columns:
        datasets = need("datasets", extra="train")
        binary = {name: datasets.Value("binary") for name in columns}
        hashed = dataset.map(
            partial(_hash_rows, columns=columns),
            batched=True,
            batch_size=hashing.rows_at_a_time,
            num_proc=hashing.processes,
            remove_columns=column_names(dataset),
            features=datasets.Features(binary),  # else a column of images would stay one
            desc="Hashing values",
        ).with_format(None)  # a transform is for the values, not for their hashes
        yield from (hashed[name] for name in columns)


def _hash_rows(
    batch: Mapping[str, Sequence[Any]], columns: Sequence[str]
) -> dict[str, list[bytes]]:
    return {name: [_hash(value) for value in batch[name]] for name in columns}


def _hash(value: Any) -> bytes:
    key = _key(value)
    if isinstance(key, str):
        key, kind = key.encode(errors="surrogatepass"), b"text"
    else:
        kind = b"other"
    return hashlib.blake2b(key, digest_size=_HASH_BYTES, person=kind).digest()


def _key(value: Any) -> str | bytes:
    """What is the same for equal values of a type: a text itself, bytes for all else.

    Vectors of any library are lists of numbers here; 1 and 1.0 differ, as do equal objects whose
    pickles differ.
    """
    if isinstance(value, str):
        return value
    return _description(value).encode(errors="surrogatepass")


def _description(value: Any) -> str:
    if hasattr(value, "tolist"):  # equal tensors have different pickles
        value = value.tolist()
    is_list = isinstance(value, (list, tuple))
    if isinstance(value, _PLAIN) or (is_list and all(isinstance(item, _PLAIN) for item in value)):
        return repr(value)
    if is_list:
        return f"[{', '.join(map(_description, value))}]"
    if isinstance(value, Mapping):
        items = sorted(f"{name!r}: {_description(item)}" for name, item in value.items())
        return f"{{{', '.join(items)}}}"
    try:
        return hashlib.sha256(pickle.dumps(value)).hexdigest()  # images: their repr is an address
    except (pickle.PicklingError, TypeError, AttributeError):
        return repr(value)
