"""Losses of users that define `forward`, or what other libraries name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sentune import losses
from sentune.errors import SettingError
from sentune.losses import AdaptiveLayerLoss, Matryoshka2dLoss, MatryoshkaLoss
from sentune.losses import MultipleNegativesRankingLoss as MNRL
from tests.losses.test_nested import LayeredModel
from tests.losses.tools import column, total, value_and_gradient

FEATURES = [column(6, seed) for seed in range(3)]
PAIR = FEATURES[:2]


class Plain(nn.Module):
    """Follows only the signature of `forward`; holds the model under a name of its own."""

    def __init__(self, model):
        super().__init__()
        self.encoder = model

    def forward(self, sentence_features, labels=None):
        u, v = [self.encoder(features)["sentence_embedding"] for features in sentence_features]
        return (1 - torch.cosine_similarity(u, v) * labels).mean()


class Computed(losses.Loss):
    """As `Plain`, in the way of this library."""

    def compute(self, columns, labels=None):
        u, v = columns
        return (1 - torch.cosine_similarity(u, v) * labels).mean()


class Around(nn.Module):
    """A plain module with a loss of the library in it."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.inner = losses.CachedMultipleNegativesRankingLoss(model, mini_batch_size=2)

    def forward(self, sentence_features, labels=None):
        return {"twice": 2 * self.inner(sentence_features, labels), "none": torch.zeros(())}


class OwnForward(MNRL):
    """A loss of the library with another `forward`."""

    def forward(self, sentence_features, labels=None):
        return 2 * super().forward(sentence_features, labels)


def wrapped(model, inner, kind):
    if kind == "widths":
        return MatryoshkaLoss(model, inner, [6, 3, 1])
    if kind == "layers":
        return AdaptiveLayerLoss(model, inner, -1)
    if kind == "both":
        return Matryoshka2dLoss(model, inner, [6, 2], n_layers_per_step=-1, n_dims_per_step=-1)
    return MatryoshkaLoss(model, AdaptiveLayerLoss(model, inner, -1), [6, 2])


@pytest.mark.parametrize("kind", ["widths", "layers", "both", "layers in widths"])
@pytest.mark.parametrize(
    ("own", "same"),
    [
        (Plain, Computed),
        (Around, lambda model: Twice(model)),
        (OwnForward, lambda model: Twice(model)),
    ],
    ids=["plain", "around", "forward"],
)
def test_a_custom_loss_in_a_wrapper_is_what_its_mathematics_is(own, same, kind):
    labels = torch.tensor([1.0, 0.5, 0, 0.2, 1, 0.1])
    results = []
    for build in (own, same):
        model = LayeredModel()
        inner = build(model)
        loss = wrapped(model, inner, kind)
        results.append(value_and_gradient(loss, PAIR, labels))
        assert model.rows_seen == [12]  # all texts at once, whatever is computed of them
        assert all(
            child is model
            for module in loss.modules()
            for name, child in module._modules.items()
            if name in ("model", "encoder")
        )
    torch.testing.assert_close(results[0], results[1])
    assert results[0][1].any()


class Twice(MNRL):
    def compute(self, columns, labels=None, **context):
        return 2 * super().compute(columns, labels)


def test_a_custom_loss_is_itself_in_its_wrapper():
    model = LayeredModel()
    inner = Plain(model)
    loss = MatryoshkaLoss(model, inner, [6])
    assert loss.loss is inner
    assert {name.split(".")[0] for name, _ in loss.named_parameters()} == {"model"}


def test_the_model_is_back_after_an_error():
    class Fails(Plain):
        def forward(self, sentence_features, labels=None):
            assert self.encoder is not model
            raise ValueError("as it happens")

    model = LayeredModel()
    inner = Fails(model)
    with pytest.raises(ValueError, match="as it happens"):
        MatryoshkaLoss(model, inner, [6])(PAIR)
    assert inner.encoder is model


class Asks(Plain):
    """Uses the model beyond its embeddings."""

    def forward(self, sentence_features, labels=None):
        assert self.encoder.get_embedding_dimension() == 6
        assert self.encoder.table.shape == (30, 6)
        fresh = self.encoder({key: x for key, x in PAIR[0].items()})["sentence_embedding"]
        assert fresh.shape == (6, 6)
        assert sentence_features[0]["attention_mask"].shape[0] == 6
        return self.encoder(sentence_features[0])["sentence_embedding"].square().mean()


def test_a_custom_loss_may_ask_the_model_for_more():
    model = LayeredModel()
    value = MatryoshkaLoss(model, Asks(model), [6, 3])(PAIR)
    torch.testing.assert_close(value, torch.tensor(1 / 6 + 1 / 3))


class Wrong(Plain):
    def __init__(self, model, give):
        super().__init__(model)
        self.give = give

    def forward(self, sentence_features, labels=None):
        return self.give(self.encoder(sentence_features[0]))


@pytest.mark.parametrize(
    ("give", "message"),
    [
        (lambda x: x["token_embeddings"].mean(), "read 'sentence_embedding' only, and not 'token_"),
        (lambda x: x["sentence_embedding"].mean(1), r"Wrong gives float32 numbers of shape \(6,\)"),
        (lambda x: (x["sentence_embedding"].mean(), 1), "Wrong gives a tuple: return the loss"),
    ],
)
def test_what_a_wrapper_cannot_work_with_is_said(give, message):
    model = LayeredModel()
    with pytest.raises(SettingError, match=message):
        MatryoshkaLoss(model, Wrong(model, give), [6])(PAIR)


def test_a_loss_with_two_models_and_a_forward_of_its_own_is_refused():
    class Own(losses.ContrastiveTensionLoss):
        def forward(self, sentence_features, labels=None):
            return super().forward(sentence_features, labels)

    model = LayeredModel()
    with pytest.raises(SettingError, match="cannot wrap Own, .*define compute in place of forward"):
        MatryoshkaLoss(model, Own(model), [6])
    assert total(Own(model)(PAIR)).isfinite()
