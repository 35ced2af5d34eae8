"""Each loss once with a real encoder, on texts of 1 to 200 tokens, beside a padded run."""

from __future__ import annotations

import random

import pytest
import torch

from sentune import losses
from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.models.pooling import Pooling
from sentune.models.transformer import Transformer
from tests import uneven
from tests.by_transformers import ByTransformers, assert_close, gradients
from tests.losses.cases import binary, classes, normal, scores
from tests.losses.tools import TableModel, total

ROWS, WIDTH = 12, 32
MNRL = losses.MultipleNegativesRankingLoss


def guided(loss, **options):
    """A loss whose guide reads the tokens of the model."""

    def make(model):
        guide = TableModel(tokens=500, seed=9)
        guide.tokenizer, guide.max_seq_length = model.tokenizer, model.max_seq_length
        return loss(model, guide, **options)

    return make


def teacher(b):
    return normal(b, WIDTH).float()


def margins(b):
    return normal(b, 2).float()


def no_labels(b):
    return None


def softmax(model):
    return losses.SoftmaxLoss(model, WIDTH, 3)


# What each is made with, its columns and its labels.
LOSSES = {
    "MultipleNegativesRankingLoss": (MNRL, 3, no_labels),
    "CachedMultipleNegativesRankingLoss": (
        lambda m: losses.CachedMultipleNegativesRankingLoss(m, mini_batch_size=5),
        2,
        no_labels,
    ),
    "MultipleNegativesSymmetricRankingLoss": (
        losses.MultipleNegativesSymmetricRankingLoss,
        2,
        no_labels,
    ),
    "CachedMultipleNegativesSymmetricRankingLoss": (
        lambda m: losses.CachedMultipleNegativesSymmetricRankingLoss(m, mini_batch_size=3),
        2,
        no_labels,
    ),
    "SoftmaxLoss": (softmax, 2, classes),
    "EmbedDistillLoss": (losses.EmbedDistillLoss, 2, teacher),
    "MSELoss": (losses.MSELoss, 1, teacher),
    "DistillKLDivLoss": (losses.DistillKLDivLoss, 3, margins),
    "MarginMSELoss": (losses.MarginMSELoss, 3, scores),
    "AdaptiveLayerLoss": (
        lambda m: losses.AdaptiveLayerLoss(m, MNRL(m), n_layers_per_step=-1),
        2,
        no_labels,
    ),
    "MatryoshkaLoss": (lambda m: losses.MatryoshkaLoss(m, MNRL(m), [32, 16, 5]), 3, no_labels),
    "Matryoshka2dLoss": (
        lambda m: losses.Matryoshka2dLoss(m, MNRL(m), [32, 16], n_layers_per_step=-1),
        2,
        no_labels,
    ),
    "SupervisedContrastiveLoss": (losses.SupervisedContrastiveLoss, 1, classes),
    "BatchAllTripletLoss": (losses.BatchAllTripletLoss, 1, classes),
    "BatchHardTripletLoss": (losses.BatchHardTripletLoss, 1, classes),
    "BatchHardSoftMarginTripletLoss": (losses.BatchHardSoftMarginTripletLoss, 1, classes),
    "BatchSemiHardTripletLoss": (losses.BatchSemiHardTripletLoss, 1, classes),
    "GISTEmbedLoss": (guided(losses.GISTEmbedLoss), 2, no_labels),
    "CachedGISTEmbedLoss": (
        guided(losses.CachedGISTEmbedLoss, mini_batch_size=4),
        3,
        no_labels,
    ),
    "MegaBatchMarginLoss": (
        lambda m: losses.MegaBatchMarginLoss(m, mini_batch_size=4),
        2,
        no_labels,
    ),
    "AnglELoss": (losses.AnglELoss, 2, scores),
    "CoSENTLoss": (losses.CoSENTLoss, 2, scores),
    "ContrastiveLoss": (losses.ContrastiveLoss, 2, binary),
    "CosineSimilarityLoss": (losses.CosineSimilarityLoss, 2, scores),
    "OnlineContrastiveLoss": (losses.OnlineContrastiveLoss, 2, binary),
    "GlobalOrthogonalRegularizationLoss": (
        losses.GlobalOrthogonalRegularizationLoss,
        2,
        no_labels,
    ),
    "TripletLoss": (losses.TripletLoss, 3, no_labels),
    "ContrastiveTensionLoss": (losses.ContrastiveTensionLoss, 2, binary),
    "ContrastiveTensionLossInBatchNegatives": (
        losses.ContrastiveTensionLossInBatchNegatives,
        1,
        no_labels,
    ),
}
# It needs a decoder; beside the peer's in tests/parity/test_losses_of_encoders.py.
ELSEWHERE = {"DenoisingAutoEncoderLoss"}


@pytest.fixture(scope="module")
def models(tiny_folders):
    folder = tiny_folders("bert", 256)
    transformer = Transformer(folder)
    own = SentenceTransformer(modules=[transformer, Pooling(WIDTH)], device="cpu").eval()
    assert own.is_packed
    return own, ByTransformers(folder, transformer).eval()


def backward(make, model, features, labels):
    random.seed(0)
    torch.manual_seed(0)  # for weights of the loss, and for what it draws
    loss = make(model)
    if labels is not None and labels.is_floating_point():
        labels = labels.float()
    model.zero_grad()
    value = total(loss(features, labels))
    value.backward()
    encoder = model.encoder if isinstance(model, ByTransformers) else model[0].auto_model
    return value.detach(), gradients(encoder)


@pytest.mark.parametrize("name", LOSSES)
def test_value_and_gradient_of_every_weight(name, models):
    make, n, labels = LOSSES[name]
    features = [models[0].read(texts) for texts in uneven.columns(n, ROWS, seed=len(name))]
    own, wanted = (backward(make, model, features, labels(ROWS)) for model in models)
    torch.testing.assert_close(own[0], wanted[0], rtol=1e-5, atol=1e-6)
    assert_close(own[1], wanted[1])


def test_every_loss_is_here():
    named = {name for name in losses.__all__ if name.endswith(("Loss", "InBatchNegatives"))}
    assert named - {"Loss"} == LOSSES.keys() | ELSEWHERE
