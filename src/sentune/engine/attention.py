"""Attention over packed sentences, plugged into transformers by name.

In the packed layout the sentences of a batch lie end to end, `(1, T)` tokens, sorted by length.
Attention takes them in blocks of one width (`sentune.text.packing.blocks`): short sentences share
a width, and a mask keeps them apart; rows of one length that fill their widths are a view and need
no mask. So few and well-filled matrix products serve any mixture of lengths, no sentence sees
another, and everything else in the encoder works on single tokens and needs to know nothing. On
CUDA in half precision the kernel for rows of any length takes the tokens as they are.

A batch without `blocks` (somebody calls the encoder itself with padded tokens) takes transformers'
own SDPA, with its own mask.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sentune.engine import attention_cpu as stepwise
from sentune.engine.packing import Block

# Later releases of torch have a kernel for sentences of any length.
_HAS_KERNEL = importlib.util.find_spec("torch.nn.attention.varlen") is not None

# No "flash" and no slash in the name: transformers gives both a meaning.
NAME = "sentune_packed"

# Encoders whose attention goes through transformers' interface, reads its keyword arguments, and
# whose every other part works token by token.
PACKABLE = frozenset(
    {
        "albert",
        "bert",
        "camembert",
        "distilbert",
        "electra",
        "ernie",
        "eurobert",
        "gte",
        "jina_embeddings_v3",
        "modernbert",
        "nomic_bert",
        "roberta",
        "roberta-prelayernorm",
        "xlm-roberta",
        "xlm-roberta-xl",
    }
)


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    blocks: Sequence[Block] | None = None,
    cu_seqlens: Tensor | None = None,
    longest: int = 0,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention of each sentence over itself, in the signature of transformers' interface.

    Args:
        module: The attention layer that calls.
        query: `(1, heads, T, d_head)`, as are key and value; these may have fewer heads, each then
            serves several of the query's.
        key: As query.
        value: As query.
        attention_mask: Not read for a packed batch.
        dropout: Share of attention weights dropped.
        scaling: Factor on the scores; None for 1/sqrt(d_head).
        blocks: How the tokens are laid out for attention; None for a padded batch.
        cu_seqlens: `(b+1,)` where each sentence begins, and the end.
        longest: Tokens of the longest sentence.
        sliding_window: Tokens i and j see each other if |i - j| is less than this; None for all.
        **kwargs: Passed on for a padded batch.

    Returns:
        `(1, T, heads, d_head)`, and None for the attention weights.
    """
    if blocks is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, **kwargs
        )
    if key.shape[1] != query.shape[1]:
        groups = query.shape[1] // key.shape[1]
        key, value = (x.repeat_interleave(groups, dim=1) for x in (key, value))
    # (T, heads, d_head), which is how the layer before wrote them
    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
    if not dropout and _suits_kernel(q, k, v):
        return _of_any_length(q, k, v, cu_seqlens, longest, scaling, sliding_window)[None], None
    return in_blocks(q, k, v, blocks, dropout, scaling, sliding_window)[None], None


def in_blocks(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    blocks: Sequence[Block],
    dropout: float = 0.0,
    scale: float | None = None,
    window: int | None = None,
) -> Tensor:
    """Attention of each sentence over itself.

    Args:
        q: `(T, heads, d_head)`, as are k and v.
        k: As q.
        v: As q.
        blocks: How the tokens are laid out; those behind the last block attend to themselves.
        dropout: Share of attention weights dropped.
        scale: Factor on the scores; None for 1/sqrt(d_head).
        window: Tokens i and j see each other if |i - j| is less than this; None for all.

    Returns:
        `(T, heads, d_head)`.
    """
    sizes = [block.tokens for block in blocks]
    sizes.append(len(q) - sum(sizes))
    # `split` and not slices: its backward is one `cat`, that of a slice a zero-filled whole.
    parts = zip(*(x.split(sizes) for x in (q, k, v)), strict=True)
    *inside, (_, _, rest) = parts
    outputs = [
        _of_block(block, part, dropout, scale, window)
        for block, part in zip(blocks, inside, strict=True)
    ]
    outputs += [rest] if sizes[-1] or not outputs else []
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def register() -> None:
    """Make the attention known to transformers by its name."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, packed_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)


def no_mask(like: Tensor) -> Tensor:
    """A mask that transformers hands on untouched and `packed_attention` does not read.

    With None in its place, some encoders would build a (T, T) mask over the whole pack.
    """
    return like.new_zeros((1, 1, 1, 1), dtype=torch.bool)


def _suits_kernel(*qkv: Tensor) -> bool:
    """Whether CUDA's kernel for sentences of any length takes the tensors."""
    width = qkv[0].shape[-1]
    is_half = {x.dtype for x in qkv} in ({torch.float16}, {torch.bfloat16})
    return qkv[0].is_cuda and is_half and width % 8 == 0 and width <= 256 and _HAS_KERNEL


def _of_any_length(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens: Tensor | None,
    longest: int,
    scale: float | None,
    window: int | None,
) -> Tensor:
    """CUDA's kernel for sentences of any length, `(T, heads, d_head)`."""
    from torch.nn.attention.varlen import varlen_attn

    reach = -1 if window is None else window - 1
    output: Any = varlen_attn(
        q,
        k,
        v,
        cu_seqlens,  # type: ignore[arg-type]
        cu_seqlens,
        longest,
        longest,
        scale=scale,
        window_size=(reach, reach),
    )
    return output


def _of_block(
    block: Block,
    qkv: tuple[Tensor, ...],
    dropout: float,
    scale: float | None,
    window: int | None,
) -> Tensor:
    """Attention of the tokens of a block, each `(tokens, heads, d_head)`."""
    shape = (block.rows, block.width)
    q, k, v = (_filled(block, x).unflatten(0, shape).transpose(1, 2) for x in qkv)
    mask = _with_window(block.mask, block.width, window, q.device)
    output = _attend(q, k, v, mask, dropout, scale)  # (rows, heads, width, d_head)
    return _taken(block, output.transpose(1, 2).flatten(0, 1))


def _attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float, scale: float | None
) -> Tensor:
    """Attention of `(rows, heads, width, d_head)`."""
    if stepwise.suits(q, dropout):
        return stepwise.attend(q, k, v, mask, dropout, scale)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, scale=scale)


def _with_window(
    mask: Tensor | None, width: int, window: int | None, device: torch.device
) -> Tensor | None:
    """The mask without pairs of tokens that are too far from each other."""
    if window is None or width <= window:
        return mask
    place = torch.arange(width, device=device)
    distance = (place[:, None] - place[None, :]).abs()  # (width, width)
    is_near = distance < window
    # An empty slot sees itself at least: attention to nothing is not a number.
    return is_near if mask is None else mask & is_near | (distance == 0)


def _filled(block: Block, tokens: Tensor) -> Tensor:
    """Tokens `(tokens, ...)` in their places in the block, `(rows · width, ...)`."""
    if block.fill is None:
        return tokens
    return _Move.apply(tokens, block.fill, block.slots, None)


def _taken(block: Block, slots: Tensor) -> Tensor:
    """Of the places of a block `(rows · width, ...)` those that hold a token, `(tokens, ...)`."""
    if block.fill is None:
        return slots
    return _Move.apply(slots, block.slots, block.fill, block.empty)


class _Move(torch.autograd.Function):
    """Rows by their index; backward is the inverse move, and needs no sum.

    Some token stands in an empty slot, as a constant: a gradient goes neither into an empty slot,
    whatever attention makes of it, nor from there to that token.
    """

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, index: Tensor, back: Tensor, empty: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(back, empty)
        return rows.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        back, empty = ctx.saved_tensors
        rows = gradient.index_select(0, back)
        if empty is not None:
            rows.index_fill_(0, empty, 0)
        return rows, None, None, None
