import pytest
import torch

from sentune import losses
from sentune.errors import SettingError
from sentune.losses import BatchHardTripletLossDistanceFunction as Distance
from tests.losses.tools import TableModel

# On a line: class 0 at 0 and 1, class 1 at 3 and 7.
ROWS, LABELS = torch.tensor([[0.0], [1.0], [3.0], [7.0]]), torch.tensor([0, 0, 1, 1])


def value(loss, **options):
    return loss(TableModel(), **options).compute([ROWS], LABELS).item()


def test_batch_hard_by_hand():
    # max positive - min negative: 1 - 3, 1 - 2, 4 - 2, 4 - 6; with margin 2: 0, 1, 4, 0.
    assert value(losses.BatchHardTripletLoss, margin=2) == pytest.approx(5 / 4)


def test_batch_hard_soft_margin_by_hand():
    expected = torch.tensor([-2.0, -1, 2, -2]).exp().log1p().mean().item()
    assert value(losses.BatchHardSoftMarginTripletLoss) == pytest.approx(expected)


def test_batch_all_by_hand():
    # a=0: 1-3+2=0, 1-7+2<0; a=1: 1-2+2=1, 1-6+2<0; a=3: 4-3+2=3, 4-2+2=4; a=7: 4-7+2<0, 4-6+2=0.
    assert value(losses.BatchAllTripletLoss, margin=2) == pytest.approx((1 + 3 + 4) / 3)


def test_batch_semi_hard_by_hand():
    # a=0: positive at 1, next negative at 3. a=1: 1, 2. a=3: positive at 4, none beyond, so the
    # furthest, 3. a=7: 4, 6. With margin 2: 0, 1, 3, 0.
    assert value(losses.BatchSemiHardTripletLoss, margin=2) == pytest.approx(4 / 4)


def test_a_negative_as_far_as_the_positive_is_not_beyond_it():
    rows = torch.tensor([[0.0], [1.0], [-1.0], [5.0]])
    labels = torch.tensor([0, 0, 1, 1])
    loss = losses.BatchSemiHardTripletLoss(TableModel(), margin=10)
    # a=0: positive at 1, negatives at 1 and 5: 5. a=1: 1, negatives 2, 4: 2. a=-1 (positive at 6):
    # none beyond, furthest 2. a=5: positive at 6, furthest 5.
    expected = ((1 - 5) + (1 - 2) + (6 - 2) + (6 - 5)) / 4 + 10
    assert loss.compute([rows], labels).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    "name",
    [
        *("BatchAllTriplet", "BatchHardTriplet", "BatchHardSoftMarginTriplet"),
        *("BatchSemiHardTriplet", "SupervisedContrastive"),
    ],
)
@pytest.mark.parametrize("labels", [torch.zeros(4), torch.arange(4)], ids=["one class", "alone"])
def test_a_batch_without_negatives_or_without_positives_has_a_finite_gradient(name, labels):
    rows = ROWS.clone().requires_grad_()
    result = getattr(losses, f"{name}Loss")(TableModel()).compute([rows], labels)
    result.backward()
    assert result.isfinite() and rows.grad.isfinite().all()


def test_distances():
    rows = torch.tensor([[3.0, 4.0], [0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    distance = Distance.euclidean_distance(rows)
    torch.testing.assert_close(distance.detach(), torch.tensor([[0.0, 5, 0], [5, 0, 5], [0, 5, 0]]))
    squared = Distance.euclidean_distance(rows, squared=True)
    torch.testing.assert_close(squared, distance**2)
    assert Distance.eucledian_distance is Distance.euclidean_distance
    distance.sum().backward()
    assert rows.grad.isfinite().all()
    cosine = Distance.cosine_distance(torch.eye(2))
    torch.testing.assert_close(cosine, 1 - torch.eye(2))


def test_near_rows_keep_their_distance_far_from_the_origin():
    rows = torch.tensor([[1000.0, 0.0], [1000.0, 0.01]])
    assert Distance.euclidean_distance(rows)[0, 1].item() == pytest.approx(0.01, rel=1e-4)


def test_one_row_has_nothing_to_find():
    rows = torch.ones(1, 3, requires_grad=True)
    result = losses.SupervisedContrastiveLoss(TableModel()).compute([rows], torch.tensor([4]))
    result.backward()
    assert result == 0 and (rows.grad == 0).all()


def test_a_temperature_is_above_0():
    with pytest.raises(SettingError, match="temperature must be > 0, got 0"):
        losses.SupervisedContrastiveLoss(TableModel(), temperature=0)
