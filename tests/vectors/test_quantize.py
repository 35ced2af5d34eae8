"""Quantization: hand-computed values, the peer bit for bit, and what is refused."""

import logging

import numpy as np
import pytest
import torch

from sentune.errors import InputError, InputTypeError, SettingError
from sentune.quantization import quantize_embeddings

PRECISIONS = ["float32", "int8", "uint8", "binary", "ubinary"]


def matrix(rows=120, width=20, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)


def test_a_byte_is_the_step_of_the_range_that_a_number_stands_on():
    ranges = np.array([[0.0], [255.0]])
    values = np.array([[-3.0], [0.0], [1.5], [254.9], [255.0], [999.0]], dtype=np.float32)
    expected = [0, 0, 1, 254, 255, 255]
    assert quantize_embeddings(values, "uint8", ranges=ranges).ravel().tolist() == expected
    signed = quantize_embeddings(values, "int8", ranges=ranges).ravel().tolist()
    assert signed == [step - 128 for step in expected]


def test_a_bit_is_the_sign():
    values = np.array([[0.1, -1, 2, 0, -1, -1, -1, 3, 5]], dtype=np.float32)
    assert quantize_embeddings(values, "ubinary").tolist() == [[0b10100001, 0b10000000]]
    assert quantize_embeddings(values, "binary").tolist() == [[0b10100001 - 128, 0]]


def test_a_dimension_that_never_varies_gives_zero():
    values = matrix()
    values[:, 0] = 0.5
    assert set(quantize_embeddings(values, "uint8")[:, 0]) == {0}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_bit_for_bit_as_the_peer(precision, dtype):
    peer = pytest.importorskip("sentence_transformers.util").quantize_embeddings
    values = matrix().astype(dtype)
    other = matrix(seed=1)
    ranges = np.stack([other.min(axis=0), other.max(axis=0)])
    for options in ({}, {"calibration_embeddings": other}, {"ranges": ranges}):
        ours = quantize_embeddings(values, precision, **options)
        theirs = peer(values, precision, **options)
        assert ours.dtype == theirs.dtype
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_tensors_and_lists_mean_the_same(precision):
    values = matrix()
    expected = quantize_embeddings(values, precision)
    for kind in (torch.tensor, list, lambda x: list(torch.tensor(x))):
        assert np.array_equal(quantize_embeddings(kind(values), precision), expected)
    half = torch.tensor(values).bfloat16()
    assert quantize_embeddings(half, precision).shape == expected.shape


@pytest.mark.parametrize("precision", PRECISIONS)
def test_no_rows_give_no_rows(precision):
    empty = quantize_embeddings(np.zeros((0, 20), dtype=np.float32), precision)
    assert empty.shape == (0, 3 if "binary" in precision else 20)
    assert len(quantize_embeddings([], precision)) == 0


def test_few_embeddings_are_told_to_be_few(caplog):
    with caplog.at_level(logging.WARNING, logger="sentune"):
        quantize_embeddings(matrix(5), "int8")
        assert "5 embeddings" in caplog.text
        caplog.clear()
        quantize_embeddings(matrix(5), "int8", calibration_embeddings=matrix())
        quantize_embeddings(matrix(), "int8")
        quantize_embeddings(matrix(5), "binary")
    assert not caplog.text


def test_what_cannot_be_quantized_is_refused():
    with pytest.raises(SettingError, match=r"'int4'.*ubinary"):
        quantize_embeddings(matrix(), "int4")
    with pytest.raises(InputTypeError, match="int8"):
        quantize_embeddings(quantize_embeddings(matrix(), "int8"), "binary")
    with pytest.raises(InputError, match="one embedding"):
        quantize_embeddings(matrix(1), "int8")
    with pytest.raises(InputError, match=r"\(2, 20\).*\(2, 3\)"):
        quantize_embeddings(matrix(), "int8", ranges=np.zeros((2, 3)))


@pytest.mark.filterwarnings("ignore:invalid value")
def test_nan_is_refused_where_a_byte_would_hold_anything():
    broken = matrix()
    broken[17, 3] = np.nan
    ranges = np.stack([matrix().min(axis=0), matrix().max(axis=0)])
    for options in ({}, {"ranges": ranges}, {"calibration_embeddings": matrix()}):
        with pytest.raises(InputError, match="embedding 17 has NaN"):
            quantize_embeddings(broken, "int8", **options)
    with pytest.raises(InputError, match="the ranges have NaN"):
        quantize_embeddings(matrix(), "uint8", calibration_embeddings=broken)
    infinite = matrix()
    infinite[0, 0] = np.inf  # beyond the range, as any large number
    assert quantize_embeddings(infinite, "uint8", ranges)[0, 0] == 255
    assert quantize_embeddings(broken, "ubinary").shape == (120, 3)
