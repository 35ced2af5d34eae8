"""Layouts there and back."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sentune.engine import packing
from sentune.errors import InputError
from sentune.text import layouts


def make(rows, *, types=False, prompts=None):
    flat = torch.tensor([token for row in rows for token in row], dtype=torch.int64)
    return layouts.ragged(flat, [len(row) for row in rows], flat % 2 if types else None, prompts)


def rows_of(features):
    return [part.tolist() for part in features["input_ids"].split(features["lengths"])]


ROWS = [[5, 6, 7], [8], [], [9, 10], [11, 12]]
row_lists = st.lists(st.lists(st.integers(1, 99), max_size=7), min_size=1, max_size=12)


def test_runs_count_neighbours_of_equal_length():
    assert layouts.runs([1, 1, 2, 3, 3, 3, 1]) == [(2, 1), (1, 2), (3, 3), (1, 1)]
    assert layouts.runs([]) == []


def test_pack_sorts_by_length_and_numbers_positions():
    packed = packing.pack(make(ROWS, types=True, prompts=[2, 1, 0, 1, 1]))
    assert packed["lengths"] == [0, 1, 2, 2, 3]
    assert packed["order"].tolist() == [2, 1, 3, 4, 0]
    assert packed["input_ids"].tolist() == [8, 9, 10, 11, 12, 5, 6, 7]
    assert packed["position_ids"].tolist() == [0, 0, 1, 0, 1, 0, 1, 2]
    assert packed["cu_seqlens"].tolist() == [0, 0, 1, 3, 5, 8]
    assert packed["prompt_lengths"] == [0, 1, 1, 1, 2]
    assert torch.equal(packed["token_type_ids"], packed["input_ids"] % 2)


@given(row_lists)
def test_packed_rows_come_back_in_the_callers_order(rows):
    packed = packing.pack(make(rows))
    sums = torch.tensor([sum(row) for row in rows_of(packed)])
    assert packing.to_caller_order(sums, packed["order"]).tolist() == [sum(row) for row in rows]


@given(row_lists, st.sampled_from(["left", "right"]))
def test_padding_and_back_loses_nothing(rows, side):
    features = make(rows, types=True)
    padded = packing.pad(features, pad_id=77, side=side)
    assert padded["input_ids"].shape == (len(rows), max(map(len, rows)))
    again = packing.from_padded(padded)
    assert rows_of(again) == rows
    assert torch.equal(again["token_type_ids"], features["token_type_ids"])
    filling = padded["input_ids"][padded["attention_mask"] == 0]
    assert (filling == 77).all()


def test_padding_on_the_left():
    padded = packing.pad(make([[1, 2], [3]]), side="left")
    assert padded["input_ids"].tolist() == [[1, 2], [0, 3]]
    assert padded["attention_mask"].tolist() == [[1, 1], [0, 1]]


@given(row_lists, st.data())
def test_select_takes_rows_in_any_order_and_number(rows, data):
    picked = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=20))
    assert rows_of(layouts.select(make(rows), picked)) == [rows[row] for row in picked]


def test_join_keeps_rows_and_fills_what_a_column_lacks():
    joined = layouts.join([make([[1], [2, 3]]), make([[4]], types=True, prompts=[1])])
    assert rows_of(joined) == [[1], [2, 3], [4]]
    assert joined["prompt_lengths"] == [0, 0, 1]
    assert joined["token_type_ids"].tolist() == [0, 0, 0, 0]


@given(st.lists(st.integers(0, 300), max_size=40), st.integers(1, 9))
def test_batches_by_length_hold_every_row_once_longest_first(lengths, size):
    batches = list(layouts.batches_by_length(lengths, size))
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert all(1 <= len(batch) <= size for batch in batches)
    flat = [lengths[row] for batch in batches for row in batch]
    assert flat == sorted(lengths, reverse=True)


@given(st.lists(st.integers(0, 300), max_size=40))
def test_length_buckets_hold_every_row_once_and_waste_little(lengths):
    buckets = list(layouts.length_buckets(lengths, waste=0.2))
    assert sorted(row for bucket in buckets for row in bucket) == list(range(len(lengths)))
    for bucket in buckets:
        area = len(bucket) * max(lengths[row] for row in bucket)
        assert area * 0.8 <= sum(lengths[row] for row in bucket) + 1e-9


def test_row_views_are_views():
    tokens = torch.arange(10.0).view(5, 2)
    views = list(packing.row_views(tokens, [1, 2, 2]))
    assert [tuple(view.shape) for view in views] == [(1, 1, 2), (2, 2, 2)]
    assert views[1].data_ptr() == tokens[1:].data_ptr()


def test_a_mask_of_another_shape_is_refused():
    features = {"input_ids": torch.ones(2, 3), "attention_mask": torch.ones(2, 4)}
    with pytest.raises(InputError, match=r"\(2, 3\).*\(2, 4\)"):
        packing.from_padded(features)


def test_only_plain_token_batches_can_be_ragged():
    padded = packing.pad(make(ROWS))
    assert layouts.can_be_ragged(padded)
    mask = padded["attention_mask"]
    assert not layouts.can_be_ragged({**padded, "attention_mask": mask.flip(1)})
    assert not layouts.can_be_ragged({**padded, "pixel_values": torch.ones(1)})
    assert not layouts.can_be_ragged({"input_ids": torch.ones(1, 1)})


@given(st.integers(0, 100_000))
def test_a_few_tokens_more_make_numbers_that_come_often(tokens):
    added = packing.spare(tokens)
    assert 0 <= added < max(16, tokens / 32)
    assert packing.spare(tokens + added) == 0


def test_there_are_few_such_numbers():
    assert len({n + packing.spare(n) for n in range(1024, 8192)}) <= 3 * 32 + 1


@given(st.lists(st.integers(0, 30), max_size=30), st.integers(1, 64))
def test_batches_by_tokens_hold_every_row_once_and_no_more_tokens_than_asked(lengths, tokens):
    batches = list(layouts.batches_by_tokens(lengths, tokens))
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or sum(max(lengths[row], 1) for row in batch) <= tokens
