"""Token embeddings `(b, t, d)` with their masks `(b, t)`, of several batches of unlike widths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, distributed
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from sentune.machine.distributed import is_distributed
from sentune.util.tensors import all_gather

_PACKED = "cu_seq_lens_q cu_seq_lens_k max_length_q max_length_k seq_idx position_ids".split()


def cat_padded_token_embeddings(
    embeddings: Sequence[Tensor], masks: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Batches one below the other: `(rows of all, widest, d)` and `(rows of all, widest)`."""
    padded = [_widened(*pair, _widest(embeddings)) for pair in zip(embeddings, masks, strict=True)]
    return torch.cat([one for one, _ in padded]), torch.cat([mask for _, mask in padded])


def stack_padded_token_embeddings(
    embeddings: Sequence[Tensor], masks: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Columns side by side: `(b, columns, widest, d)` and `(b, columns, widest)`."""
    padded = [_widened(*pair, _widest(embeddings)) for pair in zip(embeddings, masks, strict=True)]
    return torch.stack([one for one, _ in padded], 1), torch.stack([mask for _, mask in padded], 1)


def all_gather_padded(
    tensor: Tensor, mask: Tensor, with_grad: bool = False
) -> tuple[Tensor, Tensor]:
    """The token embeddings and masks of all processes, as wide as the widest of them.

    Args:
        tensor: `(b, t, d)`; b and t may differ between processes.
        mask: `(b, t)`.
        with_grad: As in `all_gather`, for the embeddings.
    """
    if is_distributed():
        width = torch.tensor(tensor.shape[1], device=tensor.device)
        distributed.all_reduce(width, op=distributed.ReduceOp.MAX)
        tensor, mask = _widened(tensor, mask, int(width))
    return all_gather(tensor, with_grad), all_gather(mask)


def repad_flattened_features(features: dict[str, Any]) -> dict[str, Any]:
    """Features of texts end to end, `(1, T, ...)` with `cu_seq_lens_q`, padded again, in place.

    It changes `token_embeddings` to `(b, t, d)` and `input_ids` to `(b, t)`, makes the
    `attention_mask`, and removes what describes the packed layout.
    """
    lengths = features["cu_seq_lens_q"].diff().tolist()
    for name in ("token_embeddings", "input_ids"):
        features[name] = pad_sequence(features[name][0].split(lengths), batch_first=True)
    places = torch.arange(features["input_ids"].shape[1], device=features["input_ids"].device)
    ends = torch.tensor(lengths, device=places.device)
    features["attention_mask"] = places < ends[:, None]
    for name in _PACKED:
        features.pop(name, None)
    return features


def _widest(embeddings: Sequence[Tensor]) -> int:
    return max(one.shape[1] for one in embeddings)


def _widened(embeddings: Tensor, mask: Tensor, width: int) -> tuple[Tensor, Tensor]:
    more = width - embeddings.shape[1]
    return F.pad(embeddings, (0, 0, 0, more)), F.pad(mask, (0, more))
