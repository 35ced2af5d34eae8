"""The table of forms: which losses read which data."""

import pytest

from sentune.data import forms
from sentune.data.forms import FORMS, Label, forms_of, losses_for, wanted_by


@pytest.mark.parametrize(
    ("inputs", "label", "form", "loss"),
    [
        (2, Label("score"), "pair and score", "CosineSimilarityLoss"),
        (2, Label("binary"), "pair and 0 or 1", "ContrastiveLoss"),
        (2, Label("class"), "pair and class", "SoftmaxLoss"),
        (2, Label("none"), "pair", "MultipleNegativesRankingLoss"),
        (1, Label("class"), "sentence and class", "BatchHardTripletLoss"),
        (3, Label("none"), "triplet", "TripletLoss"),
        (6, Label("none"), "anchor, positive, negatives", "MultipleNegativesRankingLoss"),
        (3, Label("list", 2), "query, documents, scores", "DistillKLDivLoss"),
        (3, Label("score"), "query, documents, margins", "MarginMSELoss"),
        (4, Label("list", 2), "query, documents, margins", "MarginMSELoss"),
        (1, Label("list", 384), "text and embedding", "MSELoss"),
        (2, Label("matrix"), "text and embedding", "MSELoss"),
        (1, Label("none"), "sentence", "ContrastiveTensionLossInBatchNegatives"),
    ],
)
def test_each_form_of_the_guide_is_known_and_has_its_loss(inputs, label, form, loss):
    assert form in [found.name for found in forms_of(inputs, label)]
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
    ],
)
def test_a_loss_that_does_not_fit_is_not_advised(inputs, label, loss):
    assert loss not in losses_for(inputs, label)


def test_data_that_nothing_reads_has_no_losses():
    assert losses_for(0, Label("none")) == ()
    assert losses_for(2, Label("other")) == ()


def test_what_a_loss_wants_is_looked_up_in_the_same_table():
    assert [form.name for form in wanted_by("TripletLoss")] == ["triplet"]
    assert len(wanted_by("MultipleNegativesRankingLoss")) == 3
    assert wanted_by("SomeonesOwnLoss") == ()


def test_every_loss_of_the_library_is_in_the_table_or_wraps_another():
    from sentune import losses

    named = {name for name in losses.__all__ if name.endswith("Loss") or "InBatch" in name}
    listed = {loss for form in FORMS for loss in form.losses} | set(forms.WRAPPERS)
    assert named - {"Loss"} <= listed


def test_the_names_of_forms_are_unique():
    assert len({form.name for form in FORMS}) == len(FORMS)
