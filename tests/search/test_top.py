"""The highest scores of each row: against a plain sort, with ties everywhere."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sentune.search import top
from sentune.search.top import highest


def by_definition(scores, k):
    """Columns of each row, sorted by falling score, then by column."""
    return [sorted(range(len(row)), key=lambda c: (-row[c], c))[:k] for row in scores.tolist()]


@settings(deadline=None, max_examples=60)
@given(
    width=st.integers(1, 600),
    k=st.integers(1, 12),
    levels=st.sampled_from([1, 2, 5, 10_000]),
    seed=st.integers(0, 10**6),
)
def test_the_order_is_by_score_and_then_by_column(width, k, levels, seed):
    scores = torch.tensor(np.random.default_rng(seed).integers(0, levels, (4, width))).float()
    best = highest(scores, k)
    assert best.columns.tolist() == by_definition(scores, k)
    assert torch.equal(best.scores, scores.gather(1, best.columns))


@pytest.mark.parametrize("levels", [2, 50, 10**6])
def test_wide_rows_are_searched_by_blocks_with_the_same_result(levels, monkeypatch):
    scores = torch.tensor(np.random.default_rng(0).integers(0, levels, (3, 3001))).float()
    widths = []
    select = top._select
    monkeypatch.setattr(top, "_select", lambda s, k: widths.append(s.shape[1]) or select(s, k))
    assert highest(scores, 7).columns.tolist() == by_definition(scores, 7)
    assert max(widths) < 3001 / 4


def test_merging_parts_is_the_same_as_the_whole():
    scores = torch.tensor(np.random.default_rng(0).integers(0, 9, (5, 100))).float()
    best = highest(scores[:, :30], 8)
    best = best.merge(highest(scores[:, 30:35], 8).shift(30), 8)
    best = best.merge(highest(scores[:, 35:], 8).shift(35), 8)
    assert best.columns.tolist() == by_definition(scores, 8)


def test_more_than_there_are_gives_all():
    assert highest(torch.tensor([[1.0, 3.0, 2.0]]), 10).columns.tolist() == [[1, 2, 0]]
