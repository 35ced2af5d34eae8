"""Rows in slots: every token once, rows apart, few blocks in training, fixed widths without."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sentune.engine.slots import SHARED_WIDTH, Layout, width_of
from tests import uneven

lengths_with_empty = uneven.lengths(24).map(lambda lengths: [0, 0, *lengths])


@given(lengths_with_empty, st.booleans())
def test_blocks_hold_every_token_once_and_keep_rows_apart(lengths, shares):
    layout = Layout(lengths, shares=shares)
    assert layout.tokens == sum(lengths) and layout.longest == max(lengths)
    owners = [row for row, length in enumerate(lengths) for _ in range(length)]
    start = 0
    for block in layout.blocks:
        mine = torch.tensor(owners[start : start + block.tokens])
        start += block.tokens
        whose = torch.full((block.rows * block.width,), -1)
        whose[block.slots] = mine
        assert len(block.slots.unique()) == block.tokens
        whose = whose.view(block.rows, block.width)
        sees = whose[:, :, None] == whose[:, None, :]  # what the mask must say of tokens
        mask = torch.ones(()) if block.mask is None else block.mask
        mask = mask.bool().expand(block.rows, 1, block.width, block.width)[:, 0]
        is_token = whose >= 0
        assert torch.equal(mask[is_token], sees[is_token])
        if not shares:
            assert (whose.max(dim=1).values[:, None] == whose)[is_token].all(), "a row alone"


@given(lengths_with_empty, st.booleans(), st.integers(1, 3), st.integers(1, 3), st.integers(0, 9))
def test_places_are_there_and_back(lengths, shares, heads, parts, spare):
    layout = Layout(lengths, shares=shares)
    total = layout.tokens + spare
    places = layout.places(heads, parts, total)
    rows = torch.arange(total * parts * heads)
    there = rows[places.fill]
    assert len(there) == parts * layout.count * heads
    back = there[places.back]
    known = layout.tokens * parts * heads
    assert torch.equal(back[:known], rows[:known])
    assert torch.equal(places.spare, rows[known:])
    out = torch.arange(layout.count * heads)
    tokens = out[places.tokens]
    assert len(tokens[: layout.tokens * heads].unique()) == layout.tokens * heads
    is_empty = torch.zeros(len(out), dtype=torch.bool)
    is_empty[places.empty] = True
    again = tokens[places.slots]
    assert torch.equal(again[~is_empty], out[~is_empty]) and layout.places(heads, parts, total)


@pytest.mark.parametrize("length", [1, 8, 9, 24, 25, 33, 64, 65, 100, 257, 500, 8192])
def test_a_row_is_padded_by_a_quarter_at_most_or_seven_slots(length):
    assert length <= width_of(length) <= max(length + 7, 1.25 * length)


@given(uneven.lengths(16), uneven.lengths(16))
def test_without_gradients_a_row_has_its_width_whatever_stands_beside_it(some, others):
    alone = {n: Layout([n], shares=False).blocks[0].width for n in some}
    layout = Layout(sorted(some + others), shares=False)
    widths = [block.width for block in layout.blocks for _ in range(block.rows)]
    found = dict(zip(sorted(some + others), widths, strict=True))
    assert all(found[n] == alone[n] for n in some)


def test_few_blocks_serve_any_mixture_in_training():
    assert len(Layout(list(range(1, 256)), shares=True).blocks) <= 20


def test_a_handful_of_rows_takes_no_block_of_its_own():
    short, longer = list(range(8, 24)), [27, 29, 33, 36]
    assert len(Layout(short + longer, shares=True).blocks) == 1
    many = sorted((short + longer) * 8)
    assert len(Layout(many, shares=True).blocks) > 1
    assert Layout(short, shares=True).blocks[0].width == SHARED_WIDTH
