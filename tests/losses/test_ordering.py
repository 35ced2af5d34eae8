import math

import pytest
import torch

from sentune import losses
from sentune.errors import InputError
from sentune.losses.ordering import order_loss
from tests.losses.tools import TableModel


def test_order_loss_by_hand():
    # One pair of rows in the wrong order (by 1), one in the right order (by 2), one tie of labels.
    scores, labels = torch.tensor([0.0, 1.0, -1.0]), torch.tensor([2, 1, 1])
    expected = math.log(1 + math.exp(1.0) + math.exp(-1.0))
    assert order_loss(scores, labels).item() == pytest.approx(expected)


def test_equal_labels_are_not_compared():
    scores = torch.randn(6, requires_grad=True)
    value = order_loss(scores, torch.full((6,), 0.3))
    value.backward()
    assert value.item() == 0 and not scores.grad.any()


def test_only_the_order_of_labels_counts():
    scores = torch.randn(6)
    labels = torch.tensor([0.1, 0.9, 0.5, 0.2, 0.2, 0.0])
    torch.testing.assert_close(order_loss(scores, labels), order_loss(scores, labels**3 * 40))


def test_scores_far_apart_do_not_overflow():
    value = order_loss(torch.tensor([-900.0, 900.0]), torch.tensor([1.0, 0.0]))
    assert value.item() == pytest.approx(1800.0)


@pytest.mark.parametrize("loss", [losses.CoSENTLoss, losses.AnglELoss])
def test_labels_may_be_booleans(loss):
    columns = [torch.randn(4, 6), torch.randn(4, 6)]
    labels = torch.tensor([True, False, True, False])
    made = loss(TableModel())
    torch.testing.assert_close(made.compute(columns, labels), made.compute(columns, labels.int()))


def test_angle_wants_labels_for_pairs_only():
    loss = losses.AnglELoss(TableModel())
    with pytest.raises(InputError, match="AnglELoss wants a float score for each pair, got none"):
        loss.compute([torch.randn(3, 4)] * 2)
    assert loss.compute([torch.randn(3, 4) for _ in range(3)]).isfinite()
