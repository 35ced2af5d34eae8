"""The table of forms: which data have which form. Of losses it knows nothing."""

import re
from pathlib import Path

import pytest

from sentune import data
from sentune.data.forms import FORMS, LABELS, Label, forms_of


@pytest.mark.parametrize(
    ("inputs", "label", "form"),
    [
        (2, Label("score"), "pair and score"),
        (2, Label("binary"), "pair and 0 or 1"),
        (2, Label("class"), "pair and class"),
        (2, Label("none"), "pair"),
        (1, Label("class"), "sentence and class"),
        (3, Label("none"), "triplet"),
        (6, Label("none"), "anchor, positive, negatives"),
        (3, Label("list", 2), "query, documents, scores"),
        (3, Label("score"), "query, documents, margins"),
        (4, Label("list", 2), "query, documents, margins"),
        (1, Label("list", 384), "text and embedding"),
        (2, Label("matrix"), "text and embedding"),
        (1, Label("none"), "sentence"),
        (3, Label("other"), "any texts"),
    ],
)
def test_each_form_of_the_guide_is_known(inputs, label, form):
    assert form in [found.name for found in forms_of(inputs, label)]


def test_data_without_texts_have_no_form():
    assert forms_of(0, Label("none")) == ()


def test_the_names_of_forms_are_unique_and_their_labels_have_words():
    assert len({form.name for form in FORMS}) == len(FORMS)
    assert {form.wanted for form in FORMS} == set(LABELS)


def test_no_file_of_data_knows_a_loss_by_name():
    files = sorted(Path(data.__file__).parent.glob("*.py*"))
    assert len(files) > 8
    for path in files:
        assert not re.findall(r"\w+Loss\b|\w*InBatchNegatives", path.read_text(encoding="utf-8"))
