"""A folder -> what it says of a model, checked, without torch.

The loader builds the modules from it (`sentune.files.load`), and so can whatever runs a model in
another way.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sentune.engine.tasks import CLASSES, GENERATION
from sentune.errors import ModelFileError, UntrustedCodeError
from sentune.files import layout, requirements, settings
from sentune.files.kinds import (
    COMMON,
    CROSS_ENCODER,
    KINDS,
    OLDER_SETTINGS,
    OLDEST_ACTIVATION,
    SENTENCE_TRANSFORMER,
    ModelKind,
)
from sentune.files.layout import ModuleType
from sentune.folders import keys, weight_files
from sentune.folders.folder import ModelFolder
from sentune.folders.names import ADAPTER_FILE, ENCODER_FILE, MODEL_FILE, MODULES_FILE, README

logger = logging.getLogger(__name__)

_MOST_CARD_BYTES = 4 * 2**20
_ENTRY_KEYS = {"type": keys.TEXT, "path": keys.TEXT, "name": keys.TEXT, "kwargs": keys.TEXT.list()}


@dataclass(frozen=True)
class ModulePlan:
    """What a folder says of a module."""

    type_name: str  # its type, as the file says that lists it
    row: ModuleType | None  # the row of the table for it; None for code that comes with the model
    folder: ModelFolder  # where it is
    listed_in: Path  # the file that lists it
    path: Path  # the file with its settings
    settings: Mapping[str, Any] = field(default_factory=dict)  # the settings, checked
    weights: Path | None = None  # the file with its weights; None if there is none, or several
    parts: Mapping[str, ModulePlan] = field(default_factory=dict)  # the modules inside of it
    forward_kwargs: tuple[str, ...] = ()  # arguments of its forward that a caller may give


@dataclass(frozen=True)
class Plan:
    """What a folder says of a model."""

    kind: ModelKind  # what kind of model it is
    folder: ModelFolder  # where it is
    modules: Mapping[str, ModulePlan]  # name -> module, in order
    settings: Mapping[str, Any]  # what it says of the whole model, see `sentune.files.kinds`
    is_plain: bool  # a checkpoint of transformers; modules that the kind adds are not planned
    card: str | None  # what README.md holds; None if there is none


def plan(
    root: ModelFolder, kind: ModelKind = SENTENCE_TRANSFORMER, *, is_trusted: bool = False
) -> Plan:
    """What a folder of any generation of the format says; errors as for `sentune.files.load`."""
    config, encoder = _configs(root)
    path = root.path / MODEL_FILE
    requirements.check(config.get("requirements"), path)
    marked = _marked(config, encoder)
    _check_kind(root, kind, marked)
    is_plain = root.file(MODULES_FILE) is None
    if is_plain:
        modules = _plain_modules(root, encoder, kind, is_trusted=is_trusted)
    else:
        modules = listed_modules(root, is_trusted=is_trusted)
        _check_kind(root, kind, marked or _kind_of(modules))
    keys.check(config, kind.keys, path)
    if kind is CROSS_ENCODER and not is_plain:
        encoder = root.read_json(ENCODER_FILE, dict) or {}
    found = _settings(kind, {} if is_plain else config, encoder, path)
    return Plan(kind, root, modules, found, is_plain, _card(root))


def kind_of(root: ModelFolder) -> ModelKind:
    """The kind of the model in a folder; SentenceTransformer for one that does not say.

    A checkpoint of transformers with a head that classifies is a CrossEncoder, unless it is loaded
    as something else.
    """
    config, encoder = _configs(root)
    marked = _marked(config, encoder)
    if marked is None and root.file(MODULES_FILE) is not None:
        marked = _kind_of(listed_modules(root, is_trusted=True))  # nothing of it is run
    elif marked is None and _is_classifier(encoder.get("architectures")):
        marked = CROSS_ENCODER.name
    kind = KINDS.get(marked or SENTENCE_TRANSFORMER.name)
    if kind is None or not kind.is_here:
        raise _wrong_kind(root, SENTENCE_TRANSFORMER, marked)
    return kind


def of_module(
    type_name: str, folder: ModelFolder, listed_in: Path, *, is_trusted: bool
) -> ModulePlan:
    """What a folder says of a module."""
    row = layout.type_named(type_name)
    planned = ModulePlan(type_name, row, folder, listed_in, folder.path)
    if row is not None:
        return as_row(planned, row, is_trusted=is_trusted)
    if not is_trusted:
        raise UntrustedCodeError(
            f"{listed_in}: the module type {type_name!r} is none of sentune's "
            f"({', '.join(layout.MODULES)}), so it would run code that comes with the model or "
            "from another package. Look at that code; if you trust it, pass trust_remote_code=True"
        )
    return planned


def as_row(planned: ModulePlan, row: ModuleType, *, is_trusted: bool) -> ModulePlan:
    """The plan of a module with what a row of the table says of its files."""
    folder = planned.folder
    found, path = settings.of(row, folder)
    row.check(row, folder, is_trusted)
    parts = {
        name: of_module(kind, folder.sub(name, path), path, is_trusted=is_trusted)
        for name, kind in (found.pop(row.parts) if row.parts else {}).items()
    }
    weights = weight_files.found(folder)
    return replace(planned, row=row, path=path, settings=found, weights=weights, parts=parts)


def listed_modules(root: ModelFolder, *, is_trusted: bool) -> dict[str, ModulePlan]:
    """The modules that modules.json lists."""
    entries = root.need_json(MODULES_FILE, list)
    path = root.path / MODULES_FILE
    if not entries:
        raise ModelFileError(f"{path} lists no modules")
    modules: dict[str, ModulePlan] = {}
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
        folder = root.sub(entry["path"], path)
        planned = of_module(entry["type"], folder, path, is_trusted=is_trusted)
        modules[name] = replace(planned, forward_kwargs=tuple(entry.get("kwargs") or ()))
    return modules


def _configs(root: ModelFolder) -> tuple[dict[str, Any], dict[str, Any]]:
    """The files that say what kind of model it is: the model's, and a plain encoder's."""
    config = root.read_json(MODEL_FILE, dict) or {}
    keys.check(config, {"model_type": COMMON["model_type"]}, root.path / MODEL_FILE)
    if root.file(MODULES_FILE) is not None:
        return config, {}
    encoder = root.read_json(ENCODER_FILE, dict)
    if encoder is None and root.file(ADAPTER_FILE) is None:
        raise ModelFileError(
            f"{root} is no model: it has neither {MODULES_FILE} nor {ENCODER_FILE}"
        )
    return config, encoder or {}


def _plain_modules(
    root: ModelFolder, encoder: Mapping[str, Any], kind: ModelKind, *, is_trusted: bool
) -> dict[str, ModulePlan]:
    """The encoder of a checkpoint of the transformers library, for the task of the kind."""
    name = layout.MODULES["Transformer"].written_name
    planned = of_module(name, root, root.path / ENCODER_FILE, is_trusted=is_trusted)
    if kind is CROSS_ENCODER:
        task = GENERATION if is_causal(encoder.get("architectures")) else CLASSES
        planned = replace(planned, settings={**planned.settings, "transformer_task": task})
    return {"0": planned}


def _is_classifier(architectures: Any) -> bool:
    name = architectures[0] if isinstance(architectures, list) and architectures else ""
    return str(name).endswith("ForSequenceClassification")


def is_causal(architectures: Any) -> bool:
    """Whether what a config has as `architectures` is a causal language model."""
    name = architectures[0] if isinstance(architectures, list) and architectures else ""
    return str(name).endswith("ForCausalLM")


def _marked(config: Mapping[str, Any], encoder: Mapping[str, Any]) -> str | None:
    """The kind of model that files are marked as; None if they do not say."""
    if config.get("model_type") is not None:
        return config["model_type"]
    older = encoder.get(OLDER_SETTINGS)
    has_activation = isinstance(older, dict) and "activation_fn" in older
    if has_activation or encoder.get(OLDEST_ACTIVATION) is not None:
        return CROSS_ENCODER.name
    return None


def _kind_of(modules: Mapping[str, ModulePlan]) -> str:
    """The kind of model that modules make, where files of earlier releases do not say it."""
    tasks = [module.settings.get("transformer_task") for module in modules.values()]
    gives = [module.settings.get("module_output_name") for module in modules.values()]
    types = [module.type_name.rpartition(".")[2] for module in modules.values()]
    is_scorer = CROSS_ENCODER.output in gives or "LogitScore" in types or CLASSES in tasks
    return CROSS_ENCODER.name if is_scorer else SENTENCE_TRANSFORMER.name


def _check_kind(root: ModelFolder, kind: ModelKind, marked: str | None) -> None:
    """Raise if the folder is marked as another kind of model than the one that is expected."""
    if marked not in (None, kind.name):
        raise _wrong_kind(root, kind, marked)


def _wrong_kind(root: ModelFolder, kind: ModelKind, marked: str | None) -> ModelFileError:
    known = KINDS.get(str(marked))
    if known is None:
        advice = f"sentune knows {', '.join(name for name, one in KINDS.items() if one.is_here)}"
    elif known.is_here:
        advice = f"load it with sentune.{marked}"
    else:
        advice = "sentune does not have that kind; sentence_transformers has a class of that name"
    return ModelFileError(f"{root} is a {marked} and no {kind.name}; {advice}")


def _settings(
    kind: ModelKind, config: Mapping[str, Any], encoder: Mapping[str, Any], path: Path
) -> dict[str, Any]:
    """What the files say of the whole model, checked against each other."""
    given = (config.get("prompts") or {}).items()
    prompts = {name: text for name, text in given if text is not None}
    default = config.get("default_prompt_name")
    if default is not None and default not in prompts:
        raise ModelFileError(
            f"{path}: 'default_prompt_name' is {default!r}, but 'prompts' has {sorted(prompts)}"
        )
    found = {key: config.get(key) for key in kind.settings}
    if kind is CROSS_ENCODER and found["activation_fn"] is None:
        older = encoder.get(OLDER_SETTINGS)
        older = older if isinstance(older, dict) else {}
        found["activation_fn"] = older.get("activation_fn") or encoder.get(OLDEST_ACTIVATION)
        keys.check(found, kind.settings, path.with_name(ENCODER_FILE))
    similarity = found.get("similarity_fn_name")
    if similarity is not None and similarity not in kind.similarities:
        logger.warning("%s: similarity %r is for other kinds of models; not used", path, similarity)
        found["similarity_fn_name"] = None
    return {"prompts": prompts, "default_prompt_name": default, **found}


def _card(folder: ModelFolder) -> str | None:
    try:
        path = folder.file(README)
        if path is None or path.stat().st_size > _MOST_CARD_BYTES:
            return None
        content = path.read_text(encoding="utf-8")
        return content if content.strip() else None
    except (ModelFileError, OSError, ValueError) as error:
        logger.debug("the card in %s cannot be read: %s", folder, error)
        return None
