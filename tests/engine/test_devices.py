"""What is done for an accelerator, tried on torch's device without memory."""

from __future__ import annotations

import torch

from sentune.engine import packing
from sentune.engine.copies import Copies, encoding
from sentune.engine.slots import Layout
from sentune.text import layouts


def test_a_batch_is_packed_in_main_memory_and_sent_over():
    ragged = layouts.ragged(torch.arange(6), [3, 1, 2])
    here, there = packing.pack(ragged), packing.pack(ragged, "meta")
    tensors = {key for key, value in here.items() if isinstance(value, torch.Tensor)}
    assert {"input_ids", "position_ids", "cu_seqlens", "order"} <= tensors
    for key in tensors:
        assert there[key].device.type == "meta"
        assert there[key].dtype == here[key].dtype and there[key].shape == here[key].shape
    assert there["layout"].device.type == "meta"


def test_a_layout_makes_no_blocks_until_they_are_asked_for():
    layout = Layout([0, 0, 1, 5], shares=True)
    assert (layout.tokens, layout.longest, layout.empty) == (6, 5, 2)
    assert "blocks" not in vars(layout)
    assert sum(block.tokens for block in layout.blocks) == 6


def test_rounded_weights_of_an_accelerator_last_as_long_as_an_encode():
    weights, copies = [torch.zeros(4, 3, device="meta"), torch.zeros(2, 3, device="meta")], Copies()
    with torch.no_grad(), encoding():
        first = copies.of(weights, torch.bfloat16)
        assert first.dtype == torch.bfloat16 and first.shape == (6, 3)
        assert copies.of(weights, torch.bfloat16) is first
        assert copies.of(weights, torch.float16).dtype == torch.float16
    assert not copies._kept
    with torch.no_grad(), encoding():
        assert copies.of(weights, torch.bfloat16) is not first
