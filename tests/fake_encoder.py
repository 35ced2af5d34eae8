"""An encoder without a model: the sum of one fixed random vector per word."""

from __future__ import annotations

import functools
import hashlib

import numpy as np
import torch

from sentune.vectors.quantize import quantize_embeddings
from sentune.vectors.similarity import SimilarityFunction


@functools.cache
def word_vector(word, width, is_coarse):
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
    random = np.random.default_rng(seed)
    if is_coarse:
        return random.integers(-1, 2, width).astype(float)
    return random.normal(size=width)


class FakeCard:
    def __init__(self):
        self.stored = []

    def set_evaluation_metrics(self, evaluator, metrics, epoch, step):
        self.stored.append((evaluator, metrics, epoch, step))


class FakeEncoder:
    """Answers to all that evaluators ask of a model, sentune's and the peer's alike.

    Args:
        width: Of the embeddings.
        similarity_fn_name: As in a model.
        is_coarse: Whether word vectors are small whole numbers, so that scores are often equal.
    """

    device = "cpu"

    def __init__(self, width=24, similarity_fn_name="cosine", is_coarse=False):
        self.width = width
        self.similarity_fn_name = similarity_fn_name
        self.is_coarse = is_coarse
        self.model_card_data = FakeCard()
        self.calls = []  # (texts, options) of every encode

    def encode_query(self, texts, prompt=None, **options):
        return self.encode(texts, prompt=prompt or "query: ", **options)

    def encode_document(self, texts, **options):
        return self.encode(texts, **options)

    def encode(self, texts, prompt=None, **options):
        self.calls.append((list(texts), options))
        rows = np.stack([self.vector(f"{prompt or ''}{text}") for text in texts])
        rows = rows[:, : options.get("truncate_dim")]
        if options.get("normalize_embeddings"):
            rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        rows = quantize_embeddings(rows.astype(np.float32), options.get("precision") or "float32")
        if options.get("convert_to_tensor"):
            return torch.tensor(rows)
        return rows if options.get("convert_to_numpy", True) else list(torch.tensor(rows))

    def vector(self, text):
        words = [self.word(word) for word in text.split()]
        return np.sum(words, axis=0) if words else np.ones(self.width)

    def word(self, word):
        return word_vector(word, self.width, self.is_coarse)

    def similarity(self, a, b):
        return SimilarityFunction.to_similarity_fn(self.similarity_fn_name)(a, b)

    def similarity_pairwise(self, a, b):
        return SimilarityFunction.to_similarity_pairwise_fn(self.similarity_fn_name)(a, b)

    def eval(self):
        return self


def sentences(count, seed=0, words=6):
    """Made-up sentences that share words."""
    random = np.random.default_rng(seed)
    return [" ".join(f"w{i}" for i in random.integers(0, 30, words)) for _ in range(count)]
