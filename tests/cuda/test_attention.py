"""The kernels for sentences of any length are a loop over sentences, values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from sentune.engine import attention, attention_cuda
from sentune.engine.slots import Layout
from tests.cuda.tools import DEVICE, error

LENGTHS = [1, 1, 2, 3, 3, 7, 8, 16, 17, 40, 63, 64, 65, 100, 128, 129, 200, 400]
TOLERANCE = {torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 1.2e-2}


def draw(lengths, heads, size, dtype):
    """Query, key and value side by side, `(T, 3 · heads · size)`, and a direction back."""
    qkv = torch.randn(sum(lengths), 3 * heads * size, device=DEVICE).to(dtype)
    return qkv.requires_grad_(), torch.randn(sum(lengths), heads * size, device=DEVICE)


def by_rows(qkv, lengths, heads, window=None):
    """The definition, in float64."""
    rows = []
    for row in qkv.double().split(lengths):
        q, k, v = row.unflatten(1, (3, heads, -1)).permute(1, 2, 0, 3)
        scores = q @ k.transpose(1, 2) * q.shape[-1] ** -0.5
        if window is not None:
            place = torch.arange(len(row), device=row.device)
            is_far = (place[:, None] - place).abs() >= window
            scores = scores.masked_fill(is_far, float("-inf"))
        rows.append((scores.softmax(-1) @ v).transpose(0, 1).flatten(1))
    return torch.cat(rows)


def starts(lengths):
    ends = torch.tensor([0, *lengths]).cumsum(0)
    return ends.to(DEVICE, torch.int32)


def joint(qkv, lengths, heads, dropout=0.0):
    layout = Layout(lengths, shares=torch.is_grad_enabled(), device=DEVICE)
    return attention.joint_attention(qkv, heads, layout, starts(lengths), dropout)


def apart(qkv, lengths, heads, window):
    q, k, v = qkv.unflatten(1, (3, heads, -1)).permute(1, 2, 0, 3)[:, None]
    layout = Layout(lengths, shares=torch.is_grad_enabled(), device=DEVICE)
    found, _ = attention.packed_attention(
        None, q, k, v, None, layout=layout, cu_seqlens=starts(lengths), sliding_window=window
    )
    return found[0].flatten(1)


def compare(qkv, back, found, wanted):
    assert error(found, wanted) < TOLERANCE[qkv.dtype]
    own, other = (torch.autograd.grad((x * back).sum(), qkv)[0] for x in (found, wanted))
    assert error(own, other) < 2 * TOLERANCE[qkv.dtype]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("heads, size", [(4, 8), (12, 32), (2, 64), (2, 128), (1, 256), (3, 20)])
def test_values_and_gradients(dtype, heads, size):
    qkv, back = draw(LENGTHS, heads, size, dtype)
    compare(qkv, back, joint(qkv, LENGTHS, heads), by_rows(qkv, LENGTHS, heads))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("window", [None, 1, 5, 64, 500])
def test_windows(dtype, window):
    qkv, back = draw(LENGTHS, 4, 16, dtype)
    compare(qkv, back, apart(qkv, LENGTHS, 4, window), by_rows(qkv, LENGTHS, 4, window))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("lengths", [[1], [400], [0, 0, 1, 5], [0], [7] * 40])
@pytest.mark.parametrize("is_trained", [True, False])
def test_few_and_empty_rows(dtype, lengths, is_trained):
    qkv, back = draw(lengths, 4, 8, dtype)
    with torch.set_grad_enabled(is_trained):
        found, wanted = joint(qkv, lengths, 4), by_rows(qkv, [n for n in lengths if n] or [0], 4)
    assert found.shape == wanted.shape
    if sum(lengths) and is_trained:
        compare(qkv, back, found, wanted)


@pytest.mark.skipif(DEVICE == "cpu", reason="of the kernels")
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_who_takes_what(dtype):
    x = torch.zeros(4, 2, 16, device=DEVICE, dtype=dtype)
    first = "efficient" if dtype == torch.float32 else "flash"
    assert attention_cuda.kernel_for(x) == first
    with sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]):
        assert attention_cuda.kernel_for(x) == "efficient"
        assert attention_cuda.kernel_for(x, window=3) is None
        assert attention_cuda.kernel_for(x, dropout=0.1) is None
    with sdpa_kernel(SDPBackend.MATH):
        assert attention_cuda.kernel_for(x) is None


@pytest.mark.skipif(DEVICE == "cpu", reason="of the kernels")
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("backend", [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH])
def test_each_way_gives_the_same(dtype, backend):
    qkv, back = draw(LENGTHS, 4, 16, dtype)
    with sdpa_kernel(backend):
        found = joint(qkv, LENGTHS, 4)
        compare(qkv, back, found, by_rows(qkv, LENGTHS, 4))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("window", [None, 5])
def test_blocks_give_the_same(dtype, window):
    qkv, back = draw(LENGTHS, 4, 16, dtype)
    layout = Layout(LENGTHS, shares=True, device=DEVICE)
    tokens = qkv.unflatten(1, (3, 4, -1)).unbind(1)
    found = attention.side_by_side(tokens, layout, 0.0, None, window).flatten(1)
    compare(qkv, back, found, by_rows(qkv, LENGTHS, 4, window))


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_keeps_the_mean_and_comes_again_with_its_seed(dtype, rate):
    lengths = [1, 5, 30, 65, 128]
    qkv, back = draw(lengths, 4, 16, dtype)
    draws = []
    for seed in range(200):
        torch.manual_seed(seed)
        draws.append(joint(qkv, lengths, 4, rate).detach().double())
    torch.manual_seed(0)
    again = joint(qkv, lengths, 4, rate)
    assert torch.equal(again.detach().double(), draws[0]) and not torch.equal(draws[0], draws[1])
    found, wanted = torch.stack(draws), by_rows(qkv, lengths, 4)
    expected = found.std(0).mean() / len(draws) ** 0.5
    assert 0.7 < (found.mean(0) - wanted).std() / expected < 1.5
    assert torch.isfinite(torch.autograd.grad((again * back).sum(), qkv)[0]).all()
    # A row of one token is its value or nothing.
    first = found[:, 0] / wanted[0]
    assert abs((first == 0).double().mean() - rate) < 0.1
    kept = first[first != 0].mean()
    assert abs(kept * (1 - rate) - 1) < 2 * TOLERANCE[dtype] + 1e-4


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_the_gradient_of_dropout_is_that_of_its_draw(dtype):
    """The result is linear in the values, and the same seed draws the same."""
    lengths = [3, 20, 70, 150]
    qkv, back = draw(lengths, 4, 16, dtype)

    def value(x):
        torch.manual_seed(3)
        return (joint(x, lengths, 4, 0.3).double() * back).sum()

    (slope,) = torch.autograd.grad(value(qkv), qkv)
    other = qkv.detach().clone()
    other[:, 128:] += (3 * slope[:, 128:] / slope[:, 128:].std()).to(dtype)
    wanted = (value(other.requires_grad_()) - value(qkv)).detach()
    found = (slope.double() * (other.double() - qkv.double())).sum().detach()
    assert float(found) == pytest.approx(float(wanted), rel=5 * TOLERANCE[dtype] + 1e-5)


def test_the_gradient_of_dropout_in_all_parts():
    lengths = [3, 20, 70]
    qkv, back = draw(lengths, 4, 16, torch.float32)

    def value(x):
        torch.manual_seed(3)
        return (joint(x, lengths, 4, 0.3).double() * back).sum()

    (slope,) = torch.autograd.grad(value(qkv), qkv)
    size, step = float(slope.norm()), 2e-2
    way = slope / size
    wanted = (value(qkv + step * way) - value(qkv - step * way)).detach() / (2 * step)
    assert size == pytest.approx(float(wanted), rel=5e-3)
