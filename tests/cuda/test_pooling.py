"""Pooling of all rows at once gives what a loop over rows gives."""

from __future__ import annotations

import pytest
import torch

from sentune.engine import packing, segments
from sentune.models.pooling import MODES, Pooling
from sentune.text import layouts
from tests.cuda.tools import DEVICE

LENGTHS = [5, 0, 1, 9, 400, 0, 9, 33]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("lengths", [LENGTHS, [3], [0, 2]])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_it_is_that_of_each_row(dtype, lengths, is_weighted):
    ids = torch.zeros(sum(lengths), dtype=torch.int64, device=DEVICE)
    packed = packing.pack(layouts.ragged(ids, lengths))
    tokens = torch.randn(sum(lengths), 24, device=DEVICE, dtype=torch.float64)
    tokens = tokens.to(dtype).requires_grad_()
    weights = torch.rand(len(lengths), device=DEVICE) + 1 if is_weighted else None
    features = {**packed, "token_embeddings": tokens}
    if is_weighted:
        features["token_weights_sum"] = weights
    # Equal numbers, of which half precision has many, share a gradient in one way or the other.
    pooling = Pooling(24, [mode for mode in MODES if mode != "max" or dtype != torch.bfloat16])
    found = pooling(features)["sentence_embedding"]
    rows = dict(zip(packed["order"].tolist(), tokens.split(packed["lengths"]), strict=True))
    wanted = []
    for row in range(len(lengths)):
        own = {} if weights is None else {"token_weights_sum": weights[row : row + 1]}
        mask = torch.ones(1, lengths[row], device=DEVICE)
        alone = {"token_embeddings": rows[row][None], "attention_mask": mask, **own}
        wanted.append(pooling(alone)["sentence_embedding"])
    wanted = torch.cat(wanted)
    close = dict.fromkeys(("atol", "rtol"), 1e-2 if dtype == torch.bfloat16 else 1e-5)
    torch.testing.assert_close(found, wanted, **close)
    back = torch.randn_like(found)
    own, other = (torch.autograd.grad((x * back).sum(), tokens)[0] for x in (found, wanted))
    torch.testing.assert_close(own, other, **close)


def test_it_gives_the_same_bits_every_time():
    lengths = [n % 50 for n in range(500)]
    tokens = torch.randn(sum(lengths), 64, device=DEVICE)
    starts = torch.tensor([0, *lengths]).cumsum(0).to(DEVICE)
    first = segments.pool(tokens, starts, MODES)
    for _ in range(5):
        assert torch.equal(segments.pool(tokens, starts, MODES), first)
