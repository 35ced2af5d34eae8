"""Which class of pairs says that both texts mean the same."""

import numpy as np
import pytest

from sentune.errors import DatasetError
from sentune.workbench.rows.alike import alike_by_name, alike_class, order_of_classes
from tests.fake_encoder import FakeEncoder, sentences


@pytest.mark.parametrize(
    ("names", "alike"),
    [
        (["Entailment", "neutral", "contradiction"], 0),
        (["contradiction", "neutral", "ENTAILMENT"], 2),
        (["no", "maybe", "yes"], 2),
        (["duplicate", "not_duplicate"], 0),
        (["not_entailment", "entailment"], 1),
        (["non-match", "match"], 1),
        (["mismatch", "Match"], 1),
        (["NotParaphrase", "IsParaphrase"], 1),
        (["dissimilar", "similar"], 1),
        (["irrelevant", "relevant"], 1),
        (["related", "same", "unrelated"], 1),  # the plainer word
        (["true", "false"], 0),
        (["negative", "positive"], 1),
        (["A", "B"], None),
        (["same author", "same topic"], None),  # which of them is not said
        (None, None),
    ],
)
def test_the_name_of_a_class_says_which_one_is_alike(names, alike):
    assert alike_by_name(names) == alike


def test_of_0_and_1_it_is_1_and_without_a_name_or_a_model_an_error():
    assert alike_class([["x", "y"], ["z", "u"]], [0, 1], None, None) == 1
    assert alike_class([["x", "y"], ["z", "u"]], [0, 1], ["odd", "even"], None) == 1
    with pytest.raises(DatasetError, match="no name says"):
        alike_class([["x", "y"], ["z", "u"]], [0, 2], ["a", "b", "c"], None)


def test_without_a_name_the_model_says_it_by_the_mean_of_each_class():
    model, texts = FakeEncoder(), sentences(60, seed=2)
    columns, labels = (texts[:30], texts[30:]), [n % 3 for n in range(30)]
    first, second = (np.asarray(model.encode(column)) for column in columns)
    first, second = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (first, second))
    cosines = (first * second).sum(axis=1)
    means = {label: cosines[np.array(labels) == label].mean() for label in range(3)}
    order = sorted(means, key=means.get)
    assert order_of_classes(columns, labels, None, model) == order
    assert alike_class(columns, labels, None, model) == order[-1]
    named = ["c", "c", "c"]
    named[order[0]] = "same"
    assert order_of_classes(columns, labels, named, model) == [*order[1:], order[0]]
