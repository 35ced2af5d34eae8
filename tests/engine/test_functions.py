"""Functions with a backward of their own: that of the plain formula, however they are called."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import sentune
from sentune.engine import attention, attention_cpu
from sentune.engine.dropout import dropout, kept_at_random
from sentune.engine.embedding import Buffers, _Rows
from sentune.engine.slots import Layout

SEED = 3
BF16 = torch.bfloat16
ALONE = Layout([26, 29, 33], shares=True)  # three rows, each with empty slots behind it
SHARED = Layout([1, 2, 5, 9, 14], shares=True)
HEADS, SPARE = 2, 3
NUMBERS = torch.tensor([[1, 4, 4], [0, 2, 1]])
MASK = torch.arange(6)[None, None, None] < torch.tensor([3, 6])[:, None, None, None]


def draw(*shape):
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()


def take(layout):
    """Tokens out of the slots of each head."""
    places = layout.places(HEADS, 1, layout.tokens)

    def own(slots):
        return attention._to_tokens(slots, layout, HEADS, layout.tokens)

    def plain(slots):
        return slots[places.tokens].view(layout.tokens, -1)

    return own, plain, [draw(layout.count * HEADS, 2)]


def fill(layout):
    """Tokens into their slots; what an empty one holds is a constant, so it is not looked at."""
    total = layout.tokens + SPARE
    known = layout.tokens * 3 * HEADS

    def own(tokens):
        slots = attention._to_slots(tokens, layout, HEADS, 3)
        return slots.flatten(0, 1)[layout.places(HEADS, 3, total).back[:known]]

    def plain(tokens):
        return tokens.reshape(-1, 2)[:known] * 1.0

    return own, plain, [draw(total, 3 * HEADS * 2)]


def drop():
    def own(x):
        torch.manual_seed(SEED)
        return dropout(x, 0.3)

    def plain(x):
        torch.manual_seed(SEED)
        kept, factor = kept_at_random(x.shape, 0.3, x.dtype)
        return x * kept * factor

    return own, plain, [draw(7, 5)]


def attend(rate, mask):
    def own(q, k, v):
        torch.manual_seed(SEED)
        return attention_cpu.attend(q, k, v, mask, rate, 0.7)

    def plain(q, k, v):
        torch.manual_seed(SEED)
        scores = q @ k.transpose(-1, -2) * 0.7
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        kept, factor = kept_at_random(scores.flatten(0, 1).shape, rate, scores.dtype)
        weights = scores.softmax(-1)
        if kept is not None:
            weights = weights * kept.view(weights.shape) * factor
        return weights.to(v.dtype) @ v

    return own, plain, [draw(2, 3, 6, 4), draw(2, 3, 6, 4), draw(2, 3, 6, 4)]


def look_up(padding):
    buffers = Buffers()

    def own(weight):
        return _Rows.apply(weight, NUMBERS, buffers.of(weight), padding)

    def plain(weight):
        return F.embedding(NUMBERS, weight, padding)

    return own, plain, [draw(6, 3)]


CASES = {
    "_Move, taken from rows alone": take(ALONE),
    "_Move, taken from rows that share": take(SHARED),
    "_Move, filled with rows alone": fill(ALONE),
    "_Move, filled with rows that share": fill(SHARED),
    "_Dropout": drop(),
    "_Attention": attend(0.0, None),
    "_Attention, masked": attend(0.0, MASK),
    "_Attention, masked, dropout": attend(0.4, MASK),
    "_Rows": look_up(None),
    "_Rows, padding": look_up(1),
}
ELSEWHERE = {"_GatherRows": "tests/losses/test_gathering.py, which has two processes"}

every = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def once(function, inputs):
    return function(*inputs)


def twice(function, inputs):
    """The result read in two places, one of them a product with itself."""
    result = function(*inputs)
    return result * result.flip(0) + result.sum()


def two_calls(function, inputs):
    """The same inputs in two calls."""
    return function(*inputs) * 2 + function(*inputs)


def checkpointed(function, inputs):
    return checkpoint(function, *inputs, use_reentrant=False)


def between(function, inputs):
    """Neither first nor last in the graph, and not contiguous on its way in."""
    moved = [(x * 1.5).transpose(-1, -2).contiguous().transpose(-1, -2) for x in inputs]
    return function(*moved).tanh()


def value_and_gradients(use, function, inputs):
    result = use(function, inputs)
    back = torch.linspace(-1, 1, result.numel(), dtype=torch.float64).view(result.shape)
    return [result, *torch.autograd.grad((result.double() * back).sum(), inputs)]


def test_every_function_is_here():
    """Whoever writes another one adds it to this file."""
    source = "\n".join(p.read_text() for p in Path(sentune.__file__).parent.rglob("*.py"))
    written = set(re.findall(r"^class (\w+)\(.*autograd\.Function\)", source, re.MULTILINE))
    assert written == {name.split(",")[0] for name in CASES} | ELSEWHERE.keys()


@pytest.mark.parametrize("name", [name for name in CASES if "padding" not in name])
def test_the_gradient_is_that_of_small_steps(name):
    """Not for a table with padding, whose row of it has no gradient on purpose."""
    own, _, inputs = CASES[name]
    assert torch.autograd.gradcheck(own, inputs)


@every
@pytest.mark.parametrize("use", [once, twice, two_calls, checkpointed, between])
def test_values_and_gradients_are_those_of_the_formula(case, use):
    own, plain, inputs = case
    found = value_and_gradients(use, own, inputs)
    expected = value_and_gradients(use, plain, inputs)
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-12)


@every
@pytest.mark.parametrize("use", [once, twice, checkpointed])
def test_under_autocast(case, use):
    """Products in bfloat16, gradients in the type of what they are gradients of."""
    own, plain, inputs = case
    inputs = [x.detach().float().requires_grad_() for x in inputs]
    with torch.autocast("cpu", BF16):
        found = value_and_gradients(use, own, inputs)
        expected = value_and_gradients(use, plain, inputs)
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine.float(), other.float(), rtol=0.05, atol=0.1)
    assert [x.dtype for x in found[1:]] == [torch.float32] * len(inputs)


@every
def test_a_graph_that_is_walked_twice_gives_the_same_again(case):
    own, _, inputs = case
    total = own(*inputs).pow(2).sum()
    first = torch.autograd.grad(total, inputs, retain_graph=True)
    kept = [x.clone() for x in first]
    second = torch.autograd.grad(total, inputs)
    for results in zip(first, second, kept, strict=True):
        assert torch.equal(results[0], results[2]) and torch.equal(results[1], results[2])
