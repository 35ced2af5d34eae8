"""Pooling of all rows at once is that of each run of equal rows."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sentune.engine import packing, segments
from sentune.models.pooling import MODES, Pooling
from sentune.text import layouts


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=20).filter(any), st.booleans())
def test_values_and_gradients(lengths, is_weighted):
    packed = packing.pack(layouts.ragged(torch.zeros(sum(lengths), dtype=torch.int64), lengths))
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(sum(lengths), 6, generator=generator, dtype=torch.float64)
    tokens.requires_grad_()
    features = {**packed, "token_embeddings": tokens}
    weights = None
    if is_weighted:
        features["token_weights_sum"] = torch.rand(len(lengths), generator=generator) + 1
        weights = features["token_weights_sum"][packed["order"]]
    wanted = Pooling(6, list(MODES))(features)["sentence_embedding"]
    found = segments.pool(tokens, packed["cu_seqlens"], MODES, weights)
    found = packing.to_caller_order(found, packed["order"])
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    back = torch.randn(found.shape, generator=generator, dtype=torch.float64)
    own, other = (torch.autograd.grad((x * back).sum(), tokens)[0] for x in (found, wanted))
    torch.testing.assert_close(own, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_full(dtype):
    tokens = torch.full((3_000, 2), 1.5, dtype=dtype)
    starts = torch.tensor([0, 3_000], dtype=torch.int32)
    found = segments.pool(tokens, starts, ["mean", "weightedmean"])
    assert found.dtype == dtype and (found == 1.5).all()
