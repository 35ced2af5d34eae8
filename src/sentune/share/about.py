"""What the card shows of a model's modules: in words, and as code without this library."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_WIDEST_SETTING = 60


def described(model: Any) -> str:
    """The modules of a model in words, a line each."""
    children = model.named_children()
    lines = [f"  ({name}): {line}" for name, module in children for line in _lines_of(module)]
    return "\n".join([f"{type(model).__name__}(", *lines, ")"])


def with_transformers(model: Any) -> dict[str, Any] | None:
    """What a few lines of plain transformers have to do for the same vectors; None if it is more.

    `mode`: how token embeddings are pooled, "mean" or "cls"; `is_normalized`; `dimension`: keep
    this many numbers, None for all; `max_length`: in tokens, None for no limit; `prompt`: what
    comes before each text.
    """
    names = [type(module).__name__ for module in model]
    if names not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        return None
    first, pooling = model[0], model[1].settings()
    mode, name = pooling["pooling_mode"], model.default_prompt_name
    if mode not in ("mean", "cls") or first.do_lower_case:
        return None
    if not pooling["include_prompt"] and name is not None:
        return None
    if first.tokenizer.padding_side != "right" and mode == "cls":
        return None
    return {
        "mode": mode,
        "is_normalized": len(names) == 3,
        "dimension": model.truncate_dim,
        "max_length": first.max_seq_length,
        "prompt": model.prompts.get(name, ""),
    }


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
