"""What a run can do without: a fault in it must not cost the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def optional(make: Callable[[], T], otherwise: T, what: str, say: Callable[[str], None]) -> T:
    """What `make` gives; where it fails, a note is said and `otherwise` is given.

    Args:
        make: Makes it.
        otherwise: In place of it.
        what: Its name, for the note.
        say: Called with the note.
    """
    try:
        return make()
    except Exception as error:
        say(f"  note: {what} could not be made ({type(error).__name__}: {error})")
        return otherwise
