"""Similarities against hand-computed values, the definitions and the peer."""

import math

import numpy as np
import pytest
import torch

from sentune.errors import InputError, InputTypeError, SettingError
from sentune.vectors.similarity import (
    SimilarityFunction,
    cos_sim,
    dot_score,
    euclidean_sim,
    manhattan_sim,
    normalize_embeddings,
    pairwise_angle_sim,
    pairwise_cos_sim,
    pairwise_dot_score,
    pairwise_euclidean_sim,
    pairwise_manhattan_sim,
    truncate_embeddings,
)

ALL_PAIRS = [cos_sim, dot_score, euclidean_sim, manhattan_sim]
PAIRWISE = [
    pairwise_cos_sim,
    pairwise_dot_score,
    pairwise_euclidean_sim,
    pairwise_manhattan_sim,
    pairwise_angle_sim,
]
by_name = pytest.mark.parametrize("name", [f.__name__ for f in ALL_PAIRS + PAIRWISE])


def matrix(rows, width=7, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (cos_sim, [[24 / 25, 0.6]]),
        (dot_score, [[24.0, 3.0]]),
        (euclidean_sim, [[-math.sqrt(2), -math.sqrt(20)]]),
        (manhattan_sim, [[-2.0, -6.0]]),
    ],
)
def test_all_pairs_give_the_hand_computed_numbers(function, expected):
    # (3, 4) with (4, 3) and (1, 0)
    scores = function([3, 4], [[4, 3], [1, 0]])
    torch.testing.assert_close(scores.float(), torch.tensor(expected), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("all_pairs", "pairwise"),
    list(zip(ALL_PAIRS, PAIRWISE[:4], strict=True)),
    ids=lambda f: f.__name__,
)
def test_row_by_row_is_the_diagonal_of_all_pairs(all_pairs, pairwise):
    a, b = matrix(5), matrix(5, seed=1)
    assert pairwise(a, b).shape == (5,)
    torch.testing.assert_close(pairwise(a, b), all_pairs(a, b).diagonal(), atol=1e-5, rtol=1e-5)


def test_angle_sim_follows_its_definition():
    a, b = matrix(4, 6), matrix(4, 6, seed=1)
    for got, x, y in zip(pairwise_angle_sim(a, b), a, b, strict=True):
        x, y = x / np.linalg.norm(x), y / np.linalg.norm(y)
        product = (x[:3] + 1j * x[3:]) * np.conj(y[:3] + 1j * y[3:])
        assert float(got) == pytest.approx(abs((product.real + product.imag).sum()), abs=1e-6)


@pytest.mark.parametrize("function", ALL_PAIRS)
def test_tensors_arrays_and_lists_mean_the_same(function):
    a, b = matrix(3), matrix(4, seed=1)
    expected = function(torch.tensor(a), torch.tensor(b))
    for kind in (np.asarray, list, lambda x: list(torch.tensor(x)), lambda x: x.tolist()):
        assert torch.equal(function(kind(a), kind(b)), expected)


def test_a_read_only_or_reversed_array_is_read_without_a_warning():
    frozen = matrix(3)
    frozen.flags.writeable = False
    expected = torch.tensor(frozen @ frozen[::-1].T)
    torch.testing.assert_close(dot_score(frozen, frozen[::-1]), expected)


def test_nothing_given_is_changed():
    a = matrix(3)
    before = a.copy()
    for function in ALL_PAIRS + PAIRWISE:
        function(a, a)
    normalize_embeddings(a)
    assert np.array_equal(a, before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_compared_in_float32(dtype):
    a = torch.tensor(matrix(3, 64)).to(dtype)
    for function in ALL_PAIRS + PAIRWISE:
        assert function(a, a).dtype == torch.float32
    assert normalize_embeddings(a).dtype == dtype


def test_float32_and_float64_can_be_compared():
    assert cos_sim(matrix(2), matrix(2).astype(np.float64)).dtype == torch.float64


@pytest.mark.parametrize("function", ALL_PAIRS + PAIRWISE, ids=lambda f: f.__name__)
def test_gradients_are_finite_where_both_sides_are_equal(function):
    a = torch.tensor(matrix(3), requires_grad=True)
    function(a, a.detach().clone()).sum().backward()
    assert torch.isfinite(a.grad).all()


def test_a_zero_vector_has_similarity_zero_and_a_finite_gradient():
    a = torch.zeros(1, 4, requires_grad=True)
    score = cos_sim(a, torch.ones(1, 4))
    score.sum().backward()
    assert score.item() == 0
    assert torch.isfinite(a.grad).all()


def test_normalize_keeps_the_kind_and_the_length_is_one():
    assert isinstance(normalize_embeddings(matrix(2)), np.ndarray)
    unit = normalize_embeddings(torch.tensor(matrix(2)))
    torch.testing.assert_close(unit.norm(dim=1), torch.ones(2))


def test_truncate_keeps_the_first_numbers():
    a = matrix(2)
    assert np.array_equal(truncate_embeddings(a, 3), a[:, :3])
    assert truncate_embeddings(a, None).shape == a.shape


def test_names_lead_to_functions():
    names = ["cosine", "dot", "euclidean", "manhattan", "maxsim", "meanmaxsim"]
    assert SimilarityFunction.possible_values() == names
    assert SimilarityFunction.DOT is SimilarityFunction.DOT_PRODUCT
    assert SimilarityFunction.COSINE == "cosine" == str(SimilarityFunction.COSINE)
    for name, all_pairs, pairwise in zip(
        SimilarityFunction.possible_values(), ALL_PAIRS, PAIRWISE, strict=False
    ):
        assert SimilarityFunction.to_similarity_fn(name) is all_pairs
        assert SimilarityFunction.to_similarity_pairwise_fn(SimilarityFunction(name)) is pairwise


def test_an_unknown_name_is_named_with_what_is_allowed():
    with pytest.raises(SettingError, match=r"'cosin'.*cosine.*manhattan"):
        SimilarityFunction.to_similarity_fn("cosin")


@pytest.mark.parametrize("function", ALL_PAIRS + PAIRWISE, ids=lambda f: f.__name__)
def test_widths_that_differ_are_named(function):
    with pytest.raises(InputError, match=r"\(2, 7\) and \(2, 6\)"):
        function(matrix(2), matrix(2, 6))


def test_rows_that_cannot_be_matched_are_named():
    with pytest.raises(InputError, match=r"\(3, 7\) and \(2, 7\)"):
        pairwise_cos_sim(matrix(3), matrix(2))


def test_what_is_not_a_matrix_of_numbers_is_refused():
    with pytest.raises(InputError, match="one matrix"):
        cos_sim([[1.0, 2.0], [1.0]], [[1.0, 2.0]])
    with pytest.raises(InputTypeError, match="numbers"):
        cos_sim(np.array([["a", "b"]]), [[1.0, 2.0]])
    with pytest.raises(InputTypeError):
        cos_sim(None, [[1.0, 2.0]])


@by_name
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("width", [7, 64])
def test_equal_to_the_peer(name, dtype, width):
    peer = pytest.importorskip("sentence_transformers.util")
    rows = 40  # over 25 rows cdist changes its way of computing
    a = torch.tensor(matrix(rows, width)).to(dtype)
    b = torch.tensor(matrix(rows, width, seed=1)).to(dtype)
    b[3] = a[3]
    ours, theirs = globals()[name](a, b), getattr(peer, name)(a, b)
    assert ours.dtype == theirs.dtype
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@by_name
def test_gradient_equal_to_the_peer(name):
    peer = pytest.importorskip("sentence_transformers.util")
    gradients = []
    for function in (globals()[name], getattr(peer, name)):
        a = torch.tensor(matrix(6, 8), requires_grad=True)
        b = torch.tensor(matrix(6, 8, seed=1))
        b[2] = a[2].detach()
        function(a, b).square().sum().backward()
        gradients.append(a.grad)
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-5)


def test_angles_by_the_names_of_their_arguments():
    rows = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    assert torch.equal(
        pairwise_angle_sim(x=rows, y=rows.flip(0)), pairwise_angle_sim(rows, rows.flip(0))
    )
