"""Translations with a teacher's embedding of the original, to teach a student other languages."""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from sentune.data.example import InputExample
from sentune.types import Encoder


class ParallelSentencesDataset(Dataset):
    """Sentences of all languages, each labelled with the teacher's embedding of its original.

    Several sources can be added, each with a weight that says how many of its entries are taken
    in a round. `batch_size` is for the teacher, which encodes the originals, once each if
    `use_embedding_cache`. The student has no effect.
    """

    def __init__(
        self,
        student_model: Any,
        teacher_model: Encoder,
        batch_size: int = 8,
        use_embedding_cache: bool = True,
    ) -> None:
        self.student_model = student_model
        self.teacher_model = teacher_model
        self.batch_size = batch_size
        self.use_embedding_cache = use_embedding_cache
        self.embedding_cache: dict[str, np.ndarray] = {}
        self.num_sentences = 0
        self._sources: list[_Source] = []
        self._ready: list[InputExample] = []

    def load_data(
        self,
        filepath: str | Path,
        weight: int = 100,
        max_sentences: int | None = None,
        max_sentence_length: int | None = 128,
    ) -> None:
        """Add a file whose lines hold an original and its translations, with tabs between."""
        path = Path(filepath)
        opener: Any = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8") as file:
            lines = (line.strip().split("\t") for line in file)
            self.add_dataset(lines, weight, max_sentences, max_sentence_length)

    def add_dataset(
        self,
        parallel_sentences: Iterable[Sequence[str]],
        weight: int = 100,
        max_sentences: int | None = None,
        max_sentence_length: int | None = 128,
    ) -> None:
        """Add sentences."""
        limit = max_sentence_length or float("inf")
        short = (texts for texts in parallel_sentences if max(map(len, texts)) <= limit)
        entries: dict[str, dict[str, None]] = {}  # original -> itself and its translations
        for original, *translations in islice(short, max_sentences or None):
            entries.setdefault(original, {original: None}).update(dict.fromkeys(translations))
        if entries:
            self.num_sentences += sum(map(len, entries.values()))
            found = [(original, list(texts)) for original, texts in entries.items()]
            self._sources.append(_Source(found, weight))

    def __len__(self) -> int:
        return self.num_sentences

    def __getitem__(self, item: int) -> InputExample:
        """The next example, whatever number is asked for: they come in an order of their own."""
        if not self._ready:
            self._ready = self._round()
        return self._ready.pop()

    def _round(self) -> list[InputExample]:
        entries = [entry for source in self._sources for entry in source.take()]
        embeddings = self._embed([original for original, _ in entries])
        examples = [
            InputExample(texts=[text], label=embedding)
            for (_, texts), embedding in zip(entries, embeddings, strict=True)
            for text in texts
        ]
        random.shuffle(examples)
        return examples

    def _embed(self, originals: list[str]) -> list[Any]:
        known = self.embedding_cache if self.use_embedding_cache else {}
        new = [text for text in dict.fromkeys(originals) if text not in known]
        if new:
            options = {"batch_size": self.batch_size, "show_progress_bar": False}
            known.update(zip(new, self.teacher_model.encode(new, **options), strict=True))
        return [known[text] for text in originals]


class _Source:
    """Entries that are gone through again and again, in a new order after each time."""

    def __init__(self, entries: list[tuple[str, list[str]]], weight: int) -> None:
        self.entries = entries
        self.weight = weight
        self.place = 0

    def take(self) -> list[tuple[str, list[str]]]:
        """The next `weight` entries."""
        taken = []
        for _ in range(self.weight):
            taken.append(self.entries[self.place])
            self.place += 1
            if self.place == len(self.entries):
                self.place = 0
                random.shuffle(self.entries)
        return taken
