"""A BERT checkpoint whose modules are not made yet.

Loading the transformers library takes longer than all that it takes to embed a text. So a BERT is
first held as the tensors of its checkpoint, the Rust core of its tokenizer, and the files that the
library would have read. From these the library's own modules and tokenizer are made on first
access: with the very same tensors, so that it makes no difference when.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tokenizers import Tokenizer
from torch import Tensor, dtype, nn

from sentune.engine import bert
from sentune.engine.bert import Bert


@dataclass(frozen=True)
class Shape:
    """The sizes of a BERT, under the names of its config.json."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int
    layer_norm_eps: float

    @property
    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of the weights that a checkpoint of these sizes has."""
        d, inside = self.hidden_size, self.intermediate_size
        found: dict[str, tuple[int, ...]] = {
            "embeddings.word_embeddings.weight": (self.vocab_size, d),
            "embeddings.position_embeddings.weight": (self.max_position_embeddings, d),
            "embeddings.token_type_embeddings.weight": (self.type_vocab_size, d),
        }
        linear = {"pooler.dense": (d, d)}
        norms = ["embeddings.LayerNorm"]
        for number in range(self.num_hidden_layers):
            place = f"encoder.layer.{number}"
            for name in ("self.query", "self.key", "self.value", "output.dense"):
                linear[f"{place}.attention.{name}"] = (d, d)
            linear[f"{place}.intermediate.dense"] = inside, d
            linear[f"{place}.output.dense"] = d, inside
            norms += [f"{place}.attention.output.LayerNorm", f"{place}.output.LayerNorm"]
        for name, (rows, width) in linear.items():
            found |= {f"{name}.weight": (rows, width), f"{name}.bias": (rows,)}
        for name in norms:
            found |= {f"{name}.weight": (d,), f"{name}.bias": (d,)}
        return found


@dataclass(frozen=True)
class WordPieces:
    """Of a tokenizer what reading texts needs, under the names of the transformers library."""

    backend_tokenizer: Tokenizer  # the Rust core
    model_max_length: int  # in tokens
    model_input_names: Sequence[str]  # tensors that an encoder takes
    all_special_ids: Sequence[int]
    truncation_side: str = "right"

    def __len__(self) -> int:
        return self.backend_tokenizer.get_vocab_size()

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many tokens are added to those of a text."""
        return self.backend_tokenizer.num_special_tokens_to_add(pair)


@dataclass(frozen=True)
class Deferred:
    """An encoder and its tokenizer, in parts."""

    source: str  # folder or Hub id, for the name that the library's objects have
    words: WordPieces
    files: Mapping[str, bytes]  # name -> content of the settings and the vocabulary
    shape: Shape
    tensors: Mapping[str, Tensor]  # as the checkpoint names them

    @cached_property
    def bert(self) -> Bert:
        """The encoder as a function of its weights."""
        shape = self.shape
        sizes = shape.num_attention_heads, shape.num_hidden_layers, shape.layer_norm_eps
        return bert.of_tensors(self.tensors, *sizes)

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Deferred:
        """The same with every weight changed."""
        return replace(self, tensors={name: change(x) for name, x in self.tensors.items()})

    def encoder(self) -> nn.Module:
        """The library's own encoder, with these very tensors."""
        from sentune.engine import encoders

        with self._unpacked() as folder:
            return encoders.with_tensors(folder, self.source, self.tensors)

    def tokenizer(self) -> Any:
        """The library's own tokenizer."""
        from transformers import AutoTokenizer

        with self._unpacked() as folder:
            tokenizer = AutoTokenizer.from_pretrained(folder)
        tokenizer.name_or_path = self.source
        return tokenizer

    @contextmanager
    def _unpacked(self) -> Iterator[Path]:
        """A folder with the files."""
        with TemporaryDirectory() as folder:
            for name, content in self.files.items():
                (Path(folder) / name).write_bytes(content)
            yield Path(folder)


def _opened(name: str) -> Any:
    """A method of a dict that first makes what is not made yet."""
    return lambda self, *args: getattr(self._open(), name)(*args)


class Unopened(dict[str, Any]):
    """The modules of a module, one of which is made on first access.

    torch keeps the parts of a module in a dict, and everything that walks over modules reads it.
    `open` makes the part, puts an ordinary dict in the place of this one, and gives that.
    """

    def __init__(self, name: str, open: Callable[[], dict[str, Any]]) -> None:
        super().__init__({name: None})
        self._open = open

    def __getitem__(self, name: str) -> Any:
        return self._open()[name] if name in self else super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """As of a dict."""
        return self._open()[name] if name in self else default

    values, items, copy, pop = map(_opened, ("values", "items", "copy", "pop"))
    __setitem__, __delitem__ = map(_opened, ("__setitem__", "__delitem__"))


def made(module: nn.Module) -> Iterator[nn.Module]:
    """A module and those inside it, as `modules()` has them, but for what is not made yet."""
    seen: set[int] = set()
    waiting = [module]
    while waiting:
        one = waiting.pop()
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [child for child in dict.values(one._modules) if child is not None]


def weights_of(module: nn.Module) -> Iterator[Tensor]:
    """The parameters and then the buffers of a module, also where its modules are not made yet.

    Buffers come last, since some encoders keep theirs in float32 whatever type they are loaded in.
    """
    known = list(made(module))
    for one in known:
        if isinstance(one._modules, Unopened):
            yield from one.__dict__["_parts"].tensors.values()
        yield from (tensor for tensor in one._parameters.values() if tensor is not None)
    for one in known:
        yield from (tensor for tensor in one._buffers.values() if tensor is not None)


def type_of(module: nn.Module) -> dtype | None:
    """The type of a module's weights; None if it has none."""
    other = None
    for tensor in weights_of(module):
        if not tensor.is_floating_point():
            continue
        # A buffer may be in float32 whatever the weights are in, as frequencies of positions.
        if isinstance(tensor, nn.Parameter):
            return tensor.dtype
        other = other or tensor.dtype
    return other


def is_quantized(module: nn.Module) -> bool:
    """Whether torch has converted layers of a module, which then read float32 and nothing else."""
    return any(type(one).__module__.startswith("torch.ao.nn.quantized") for one in made(module))
