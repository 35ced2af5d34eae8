"""Embeddings, losses and gradients are those of sentence-transformers on the same device."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sentune import losses
from sentune.models.pooling import Pooling
from tests import uneven
from tests.by_transformers import assert_close, gradients
from tests.cuda.tools import DEVICE, load, texts

peer = pytest.importorskip("sentence_transformers")
peer_models = pytest.importorskip("sentence_transformers.models")
theirs = pytest.importorskip("sentence_transformers.sentence_transformer.losses")
pytestmark = pytest.mark.filterwarnings("ignore")  # those of the peer

COLUMNS = uneven.columns(3, 12)
LOSSES = {
    "MultipleNegativesRankingLoss": (2, None, {}),
    "CachedMultipleNegativesRankingLoss": (2, None, {"mini_batch_size": 4}),
    "CosineSimilarityLoss": (2, torch.linspace(0, 1, 12), {}),
    "TripletLoss": (3, None, {}),
}


@pytest.fixture(params=["bert", "mpnet", "modernbert"])
def models(request, tiny_folders):
    folder = tiny_folders(request.param, 512)
    modules = [peer_models.Transformer(str(folder)), peer_models.Pooling(32)]
    return load(folder), peer.SentenceTransformer(modules=modules, device=DEVICE)


def test_embeddings(models):
    own, other = models
    assert isinstance(own[1], Pooling)
    assert np.abs(own.encode(texts()) - other.encode(texts())).max() < 1e-5


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name, models):
    n, labels, options = LOSSES[name]
    labels = None if labels is None else labels.to(DEVICE)
    found = []
    for model, library in zip(models, (losses, theirs), strict=True):
        loss = getattr(library, name)(model, **options)
        features = [
            {k: v.to(DEVICE) if isinstance(v, torch.Tensor) else v for k, v in x.items()}
            for x in map(model.tokenize, COLUMNS[:n])
        ]
        model.zero_grad()
        value = loss(features, labels)
        value.backward()
        found.append((value.detach(), gradients(model)))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-5, atol=1e-6)
    by_name = found[1][1]
    assert_close(found[0][1], by_name)
