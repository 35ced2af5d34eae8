"""Tiny models on the device, and the same models run padded as the library runs them."""

from __future__ import annotations

import os

import torch

from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.engine.tree import engine_off
from sentune.models.pooling import Pooling
from sentune.models.transformer import Transformer
from tests import uneven
from tests.by_transformers import norm

# "cpu" tries the tests themselves where there is no GPU.
DEVICE = os.environ.get("SENTUNE_TEST_DEVICE", "cuda")
LONGEST = 400
HALF = [torch.bfloat16, torch.float16]
KINDS = ["bert", "roberta", "distilbert", "electra", "albert", "modernbert", "nomic_bert", "mpnet"]


def texts(n=64, seed=0):
    """Texts of 0 to 400 tokens, special tokens not counted."""
    return uneven.texts(n, seed, longest=LONGEST)


def load(folder, dtype=None, mode="mean", device=DEVICE):
    options = {} if dtype is None else {"model_kwargs": {"dtype": dtype}}
    transformer = Transformer(str(folder), **options)
    pooling = Pooling(transformer.get_embedding_dimension(), mode)
    return SentenceTransformer(modules=[transformer, pooling], device=device)


def padded(model, some, **options):
    """What the library's own padded run gives."""
    with engine_off():
        return model.encode(some, **options)


def error(found, wanted):
    """Size of the difference as a share of the size."""
    found, wanted = (torch.as_tensor(x).detach().cpu().double() for x in (found, wanted))
    return norm([found - wanted]) / norm([wanted])


def exact(folder, some, mode="mean"):
    """Embeddings by the library in float64 on the CPU."""
    model = load(folder, mode=mode, device="cpu").double()
    return padded(model, some, convert_to_tensor=True)
