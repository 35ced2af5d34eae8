"""The papers behind a model, from citations.bib."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

_ENTRY = re.compile(r"^@\w+\{(?P<key>[^,]+),\n(?P<body>.*?)^\}$", re.MULTILINE | re.DOTALL)
# The losses that a paper is behind. It is for this file, not for whoever cites.
_LOSSES = re.compile(r"^\s*losses = \{(?P<names>[^}]*)\},?\n", re.MULTILINE)
_EVERYBODY = "SentenceTransformer"


def citations(losses: Iterable[str]) -> list[str]:
    """BibTeX entries of the papers behind sentence embeddings and behind some losses' classes."""
    wanted = {_EVERYBODY, *losses}
    return [text for names, text in _entries() if names & wanted]


def cited_losses() -> set[str]:
    """Names of all losses that have a citation."""
    return set().union(*(names for names, _ in _entries())) - {_EVERYBODY}


@cache
def _entries() -> list[tuple[frozenset[str], str]]:
    text = Path(__file__).with_name("citations.bib").read_text(encoding="utf-8")
    found = []
    for entry in _ENTRY.finditer(text):
        names = _LOSSES.search(entry[0])
        listed = re.split(r"[,\s]+", names["names"].strip()) if names else []
        found.append((frozenset(listed), _LOSSES.sub("", entry[0])))
    return found
