"""Losses beside the peer's on a real encoder: value, and gradient of all its weights."""

import random

import pytest
import torch

from sentune import losses
from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.models.heads import Dense
from sentune.models.pooling import Pooling
from sentune.models.transformer import Transformer
from tests import uneven
from tests.by_transformers import assert_close, gradients

peer = pytest.importorskip("sentence_transformers")
peer_models = pytest.importorskip("sentence_transformers.models")
theirs = pytest.importorskip("sentence_transformers.sentence_transformer.losses")

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the peer

COLUMNS = uneven.columns(3, 12)


@pytest.fixture(params=["bert", "mpnet"])
def models(request, tiny_folders):
    """The same model in both libraries; packed in sentune for bert, padded for mpnet."""
    folder = tiny_folders(request.param, 256)
    torch.manual_seed(0)
    dense = Dense(32, 32)
    ours = SentenceTransformer(modules=[Transformer(folder), Pooling(32), dense], device="cpu")
    peer_dense = peer_models.Dense(32, 32)
    peer_dense.load_state_dict(dense.state_dict())
    modules = [peer_models.Transformer(str(folder)), peer_models.Pooling(32), peer_dense]
    return ours, peer.SentenceTransformer(modules=modules, device="cpu")


def value_and_gradient(make, library, model, n):
    loss = make(library, model)
    model.zero_grad()
    random.seed(0)
    torch.manual_seed(0)
    model.eval()
    features = [model.tokenize(texts) for texts in COLUMNS[:n]]
    value = loss(features, None)
    value.backward()
    return value.detach(), gradients(model)


def compare(models, make, n=3):
    ours = value_and_gradient(make, losses, models[0], n)
    other = value_and_gradient(make, theirs, models[1], n)
    torch.testing.assert_close(ours[0], other[0], rtol=1e-5, atol=1e-6)
    by_name = other[1]
    assert_close(ours[1], by_name, least=30)


def inner(library, model):
    return library.MultipleNegativesRankingLoss(model)


def test_contrast(models):
    compare(models, inner)


def test_contrast_in_mini_batches(models):
    compare(
        models,
        lambda library, model: library.CachedMultipleNegativesRankingLoss(model, mini_batch_size=2),
    )


@pytest.mark.parametrize("options", [{"n_layers_per_step": -1}, {"layer_weighting": "log"}])
def test_adaptive_layers(models, options):
    compare(
        models,
        lambda library, model: library.AdaptiveLayerLoss(model, inner(library, model), **options),
    )


def test_widths_and_layers(models):
    compare(
        models,
        lambda library, model: library.Matryoshka2dLoss(
            model, inner(library, model), [32, 16, 8], n_dims_per_step=2, kl_temperature=0.5
        ),
    )


def test_denoising(tiny_folders):
    folder = tiny_folders("bert", 256)
    ours = SentenceTransformer(modules=[Transformer(folder), Pooling(32, "cls")])
    modules = [peer_models.Transformer(str(folder)), peer_models.Pooling(32, "cls")]
    other = peer.SentenceTransformer(modules=modules, device="cpu")
    loss = losses.DenoisingAutoEncoderLoss(ours.cpu()).eval()
    peer_loss = theirs.DenoisingAutoEncoderLoss(other).eval()
    peer_loss.decoder.load_state_dict(loss.decoder.state_dict())  # what no checkpoint has is random
    values = loss([ours.tokenize(texts) for texts in COLUMNS[:2]])
    wanted = peer_loss([other.tokenize(texts) for texts in COLUMNS[:2]], None)
    torch.testing.assert_close(values, wanted, rtol=1e-5, atol=1e-6)
    values.backward()
    wanted.backward()
    own, theirs_ = (gradients(part) for part in (loss.decoder, peer_loss.decoder))
    assert_close({name: own[name] for name in theirs_}, theirs_)
    assert_close(gradients(ours[0].auto_model), gradients(other[0].auto_model))
