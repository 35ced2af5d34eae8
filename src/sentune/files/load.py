"""A folder, or an id on the Hub -> the modules and settings of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sentune.disk.downloads import snapshot_of
from sentune.engine.tasks import GENERATION
from sentune.errors import ModelFileError, SettingError
from sentune.files import layout
from sentune.files.kinds import CROSS_ENCODER, SENTENCE_TRANSFORMER, ModelKind
from sentune.files.modules.build import build
from sentune.files.modules.how import Reading
from sentune.files.plan import Plan, is_causal, plan
from sentune.folders.source import Code, Hub, source_folder
from sentune.models.heads import LogitScore
from sentune.models.pooling import Pooling

# Models of an earlier library that were trained without their prompts in the pooling, which their
# files do not say.
_PROMPT_NOT_POOLED = {f"hkunlp/instructor-{size}" for size in ("base", "large", "xl")}


@dataclass(frozen=True)
class LoadedModel:
    """What the files of a model say."""

    modules: dict[str, nn.Module]  # name -> module, in order
    settings: dict[str, Any]  # what they say of the whole model, see `sentune.files.kinds`
    module_kwargs: dict[str, list[str]] = field(default_factory=dict)  # as in modules.json
    folder: Path | None = None  # where the files are
    card: str | None = None  # what README.md holds


@torch.inference_mode(mode=False)  # weights that are made inside of it cannot be trained
def load(
    source: str | Path,
    hub: Hub,
    *,
    kind: ModelKind = SENTENCE_TRANSFORMER,
    trust_remote_code: bool = False,
    model_kwargs: Mapping[str, Any] | None = None,
    processor_kwargs: Mapping[str, Any] | None = None,
    config_kwargs: Mapping[str, Any] | None = None,
) -> LoadedModel:
    """The modules and settings of a model, in a folder or on the Hub, of any generation.

    A folder without modules.json is read as a checkpoint of the transformers library. For
    embeddings an encoder gets mean Pooling (the last token's embedding for a causal language
    model); for scores, a classification head.

    Raises:
        ModelFileError: If a file is missing or damaged; it names the file and the key.
        UntrustedCodeError: If the model would run code and may not.
        HubError: If the model cannot be had from the Hub.
        MissingDependencyError: If the model asks for packages that are not there.
    """
    if hub.revision is not None and not (isinstance(hub.revision, str) and hub.revision):
        raise SettingError(f"revision must be a branch, a tag or a commit; got {hub.revision!r}")
    root = source_folder(source, hub, with_code=trust_remote_code)
    found = plan(root, kind, is_trusted=trust_remote_code)
    code = Code(root.path, hub, trust_remote_code)
    how = Reading(code, model_kwargs or {}, processor_kwargs or {}, config_kwargs or {})
    modules = {name: build(module, how) for name, module in found.modules.items()}
    if found.is_plain:
        modules |= _BEHIND[kind.name](modules["0"])
    kwargs = _forward_kwargs(found, modules)
    download = snapshot_of(root.path)
    if (download.repo_id if download else str(source)) in _PROMPT_NOT_POOLED:
        for module in modules.values():
            if hasattr(module, "include_prompt"):
                module.include_prompt = False  # type: ignore[assignment]
    return LoadedModel(modules, dict(found.settings), kwargs, root.path, found.card)


def _forward_kwargs(found: Plan, modules: Mapping[str, nn.Module]) -> dict[str, list[str]]:
    """The forward arguments that modules.json names, for each module in it."""
    if found.is_plain:
        return {}
    kwargs = {name: list(one.forward_kwargs) for name, one in found.modules.items()}
    for name, given in kwargs.items():
        if given and layout.type_of(modules[name]) is None:  # sentune's own know what they take
            modules[name].forward_kwargs = frozenset(given)  # type: ignore[assignment]
    return kwargs


def _pooling(transformer: Any) -> dict[str, nn.Module]:
    """What makes one vector of what a plain encoder gives."""
    mode = "lasttoken" if _is_causal(transformer) else "mean"
    return {"1": Pooling(transformer.get_embedding_dimension(), mode)}


def _is_causal(transformer: Any) -> bool:
    """Whether only the last token has seen the whole text."""
    if transformer.is_deferred:  # a plain BERT, whose modules need not be made to be asked
        return False
    config = transformer.config
    names = getattr(config, "architectures", None)
    return is_causal(names) and getattr(config, "is_causal", True)


def _score(transformer: Any) -> dict[str, nn.Module]:
    """What makes a score of what a language model says next; a classifier gives one itself."""
    if transformer.transformer_task != GENERATION:
        return {}
    words = ("yes", "no")
    ids = [transformer.tokenizer.convert_tokens_to_ids(word) for word in words]
    if None in ids or transformer.tokenizer.unk_token_id in ids:
        raise ModelFileError(
            f"{transformer.config.name_or_path}: the tokenizer has no tokens {words}, by which a "
            "language model is asked for a score; build the model of modules=[...] with a "
            "models.LogitScore of the tokens that it was trained on"
        )
    return {"1": LogitScore(*ids)}


# Of each kind, the modules behind the encoder of a plain checkpoint.
_BEHIND = {SENTENCE_TRANSFORMER.name: _pooling, CROSS_ENCODER.name: _score}
