"""A model's modules without the weights of its encoders: to be asked, not to be run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from sentune.encoder import pipeline
from sentune.engine import encoders, tasks
from sentune.engine.tree import is_off
from sentune.errors import HubError, ModelFileError
from sentune.files.kinds import CROSS_ENCODER
from sentune.files.modules import adapter_base
from sentune.files.modules.build import build
from sentune.files.modules.how import Reading
from sentune.files.plan import ModulePlan, Plan, is_causal
from sentune.folders.folder import ModelFolder
from sentune.folders.names import ENCODER_FILE
from sentune.folders.source import Code, Hub
from sentune.models.base import reads_packed
from sentune.models.pooling import Pooling
from sentune.models.router import Router
from sentune.models.transformer import Transformer

_LONGEST = 60
Modules = Mapping[str, "nn.Module | None"]


def unloaded(found: Plan, hub: Hub) -> dict[str, nn.Module | None]:
    """The modules of a model by name; None for one that would run code of the model's own.

    Modules other than encoders are small and are read as they are.
    """
    code = Code(found.folder.path, hub, False)
    modules = {name: _built(module, code) for name, module in found.modules.items()}
    first: Any = modules.get("0")
    if found.is_plain and found.kind is not CROSS_ENCODER and first is not None:
        mode = "lasttoken" if is_causal(getattr(first.config, "architectures", None)) else "mean"
        modules["1"] = Pooling(first.get_embedding_dimension(), mode)
    return modules


def _built(planned: ModulePlan, code: Code) -> nn.Module | None:
    if planned.row is None:
        return None
    if planned.row.name == "Transformer":
        return _encoder(planned, code)
    if planned.row.name != "Router":
        return build(planned, Reading(code))
    parts = {name: _built(part, code) for name, part in planned.parts.items()}
    structure = planned.settings["structure"]
    if None in parts.values():
        return None
    settings = {key: value for key, value in planned.settings.items() if key != "structure"}
    routes: Any = {route: [parts[name] for name in names] for route, names in structure.items()}
    return Router(routes, **settings)


def _encoder(planned: ModulePlan, code: Code) -> nn.Module | None:
    base = adapter_base.base_of(planned.folder, code)
    options = {"trust_remote_code": False}
    settings = {**planned.settings}
    for name in ("config_kwargs", "processor_kwargs"):
        settings[name] = {**(settings.get(name) or {}), **options}
    try:
        return Transformer.unloaded(str(base.path), settings)
    except (ModelFileError, HubError):
        if _has_code(base):
            return None
        raise


def _has_code(folder: ModelFolder) -> bool:
    return bool((folder.read_json(ENCODER_FILE, dict) or {}).get("auto_map"))


def width_of(modules: Modules, truncate_dim: int | None) -> int | None:
    """Width of the embeddings; None if it is not known."""
    known = [module for module in modules.values() if module is not None]
    width = pipeline.width(nn.Sequential(*known)) if len(known) == len(modules) else None
    return width if width is None or truncate_dim is None else min(width, truncate_dim)


def type_of(found: Plan, name: str) -> str:
    """The class of a module, as far as its files name it."""
    planned = found.modules.get(name)
    if planned is None:
        return "Pooling"  # a plain encoder gets one when it is loaded
    return planned.row.name if planned.row is not None else planned.type_name


def details_of(module: Any) -> str:
    """What a module does, in a few words."""
    if module is None:
        return "code that comes with the model or from another package; not run here"
    if isinstance(module, Transformer):
        return _of_encoder(module)
    if isinstance(module, Router):
        names = {route: [type(part).__name__ for part in parts] for route, parts in _routes(module)}
        return "; ".join(f"{route}: {', '.join(parts)}" for route, parts in names.items())
    if isinstance(module, Pooling):
        modes = module.pooling_mode
        joined = modes if isinstance(modes, str) else " and ".join(modes)
        return f"{joined} of the tokens{'' if module.include_prompt else ', without the prompt'}"
    settings = module.settings() if hasattr(module, "settings") else {}
    words = {name.replace("_", " "): _shown(value) for name, value in settings.items()}
    return ", ".join(f"{name} {value}" for name, value in words.items() if value)


def _routes(router: Router) -> list[tuple[str, list[nn.Module]]]:
    """The modules of each route."""
    return [(route, list(parts.children())) for route, parts in router.sub_modules.items()]


def _of_encoder(module: Any) -> str:
    config = module.config
    inner = getattr(config, "text_config", None) or getattr(config, "encoder", None) or config
    sizes = {"layers": "num_hidden_layers", "heads": "num_attention_heads", "wide": "hidden_size"}
    known = {word: getattr(inner, name, None) for word, name in sizes.items()}
    words = [f"{value} {word}" for word, value in known.items() if value is not None]
    task = "" if module.transformer_task == tasks.FEATURES else f", for {module.transformer_task}"
    return f"{type(module.auto_model).__name__}, {', '.join(words)}{task}"


def _shown(value: Any) -> str:
    if value is None or value == {} or isinstance(value, bool) and not value:
        return ""
    if isinstance(value, (list, tuple, dict)) and len(value) > 4:
        return f"({len(value):,})"
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def why_not_packed(modules: Modules) -> str:
    """Why texts are padded; "" if they are not."""
    return next(_obstacles(modules), "")


def _obstacles(modules: Modules) -> Iterator[str]:
    if is_off():
        yield "the engine is switched off by SENTUNE_ENGINE=off"
    for name, module in modules.items():
        if module is None:
            yield f"module {name} is code of the model's own, which decides it when it is loaded"
        elif isinstance(module, Router):
            for route, parts in _routes(module):
                yield from _obstacles({f"{name} ({route})": part for part in parts})
        elif isinstance(module, Transformer):
            yield from _of_transformer(module)
        elif not reads_packed(module):
            yield f"module {name}, {type(module).__name__}, reads padded batches"


def _of_transformer(module: Any) -> Iterator[str]:
    config = module.config
    if getattr(config, "quantization_config", None) is not None:
        yield "its weights are quantized, and such layers run padded"
    if module.reads_packed:
        return
    if module.transformer_task == tasks.GENERATION:
        yield "a language model that is asked for its next token runs padded"
    elif not encoders.can_pack(config):
        kind = "decoders" if getattr(config, "is_decoder", False) else "encoders"
        yield f"{kind} of the family {config.model_type!r} run padded"
    else:
        yield "its classification head reads more than one row of a text, or was changed"
