import pytest
import torch
from torch import nn

from sentune import losses
from sentune.errors import SentuneWarning
from tests.losses.tools import TableModel

RIGHT_ANGLE = [torch.eye(2), torch.eye(2).flip(0)]  # cosine 0, distance 1, row by row


def test_cosine_similarity_takes_another_loss_and_a_transformation():
    loss = losses.CosineSimilarityLoss(
        TableModel(), loss_fct=nn.L1Loss(), cos_score_transformation=nn.Sigmoid()
    )
    value = loss.compute(RIGHT_ANGLE, torch.tensor([1.0, 0.25]))  # sigmoid(0) = 0.5
    assert value.item() == pytest.approx((0.5 + 0.25) / 2)
    assert loss.settings() == {
        "loss_fct": "torch.nn.modules.loss.L1Loss",
        "cos_score_transformation": "torch.nn.modules.activation.Sigmoid",
    }


def test_labels_may_be_a_column_or_integers():
    loss = losses.CosineSimilarityLoss(TableModel())
    assert loss.compute(RIGHT_ANGLE, torch.tensor([[1], [1]])).item() == pytest.approx(1.0)


def test_contrastive_by_hand():
    # Cosine distance 1 each. Match: 1/2 · 1. No match: 1/2 · relu(1.5 - 1)^2.
    loss = losses.ContrastiveLoss(TableModel(), margin=1.5)
    assert loss.compute(RIGHT_ANGLE, torch.tensor([1, 0])).item() == pytest.approx(0.3125)
    assert loss.settings()["distance_metric"] == "SiameseDistanceMetric.COSINE_DISTANCE"


def test_contrastive_leaves_distant_pairs_that_do_not_match():
    loss = losses.ContrastiveLoss(TableModel(), margin=0.5)
    assert loss.compute(RIGHT_ANGLE, torch.zeros(2)).item() == 0


def test_labels_that_are_not_binary_are_warned_of_once():
    loss = losses.ContrastiveLoss(TableModel())
    with pytest.warns(SentuneWarning, match="0 or 1, got for example 0.5") as seen:
        value = loss.compute(RIGHT_ANGLE, torch.tensor([0.5, 1.0]))
        loss.compute(RIGHT_ANGLE, torch.tensor([0.5, 1.0]))
    assert len(seen) == 1
    assert value.item() == pytest.approx((0.25 + 0.5) / 2)  # as weights of the two terms


def test_online_contrastive_by_hand():
    # On a line, distances: matching 1 and 4, others 2 and 6. Hard: matching 4 (> 2), other 2 (< 4).
    first = torch.zeros(4, 1)
    second = torch.tensor([[1.0], [4.0], [2.0], [6.0]])
    metric = losses.SiameseDistanceMetric.EUCLIDEAN
    loss = losses.OnlineContrastiveLoss(TableModel(), distance_metric=metric, margin=3.0)
    value = loss.compute([first, second], torch.tensor([1, 1, 0, 0]))
    assert value.item() == pytest.approx(4**2 + (3 - 2) ** 2, rel=1e-5)


def test_online_contrastive_leaves_out_other_labels_and_says_so():
    loss = losses.OnlineContrastiveLoss(TableModel())
    columns = [torch.randn(4, 3, requires_grad=True), torch.randn(4, 3)]
    with pytest.warns(SentuneWarning, match="got for example 7.*left out"):
        value = loss.compute(columns, torch.tensor([7, 7, 7, 7]))
    value.backward()
    assert value.item() == 0 and not columns[0].grad.any()
