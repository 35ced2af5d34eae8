"""Every loss beside the peer's: value, and gradient of every weight, in float32."""

import random

import pytest
import torch

from sentune import losses
from sentune.engine import packing
from sentune.text import layouts
from tests.losses.tools import column, total
from tests.parity.loss_pairs import PAIRS, WithTokens

peer = pytest.importorskip("sentence_transformers")
theirs = pytest.importorskip("sentence_transformers.sentence_transformer.losses")

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the peer

RTOL, ATOL = 1e-5, 1e-6

# With a real encoder, in test_losses_of_encoders.py.
COMPARED_ELSEWHERE = {"AdaptiveLayerLoss", "Matryoshka2dLoss", "DenoisingAutoEncoderLoss"}

every_pair = pytest.mark.parametrize("pair", PAIRS, ids=str)


def float_labels(pair, b, d):
    labels = pair.labels(b, d)
    return labels.float() if labels is not None and labels.is_floating_point() else labels


def value_and_gradients(pair, library, features, labels, metrics_of=None):
    """Value, and the gradient of the model's weights and of the loss's own."""
    torch.manual_seed(0)  # for the first weights of the loss,
    random.seed(0)  # and for what it draws
    model = WithTokens(seed=4)
    loss = pair.build(library, model, metrics_of)
    value = loss(features, labels)
    total(value).backward()
    own = [  # the peer's guide is among its weights, though it is not trained
        weight
        for name, weight in loss.named_parameters()
        if weight is not model.table and "guide" not in name
    ]
    return value, [
        torch.zeros_like(weight) if weight.grad is None else weight.grad
        for weight in (model.table, *own)
    ]


def compare(pair, features, labels, metrics_of=None):
    ours = value_and_gradients(pair, losses, features, labels)
    padded = [packing.pad(x) for x in features]
    other = value_and_gradients(pair, theirs, padded, labels, metrics_of)
    torch.testing.assert_close(ours[0], other[0], rtol=RTOL, atol=ATOL)
    # Where large terms cancel, what is left is rounding in proportion to the largest.
    peak = max(1.0, *(float(gradient.abs().max()) for gradient in other[1]), 1.0)
    torch.testing.assert_close(ours[1], other[1], rtol=RTOL, atol=ATOL * peak)


@every_pair
@pytest.mark.parametrize("b", [2, 7, 16])
def test_value_and_gradient(pair, b):
    features = [column(b, seed + 10 * b) for seed in range(pair.n)]
    compare(pair, features, float_labels(pair, b, 6))


@every_pair
def test_value_and_gradient_where_texts_repeat(pair):
    """Similarities and distances tie, and some are of equal embeddings."""
    rows = [0, 1, 2, 3, 4, 0, 1, 2]
    features = [layouts.select(column(5, seed), rows) for seed in range(pair.n)]
    # The peer's euclidean distance of all rows is rounding noise between equal ones, and so is
    # its gradient there: it gets the exact distance, which leaves the mining to compare.
    metrics_of = losses if "Batch" in pair.name else None
    compare(pair, features, float_labels(pair, 8, 6), metrics_of)


def test_all_of_the_peers_names_are_here():
    assert set(theirs.__all__) <= set(losses.__all__)


def test_every_loss_is_compared():
    compared = {pair.name for pair in PAIRS} | COMPARED_ELSEWHERE
    named = {name for name in theirs.__all__ if name.endswith(("Loss", "InBatchNegatives"))}
    assert named <= compared
