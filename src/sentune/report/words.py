"""Numbers and states in plain English."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, TypeGuard

MINUS = "\N{MINUS SIGN}"
NOTHING = "\N{EN DASH}"

STATES = {
    "not tried": "Not tried",
    "stopped": "Stopped",
    "won": "Kept",
    "finished": "Finished",
    "dropped": "Dropped",
    "failed": "Failed",
    "start": "Start",
}


def is_number(value: Any) -> TypeGuard[float]:
    """Whether this is a number, and not a boolean."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def figure(value: Any, digits: int = 3) -> str:
    """A figure between -1 and 1 with three decimals; a dash for none."""
    if not is_number(value):
        return NOTHING
    text = f"{abs(value):.{digits}f}"
    return MINUS + text if value < 0 and float(text) else text


def change(value: Any, digits: int = 3) -> str:
    """A difference with its sign."""
    if not is_number(value):
        return NOTHING
    text = f"{abs(value):.{digits}f}"
    if not float(text):
        return text
    return (MINUS if value < 0 else "+") + text


def count(value: Any) -> str:
    """A whole number with thousands apart; a dash for none."""
    return f"{value:,.0f}".replace("-", MINUS) if is_number(value) else NOTHING


def beside(value: Any, threshold: Any) -> str:
    """A figure with as many decimals as show on which side of a threshold it is."""
    if not is_number(value) or not is_number(threshold):
        return figure(value)
    for digits in range(3, 7):
        if (round(value, digits) >= threshold) == (value >= threshold):
            return figure(value, digits)
    return figure(value, 7)


def share(value: Any) -> str:
    """A share as a percentage."""
    if not is_number(value):
        return NOTHING
    percent = value * 100
    return f"{percent:.0f}%" if percent == 0 or percent >= 1 else f"{percent:.1f}%"


def seconds(value: Any) -> str:
    """A time in words."""
    if not is_number(value):
        return NOTHING
    if value < 60:
        return f"{value:.0f} s" if value >= 10 else f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def date(value: Any) -> str:
    """A time of ISO 8601 as a date, in UTC where it says of which zone it is; or as it is."""
    try:
        found = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError:
        return "" if value is None else str(value)
    zone = "" if found.tzinfo is None else " UTC"
    found = found.astimezone(timezone.utc) if zone else found
    return f"{found.day} {found:%B %Y, %H:%M}{zone}"


def value(thing: Any) -> str:
    """Any plain value in one line, as a setting is shown."""
    if thing is None:
        return NOTHING
    if isinstance(thing, bool):
        return "yes" if thing else "no"
    if isinstance(thing, int):
        return count(thing) if abs(thing) >= 10_000 else str(thing)
    if isinstance(thing, float):
        return _short(thing)
    if isinstance(thing, dict):
        return ", ".join(f"{title(name)} {value(part)}" for name, part in thing.items()) or NOTHING
    if isinstance(thing, list):
        return ", ".join(value(part) for part in thing) or NOTHING
    return str(thing)


def named(candidate: Any) -> str:
    """The name of a candidate, with its learning rate as settings show it: 5e-5.

    A hyphen in the rate would be where the line breaks.
    """
    return re.sub(r"(?<=\d)e-0*(?=\d)", f"e{MINUS}", str(candidate))


def nearby(place: str, parts: int = 1) -> str:
    """Of an absolute path the last parts: where it lies on a machine is nobody's business."""
    is_path = place[:1] == "/" or place[1:3] == ":\\"
    names = place.replace("\\", "/").rstrip("/").split("/")
    return "/".join(names[-parts:]) if is_path and len(names) > 2 else place


def apart(names: Sequence[str]) -> dict[str, str]:
    """Each name as short as they can still be told apart."""
    parts = 1
    while True:
        found = {name: nearby(name, parts) for name in names}
        if len({*found.values()}) == len(found) or parts > max(map(len, names)):
            return found
        parts += 1


def command(line: Any) -> str:
    """A command with the last parts of absolute paths."""
    lexer = shlex.shlex(str(line or ""), posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters, lexer.escape = True, "", ""  # C:\\ is a place
    try:
        words = list(lexer)
    except ValueError:  # a quote that is not closed
        words = str(line or "").split(" ")
    return shlex.join(_argument(word) for word in words)


def _argument(word: str) -> str:
    option, sign, place = word.partition("=")
    return f"{option}={nearby(place)}" if sign and word.startswith("--") else nearby(word)


def title(name: Any) -> str:
    """The name of a setting in words."""
    return str(name).replace("_", " ")


def listed(names: Sequence[str]) -> str:
    """Names in a sentence."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def plural(number: Any, noun: str) -> str:
    """A number of things."""
    return f"{count(number)} {noun if number == 1 else noun + 's'}"


def interval(low: Any, high: Any, digits: int = 3) -> str:
    """The ends of an interval of differences."""
    return f"{change(low, digits)} to {change(high, digits)}"


def sentence(text: Any) -> str:
    """A text that begins and ends as a sentence does; a name such as r1 stays as it is."""
    line = str(text or "").strip()
    if not line:
        return ""
    is_word = re.match(r"[a-z']+(?:[\s,:;]|$)", line)
    begun = line[0].upper() + line[1:] if is_word else line
    return begun + ("" if line[-1] in ".!?…" else ".")


def _short(number: float) -> str:
    if number and not 1e-3 <= abs(number) < 1e6:
        mantissa, _, power = f"{number:.3g}".partition("e")
        if power:
            return f"{mantissa}e{int(power)}".replace("-", MINUS)
    digits = 4 if not number else max(0, 3 - math.floor(math.log10(abs(number))))
    return f"{number:.{min(digits, 6)}f}".rstrip("0").rstrip(".").replace("-", MINUS) or "0"


def capitalized(text: str) -> str:
    """With a capital letter where it begins with one of ours; a name stays as it is."""
    return text.capitalize() if text in ("before", "after", "the start") else text


FILTERS = {
    "plural": plural,
    "capitalized": capitalized,
    "figure": figure,
    "change": change,
    "count": count,
    "share": share,
    "seconds": seconds,
    "value": value,
    "named": named,
    "title_of": title,
    "sentence": sentence,
}
