"""A hash that says whether two models give the same vectors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import torch

# Settings of modules that change what they compute, besides those in their files.
_NAMES = ("max_seq_length", "do_lower_case", "include_prompt", "pooling_mode", "default_route")
# Of a transformers configuration: where it came from, and what does not change the numbers.
_ELSEWHERE = ("_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype")
_BYTES = 64 << 20  # of a tensor that are copied at a time
# Of a tokenizer: what a call leaves behind.
_OF_A_CALL = ("truncation", "padding")


def identity(model: Any) -> str:
    """A hash of what a model computes: its weights, the settings of its modules, its tokenizer.

    It is the same for a model before it is saved and after it is loaded, wherever it is, and does
    not read its files. Prompts do not count.

    Args:
        model: A `SentenceTransformer` or a model of another kind.

    Returns:
        32 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for part in _parts(model):
        digest.update(part)
    return digest.hexdigest()[:32]


def _parts(model: Any) -> Iterator[bytes]:
    for name, value in sorted(model.state_dict().items()):
        yield f"\n{name} ".encode()
        yield from _bytes_of(value)
    for name, module in model.named_modules():
        if found := _settings(module):
            yield f"\n{name} {type(module).__name__} {_as_json(found)}".encode()
    yield f"\n{_vocabulary(model)}".encode()


def _bytes_of(value: Any) -> Iterator[bytes]:
    if not isinstance(value, torch.Tensor) or value.is_quantized:  # of quantised linear layers
        yield repr(value).encode()
        return
    yield f"{value.dtype} {tuple(value.shape)} ".encode()
    flat = value.detach().cpu().contiguous().reshape(-1)
    for part in flat.view(torch.uint8).split(_BYTES) if flat.numel() else ():
        yield part.numpy().tobytes()


def _settings(module: Any) -> dict[str, Any]:
    found = {name: getattr(module, name) for name in _NAMES if hasattr(module, name)}
    if hasattr(module, "get_config_dict"):
        found |= module.get_config_dict()
    encoder: Any = getattr(module, "auto_model", None)
    config: Any = getattr(encoder, "config", None)
    if hasattr(config, "to_dict"):
        found["config"] = {k: v for k, v in config.to_dict().items() if k not in _ELSEWHERE}
    return found


def _vocabulary(model: Any) -> str:
    tokenizer: Any = getattr(model, "tokenizer", None)
    inner: Any = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if hasattr(inner, "to_str"):
        whole = json.loads(inner.to_str())
        return _as_json({key: part for key, part in whole.items() if key not in _OF_A_CALL})
    known = tokenizer.get_vocab() if hasattr(tokenizer, "get_vocab") else {}
    return _as_json(known)


def _as_json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, default=lambda other: type(other).__name__)
