"""What a model is, from its files alone: no weights are read, whatever its size."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from sentune.disk.downloads import Snapshot, snapshot_of
from sentune.errors import MissingModelError, SettingError
from sentune.files.kinds import CROSS_ENCODER, SENTENCE_TRANSFORMER
from sentune.files.modules import adapter_base
from sentune.files.plan import ModulePlan, Plan, kind_of, plan
from sentune.folders.folder import ModelFolder
from sentune.folders.names import ADAPTER_FILE
from sentune.folders.source import Code, source_folder
from sentune.hub.fetch import Access
from sentune.workbench.models.history import History, history_of
from sentune.workbench.models.sizes import Size, bytes_in, in_words, size_in, size_left, size_of
from sentune.workbench.models.unloaded import (
    details_of,
    type_of,
    unloaded,
    why_not_packed,
    width_of,
)

_LABEL, _WIDTH = 15, 85
_NAMED = 8  # datasets that are shown


@dataclass(frozen=True)
class ModuleInfo:
    """A module: its place, its class, what it does in a few words, how many weights it has."""

    name: str
    type: str
    details: str
    parameters: int


@dataclass(frozen=True)
class ModelInfo:
    """What `sentune.workbench.info` finds in a model's files.

    Attributes:
        name: As it was asked for.
        path: The folder of the files.
        kind: "SentenceTransformer", which embeds texts, or "CrossEncoder", which scores pairs.
        modules: In order.
        parameters: How many numbers the files of weights hold; of an adapter its own alone.
        precision: Type of the weights -> how many numbers have it.
        weight_bytes: Bytes of the files of weights.
        all_bytes: Bytes of all files in the folder.
        width: Numbers in an embedding; None for a CrossEncoder, or if it is not known.
        labels: Scores for a pair; None for a SentenceTransformer.
        max_tokens: Most tokens that are read of a text, special ones included; None for no limit.
        similarity: What embeddings are compared by; None for a CrossEncoder.
        activation: What a CrossEncoder's scores go through, where the files say it.
        prompts: Name -> text put before each text.
        default_prompt: Name of the prompt that is used where none is named.
        is_packed: Whether texts of any length run side by side without padding.
        why_not_packed: "" if it does.
        computed_in: Type that products are computed in on this machine.
        adapter_of: What the files say the adapter is for; None for a model without one.
        base_parameters: How many numbers that has, where they are here.
        history: Where it comes from.
    """

    name: str
    path: str
    kind: str
    modules: tuple[ModuleInfo, ...]
    parameters: int
    precision: Mapping[str, int]
    weight_bytes: int
    all_bytes: int
    width: int | None
    labels: int | None
    max_tokens: int | None
    similarity: str | None
    activation: str | None
    prompts: Mapping[str, str]
    default_prompt: str | None
    is_packed: bool
    why_not_packed: str
    computed_in: str
    adapter_of: str | None = None
    base_parameters: int | None = None
    history: History = field(default_factory=History)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self)

    def __str__(self) -> str:
        return "\n".join([f"{self.name}: {self._serves()}", "", *self._lines()])

    def _serves(self) -> str:
        if self.kind == CROSS_ENCODER.name:
            return f"a {self.kind}, which scores pairs of texts"
        return f"a {self.kind}, which turns texts into embeddings"

    def _lines(self) -> Iterator[str]:
        facts = [*self._facts(), *_of_history(self.history)]
        for label, text in ((label, text) for label, text in facts if text):
            first, *rest = textwrap.wrap(text, _WIDTH, break_long_words=False) or [""]
            yield f"{label:<{_LABEL}}{first}"
            yield from (" " * _LABEL + line for line in rest)

    def _facts(self) -> Iterator[tuple[str, str]]:
        yield "folder", self.path
        for place, module in enumerate(self.modules):
            size = f"; {module.parameters:,} weights" if module.parameters else ""
            details = f": {module.details}" if module.details else ""
            yield "modules" if not place else " ", f"{module.name}. {module.type}{details}{size}"
        types = ", ".join(
            name if len(self.precision) == 1 else f"{count:,} in {name}"
            for name, count in self.precision.items()
        )
        if self.adapter_of is not None:
            base = "unknown" if self.base_parameters is None else f"{self.base_parameters:,}"
            yield "adapter of", f"{self.adapter_of}: {self.parameters:,} + {base} weights"
        yield "weights", f"{self.parameters:,} in {types}" if self.parameters else "none"
        weights, everything = in_words(self.weight_bytes), in_words(self.all_bytes)
        yield "on disk", f"{everything}, of which {weights} are weights"
        yield "computes in", f"{self.computed_in} on this machine"
        if self.kind == CROSS_ENCODER.name:
            yield "gives", "" if self.labels is None else _counted(self.labels, "score") + " a pair"
            yield "activation", self.activation or ""
        else:
            width = "unknown" if self.width is None else f"{self.width:,} numbers a text"
            size = "" if self.width is None else f", {in_words(4 * self.width)} in float32"
            yield "embeddings", f"{width}{size}; compared by {self.similarity}"
        if self.max_tokens is None:
            yield "reads", "all of a text"
        else:
            words = f"{self.max_tokens:,} tokens; the rest of a longer text is left out"
            yield "reads at most", words
        yield "prompts", self._prompts()
        yield "runs packed", "yes" if self.is_packed else f"no: {self.why_not_packed}"

    def _prompts(self) -> str:
        found = [f"{name}: {text!r}" for name, text in self.prompts.items() if text]
        if not found:
            return "none"
        default = f"; {self.default_prompt} is used where none is named"
        return ", ".join(found) + (default if self.default_prompt else "")


def info(model: str | Path, *, revision: str | None = None, token: str | None = None) -> ModelInfo:
    """What a model is, read from its files; its weights are neither loaded nor run.

    Args:
        model: A folder, or an id on the Hugging Face Hub. Weights that are not in the cache stay
            on the Hub, and only their heads are read.
        revision: Branch, tag or commit on the Hub.
        token: Access token for the Hub.

    Raises:
        ModelFileError: If the folder does not hold a model, is damaged, or has no weights.
        HubError: If the model cannot be had from the Hub.
        SettingError: If a revision is given for a folder.

    Example:
        >>> found = sentune.workbench.info("all-MiniLM-L6-v2")  # doctest: +SKIP
        >>> found.width, found.max_tokens, found.is_packed  # doctest: +SKIP
        (384, 256, True)
    """
    from sentune.machine.device import auto_dtype, best_device

    owners = (SENTENCE_TRANSFORMER.owner, CROSS_ENCODER.owner)
    access = Access(token=token, revision=revision, owners=owners)
    if revision is not None and Path(model).expanduser().is_dir():
        raise SettingError(
            f"{model} is a folder, which has no revisions; leave out revision ({revision!r}), or "
            "name the model by its id on the Hub"
        )
    found = _planned(model, access)
    folder, kind = found.folder, found.kind
    modules = unloaded(found, access)
    left = _left(folder, access)
    sizes = {name: size_of(module, left) for name, module in found.modules.items()}
    _check_weights(found.modules.values(), folder)
    adapter, base = _adapter(found, access)
    counts = {name: size.count for name, size in sizes.items()}
    whole = sum(sizes.values(), Size())
    settings, is_scorer = found.settings, kind is CROSS_ENCODER
    why = why_not_packed(modules)
    return ModelInfo(
        name=str(model),
        path=str(folder.path),
        kind=kind.name,
        modules=tuple(
            ModuleInfo(name, type_of(found, name), details_of(module), counts.get(name, 0))
            for name, module in modules.items()
        ),
        parameters=whole.count,
        precision=whole.precision,
        weight_bytes=whole.bytes,
        all_bytes=bytes_in(folder.path) + sum(size.bytes for size in left.values()),
        width=None if is_scorer else width_of(modules, settings.get("truncate_dim")),
        labels=_labels(modules) if is_scorer else None,
        max_tokens=getattr(next(iter(modules.values())), "max_seq_length", None),
        similarity=None if is_scorer else settings.get("similarity_fn_name") or "cosine",
        activation=settings.get("activation_fn") if is_scorer else None,
        prompts=settings["prompts"],
        default_prompt=settings["default_prompt_name"],
        is_packed=not why,
        why_not_packed=why,
        computed_in=str(auto_dtype(best_device())).removeprefix("torch."),
        adapter_of=adapter,
        base_parameters=base,
        history=history_of(folder, found.card),
    )


class _WithoutWeights(Access):
    """The Hub, for whoever does not need the weights."""

    def fetch(self, name: str, *, with_code: bool = False) -> Snapshot:
        """The files of a model, without large ones of weights."""
        return self.fetch_without_weights(name)


def _planned(model: str | Path, access: Access) -> Plan:
    """What the files of a model say; nothing of code in them is run."""
    folder = source_folder(model, _WithoutWeights(**vars(access)))
    try:
        return plan(folder, kind_of(folder), is_trusted=True)
    except MissingModelError:
        if not folder.is_download:
            raise
    # A table of word vectors, say, which is all that there is to a model.
    folder = source_folder(model, access)
    return plan(folder, kind_of(folder), is_trusted=True)


def _left(folder: ModelFolder, access: Access) -> dict[Path, Size]:
    """The weights that are not here: where they would be -> what is in them."""
    snapshot = snapshot_of(folder.path) if folder.is_download else None
    if snapshot is None or snapshot.path.resolve() != folder.path.resolve():
        return {}
    left = access.weights_left(snapshot)
    return {folder.path / path: size_left(*known) for path, known in left.items()}


def _check_weights(modules: Iterable[ModulePlan], root: ModelFolder) -> None:
    """Raise if a module that needs weights has none in a folder of the user's own."""
    for module in () if root.is_download else modules:
        _check_weights(module.parts.values(), root)
        if module.row is not None and module.row.weights == "yes" and not size_of(module).count:
            raise MissingModelError(
                f"{module.folder} has no weights for the module {module.row.name}: there is "
                "neither model.safetensors nor pytorch_model.bin; download or save the model again"
            )


def _adapter(found: Plan, access: Access) -> tuple[str | None, int | None]:
    """What the encoder's adapter is for, and how many weights that has; None for no adapter."""
    for module in found.modules.values():
        said = module.folder.read_json(ADAPTER_FILE, dict)
        if said is None:
            continue
        base = adapter_base.base_of(module.folder, Code(found.folder.path, access, False))
        name = str(said.get("base_model_name_or_path") or "the encoder in this folder")
        own = base.path == module.folder.path
        return name, None if own else size_in(base.path).count or None
    return None, None


def _labels(modules: Mapping[str, nn.Module | None]) -> int | None:
    """Scores for a pair; None if that is not known."""
    first: Any = next(iter(modules.values()))
    if len(modules) > 1 or first is None:
        return 1 if first is not None else None
    return getattr(first.config, "num_labels", None)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"


def _of_history(history: History) -> Iterator[tuple[str, str]]:
    writers = ", ".join(f"{name} {version}" for name, version in history.written_by.items())
    yield "written by", writers or "unknown: the files do not say it"
    yield "format", history.format
    yield "made from", history.base_model or ""
    few = ", ".join(history.datasets[:_NAMED])
    more = len(history.datasets) - _NAMED
    yield "trained on", few + (f" and {more} more" if more > 0 else "")
    for run in history.runs:
        yield "run", run
    yield "license", history.license or ""
    yield "languages", ", ".join(history.languages)
