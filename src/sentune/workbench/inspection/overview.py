"""Columns, lengths and labels at a glance, as plain data."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentune.data.profile import Profile
from sentune.workbench.inspection.table import Table

PERCENTILES = (5, 50, 95, 99, 100)
_BARS = 12
_SAMPLE = 2000  # texts of which the script and the language are read
_LEAST_SHARE = 0.02  # of a script or language that is named
_MOST_CLASSES = 10  # shown of the most and of the fewest rows
_MOST_COUNTED = 100_000  # texts whose tokens are counted
# The words that come most often, and in few other languages.
_LANGUAGES = {
    "English": "the of and to is was for that with you are this what how",
    "German": "der die und das ist nicht ein eine mit auf f\u00fcr von ich wie",
    "French": "le les des et est une dans que pour pas je qui avec vous",
    "Spanish": "el los las una y es por con para del que como se mi",
    "Italian": "il che di per una sono non con della come gli ho nel mio",
    "Portuguese": "o os um uma e \u00e9 para com n\u00e3o do da em meu que",
    "Dutch": "het een van en is dat niet ik je met voor op zijn wat",
}
_WORDS = {name: frozenset(words.split()) for name, words in _LANGUAGES.items()}
# Scripts whose letters have names of more than one kind, or another name than the script.
_SCRIPTS = {"CJK": "Han", "HIRAGANA": "Japanese", "KATAKANA": "Japanese", "HANGUL": "Korean"}

Count = Callable[[list[str]], Sequence[int]]


def columns(table: Table) -> list[dict[str, Any]]:
    """Of each column of texts: how many, how many different, how long, in which scripts."""
    found = []
    for place, (name, texts) in enumerate(zip(table.names, table.texts, strict=True)):
        ids = table.exact[:, place]
        sizes = np.fromiter(map(len, texts), np.int64, len(texts))
        sample = texts[:: max(1, len(texts) // _SAMPLE)]
        found.append(
            {
                "name": name,
                "texts": int((ids >= 0).sum()),
                "different": len(np.unique(ids[ids >= 0])),
                "characters": {
                    "mean": round(float(sizes.mean()), 1) if len(sizes) else 0,
                    "most": int(sizes.max(initial=0)),
                },
                "scripts": _shares(Counter(filter(None, map(_script, sample)))),
                "languages": _shares(Counter(filter(None, map(_language, sample)))),
            }
        )
    return found


def _shares(counts: Counter[str]) -> dict[str, float]:
    whole = max(1, counts.total())
    shares = ((name, count / whole) for name, count in counts.most_common())
    return {name: round(share, 3) for name, share in shares if share >= _LEAST_SHARE}


def _script(text: str) -> str | None:
    """The script that most letters of a text are of."""
    counts = Counter(_script_of(sign) for sign in text[:200] if sign.isalpha())
    return counts.most_common(1)[0][0] if counts else None


def _script_of(sign: str) -> str:
    if sign.isascii():
        return "Latin"
    first = unicodedata.name(sign, "other").split()[0].split("-")[0]
    return _SCRIPTS.get(first, first.capitalize())


def _language(text: str) -> str | None:
    """The language whose common words are most in a text; None where none is ahead."""
    words = {word.strip(".,;:!?\"'()") for word in text.lower().split()[:50]}
    counts = sorted(((len(words & common), name) for name, common in _WORDS.items()), reverse=True)
    return counts[0][1] if counts[0][0] > counts[1][0] else None


def lengths(table: Table, model: Any) -> dict[str, dict[str, Any]]:
    """Of each column the lengths of its texts: tokens of a model, or words without one."""
    count, unit, limit = _counting(model)
    found = {}
    for name, texts in zip(table.names, table.texts, strict=True):
        sample = texts[:: -(-len(texts) // _MOST_COUNTED) or 1]
        sizes = np.asarray(count(sample), np.int64) if sample else np.zeros(1, np.int64)
        found[name] = spread(sizes, limit) | {"unit": unit, "counted": len(sample)}
    return found


def spread(sizes: NDArray[np.int64], limit: int | None) -> dict[str, Any]:
    """A histogram of lengths, their percentiles, and how many are above a limit."""
    # The few longest texts would leave one bar for all the others; they have one of their own.
    top = max(float(np.percentile(sizes, 99)), float(sizes.min()) + 1)
    step = max(1, -(-int(top - sizes.min()) // _BARS))
    edges = [int(sizes.min()) + step * place for place in range(_BARS + 1)]
    edges = edges[: int(np.searchsorted(edges, top)) + 1]
    longest = int(sizes.max()) + 1
    edges += [longest] if longest > edges[-1] else []
    counts = np.histogram(sizes, edges)[0]
    percentiles = np.percentile(sizes, PERCENTILES, method="lower").tolist()
    return {
        "edges": edges,
        "counts": counts.tolist(),
        "limit": limit,
        "truncated": 0 if limit is None else int((sizes > limit).sum()),
        "percentiles": dict(zip(map(str, PERCENTILES), percentiles, strict=True)),
    }


def _counting(model: Any) -> tuple[Count, str, int | None]:
    """How to count, in which unit, and how many a model reads."""
    tokenizer = getattr(model, "tokenizer", None)
    if not callable(tokenizer):
        return lambda texts: [len(text.split()) for text in texts], "words", None
    from sentune.text.tokens import TokenReader

    reader = TokenReader(tokenizer, None)
    return lambda texts: reader.read(texts)["lengths"], "tokens", model.max_seq_length


def labels(found: Profile, table: Table) -> dict[str, Any] | None:
    """What is in the label column; None without one."""
    label = found.label
    if label is None:
        return None
    known: dict[str, Any] = {"name": label.name, "kind": label.label.kind, "words": label.words}
    if table.labels is None:
        return known
    own = table.known_labels()
    known["missing"] = int(np.isnan(table.labels).sum())
    if not len(own):
        return known
    values, counts = np.unique(own, return_counts=True)
    known |= {
        "different": len(values),
        "low": float(values[0]),
        "high": float(values[-1]),
        "mean": round(float(own.mean()), 4),
        "ties": round(float((counts[counts > 1]).sum() / len(own)), 4),
    }
    if label.label.kind == "score":
        bars, edges = np.histogram(own, 10)
        return known | {"edges": np.round(edges, 4).tolist(), "counts": bars.tolist()}
    order = np.lexsort((values, -counts)).tolist()
    shown = order if len(order) <= 2 * _MOST_CLASSES else order[:_MOST_CLASSES]
    named = [[_plain(table, values[place]), int(counts[place])] for place in shown]
    fewest = [[_plain(table, values[p]), int(counts[p])] for p in order[-_MOST_CLASSES:][::-1]]
    return known | {"most": named, "fewest": fewest if len(order) > len(shown) else []}


def _plain(table: Table, value: float) -> str:
    return table.label_words(value).strip("'")
