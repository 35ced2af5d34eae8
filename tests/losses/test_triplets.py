import pytest
import torch

from sentune import losses
from tests.losses.tools import TableModel


def test_triplet_by_hand():
    anchor, positive, negative = torch.eye(3)[:1], torch.eye(3)[1:2], 3 * torch.eye(3)[:1]
    # Euclidean: sqrt(2) - 2 + 5.
    value = losses.TripletLoss(TableModel()).compute([anchor, positive, negative])
    assert value.item() == pytest.approx(2**0.5 + 3)


def test_a_negative_beyond_the_margin_costs_nothing():
    columns = [torch.zeros(2, 3), torch.zeros(2, 3), torch.full((2, 3), 9.0)]
    assert losses.TripletLoss(TableModel()).compute(columns).item() == 0


@pytest.mark.parametrize("name", ["COSINE", "EUCLIDEAN", "MANHATTAN"])
def test_the_distance_is_named_in_the_settings(name):
    metric = getattr(losses.TripletDistanceMetric, name)
    loss = losses.TripletLoss(TableModel(), distance_metric=metric, triplet_margin=0.1)
    assert loss.settings() == {
        "distance_metric": f"TripletDistanceMetric.{name}",
        "triplet_margin": 0.1,
    }
