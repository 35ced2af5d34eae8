"""Translations with a teacher's embedding of the original, to teach a student other languages."""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from torch.utils.data import Dataset

from sentune.data.example import InputExample
from sentune.types import Encoder

Entry: TypeAlias = tuple[str, list[str]]


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
        self.datasets: list[list[Entry]] = []
        self.datasets_iterator: list[int] = []  # of each source the entry that is next
        self.dataset_indices: list[int] = []  # the sources of the entries of a round
        self.cache: list[InputExample] = []  # what is left of the round

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
            self.dataset_indices += [len(self.datasets)] * weight
            self.datasets.append([(text, list(texts)) for text, texts in entries.items()])
            self.datasets_iterator.append(0)

    def __len__(self) -> int:
        return self.num_sentences

    def __getitem__(self, item: int) -> InputExample:
        """The next example, whatever number is asked for: they come in an order of their own."""
        if not self.cache:
            self.generate_data()
        return self.cache.pop()

    def generate_data(self) -> None:
        """Add the examples of a round to the cache, in random order."""
        entries = [self.next_entry(number) for number in self.dataset_indices]
        embeddings = self.get_embeddings([original for original, _ in entries])
        self.cache += [
            InputExample(texts=[text], label=embedding)
            for (_, texts), embedding in zip(entries, embeddings, strict=True)
            for text in texts
        ]
        random.shuffle(self.cache)

    def next_entry(self, data_idx: int) -> Entry:
        """The next original of a source and its translations; in a new order after each pass."""
        entries, place = self.datasets[data_idx], self.datasets_iterator[data_idx]
        entry = entries[place]
        self.datasets_iterator[data_idx] = (place + 1) % len(entries)
        if place + 1 == len(entries):
            random.shuffle(entries)
        return entry

    def get_embeddings(self, sentences: Sequence[str]) -> list[Any]:
        """The teacher's embedding of each sentence."""
        known = self.embedding_cache if self.use_embedding_cache else {}
        new = [text for text in dict.fromkeys(sentences) if text not in known]
        if new:
            options = {"batch_size": self.batch_size, "show_progress_bar": False}
            known.update(zip(new, self.teacher_model.encode(new, **options), strict=True))
        return [known[text] for text in sentences]
