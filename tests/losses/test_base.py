import inspect

import pytest
import torch

from sentune import losses
from sentune.errors import SettingError
from sentune.losses import Loss
from sentune.losses.base import describe
from tests.losses.tools import TableModel, column


class Spread(Loss):
    """A loss as a user writes it."""

    def compute(self, columns, labels=None):
        (rows,) = self.take(columns)
        return rows.var()


def test_a_loss_of_ones_own_needs_only_compute():
    features = [column(4, 0)]
    loss = Spread(TableModel(), mini_batch_size=2)
    expected = loss.model(features[0])["sentence_embedding"].var()
    torch.testing.assert_close(loss(features), expected)
    torch.testing.assert_close(loss(iter(features)), expected)


@pytest.mark.parametrize("option", ["similarity_fct", "distance_metric"])
def test_the_name_of_a_function_in_its_place_is_refused_at_once(option):
    refused = 0
    for name in losses.__all__:
        kind = getattr(losses, name)
        takes = isinstance(kind, type) and issubclass(kind, Loss) and kind is not Loss
        default = takes and inspect.signature(kind).parameters.get(option)
        if default and callable(default.default):
            with pytest.raises(SettingError, match=f"{option} must be a function, got 'cosine'"):
                kind(TableModel(), **{option: "cosine"})
            refused += 1
    assert refused > 4


def test_a_loss_without_compute_says_what_is_missing():
    with pytest.raises(NotImplementedError, match="Loss has to define compute"):
        Loss(TableModel())([column(4, 0)])


def test_the_peers_name_of_compute_works_too():
    rows = torch.randn(4, 3)
    assert Spread(TableModel()).compute_loss_from_embeddings([rows]) == rows.var()


def test_the_features_are_left_as_they_were():
    features = [column(4, seed) for seed in range(2)]
    before = [dict(x) for x in features]
    losses.MultipleNegativesRankingLoss(TableModel(), mini_batch_size=3)(features)
    for x, y in zip(features, before, strict=True):
        assert x.keys() == y.keys() and all(x[key] is y[key] for key in x)


def test_every_public_name_can_be_had():
    for name in losses.__all__:
        assert getattr(losses, name).__name__ == name
    with pytest.raises(AttributeError):
        losses.NoSuchLoss  # noqa: B018


def test_settings_name_objects_without_a_name_by_their_class():
    class Metric:
        def __call__(self, a, b):
            return a

    assert describe(Metric()).endswith("Metric")
    assert describe(None) is None


def test_columns_and_labels_are_those_of_the_forms():
    angle, spread = losses.AnglELoss(TableModel()), Spread(TableModel())
    assert (angle.min_columns, angle.max_columns) == (2, None)
    assert (angle.label_kind, angle.is_label_optional) == ("score", True)
    assert (spread.min_columns, spread.max_columns) == (1, None)
    assert (spread.label_kind, spread.is_label_optional) == ("none", False)
    pair = losses.ContrastiveLoss(TableModel())
    assert (pair.min_columns, pair.max_columns) == (2, 2)
    assert (pair.label_kind, pair.is_label_optional) == ("binary", False)


@pytest.mark.parametrize("mini_batch_size", [None, 2])
def test_a_model_in_half_precision_is_trained_with_a_finite_gradient(tiny_model, mini_batch_size):
    model = tiny_model.bfloat16().train()
    features = [model.read(["a cat", "the dog ran", "fish"]) for _ in range(2)]
    loss = losses.MultipleNegativesRankingLoss(model, mini_batch_size=mini_batch_size)
    value = loss(features)
    value.backward()
    assert value.dtype == torch.float32 and value.isfinite()
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    assert len(gradients) > 30 and all(gradient.isfinite().all() for gradient in gradients)
