import pytest
import torch
from torch import nn

from sentune import losses
from sentune.errors import InputError, SettingError
from tests.losses import loops
from tests.losses.tools import TableModel, column, value_and_gradient

FEATURES = [column(7, seed) for seed in range(2)]
LABELS = torch.tensor([0, 2, 1, 1, 0, 2, 2])
SEEN = [(True, True, False), (True, False, True), (False, True, False), (True, True, True)]


@pytest.mark.parametrize("seen", SEEN)
def test_the_loss_is_what_its_definition_says(seen):
    loss = losses.SoftmaxLoss(TableModel(), 6, 3, *seen)
    columns = [loss.model(x)["sentence_embedding"] for x in FEATURES]
    head = loss.classifier
    value = loss(FEATURES, LABELS)
    expected = loops.softmax(columns, LABELS, head.weight, head.bias, *seen)
    torch.testing.assert_close(value, expected)
    weights = [loss.model.table, head.weight, head.bias]
    gradient = torch.autograd.grad(value, weights)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, weights))


def test_mini_batches_change_neither_value_nor_gradient():
    results = []
    for size in (None, 3):
        torch.manual_seed(0)
        loss = losses.SoftmaxLoss(TableModel(), 6, 3, mini_batch_size=size)
        results.append((value_and_gradient(loss, FEATURES, LABELS), loss.classifier.weight.grad))
    torch.testing.assert_close(*results)


def test_the_width_is_asked_of_the_model_or_given_under_its_older_name():
    for options in ({}, {"embedding_dimension": 6}, {"sentence_embedding_dimension": 6}):
        loss = losses.SoftmaxLoss(TableModel(), num_labels=2, **options)
        assert loss.classifier.weight.shape == (2, 18)


def test_without_labels_it_gives_embeddings_and_logits():
    loss = losses.SoftmaxLoss(TableModel(), 6, 3)
    columns, logits = loss(FEATURES, None)
    assert [rows.shape for rows in columns] == [(7, 6)] * 2 and logits.shape == (7, 3)
    torch.testing.assert_close(logits, loss.logits(columns))
    expected = nn.functional.cross_entropy(logits, LABELS)
    torch.testing.assert_close(loss(FEATURES, LABELS), expected)


def test_another_loss_may_take_one_target_per_class():
    loss = losses.SoftmaxLoss(TableModel(), 6, 3, loss_fct=nn.BCEWithLogitsLoss())
    targets = nn.functional.one_hot(LABELS, 3).float()
    logits = loss(FEATURES)[1]
    expected = nn.functional.binary_cross_entropy_with_logits(logits, targets)
    torch.testing.assert_close(loss(FEATURES, targets), expected)


def test_a_classifier_in_half_precision_works():
    loss = losses.SoftmaxLoss(TableModel(), 6, 3).bfloat16()
    assert loss(FEATURES, LABELS).isfinite()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_labels": 2, "concatenation_sent_rep": False, "concatenation_sent_difference": False},
         "the classifier sees nothing"),
        ({}, "needs num_labels"),
    ],
)  # fmt: skip
def test_a_classifier_that_cannot_be_built_is_refused(options, message):
    with pytest.raises(SettingError, match=message):
        losses.SoftmaxLoss(TableModel(), 6, **options)


def test_bad_input_is_refused():
    loss = losses.SoftmaxLoss(TableModel(), 6, 3)
    columns = [torch.randn(4, 6)] * 2
    with pytest.raises(InputError, match="SoftmaxLoss wants integer labels, one for each"):
        loss.compute(columns, torch.tensor([0, 1]))
    with pytest.raises(InputError, match="got none"):
        loss.compute(columns)
    with pytest.raises(InputError, match="got 3 columns"):
        loss.compute([torch.randn(4, 6)] * 3, torch.zeros(4, dtype=torch.long))


def test_settings():
    assert losses.SoftmaxLoss(TableModel(), 6, 3).settings() == {
        "num_labels": 3,
        "concatenation_sent_rep": True,
        "concatenation_sent_difference": True,
        "concatenation_sent_multiplication": False,
    }
