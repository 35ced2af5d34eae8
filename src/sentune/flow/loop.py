"""Items -> windows -> batches of like length -> rows, in the order of the items.

A window of items is read as tokens, its rows are put in order of length and cut into batches, a
runner computes each, and what comes out goes back into the caller's order. Only two windows are in
memory at a time, whatever the source is: a list, or an iterator that never ends.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from itertools import islice
from typing import Any, NamedTuple, Protocol

import numpy as np

from sentune.text import inputs, layouts
from sentune.types import Features
from sentune.vectors import rows as arrays

# Items that are read and put in order of length at a time. The first are few, since there is
# nothing to compute meanwhile; and so are those of an iterator, which may be slow or endless.
WINDOW = 16_384
FIRST_WINDOW = 2_048
# Items per batch where it is not known how many tokens they have.
_ROWS = 32


class Runner(Protocol):
    """What computes; the loop knows nothing of how."""

    reads_ragged: bool

    def read(self, items: Sequence[Any]) -> Features:
        """Items as tokens, ragged if `reads_ragged`; may run in a thread beside `compute`."""

    def tokens_per_batch(self) -> int:
        """How many tokens a batch should hold."""

    def working(self) -> AbstractContextManager[object]:
        """A context around what is computed of a window."""

    def compute(self, features: Features) -> Any:
        """What is wanted of a batch: an array `(b, ...)` or a list of b things."""

    def done(self, truncated: int, items: int) -> None:
        """All is computed; `truncated` of the items were longer than the limit."""


class Part(NamedTuple):
    """What was computed of a window."""

    start: int  # number of its first item
    rows: Any  # an array `(items, ...)` or a list, in the order of the items


def windows(
    source: Iterable[Any],
    runner: Runner,
    *,
    batch_size: int | None = None,
    count: Callable[[int], object] = lambda items: None,
) -> Iterator[Part]:
    """What a runner computes of the items, window by window, in their order.

    A source that fails gives all that came before, then its own error. Closing the iterator leaves
    no thread behind. Without `batch_size`, batches are chosen by tokens, for speed; `count` is
    called with the number of items of each batch that was computed.
    """
    truncated = total = 0
    read = _parts(source, runner) if isinstance(source, Sequence) else _portions(source, runner)
    with closing(read):
        for items, tokens, places in read:
            rows: Any = None
            truncated += tokens.pop("truncated", 0)
            with runner.working():
                for numbers, features in _batches(items, tokens, runner, batch_size):
                    truncated += features.pop("truncated", 0)
                    rows = arrays.put(rows, numbers, runner.compute(features), len(items))
                    count(len(numbers))
            size = len(items) if places is None else len(places)
            yield Part(total, rows if places is None else arrays.take(rows, places))
            total += size
    runner.done(truncated, total)


def run(source: Iterable[Any], runner: Runner, sink: Any, **options: Any) -> Any:
    """What a sink makes of all that a runner computes."""
    for part in windows(source, runner, **options):
        sink.put(part)
    return sink.result()


def distinct(items: Sequence[Any]) -> tuple[list[Any], np.ndarray | None]:
    """The different items, and for each item its place among them; None if all differ."""
    places: dict[Hashable, int] = {}
    numbers = [places.setdefault(_key(item), len(places)) for item in items]
    if len(places) == len(items):
        return list(items), None
    first = dict(zip(reversed(numbers), reversed(items), strict=True))
    return [first[place] for place in range(len(places))], np.asarray(numbers)


def _key(item: Any) -> Hashable:
    if isinstance(item, str):
        return item
    return frozenset(item.items()) if isinstance(item, Mapping) else tuple(item)


# A window: its different items, their tokens if they were read at once, and whose they are.
_Window = tuple[list[Any], Features, "np.ndarray | None"]


def _parts(source: Sequence[Any], runner: Runner) -> Generator[_Window, None, None]:
    """The windows of a sequence; the next one is read in a thread while one is computed."""
    ends = [*range(FIRST_WINDOW, len(source), WINDOW), len(source)] if source else []
    parts = [source[a:b] for a, b in zip([0, *ends], ends, strict=False)]
    if not runner.reads_ragged:
        yield from ((list(part), {}, None) for part in parts)
        return
    with ThreadPoolExecutor(1, thread_name_prefix="sentune-read") as reader:
        coming: Any = None
        for place, part in enumerate(parts):
            # The first at once: nothing is computed meanwhile, and a thread takes time to start.
            tokens = runner.read(part) if coming is None else coming.result()
            if place + 1 < len(parts):
                coming = reader.submit(runner.read, parts[place + 1])
            yield list(part), tokens, None


def _portions(source: Iterable[Any], runner: Runner) -> Generator[_Window, None, None]:
    """The windows of an iterator, of checked items; if it ends in an error, that comes last."""
    iterator, start = iter(source), 0
    while True:
        items: list[Any] = []
        failure: Exception | None = None
        try:
            for item in islice(iterator, FIRST_WINDOW):
                items.append(inputs.checked(item, start + len(items)))
        except Exception as error:
            failure = error
        if items:
            own, places = distinct(items)
            yield own, runner.read(own) if runner.reads_ragged else {}, places
        if failure is not None:
            raise failure
        start += len(items)
        if len(items) < FIRST_WINDOW:
            return


def _batches(
    items: Sequence[Any], tokens: Features, runner: Runner, batch_size: int | None
) -> Iterator[tuple[list[int], Features]]:
    """The batches of a window: row numbers and features, like lengths together."""
    if not runner.reads_ragged:
        lengths = [inputs.character_length(item) for item in items]
        for rows in layouts.batches_by_length(lengths, batch_size or _ROWS):
            yield rows, dict(runner.read([items[row] for row in rows]))
        return
    if batch_size is None:
        batches = layouts.batches_by_tokens(tokens["lengths"], runner.tokens_per_batch())
    else:
        batches = layouts.batches_by_length(tokens["lengths"], batch_size)
    for rows in batches:
        yield rows, layouts.select(tokens, rows)
