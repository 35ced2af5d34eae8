"""Dropout at fixed weights has the statistics of the peer's, each kind alone and both."""

from __future__ import annotations

import math

import pytest
import torch

from sentune import losses
from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.models.pooling import Pooling
from sentune.models.transformer import Transformer
from tests.by_transformers import norm
from tests.tiny import make_folder
from tests.uneven import texts

peer = pytest.importorskip("sentence_transformers")
peer_models = pytest.importorskip("sentence_transformers.models")
peer_losses = pytest.importorskip("sentence_transformers.losses")
pytestmark = pytest.mark.filterwarnings("ignore")

DRAWS, ROWS, RATE = 400, 10, 0.2
HIDDEN = {"hidden_dropout_prob": RATE}
ATTENTION = {"attention_probs_dropout_prob": RATE}


def draws(model, loss):
    """Loss and norm of the gradient in each draw, `(DRAWS, 2)`."""
    columns = [[text for text in texts(60, seed) if 8 < len(text.split()) < 62] for seed in (0, 1)]
    features = [model.tokenize(column[:ROWS]) for column in columns]
    sizes = torch.cat([x["attention_mask"].sum(1) for x in features])
    assert len(sizes) == 2 * ROWS and 10 <= sizes.min() < 20 and 45 < sizes.max() <= 64
    found = []
    torch.manual_seed(0)
    model.train()
    for _ in range(DRAWS):
        model.zero_grad()
        value = loss([dict(x) for x in features], None)
        value.backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        found.append([value.item(), norm(gradients)])
    return torch.tensor(found, dtype=torch.float64)


def moments(sample):
    """Mean and variance of a sample, each with its standard error."""
    away = sample - sample.mean()
    variance, fourth = away.pow(2).mean().item(), away.pow(4).mean().item()
    return {
        "mean": (sample.mean().item(), math.sqrt(variance / len(sample))),
        "variance": (variance, math.sqrt((fourth - variance**2) / len(sample))),
    }


@pytest.mark.parametrize("rates", [HIDDEN, ATTENTION, HIDDEN | ATTENTION], ids=str)
def test_mean_and_variance_of_loss_and_gradient(tmp_path, rates):
    folder = make_folder(tmp_path / "model", dropout=rates)
    own = SentenceTransformer(modules=[Transformer(folder), Pooling(32)], device="cpu")
    theirs = peer.SentenceTransformer(
        modules=[peer_models.Transformer(str(folder)), peer_models.Pooling(32)], device="cpu"
    )
    samples = [
        draws(own, losses.MultipleNegativesRankingLoss(own, scale=5.0)),
        draws(theirs, peer_losses.MultipleNegativesRankingLoss(theirs, scale=5.0)),
    ]
    for name, mine, other in zip(("loss", "norm"), *(s.T for s in samples), strict=True):
        for moment, (value, error) in moments(mine).items():
            wanted, its_error = moments(other)[moment]
            assert value > 0
            away = abs(value - wanted) / math.hypot(error, its_error)
            assert away < 4, (
                f"{moment} of the {name}: {value:.5f}, the peer {wanted:.5f}, {away:.1f}"
            )
