"""A folder, or an id on the Hub -> the modules and settings of a model."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sentune.errors import ModelFileError, SettingError
from sentune.files import keys, layout, requirements
from sentune.files.folder import ModelFolder
from sentune.files.modules.adapter_base import CONFIG_FILE
from sentune.files.modules.custom import Code
from sentune.files.modules.one import Reader
from sentune.files.source import Hub, source_folder
from sentune.vectors.similarity import SimilarityFunction

logger = logging.getLogger(__name__)

_MOST_CARD_BYTES = 4 * 2**20
_MODEL_TYPE = "SentenceTransformer"
_MODEL_KEYS = {
    "model_type": keys.TEXT.or_null(),
    "prompts": keys.TEXT.or_null().dict().or_null(),
    "default_prompt_name": keys.TEXT.or_null(),
    "similarity_fn_name": keys.TEXT.or_null(),
    "truncate_dim": keys.SIZE.or_null(),
}
_ENTRY_KEYS = {"type": keys.TEXT, "path": keys.TEXT, "name": keys.TEXT, "kwargs": keys.TEXT.list()}
# Models of an earlier library that were trained without their prompts in the pooling, which their
# files do not say.
_PROMPT_NOT_POOLED = {f"hkunlp/instructor-{size}" for size in ("base", "large", "xl")}


@dataclass(frozen=True)
class LoadedModel:
    """What the files of a model say.

    Args:
        modules: Name -> module, in order.
        settings: `prompts`, `default_prompt_name`, `similarity_fn_name`, `truncate_dim`.
        module_kwargs: Module name -> arguments of its forward that a caller may give.
        folder: Where the files are.
        card: What README.md holds.
    """

    modules: dict[str, nn.Module]
    settings: dict[str, Any]
    module_kwargs: dict[str, list[str]] = field(default_factory=dict)
    folder: Path | None = None
    card: str | None = None


@torch.inference_mode(mode=False)  # weights that are made inside of it cannot be trained
def load(
    source: str | Path,
    hub: Hub,
    *,
    trust_remote_code: bool = False,
    model_kwargs: Mapping[str, Any] | None = None,
    processor_kwargs: Mapping[str, Any] | None = None,
    config_kwargs: Mapping[str, Any] | None = None,
    device: str | torch.device | None = None,
) -> LoadedModel:
    """The modules and settings of a model of any generation of the format.

    A folder without modules.json is read as a checkpoint of a plain encoder, which becomes
    Transformer and mean Pooling (the last token's embedding for a causal language model).

    Args:
        source: A folder, or an id on the Hugging Face Hub.
        hub: Where ids are looked for, and at which revision.
        trust_remote_code: Whether code that comes with the model may run.
        model_kwargs: For the encoder's `from_pretrained`.
        processor_kwargs: For the tokenizer's `from_pretrained`.
        config_kwargs: For the configuration's `from_pretrained`.
        device: Where to put the modules; None to leave them.

    Raises:
        ModelFileError: If a file is missing or damaged; it names the file and the key.
        UntrustedCodeError: If the model would run code and may not.
        HubError: If the model cannot be had from the Hub.
        MissingDependencyError: If the model asks for packages that are not there.
    """
    if hub.revision is not None and not (isinstance(hub.revision, str) and hub.revision):
        raise SettingError(f"revision must be a branch, a tag or a commit; got {hub.revision!r}")
    root = source_folder(source, hub, with_code=trust_remote_code)
    code = Code(root.path, hub, trust_remote_code)
    reader = Reader(code, model_kwargs or {}, processor_kwargs or {}, config_kwargs or {})
    config = root.read_json(layout.MODEL_FILE, dict) or {}
    path = root.path / layout.MODEL_FILE
    requirements.check(config.get("requirements"), path)
    keys.check(config, _MODEL_KEYS, path)
    is_other = config.get("model_type") not in (None, _MODEL_TYPE)
    if is_other or root.file(layout.MODULES_FILE) is None:
        if is_other:
            logger.warning("%s is a %s; only its encoder is used", source, config["model_type"])
            config = {}
        modules, kwargs = _plain_encoder(root, reader), dict[str, list[str]]()
        settings = _settings({}, path)
    else:
        modules, kwargs = _listed_modules(root, reader)
        settings = _settings(config, path)
    loaded = LoadedModel(modules, settings, kwargs, root.path, _card(root))
    if str(source) in _PROMPT_NOT_POOLED:
        for module in loaded.modules.values():
            if hasattr(module, "include_prompt"):
                module.include_prompt = False  # type: ignore[assignment]
    for module in loaded.modules.values():
        module.to(device)
    return loaded


def _listed_modules(
    root: ModelFolder, reader: Reader
) -> tuple[dict[str, nn.Module], dict[str, list[str]]]:
    """The modules that modules.json lists, and the forward arguments it names."""
    entries = root.need_json(layout.MODULES_FILE, list)
    path = root.path / layout.MODULES_FILE
    if not entries:
        raise ModelFileError(f"{path} lists no modules")
    modules: dict[str, nn.Module] = {}
    kwargs: dict[str, list[str]] = {}
    for position, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise ModelFileError(
                f"{path}: entry {position} must be an object, got {keys.shown(entry)}"
            )
        keys.need(entry, ("type", "path"), path)
        keys.check(entry, _ENTRY_KEYS, path)
        name = entry.get("name", str(position))
        if name in modules or not name or "." in name:
            raise ModelFileError(
                f"{path}: 'name' of entry {position} is {name!r}, taken or no name"
            )
        modules[name] = reader.read(entry["type"], root.sub(entry["path"], path), path)
        if entry.get("kwargs"):
            kwargs[name] = entry["kwargs"]
            if layout.type_of(modules[name]) is None:  # sentune's own know what they take
                modules[name].forward_kwargs = frozenset(kwargs[name])  # type: ignore[assignment]
    return modules, kwargs


def _plain_encoder(root: ModelFolder, reader: Reader) -> dict[str, nn.Module]:
    """Modules for a checkpoint of the transformers library."""
    encoder_file = root.path / "config.json"
    if root.file(encoder_file.name) is None and root.file(CONFIG_FILE) is None:
        raise ModelFileError(
            f"{root} is no model: it has neither {layout.MODULES_FILE} nor {encoder_file.name}"
        )
    transformer: Any = reader.read(layout.MODULES["Transformer"].written_name, root, encoder_file)
    pooling = layout.MODULES["Pooling"].load_class()(
        transformer.get_embedding_dimension(), "lasttoken" if _is_causal(transformer) else "mean"
    )
    return {"0": transformer, "1": pooling}


def _is_causal(transformer: Any) -> bool:
    """Whether only the last token has seen the whole text."""
    if transformer.is_deferred:  # a plain BERT, whose modules need not be made to be asked
        return False
    names = getattr(transformer.config, "architectures", None)
    name = names[0] if isinstance(names, list) and names else ""
    return str(name).endswith("ForCausalLM") and getattr(transformer.config, "is_causal", True)


def _settings(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The model's settings, checked against each other."""
    prompts = {
        name: text for name, text in (config.get("prompts") or {}).items() if text is not None
    }
    default = config.get("default_prompt_name")
    if default is not None and default not in prompts:
        raise ModelFileError(
            f"{path}: 'default_prompt_name' is {default!r}, but 'prompts' has {sorted(prompts)}"
        )
    similarity = config.get("similarity_fn_name")
    if similarity is not None and similarity not in SimilarityFunction.possible_values():
        logger.warning("%s: similarity %r is for other kinds of models; not used", path, similarity)
        similarity = None
    return {
        "prompts": prompts,
        "default_prompt_name": default,
        "similarity_fn_name": similarity,
        "truncate_dim": config.get("truncate_dim"),
    }


def _card(folder: ModelFolder) -> str | None:
    try:
        path = folder.file(layout.README)
        if path is None or path.stat().st_size > _MOST_CARD_BYTES:
            return None
        content = path.read_text(encoding="utf-8")
        return content if content.strip() else None
    except (ModelFileError, OSError, ValueError) as error:
        logger.debug("the card in %s cannot be read: %s", folder, error)
        return None
