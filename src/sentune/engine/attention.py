"""Attention over packed sentences: a few matrix products, no sentence seeing another.

In the packed layout the sentences of a batch lie end to end, `(1, T)` tokens, sorted by length.
Attention takes them as `sentune.engine.slots` lays them out; everything else in an encoder works on
single tokens and needs to know nothing. On CUDA kernels for rows of any length take the tokens as
they are.

Encoders of the transformers library get it by its name. A batch without a layout (somebody calls
the encoder itself with padded tokens) takes transformers' own SDPA, with its own mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sentune.engine import attention_cpu, attention_cuda
from sentune.engine.attention_cuda import How
from sentune.engine.slots import Block, Layout
from sentune.machine.device import multiplied_in

# No "flash" and no slash in the name: transformers gives both a meaning.
NAME = "sentune_packed"

# Encoders whose attention goes through transformers' interface, reads its keyword arguments, and
# whose every other part works token by token.
PACKABLE = frozenset(
    """albert bert camembert distilbert electra ernie eurobert gte jina_embeddings_v3 modernbert
    nomic_bert roberta roberta-prelayernorm xlm-roberta xlm-roberta-xl""".split()
)
# Wider products do not fit the caches, and torch's kernel does not hold all scores at once.
_WIDEST_AT_ONCE = 256


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    layout: Layout | None = None,
    cu_seqlens: Tensor | None = None,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention of each sentence over itself, in the signature of transformers' interface.

    `query`, `key` and `value` are `(1, heads, T, d_head)`; the last two may have fewer heads, each
    then serves several of the query's. Gives `(1, T, heads, d_head)`, and None for the attention
    weights. `cu_seqlens (b+1,)` is where each sentence begins, and the end. The mask and other
    arguments are for a padded batch, which has no layout.
    """
    if layout is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, **kwargs
        )
    heads, how = query.shape[1], How(dropout, scaling, sliding_window)
    if key.shape[1] != heads:
        groups = heads // key.shape[1]
        key, value = (x.repeat_interleave(groups, dim=1) for x in (key, value))
    # (T, heads, d_head), which is how the layer before wrote them
    tokens = [x[0].transpose(0, 1) for x in (query, key, value)]
    if query.is_cuda:
        return _on_cuda(tokens, cu_seqlens, layout, how)[None], None
    slots = [_to_slots(x.reshape(len(x), -1), layout, heads, 1)[0] for x in tokens]
    mixed = _over_blocks(slots, heads, layout, how)
    return _to_tokens(mixed, layout, heads, len(tokens[0])).unflatten(1, (heads, -1))[None], None


def joint_attention(
    qkv: Tensor,
    heads: int,
    layout: Layout,
    cu_seqlens: Tensor | None = None,
    dropout: float = 0.0,
    scale: float | None = None,
) -> Tensor:
    """Attention of each sentence over itself, `(T, heads · d_head)`; else as `packed_attention`.

    `qkv` is `(T, 3 · heads · d_head)`: query, key and value of each token. Tokens behind the last
    block of the layout come out as anything.
    """
    if qkv.is_cuda:
        tokens = qkv.unflatten(1, (3, heads, -1)).unbind(1)
        return _on_cuda(tokens, cu_seqlens, layout, How(dropout, scale)).flatten(1)
    slots = _to_slots(qkv, layout, heads, 3).unbind()
    mixed = _over_blocks(slots, heads, layout, How(dropout, scale))
    return _to_tokens(mixed, layout, heads, len(qkv))


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


def _on_cuda(qkv: Sequence[Tensor], cu_seqlens: Tensor | None, layout: Layout, how: How) -> Tensor:
    """Attention of `(T, heads, d_head)`: by a kernel for sentences of any length, or in blocks."""
    dtype = multiplied_in(qkv[0].device.type)
    if dtype is not None:  # autocast knows nothing of these kernels
        qkv = [x.to(dtype) for x in qkv]
    kernel = attention_cuda.kernel_for(qkv[0], how.dropout, how.window)
    if kernel is None or cu_seqlens is None or not 0 < layout.tokens == len(qkv[0]):
        return side_by_side(qkv, layout, *how)
    starts = cu_seqlens[layout.empty :]  # texts without tokens come first
    return attention_cuda.attend(kernel, qkv, starts, layout.longest, how)


def side_by_side(
    qkv: Sequence[Tensor], layout: Layout, dropout: float, scale: float | None, window: int | None
) -> Tensor:
    """Attention of `(T, heads, d_head)` in blocks, all heads of a token side by side.

    An accelerator reads them as they lie, and to find a place for every head of every token takes
    longer than the attention.
    """
    if not layout.blocks:
        return qkv[2]
    tokens = torch.stack(list(qkv), dim=1)  # (T, 3, heads, d_head)
    places = layout.places(1, 1, len(tokens))
    slots: Any = _Move.apply(tokens.flatten(1), places.fill, places.back, places.spare)
    parts = slots.unflatten(1, tokens.shape[1:]).split([b.rows * b.width for b in layout.blocks])
    mixed = []
    for block, part in zip(layout.blocks, parts, strict=True):
        # (3, rows, heads, width, d_head)
        q, k, v = part.unflatten(0, (block.rows, block.width)).permute(2, 0, 3, 1, 4)
        mask = _with_window(block, window, q.device)
        found = F.scaled_dot_product_attention(q, k, v, mask, dropout, scale=scale)
        mixed.append(found.transpose(1, 2).flatten(2).flatten(0, 1))
    back: Any = _Move.apply(torch.cat(mixed), places.tokens, places.slots, places.empty)
    return back.unflatten(1, tokens.shape[2:])


def _over_blocks(qkv: Sequence[Tensor], heads: int, layout: Layout, how: How) -> Tensor:
    """Attention of all slots `(slots · heads, d_head)`, block by block."""
    if not layout.blocks:
        return qkv[2]
    q = qkv[0]
    scale = q.shape[-1] ** -0.5 if how.scale is None else how.scale
    sizes = [block.rows * block.width * heads for block in layout.blocks]
    is_exact = q.is_cpu and not torch.is_grad_enabled()
    # Rounded scores would cost precision, and without gradients float32 is as fast here.
    whole = [x.float() if is_exact else x for x in qkv]
    parts = zip(layout.blocks, *(x.split(sizes) for x in whole), strict=True)
    with torch.autocast("cpu", enabled=False) if is_exact else nullcontext():
        mixed = [_of_block(block, part, heads, how, scale, is_exact) for block, *part in parts]
    return (mixed[0] if len(mixed) == 1 else torch.cat(mixed)).to(q.dtype)


def _of_block(
    block: Block, qkv: list[Tensor], heads: int, how: How, scale: float, is_exact: bool
) -> Tensor:
    """Attention of the slots of a block, each `(rows · heads · width, d_head)`."""
    q, k, v = (x.view(block.rows, heads, block.width, -1) for x in qkv)
    mask = _with_window(block, how.window, q.device)
    if is_exact and block.width <= _WIDEST_AT_ONCE and not how.dropout:
        return _at_once(q, k, v, block, mask, scale)
    if attention_cpu.suits(q, how.dropout):
        mixed = attention_cpu.attend(q, k, v, mask, how.dropout, scale)
    else:
        mixed = F.scaled_dot_product_attention(q, k, v, mask, how.dropout, scale=scale)
    return mixed.flatten(0, 2)


def _at_once(
    q: Tensor, k: Tensor, v: Tensor, block: Block, mask: Tensor | None, scale: float
) -> Tensor:
    """The matrix products of the definition, for narrow widths faster than torch's kernel."""
    scores = torch.matmul(q, k.transpose(2, 3)).mul_(scale)  # (rows, heads, width, width)
    if mask is block.mask:
        if block.bias is not None:
            scores.add_(block.bias)
    elif mask is not None:
        scores.masked_fill_(~mask, float("-inf"))
    return torch.matmul(torch.softmax(scores, -1, out=scores), v).flatten(0, 2)


def _with_window(block: Block, window: int | None, device: torch.device) -> Tensor | None:
    """The mask of a block without pairs of tokens that are too far from each other."""
    if window is None or block.width <= window:
        return block.mask
    place = torch.arange(block.width, device=device)
    distance = (place[:, None] - place[None, :]).abs()  # (width, width)
    is_near = distance < window
    # An empty slot sees itself at least: attention to nothing is not a number.
    return is_near if block.mask is None else block.mask & is_near | (distance == 0)


def _to_slots(tokens: Tensor, layout: Layout, heads: int, parts: int) -> Tensor:
    """`(T, parts · heads · d_head)` -> `(parts, slots · heads, d_head)`."""
    size = tokens.shape[1] // (parts * heads)
    places = layout.places(heads, parts, len(tokens))
    found: Any = _Move.apply(tokens.reshape(-1, size), places.fill, places.back, places.spare)
    return found.view(parts, -1, size)


def _to_tokens(slots: Tensor, layout: Layout, heads: int, total: int) -> Tensor:
    """`(slots · heads, d_head)` -> `(T, heads · d_head)`."""
    places = layout.places(heads, 1, total)
    if not len(slots):
        return slots.new_zeros(total, heads * slots.shape[1])
    found: Any = _Move.apply(slots, places.tokens, places.slots, places.empty)
    return found.view(total, -1)


class _Move(torch.autograd.Function):
    """Rows `(n, d)` by their `index (m,)`; backward is the inverse move, and needs no sum.

    `back (n,)` is where each row went, and `lost` the rows that went nowhere. Some token stands in
    an empty slot, as a constant: a gradient goes neither into an empty slot, whatever attention
    makes of it, nor from there to that token.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, index: Tensor, back: Tensor, lost: Tensor) -> Tensor:
        ctx.save_for_backward(back, lost)
        return rows.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        back, lost = ctx.saved_tensors
        return gradient.index_select(0, back).index_fill_(0, lost, 0), None, None, None
