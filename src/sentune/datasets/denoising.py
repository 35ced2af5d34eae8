"""Sentences with words missing, for the denoising auto-encoder."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from torch.utils.data import Dataset

from sentune.data.example import InputExample
from sentune.tables import rows_of


def _without_words(text: str) -> str:
    return DenoisingAutoEncoderDataset.delete(text)


class DenoisingAutoEncoderDataset(Dataset):
    """Each sentence with the same sentence after noise: `texts=[noise, sentence]`.

    The noise is drawn every time a sentence is asked for.

    Args:
        sentences: The sentences.
        noise_fn: Sentence -> sentence with noise; by default `delete`.

    Source: TSDAE, section 3: deleting 60% of the words; https://arxiv.org/abs/2104.06979.
    """

    def __init__(
        self, sentences: Sequence[str], noise_fn: Callable[[str], str] = _without_words
    ) -> None:
        self.sentences = rows_of(sentences, "sentences")
        self.noise_fn = noise_fn

    def __getitem__(self, item: int) -> InputExample:
        sentence = self.sentences[item]
        return InputExample(texts=[self.noise_fn(sentence), sentence])

    def __len__(self) -> int:
        return len(self.sentences)

    @staticmethod
    def delete(text: str, del_ratio: float = 0.6) -> str:
        """The text with words left out at random; at least one stays."""
        words = text.split()
        kept = [word for word in words if random.random() > del_ratio]
        return " ".join(kept or random.sample(words, min(1, len(words))))
