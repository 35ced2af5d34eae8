"""What the losses declare of the data that they read, and the advice that is made of it."""

import inspect

import pytest
import torch
from datasets import Dataset
from torch import nn

import sentune.data
from sentune import losses
from sentune.data import forms
from sentune.data.forms import FORMS, Form, Label, Limits
from sentune.errors import DatasetError, SentuneWarning
from sentune.losses import Loss
from sentune.losses.fitting import check, losses_for, public_losses
from tests.losses.tools import TableModel
from tests.training.tools import PAIRS, assert_trained, trainer, weights

PUBLIC = public_losses()
WRAPPERS = {name for name, loss in PUBLIC.items() if "loss" in inspect.signature(loss).parameters}


@pytest.mark.parametrize(
    ("inputs", "label", "loss"),
    [
        (2, Label("score"), "CosineSimilarityLoss"),
        (2, Label("binary"), "ContrastiveLoss"),
        (2, Label("class"), "SoftmaxLoss"),
        (2, Label("none"), "MultipleNegativesRankingLoss"),
        (1, Label("class"), "BatchHardTripletLoss"),
        (3, Label("none"), "TripletLoss"),
        (6, Label("none"), "MultipleNegativesRankingLoss"),
        (3, Label("list", 2), "DistillKLDivLoss"),
        (3, Label("score"), "MarginMSELoss"),
        (4, Label("list", 2), "MarginMSELoss"),
        (1, Label("list", 384), "MSELoss"),
        (2, Label("matrix"), "MSELoss"),
        (1, Label("none"), "ContrastiveTensionLossInBatchNegatives"),
    ],
)
def test_a_loss_that_fits_is_advised(inputs, label, loss):
    assert loss in losses_for(inputs, label)


@pytest.mark.parametrize(
    ("inputs", "label", "loss"),
    [
        (2, Label("score"), "MultipleNegativesRankingLoss"),
        (2, Label("score"), "ContrastiveLoss"),
        (2, Label("class"), "CosineSimilarityLoss"),
        (2, Label("none"), "TripletLoss"),
        (3, Label("none"), "MegaBatchMarginLoss"),
        (1, Label("score"), "BatchHardTripletLoss"),
        (4, Label("list", 4), "DistillKLDivLoss"),
        (2, Label("none"), "DenoisingAutoEncoderLoss"),  # data seldom are what it wants
        (2, Label("binary"), "ContrastiveTensionLoss"),
        (2, Label("none"), "GlobalOrthogonalRegularizationLoss"),  # teaches nothing alone
        (3, Label("list", 2), "MSELoss"),  # a score for each document, not an embedding
    ],
)
def test_a_loss_that_does_not_fit_is_not_advised(inputs, label, loss):
    assert loss not in losses_for(inputs, label)


def test_data_that_nothing_reads_has_no_losses():
    assert losses_for(0, Label("none")) == ()
    assert losses_for(2, Label("other")) == ()


def test_advice_begins_with_the_best_loss():
    assert losses_for(2, Label("binary")) == (
        *("OnlineContrastiveLoss", "ContrastiveLoss", "CoSENTLoss", "AnglELoss"),
        *("CosineSimilarityLoss", "SoftmaxLoss"),
    )
    assert losses_for(1, Label("class"))[:3] == (
        *("SupervisedContrastiveLoss", "BatchAllTripletLoss", "BatchHardTripletLoss"),
    )
    assert losses_for(3, Label("list", 2))[:2] == ("MarginMSELoss", "DistillKLDivLoss")
    assert losses_for(3, Label("none"))[-2:] == ("TripletLoss", "AnglELoss")


def test_every_public_loss_declares_its_forms_or_has_those_of_the_inner_loss():
    named = {name for name in losses.__all__ if name.endswith("Loss") or "InBatch" in name}
    assert named - {"Loss"} == set(PUBLIC)
    assert {name for name, loss in PUBLIC.items() if not loss.forms} == WRAPPERS
    assert WRAPPERS == {"MatryoshkaLoss", "AdaptiveLayerLoss", "Matryoshka2dLoss"}
    assert {form for loss in PUBLIC.values() for form in loss.forms} == set(FORMS)


@pytest.mark.parametrize("name", sorted(set(PUBLIC) - WRAPPERS))
def test_the_forms_of_a_loss_agree_with_the_columns_it_names(name):
    loss = PUBLIC[name]
    number, more = loss.inputs[0], "or more" in loss.inputs
    assert number == str(min(form.fewest for form in loss.forms))
    assert more == any(form.most is None for form in loss.forms)


@pytest.mark.parametrize("name", sorted(WRAPPERS))
def test_a_wrapper_has_the_forms_and_limits_of_the_inner_loss(name):
    model = TableModel()
    for inner in (losses.TripletLoss(model), losses.SoftmaxLoss(model, num_labels=3)):
        more = {} if name == "AdaptiveLayerLoss" else {"matryoshka_dims": [6]}
        outer = PUBLIC[name](model, inner, **more)
        assert (outer.forms, outer.limits) == (inner.forms, inner.limits) and outer.forms
        with pytest.raises(DatasetError, match=f"not fit {type(inner).__name__}:"):
            check([{"text": "a"}, {"text": "b"}], outer)


def test_limits_are_those_of_the_loss_as_it_was_set_up():
    model = TableModel()
    transformed = losses.CosineSimilarityLoss(model, cos_score_transformation=nn.Sigmoid())
    assert losses.CosineSimilarityLoss(model).limits == Limits(scores=(-1, 1))
    assert transformed.limits == Limits()
    assert losses.SoftmaxLoss(model, num_labels=3).limits == Limits(classes=3)
    assert losses.MSELoss(model).limits == Limits(width=6)
    assert losses.EmbedDistillLoss(model, projection_dim=4).limits == Limits(width=4)
    assert losses.MSELoss.limits == losses.SoftmaxLoss.limits == Limits()


def test_a_projection_that_is_loaded_changes_the_width_that_is_wanted(tmp_path):
    model, path = TableModel(), tmp_path / "projection.safetensors"
    losses.MSELoss(model, projection_dim=4).save_projection(path)
    loss = losses.MSELoss(model)
    loss.load_projection(path)
    assert loss.limits == Limits(width=4)


# Custom losses ------------------------------------------------------------------------------------


class Declared(Loss):
    """Says what it reads: two texts and a score that it can reach."""

    inputs = "2 columns (left, right)"
    forms = (forms.PAIR_AND_SCORE,)
    limits = Limits(scores=(0.0, 1.0))

    def compute(self, columns, labels=None):
        first, second = self.take(columns)
        scores = torch.cosine_similarity(first, second)
        return (scores - self.row_labels(labels, first)).square().mean()


class Silent(Loss):
    """Says nothing of what it reads."""

    def compute(self, columns, labels=None):
        return sum(column.square().mean() for column in columns)


class PlainModule(nn.Module):
    """A loss as it is written for sentence-transformers, whatever its attributes are called."""

    forms = (forms.TRIPLET,)

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, sentence_features, labels=None):
        columns = [self.model(column)["sentence_embedding"] for column in sentence_features]
        return sum(column.square().mean() for column in columns)


def rows(**columns):
    return Dataset.from_dict(columns)


def test_a_custom_loss_that_declares_forms_is_checked_as_any_other(tiny_model, tmp_path):
    wrong = rows(text=PAIRS["anchor"], label=[0, 1, 2, 3, 4] * 2)
    with pytest.raises(DatasetError) as error:
        trainer(tiny_model, tmp_path, wrong, Declared(tiny_model))
    text = str(error.value)
    assert "does not fit Declared" in text
    assert "Declared wants two texts and a float that says how alike they are (2 text" in text
    assert "The dataset has 1 text column ('text') and integers (5 different, 0 to 4)" in text
    assert "Losses that fit it: SupervisedContrastiveLoss, BatchAllTripletLoss" in text
    high = rows(**PAIRS, score=[n / 2 for n in range(10)])
    with pytest.raises(DatasetError, match="wants scores from 0 to 1, 'score' has 0 to 4.5; di"):
        trainer(tiny_model, tmp_path, high, Declared(tiny_model))
    good = rows(**PAIRS, score=[n / 10 for n in range(10)])
    before = weights(tiny_model)
    trainer(tiny_model, tmp_path, good, Declared(tiny_model)).train()
    assert_trained(before, weights(tiny_model))


def test_what_a_custom_loss_declares_of_its_batches_is_checked():
    class Classes(Declared):
        forms, has_batch_classes = (forms.TEXT_AND_CLASS,), True

    class Negatives(Declared):
        forms, has_batch_negatives = (forms.PAIR,), True

    data = {"text": list("abcd"), "label": [7, 7, 8, 9]}
    with pytest.warns(SentuneWarning, match="2 of 3 classes have a single row"):
        check(data, Classes)
    with pytest.raises(DatasetError, match="Negatives takes its negatives from the other rows"):
        check({"a": list("abcd"), "b": list("efgh")}, Negatives, batch_size=1)


def test_a_form_may_be_of_ones_own():
    class Quadruple(Declared):
        forms = (Form("quadruple", "two pairs without a label", 4, 4, "none"),)

    loss = Quadruple(TableModel())
    assert (loss.min_columns, loss.max_columns, loss.label_kind) == (4, 4, "none")
    with pytest.raises(DatasetError, match=r"Quadruple wants two pairs without a label \(4 text"):
        check({"a": ["x", "y"], "b": ["z", "u"]}, loss)


@pytest.mark.parametrize("kind", [Silent, PlainModule])
def test_a_loss_that_declares_nothing_runs_unchecked(kind, tiny_model, tmp_path):
    data = rows(**PAIRS, label=[3.5] * 10)
    before = weights(tiny_model)
    trainer(tiny_model, tmp_path, data, kind(tiny_model)).train()
    assert_trained(before, weights(tiny_model))


def test_another_computation_has_none_of_the_parents_forms():
    class Other(losses.TripletLoss):
        def compute(self, columns, labels=None):
            return columns[0].mean()

    class Before(losses.TripletLoss):
        def forward(self, sentence_features, labels=None):
            return super().forward(list(sentence_features)[:3])

    class Same(losses.TripletLoss):
        pass

    assert Other.forms == Before.forms == () and Same.forms == losses.TripletLoss.forms
    check({"text": ["a", "b"], "label": [1, 2]}, Other)
    with pytest.raises(DatasetError, match="not fit Same"):
        check({"text": ["a", "b"], "label": [1, 2]}, Same)


@pytest.mark.parametrize(
    "loss", ["TripletLoss", losses.TripletLoss, losses.TripletLoss(TableModel())]
)
def test_a_loss_may_be_named(loss):
    assert sentune.data.check is check
    with pytest.raises(DatasetError, match="TripletLoss wants three texts"):
        sentune.data.check({"a": ["x", "y"], "b": ["z", "u"]}, loss)
