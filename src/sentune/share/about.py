"""What the card says of the model itself: its parts, sizes, prompts, and where it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from sentune.hub.fetch import origin

_WIDEST_SETTING = 60
_MODES_OF_PLAIN_CODE = ("mean", "cls")


@dataclass(frozen=True)
class AboutModel:
    """The facts of a model.

    Args:
        modules: Its modules in words, a line each.
        dimension: Width of the embeddings.
        max_seq_length: Most tokens of a text that are read.
        similarity: How embeddings are compared.
        prompts: Name -> text, without the empty ones.
        default_prompt: The prompt that is used when none is named.
        parameters: How many weights there are.
        has_routes: Whether queries and documents go different ways.
        encoder: Hub id and commit that the encoder says it is from.
        plain: How plain transformers gives the same vectors; None if it takes more.
    """

    modules: str
    dimension: int | None
    max_seq_length: int | None
    similarity: str
    prompts: Mapping[str, str]
    default_prompt: str | None
    parameters: int
    has_routes: bool
    encoder: tuple[str, str | None] | None
    plain: PlainCode | None


@dataclass(frozen=True)
class PlainCode:
    """What there is to do after a transformers encoder.

    Args:
        mode: How token embeddings are pooled: "mean" or "cls".
        is_normalized: Whether the vector is brought to length 1.
        dimension: Keep this many numbers; None for all.
        max_length: Most tokens of a text.
    """

    mode: str
    is_normalized: bool
    dimension: int | None
    max_length: int | None


def about(model: Any) -> AboutModel:
    """The facts of a model.

    Args:
        model: A SentenceTransformer.
    """
    config = getattr(model, "config", None)
    prompts = {name: text for name, text in model.prompts.items() if text}
    return AboutModel(
        modules=_described(model),
        dimension=model.get_embedding_dimension(),
        max_seq_length=model.max_seq_length,
        similarity=str(model.similarity_fn_name),
        prompts=prompts,
        default_prompt=prompts.get(model.default_prompt_name),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        has_routes=any(type(module).__name__ == "Router" for module in model),
        encoder=origin(getattr(config, "_name_or_path", None)),
        plain=_plain_code(model),
    )


def _described(model: nn.Module) -> str:
    lines = [
        f"  ({name}): {line}"
        for name, module in model.named_children()
        for line in _lines_of(module)
    ]
    return "\n".join([f"{type(model).__name__}(", *lines, ")"])


def _lines_of(module: Any) -> Iterator[str]:
    settings = module.settings() if hasattr(module, "settings") else {}
    words = [f"{name}={_shown(value)}" for name, value in settings.items()]
    encoder = getattr(module, "auto_model", None)
    if encoder is not None:
        words.insert(0, type(encoder).__name__)
    yield f"{type(module).__name__}({', '.join(words)})"
    for route, parts in getattr(module, "sub_modules", {}).items():
        for part in parts:
            yield from (f"  [{route}] {line}" for line in _lines_of(part))


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple, dict)) and len(value) > 20:
        return f"<{len(value)} entries>"
    text = repr(value)
    return text if len(text) <= _WIDEST_SETTING else f"{text[: _WIDEST_SETTING - 3]}..."


def _plain_code(model: Any) -> PlainCode | None:
    """How plain transformers gives the same vectors, where a few lines do."""
    names = [type(module).__name__ for module in model]
    if names not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        return None
    first, pooling = model[0], model[1].settings()
    if pooling["pooling_mode"] not in _MODES_OF_PLAIN_CODE or first.do_lower_case:
        return None
    if not pooling["include_prompt"] and model.default_prompt_name is not None:
        return None
    if first.tokenizer.padding_side != "right" and pooling["pooling_mode"] == "cls":
        return None
    return PlainCode(
        pooling["pooling_mode"], len(names) == 3, model.truncate_dim, first.max_seq_length
    )
