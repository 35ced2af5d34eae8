"""The papers behind a model, from citations.bib."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

_ENTRY = re.compile(r"^@\w+\{[^,]+,\n.*?^\}$", re.MULTILINE | re.DOTALL)
# The losses that a paper is behind; the line is not part of what is cited.
_LOSSES = re.compile(r"^\s*losses = \{([^}]*)\},?\n", re.MULTILINE)
_EVERYBODY = "SentenceTransformer"


def citations(losses: Iterable[str]) -> list[str]:
    """BibTeX entries of the papers behind sentence embeddings and behind some losses' classes."""
    wanted = {_EVERYBODY, *losses}
    return [text for names, text in _entries() if names & wanted]


def cited_by(loss: str) -> list[str]:
    """BibTeX entries of the papers behind the class of a loss of this name."""
    return [text for names, text in _entries() if loss in names]


def by_loss(losses: Iterable[str]) -> dict[str, str]:
    """The same, under the names of the losses that a paper, or several, are behind."""
    wanted = {_EVERYBODY, *losses}
    found: dict[str, list[str]] = {}
    for names, text in _entries():
        if names & wanted:
            found.setdefault(_joined(sorted(names & wanted)), []).append(text)
    return {name: "\n".join(texts) for name, texts in found.items()}


def _joined(names: list[str]) -> str:
    words = ["Sentence Transformers" if name == _EVERYBODY else name for name in names]
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


@cache
def _entries() -> list[tuple[set[str], str]]:
    """Each entry with the losses that it is behind."""
    text = Path(__file__).with_name("citations.bib").read_text(encoding="utf-8")
    return [
        (set(re.findall(r"\w+", " ".join(_LOSSES.findall(entry)))), _LOSSES.sub("", entry))
        for entry in _ENTRY.findall(text)
    ]
