"""Attention layers made like BERT's, with query, key and value in one matrix product."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from sentune.engine.attention import packed_attention
from sentune.engine.linear import Copies, Linear, product_of_all

# Classes of the transformers library whose `forward` is that of BertSelfAttention.
_KINDS = frozenset(
    {
        "BertSelfAttention",
        "CamembertSelfAttention",
        "ElectraSelfAttention",
        "ErnieSelfAttention",
        "RobertaSelfAttention",
        "XLMRobertaSelfAttention",
        "XLMRobertaXLSelfAttention",
        "RobertaPreLayerNormSelfAttention",
    }
)


_made: dict[type[nn.Module], type[nn.Module]] = {}


class JointAttention(nn.Module):
    """What is different in a layer with one product; the rest is that of the library's class."""

    _kind: type[nn.Module]
    _copies: Copies

    def forward(
        self, hidden_states: Tensor, *args: Any, blocks: Any = None, **kwargs: Any
    ) -> tuple[Tensor, None]:
        """Attention of packed tokens `(1, T, d)`; of all others, as in the library's class."""
        layer: Any = self
        layers = [layer.query, layer.key, layer.value]
        if blocks is None or not all(map(_is_plain, layers)):
            return super().forward(hidden_states, *args, blocks=blocks, **kwargs)
        q, k, v = (
            x.unflatten(-1, (-1, layer.attention_head_size)).transpose(1, 2)
            for x in product_of_all(layers, hidden_states, self._copies)
        )
        dropout = layer.dropout.p if self.training else 0.0
        kwargs |= {"attention_mask": None, "dropout": dropout, "scaling": layer.scaling}
        mixed, _ = packed_attention(self, q, k, v, blocks=blocks, **kwargs)
        return mixed.flatten(2), None

    def train(self, mode: bool = True) -> JointAttention:
        """As `torch.nn.Module.train`; the copy of the weights goes where training begins."""
        if mode:
            self._copies.drop()
        return super().train(mode)

    def __reduce__(self) -> tuple[Any, ...]:
        return _blank, (self._kind,), self.__dict__


def with_joint_products(encoder: nn.Module) -> nn.Module:
    """The encoder with one product for query, key and value, where its layers are made like BERT's.

    Args:
        encoder: Changed in place; its weights and their names stay as they are.
    """
    for module in encoder.modules():
        if type(module).__name__ in _KINDS and not isinstance(module, JointAttention):
            module.__class__ = _joint(type(module))
            module.__dict__["_copies"] = Copies()
    return encoder


def _joint(kind: type[nn.Module]) -> Any:
    """The class of layers of a kind with one product; `isinstance` of that kind as before."""
    if kind not in _made:
        _made[kind] = type(kind.__name__, (JointAttention, kind), {"_kind": kind})
    return _made[kind]


def _blank(kind: type[nn.Module]) -> JointAttention:
    """A layer without its state, for `pickle` and `copy`."""
    cls = _joint(kind)
    return cls.__new__(cls)


def _is_plain(layer: nn.Module) -> bool:
    """Whether the layer is what it was when it was loaded, and nobody listens to it."""
    return type(layer) is Linear and not layer._forward_hooks and not layer._forward_pre_hooks
