"""A model small enough to reason about: an embedding is the mean of its tokens' rows in a table."""

import torch
from torch import nn

from sentune.text import layouts


class TableModel(nn.Module):
    """Ragged or padded features in, `sentence_embedding` out. Keeps the rows of every call."""

    def __init__(self, tokens: int = 30, width: int = 6, dropout: float = 0.0, seed: int = 0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.table = nn.Parameter(torch.randn(tokens, width, generator=generator))
        self.dropout = nn.Dropout(dropout)
        self.rows_seen = []

    def forward(self, features):
        if "lengths" in features:
            rows = features["input_ids"].split(features["lengths"])
        else:
            mask = features["attention_mask"].bool()
            rows = [ids[keep] for ids, keep in zip(features["input_ids"], mask, strict=True)]
        self.rows_seen.append(len(rows))
        embeddings = torch.stack([self.table[ids].mean(dim=0) for ids in rows])
        return {**features, "sentence_embedding": self.dropout(embeddings)}

    @property
    def device(self):
        return self.table.device

    def get_embedding_dimension(self):
        return self.table.shape[1]


def column(rows, seed, tokens=30, longest=4):
    """A column of random texts of 1 to `longest` tokens."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, longest + 1, (rows,), generator=generator).tolist()
    ids = torch.randint(0, tokens, (sum(lengths),), generator=generator)
    return layouts.ragged(ids, lengths)


def value_and_gradient(loss, features, labels=None):
    """Forward and backward: the loss's value, and the gradient of the model's table."""
    loss.model.zero_grad()
    value = loss(features, labels)
    total(value).backward()
    return total(value).detach(), loss.model.table.grad.clone()


def total(value):
    """One number, of a loss that may have named parts."""
    return sum(value.values()) if isinstance(value, dict) else value
