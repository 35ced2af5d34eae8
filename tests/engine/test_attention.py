"""Packed attention, values and gradients, is a loop over rows, whatever lengths stand together."""

from __future__ import annotations

from contextlib import contextmanager
from unittest import mock

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sentune.engine import attention, attention_cpu
from sentune.engine.attention import joint_attention, packed_attention
from sentune.engine.slots import Layout
from tests import uneven

HEADS, SIZE = 4, 4
ALONE = [26, 29, 31, 33, 38, 40, 47, 55, 60]  # no two of them fit in one width
SHARED = [1, 2, 2, 3, 5, 8, 9, 14, 22]
RUN = [70] * 9
MIXED = SHARED * 6 + ALONE * 6 + RUN + [130, 140, 240, 290, 300, 512]


def draw(lengths, groups=1, spare=0, seed=0):
    """Query, key and value as a layer gives them, `(1, heads, T, size)`, and a direction back."""
    generator = torch.Generator().manual_seed(seed)
    tokens = sum(lengths) + spare
    heads = (HEADS, HEADS // groups, HEADS // groups)
    q, k, v = (
        torch.randn(1, tokens, n, SIZE, generator=generator).transpose(1, 2).requires_grad_()
        for n in heads
    )
    back = torch.randn(1, tokens, HEADS, SIZE, generator=generator)
    back[:, sum(lengths) :] = 0  # nobody reads what comes of spare tokens
    return [q, k, v], back


class FixedDropout:
    """Which attention weights are kept, the same on every run; remembers them in their order."""

    def __init__(self, p):
        self.p, self.kept = p, []

    def __call__(self, shape, p, dtype):
        assert p == self.p
        generator = torch.Generator().manual_seed(len(self.kept))
        self.kept.append((torch.rand(shape, generator=generator) >= p).to(dtype))
        return self.kept[-1], 1 / (1 - p)

    def of_rows(self, lengths, blocks):
        """The weights kept in each row, `(heads, length, length)`, of those of the blocks."""
        rows, row = [], 0
        for block, kept in zip(blocks, self.kept, strict=True):
            kept = kept.view(block.rows, HEADS, block.width, block.width)
            slots, done = block.slots, 0
            while done < block.tokens:
                n = lengths[row]
                at = slots[done : done + n]
                own = at % block.width
                rows.append(kept[at[0] // block.width][:, own][:, :, own] / (1 - self.p))
                row, done = row + 1, done + n
        return rows


@contextmanager
def taking(way, dropout=None):
    """Attention by torch's kernel or by our own steps, whatever suits this machine."""
    with mock.patch.object(attention_cpu, "suits", lambda *_: way == "steps"):
        if dropout is None:
            yield
            return
        with mock.patch.object(attention_cpu, "kept_at_random", dropout):
            yield


def packed(parts, lengths, way="kernel", window=None, dropout=None, shares=True):
    layout = Layout(lengths, shares=shares)
    with taking(way, dropout):
        rate = 0.0 if dropout is None else dropout.p
        found, _ = packed_attention(
            None, *parts, None, dropout=rate, layout=layout, sliding_window=window
        )
    return found


def one_by_one(parts, lengths, window=None, kept=None):
    """The definition: softmax(q kᵀ / sqrt(size)) v for each row, in float64."""
    q, k, v = (x[0].double() for x in parts)
    k, v = (x.repeat_interleave(HEADS // len(x), dim=0) for x in (k, v))
    rows, start = [], 0
    for row, n in enumerate(lengths):
        own = slice(start, start + n)
        start += n
        scores = q[:, own] @ k[:, own].transpose(1, 2) * SIZE**-0.5
        if window is not None:
            place = torch.arange(n)
            is_far = (place[:, None] - place[None]).abs() >= window
            scores = scores.masked_fill(is_far, float("-inf"))
        weights = scores.softmax(-1)
        if kept is not None:
            weights = weights * kept[row]
        rows.append(weights @ v[:, own])
    return torch.cat(rows, dim=1).transpose(0, 1)[None]


def gradients(result, parts, back):
    return torch.autograd.grad((result * back[:, : result.shape[1]]).sum(), parts)


def assert_equal(lengths, way, groups=1, spare=0, window=None, rate=0.0, shares=True):
    parts, back = draw(lengths, groups, spare)
    dropout = FixedDropout(rate) if rate else None
    found = packed(parts, lengths, way, window, dropout, shares)
    blocks = Layout(lengths, shares=shares).blocks
    kept = dropout.of_rows(lengths, blocks) if rate else None
    expected = one_by_one(parts, lengths, window, kept)
    torch.testing.assert_close(found[:, : sum(lengths)].double(), expected, atol=1e-5, rtol=1e-5)
    own, wanted = gradients(found, parts, back), gradients(expected, parts, back)
    for name, mine, other in zip("qkv", own, wanted, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-5, msg=lambda m, n=name: n + m)


ways = st.sampled_from(["kernel", "steps"])
windows = st.none() | st.integers(1, 100)


@settings(max_examples=60, deadline=None)
@given(
    uneven.lengths(), ways, st.sampled_from([1, 2, 4]), st.integers(0, 40), windows, st.booleans()
)
@example(SHARED, "kernel", 1, 0, None, True)
@example(ALONE, "kernel", 1, 0, None, True)
@example(ALONE, "steps", 1, 0, None, False)
@example(RUN, "steps", 2, 7, None, True)
@example(MIXED, "kernel", 1, 7, None, True)
@example(MIXED, "steps", 4, 7, 65, True)
@example(ALONE + [257, 300, 512], "steps", 1, 0, 3, True)
@example([512] * 2, "kernel", 1, 0, 40, False)
def test_values_and_gradients_are_those_of_a_loop_over_rows(
    lengths, way, groups, spare, window, shares
):
    assert_equal(lengths, way, groups, spare, window, shares=shares)


@settings(max_examples=30, deadline=None)
@given(uneven.lengths(), st.integers(0, 40), windows)
@example(MIXED, 7, None)
@example(ALONE + [257, 300, 512], 0, 3)
def test_values_without_gradients_are_those_of_a_loop_over_rows(lengths, spare, window):
    parts, _ = draw(lengths, spare=spare)
    with torch.no_grad():
        found = packed(parts, lengths, window=window, shares=False)
        expected = one_by_one(parts, lengths, window)
    torch.testing.assert_close(found[:, : sum(lengths)].double(), expected, atol=1e-5, rtol=1e-5)


@settings(max_examples=20, deadline=None)
@given(uneven.lengths(24), st.integers(0, 20), ways)
@example(MIXED, 7, "steps")
def test_one_product_for_all_three_is_the_same(lengths, spare, way):
    parts, back = draw(lengths, spare=spare)
    layout = Layout(lengths, shares=True)
    joint = torch.cat([x[0].transpose(0, 1).flatten(1) for x in parts], dim=1)
    with taking(way):
        found = joint_attention(joint, HEADS, layout).view(1, -1, HEADS, SIZE)
    apart = packed(parts, lengths, way)
    used = sum(lengths)
    torch.testing.assert_close(found[:, :used], apart[:, :used])
    own, wanted = gradients(found, parts, back), gradients(apart, parts, back)
    torch.testing.assert_close(own, wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@settings(max_examples=20, deadline=None)
@given(lengths=uneven.lengths(24))
@example(lengths=MIXED)
def test_without_gradients_a_row_does_not_depend_on_the_others_to_the_last_bit(dtype, lengths):
    parts, _ = draw(lengths)
    parts = [part.detach().to(dtype) for part in parts]
    with torch.no_grad():
        together = packed(parts, lengths, shares=False)
        start = 0
        for n in lengths:
            own = slice(start, start + n)
            start += n
            alone = packed([part[:, :, own] for part in parts], [n], shares=False)
            assert torch.equal(alone, together[:, own])


@settings(max_examples=20, deadline=None)
@given(uneven.lengths(24), st.sampled_from([0.1, 0.5]), windows)
@example(ALONE, 0.1, None)
@example(MIXED, 0.1, 65)
def test_they_are_with_dropout_too(lengths, rate, window):
    assert_equal(lengths, "steps", rate=rate, window=window)


@settings(max_examples=20, deadline=None)
@given(uneven.lengths(24), ways, windows, st.randoms(use_true_random=False))
@example(ALONE, "kernel", None, None)
@example(MIXED, "steps", 20, None)
def test_no_row_changes_the_gradient_of_another(lengths, way, window, rng):
    row = rng.randrange(len(lengths)) if rng else len(lengths) // 2
    own = slice(sum(lengths[:row]), sum(lengths[: row + 1]))
    parts, back = draw(lengths)
    before = gradients(packed(parts, lengths, way, window), parts, back)
    with torch.no_grad():
        for part in parts:
            part[:, :, own] = part[:, :, own].flip(-1) * 3 + 1
    after = gradients(packed(parts, lengths, way, window), parts, back)
    for one, other in zip(before, after, strict=True):
        one, other = one.clone(), other.clone()
        one[:, :, own] = other[:, :, own] = 0
        assert torch.equal(one, other)


def test_the_examples_take_every_layout():
    """Rows that share a width, rows alone in one, runs that fill theirs."""
    made = Layout(MIXED, shares=True).blocks
    shared = [b for b in made if b.mask is not None and b.mask.shape[2] > 1]
    alone = [b for b in made if b.mask is not None and b.mask.shape[2] == 1]
    assert shared and alone and any(b.mask is None for b in made)


@pytest.mark.parametrize("lengths", [SHARED, ALONE])
def test_an_empty_slot_gets_no_gradient_whatever_the_mask(lengths):
    layout = Layout(lengths, shares=True)
    slots = torch.randn(layout.count * HEADS, 2, requires_grad=True)
    attention._to_tokens(slots, layout, HEADS, sum(lengths)).sum().backward()
    empty = layout.places(HEADS, 1, sum(lengths)).empty
    expected = torch.ones_like(slots).index_fill_(0, empty, 0)
    assert torch.equal(slots.grad, expected) and len(empty) > 0


@settings(max_examples=30, deadline=None)
@given(uneven.lengths(), windows, st.booleans(), st.integers(0, 7))
@example(MIXED, None, True, 0)
@example(MIXED, 65, False, 7)
def test_blocks_with_all_heads_side_by_side_are_a_loop_over_rows(lengths, window, shares, spare):
    parts, back = draw(lengths, spare=spare)
    layout = Layout(lengths, shares=shares)
    tokens = [x[0].transpose(0, 1) for x in parts]
    found = attention.side_by_side(tokens, layout, 0.0, None, window)[None]
    expected = one_by_one(parts, lengths, window)
    torch.testing.assert_close(found[:, : sum(lengths)].double(), expected, atol=1e-5, rtol=1e-5)
    own, wanted = gradients(found, parts, back), gradients(expected, parts, back)
    torch.testing.assert_close(own, wanted, atol=1e-5, rtol=1e-5)
