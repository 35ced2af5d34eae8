"""Attention step by step is torch's attention, values and gradients, with dropout or without."""

import pytest
import torch
from torch.nn import functional as F

from sentune.engine import attention_cpu
from sentune.engine.dropout import kept_at_random

ROWS, HEADS, WIDTH, SIZE = 3, 2, 9, 8
CLOSE = {torch.float32: {"atol": 1e-5, "rtol": 1e-5}, torch.bfloat16: {"atol": 0.03, "rtol": 0.03}}


def draw(dtype=torch.float32):
    torch.manual_seed(0)
    # Not contiguous, as a layer gives them.
    parts = torch.randn(3, ROWS, WIDTH, HEADS, SIZE, dtype=dtype).transpose(2, 3)
    return [part.detach().requires_grad_() for part in parts]


def values_and_gradients(attend, parts, seed=None):
    if seed is not None:
        torch.manual_seed(seed)
    result = attend(*parts)
    target = torch.randn(result.shape, generator=torch.Generator().manual_seed(1))
    return [result, *torch.autograd.grad((result.float() * target).sum(), parts)]


def some_mask(kind):
    sees = torch.arange(WIDTH) < torch.tensor([3, 9, 5])[:, None]  # (rows, width)
    return {
        "none": None,
        "keys": sees[:, None, None, :],
        "pairs": (sees[:, None] == sees[:, :, None])[:, None],
        "one for all": torch.ones(WIDTH, WIDTH, dtype=torch.bool).tril(),
    }[kind]


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("scale", [None, 0.3])
@pytest.mark.parametrize("kind", ["none", "keys", "pairs", "one for all"])
def test_it_is_torchs_attention(kind, scale, dtype):
    mask, parts = some_mask(kind), draw(dtype)
    own = values_and_gradients(lambda *x: attention_cpu.attend(*x, mask, 0.0, scale), parts)
    exact = [part.detach().double().requires_grad_() for part in parts]
    torchs = values_and_gradients(
        lambda *x: F.scaled_dot_product_attention(*x, attn_mask=mask, scale=scale), exact
    )
    for mine, expected in zip(own, torchs, strict=True):
        torch.testing.assert_close(mine.double(), expected, **CLOSE[dtype])


@pytest.mark.parametrize("p", [0.1, 0.5, 1.0])
def test_dropout_acts_on_the_weights_and_their_gradients(p):
    def plain(q, k, v):
        scores = q @ k.transpose(-1, -2) * SIZE**-0.5
        kept, factor = kept_at_random(torch.Size([ROWS * HEADS, WIDTH, WIDTH]), p, q.dtype)
        return (scores.softmax(-1) * kept.view(scores.shape) * factor) @ v

    parts = draw()
    own = values_and_gradients(lambda *x: attention_cpu.attend(*x, None, p, None), parts, seed=5)
    expected = values_and_gradients(plain, parts, seed=5)
    for mine, other in zip(own, expected, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-5)


def test_under_autocast_it_multiplies_in_half_whatever_comes_in():
    q, k, v = draw()
    with torch.autocast("cpu", torch.bfloat16):
        result = attention_cpu.attend(q, k.bfloat16(), v, None, 0.1, None)
    assert result.dtype == torch.bfloat16
    result.float().sum().backward()
    assert q.grad.dtype == k.grad.dtype == torch.float32 and q.grad.abs().sum() > 0


def test_where_it_is_faster_than_torchs_kernel():
    q = torch.zeros(1, requires_grad=True)
    assert attention_cpu.suits(q, 0.1) and not attention_cpu.suits(q, 0.0)
    assert attention_cpu.suits(q.detach(), 0.1), "torch has no kernel with dropout"
    assert attention_cpu.suits(q.bfloat16(), 0.0) and not attention_cpu.suits(
        q.detach().bfloat16(), 0.0
    )
    with torch.autocast("cpu", torch.bfloat16):
        assert attention_cpu.suits(q, 0.0)
        with torch.no_grad():
            assert not attention_cpu.suits(q, 0.0)
    assert not attention_cpu.suits(q.to("meta"), 0.1)
