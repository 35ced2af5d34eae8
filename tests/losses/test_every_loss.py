"""What holds for every loss: definition, mini-batches, equal rows, half precision, bad input."""

import json

import pytest
import torch

from sentune.errors import InputError
from tests.losses.cases import CASES, normal
from tests.losses.tools import TableModel, column, total, value_and_gradient

every_loss = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
with_labels = pytest.mark.parametrize(
    "case", [case for case in CASES if case.labels(4, 4) is not None], ids=lambda case: case.name
)


def embeddings(case, b, d, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (case.n, b, d)
    return list(torch.randn(shape, generator=generator, dtype=torch.float64).unbind(0))


def gradient(value, columns):
    return torch.autograd.grad(
        total(value), columns, retain_graph=True, allow_unused=True, materialize_grads=True
    )


def compare_with_loop(case, columns, labels, rows=slice(None)):
    """Value, and gradient of the columns, of which the loss sees the given rows."""
    given = [column.requires_grad_() for column in columns]
    value = case.compute([column[rows] for column in given], labels)
    expected = case.expected([column[rows] for column in given], labels)
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(
        gradient(value, given), gradient(expected, given), rtol=1e-5, atol=1e-9
    )


@every_loss
@pytest.mark.parametrize(("b", "d"), [(2, 4), (5, 3), (8, 12)])
def test_a_loss_is_what_its_definition_says(case, b, d):
    compare_with_loop(case, embeddings(case, b, d), case.labels(b, d))


@every_loss
def test_a_loss_is_what_its_definition_says_where_rows_repeat(case):
    compare_with_loop(case, embeddings(case, 4, 5), case.labels(7, 5), [0, 1, 2, 3, 0, 1, 2])


@every_loss
@pytest.mark.parametrize("size", [1, 3, 100])
def test_mini_batches_change_neither_value_nor_gradient(case, size):
    features = [column(7, seed) for seed in range(case.n)]
    labels = case.labels(7, 6)
    plain, small = (
        value_and_gradient(case.make(TableModel().double(), **options), features, labels)
        for options in ({}, {"mini_batch_size": size})
    )
    assert plain[1].abs().sum() > 0
    torch.testing.assert_close(small, plain, rtol=1e-9, atol=1e-12)


@every_loss
@pytest.mark.parametrize("row", [torch.zeros(1, 6), torch.ones(1, 6), normal(1, 6).float()])
def test_equal_embeddings_give_a_finite_gradient(case, row):
    columns = [row.expand(5, 6).clone().requires_grad_() for _ in range(case.n)]
    value = case.compute(columns, case.labels(5, 6))
    assert total(value).isfinite() and all(g.isfinite().all() for g in gradient(value, columns))


@every_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_full(case, dtype):
    halves = [rows.to(dtype).requires_grad_() for rows in embeddings(case, 5, 6)]
    labels = case.labels(5, 6)
    value = case.compute(halves, labels)
    assert total(value).dtype == torch.float32
    full = case.compute([rows.float() for rows in halves], labels)
    torch.testing.assert_close(value, full, rtol=0, atol=0)
    assert all(g.isfinite().all() for g in gradient(value, halves))


@every_loss
def test_autocast_does_not_round_the_loss(case):
    features = [column(5, seed) for seed in range(case.n)]
    labels = case.labels(5, 6)
    plain = case.make(TableModel())(features, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = case.make(TableModel())(features, labels)
    torch.testing.assert_close(cast, plain, rtol=0, atol=0)


@every_loss
def test_a_wrong_number_of_columns_is_refused_in_words(case):
    loss = case.make(TableModel())
    wrong = [loss.min_columns - 1]
    if loss.max_columns is not None:
        wrong.append(loss.max_columns + 1)
    for n in wrong:
        with pytest.raises(InputError, match=f"Loss wants .*, got {n} column"):
            loss.compute([torch.randn(3, 4)] * n, case.labels(3, 4))


@every_loss
def test_columns_of_unequal_length_are_refused(case):
    columns = [torch.randn(3 + (i == case.n - 1), 4) for i in range(case.n)]
    if case.n > 1:
        with pytest.raises(InputError, match="as many rows"):
            case.compute(columns, case.labels(3, 4))


@with_labels
def test_labels_that_are_not_one_per_row_are_refused_in_words(case):
    loss = case.make(TableModel())
    columns = [torch.randn(5, 4) for _ in range(case.n)]
    with pytest.raises(InputError, match=r"Loss wants .* \(?5[ ,].*got .*\(4,"):
        loss.compute(columns, case.labels(4, 4))
    if not loss.is_label_optional:
        with pytest.raises(InputError, match="got none"):
            loss.compute(columns, None)


@every_loss
def test_settings_are_plain_values_with_the_constructors_names(case):
    loss = case.make(TableModel(), mini_batch_size=4)
    settings = loss.get_config_dict()
    assert settings["mini_batch_size"] == 4
    assert json.loads(json.dumps(settings)).keys() == settings.keys()
    assert all("lambda" not in str(value) for value in settings.values())
    assert "mini_batch_size=4" in repr(loss)
