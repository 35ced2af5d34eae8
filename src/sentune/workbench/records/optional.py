"""What a run can do without: a fault in it must not cost the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def optional(
    make: Callable[[], dict[str, Any]], what: str, say: Callable[[str], None]
) -> dict[str, Any]:
    """The parts of a record that `make` gives; none where it fails, and a note is said.

    Args:
        make: Makes them.
        what: Their name, for the note.
        say: Called with the note.
    """
    try:
        return make()
    except Exception as error:
        say(f"  note: {what} could not be made ({type(error).__name__}: {error})")
        return {}
