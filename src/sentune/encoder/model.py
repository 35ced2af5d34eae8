"""What every kind of model shares: modules, files, prompts, precision, workers, training."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn
from tqdm.auto import tqdm

from sentune.encoder import pipeline
from sentune.encoder.adapters import PeftAdapterMixin
from sentune.encoder.fit_mixin import FitMixin
from sentune.encoder.runner import Options, TorchRunner
from sentune.encoder.surface import Surface
from sentune.encoder.workers import WorkerPool
from sentune.engine.deferred import is_quantized, type_of, weights_of
from sentune.errors import SettingError
from sentune.files import load as files_load
from sentune.files.kinds import ModelKind
from sentune.flow import loop
from sentune.flow.sinks import Whole
from sentune.machine.device import (
    AUTO,
    as_dtype,
    auto_dtype,
    best_device,
    keep_freed_memory,
    multiplying_in,
    precision_is_set,
)
from sentune.share.data import CARD_DATA, BaseModelCardData
from sentune.share.publish import Published
from sentune.text import layouts
from sentune.text import prompts as prompting
from sentune.types import Features, Text
from sentune.vectors import rows as arrays

logger = logging.getLogger(__name__)


@dataclass
class Parts:
    """What a model is made of."""

    modules: Mapping[str, nn.Module]  # name -> module, in order
    settings: Mapping[str, Any] = field(default_factory=dict)  # in its files
    module_kwargs: dict[str, list[str]] | None = None  # as in modules.json; None without one
    card: Any = None  # what is known for the model card
    dtype: torch.dtype | None = None  # type of the weights; None for "auto"


def opened(
    kind: ModelKind,
    source: str | Path | None,
    modules: Iterable[nn.Module] | Mapping[str, nn.Module] | None,
    *,
    card: BaseModelCardData | None,
    dtype: str | torch.dtype | None,
    backend: str,
    model_kwargs: Mapping[str, Any] | None,
    **reading: Any,
) -> Parts:
    """The parts of a model: read from its files, or made of modules.

    `dtype="auto"` in `model_kwargs` is the type that the checkpoint is in.
    """
    if (source is None) == (modules is None):
        raise SettingError("give either model_name_or_path or modules=[...], one of the two")
    if backend != "torch":
        raise SettingError(
            f"backend must be 'torch', got {backend!r}: sentune neither exports nor runs models "
            "of other backends; a saved model is read by optimum, which does"
        )
    weights, options = _type_of_weights(dtype, model_kwargs or {})
    card = CARD_DATA[kind.name]() if card is None else card
    if source is None:
        made = pipeline.named(modules)
        if weights is not None:
            for module in made.values():
                module.to(weights)
        return Parts(made, card=card, dtype=weights)
    loaded = files_load.load(str(source), kind=kind, model_kwargs=options, **reading)
    pipeline.follow_first(loaded.modules.values())
    if options.get("dtype") == AUTO:
        found = type_of(next(iter(loaded.modules.values())))
        weights = None if found == torch.float32 else found
    card.note_source(source, loaded.folder, loaded.card)
    return Parts(loaded.modules, loaded.settings, loaded.module_kwargs, card, weights)


def _type_of_weights(
    dtype: str | torch.dtype | None, model_kwargs: Mapping[str, Any]
) -> tuple[torch.dtype | None, dict[str, Any]]:
    """The type of the weights, None if none is named; and the options of the encoder with it.

    "auto" as the constructor's own argument is about products, and leaves the weights in float32;
    in `model_kwargs` it is the transformers library's: the type that the checkpoint is in.
    """
    options = dict(model_kwargs)
    named = [options.pop(name, None) for name in ("dtype", "torch_dtype")]
    inner = named[0] or named[1]
    if dtype in (None, AUTO) and inner == AUTO:
        return None, {**options, "dtype": AUTO}
    found = inner if dtype in (None, AUTO) else dtype
    if found is None:
        return None, options
    weights = as_dtype(found)
    return weights, {**options, "dtype": weights}


class Model(Surface, FitMixin, Published, PeftAdapterMixin, nn.Sequential):
    """Modules, executed one after the other, with what every kind of model can do."""

    reads_packed = True  # what `sentune.models.base.reads_packed` asks of a subclass
    kind: ClassVar[ModelKind]
    model_card_data_class: ClassVar[type[BaseModelCardData]] = BaseModelCardData

    def __init__(
        self,
        parts: Parts,
        *,
        device: str | torch.device | None,
        prompts: Mapping[str, str] | None,
        default_prompt_name: str | None,
        trust_remote_code: bool,
    ) -> None:
        super().__init__(pipeline.named(parts.modules))
        self.is_auto_dtype = parts.dtype is None
        stored = parts.settings.get("prompts") or {}
        self.prompts = prompting.joined(stored, prompts)
        self.default_prompt_name = default_prompt_name or parts.settings.get("default_prompt_name")
        self._check_default_prompt()
        self.model_card_data = parts.card
        parts.card.register_model(self)
        self.module_kwargs = parts.module_kwargs  # arguments of modules, by name, as in the files
        self.trust_remote_code = trust_remote_code
        self.to(device or best_device())
        keep_freed_memory()
        self.eval()
        for module in self:
            getattr(module, "on_model_ready", id)(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copied or unpickled model is the one that its card is about."""
        super().__setstate__(state)
        if self.model_card_data is not None:
            self.model_card_data.register_model(self)

    # From texts to outputs ----------------------------------------------------------------------

    def __call__(self, input: Features, **kwargs: Any) -> Features:
        """As `forward`; one of a subclass, or a hook, sees ragged tokens padded."""
        if layouts.is_ragged(input) and not pipeline.is_packed(self):
            return pipeline.run(self, input, kwargs)
        return super().__call__(input, **kwargs)

    def forward(self, input: Features, **kwargs: Any) -> Features:  # the name is torch's
        """Run the modules.

        Outside of training, without gradients, the products are those of `encode`: in bfloat16
        where the CPU or GPU has it, unless the model's dtype or an autocast says otherwise.

        Args:
            input: Tokens in any layout of `sentune.text.layouts`.
            **kwargs: Given to the modules that name them in `forward_kwargs`.

        Returns:
            Padded features: the same dict, filled. Others: new features. Outputs per row are in
            the caller's order. With `output_hidden_states=True` also `layer_sentence_embeddings
            (b, layers + 1, d)`: what the later modules make of the encoder's input embeddings and
            of each of its layers.
        """
        run = pipeline.fill if "attention_mask" in input else pipeline.run
        device = self.device
        if torch.is_grad_enabled() or self.training or precision_is_set(device.type):
            return run(self, input, kwargs)
        with multiplying_in(self.autocast_dtype, device):
            return pipeline.in_type_of(self.dtype, run(self, input, kwargs))

    def read(
        self, texts: Sequence[Text], prompt: str | None = None, task: str | None = None
    ) -> Features:
        """Tokens of b texts, ragged where the first module can; what a collator calls.

        Args:
            texts: The texts.
            prompt: Put before each of them.
            task: Route of a routed model: "query" or "document".
        """
        return pipeline.read(self, texts, prompt, task)

    def tokenize(
        self,
        texts: Sequence[Text],
        prompt: str | None = None,
        task: str | None = None,
        **kwargs: Any,
    ) -> Features:
        """Padded tensors of b texts, as other libraries expect them: `input_ids (b, t)` ...

        Args:
            texts: The texts.
            prompt: Put before each of them.
            task: Route of a routed model.
            **kwargs: For the first module.
        """
        return pipeline.tokenize(self, texts, prompt, task, **kwargs)

    def pad(self, features: Features) -> Features:
        """The padded layout of ragged features, as the first module pads."""
        return pipeline.pad(self, features)

    def preprocess(
        self, inputs: Sequence[Text], prompt: str | None = None, **kwargs: Any
    ) -> Features:
        """As `tokenize`, with a prompt before each text."""
        extra = {} if prompt is None else {"prompt": prompt}
        return self.tokenize(inputs, **extra, **kwargs)

    # What the model is --------------------------------------------------------------------------

    @property
    def is_packed(self) -> bool:
        """Whether every module reads the packed layout, so that nothing is ever padded."""
        return pipeline.is_packed(self)

    @property
    def reads_ragged(self) -> bool:
        """Whether the first module gives tokens in the ragged layout."""
        return pipeline.reads_ragged(self)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next((tensor.device for tensor in weights_of(self)), torch.device("cpu"))

    @property
    def _target_device(self) -> torch.device:
        return self.device

    @property
    def dtype(self) -> torch.dtype | None:
        """Type of the weights; None if there are none."""
        return type_of(self)

    @property
    def autocast_dtype(self) -> torch.dtype | None:
        """What `encode` multiplies in, if not in the type of the weights."""
        if not self.is_auto_dtype or self.dtype != torch.float32 or is_quantized(self):
            return None
        dtype = auto_dtype(self.device)
        return None if dtype == torch.float32 else dtype

    @property
    def tokenizer(self) -> Any:
        """The first module's tokenizer."""
        return self._first_module().tokenizer

    @tokenizer.setter
    def tokenizer(self, value: Any) -> None:
        self._first_module().tokenizer = value

    @property
    def max_seq_length(self) -> int | None:
        """Most tokens of a text that are read; None for no limit."""
        return getattr(self._first_module(), "max_seq_length", None)

    @max_seq_length.setter
    def max_seq_length(self, value: int | None) -> None:
        self._first_module().max_seq_length = value

    def get_max_seq_length(self) -> int | None:
        """As `max_seq_length`."""
        return self.max_seq_length

    @property
    def transformers_model(self) -> Any:
        """The transformers encoder inside; None if there is none."""
        return next((m.auto_model for m in self.modules() if hasattr(m, "auto_model")), None)

    def get_input_embeddings(self) -> nn.Module:
        """The encoder's table of token embeddings."""
        return self.transformers_model.get_input_embeddings()

    def activation_checkpointing_enable(self, **options: Any) -> None:
        """In training, keep no inner results of the encoder: less memory, one more forward pass.

        Takes the options of the encoder's method of this name.
        """
        encoder = self.transformers_model
        if hasattr(encoder, "activation_checkpointing_enable"):
            encoder.activation_checkpointing_enable(**options)
            return
        # Older releases of transformers know the older name only.
        of_torch = options.pop("activation_checkpointing_kwargs", None)
        encoder.gradient_checkpointing_enable(of_torch, **options)

    def gradient_checkpointing_enable(
        self, gradient_checkpointing_kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        """As `activation_checkpointing_enable`, with arguments for torch's `checkpoint`."""
        self.activation_checkpointing_enable(
            activation_checkpointing_kwargs=gradient_checkpointing_kwargs, **options
        )

    # Several processes --------------------------------------------------------------------------

    def start_multi_process_pool(
        self, target_devices: Sequence[str | torch.device] | None = None
    ) -> WorkerPool:
        """Start a process per device, for `encode(..., pool=pool)`.

        Without devices, one for every accelerator, or four on the CPU.
        """
        return WorkerPool(self, target_devices)

    @staticmethod
    def stop_multi_process_pool(pool: WorkerPool) -> None:
        """End the processes of a pool."""
        pool.stop()

    # Training, evaluation ---------------------------------------------------------------------

    def evaluate(self, evaluator: Callable[..., Any], output_path: str | None = None) -> Any:
        """What `evaluator(self, output_path)` gives; the folder of that path is made first."""
        if output_path is not None:
            Path(output_path).mkdir(parents=True, exist_ok=True)
        return evaluator(self, output_path)

    # Inside -------------------------------------------------------------------------------------

    def _file_settings(self) -> dict[str, Any]:
        """What the files say of the whole model."""
        return {"prompts": self.prompts, "default_prompt_name": self.default_prompt_name}

    def _first_module(self) -> Any:
        return self[0]

    def _last_module(self) -> Any:
        return self[-1]

    def _prompt(self, prompt: str | None, prompt_name: str | None) -> str | None:
        return prompting.resolve(self.prompts, prompt, prompt_name, self.default_prompt_name)

    def _computed(
        self,
        items: list[Any],
        options: Options,
        *,
        pool: WorkerPool | None = None,
        device: str | torch.device | Sequence[str | torch.device] | None = None,
        chunk_size: int | None = None,
        on_cpu: bool = True,
    ) -> Any:
        """What the options ask for, in the order of the items; None if there are none."""
        if isinstance(device, (list, tuple)):
            if pool is None and items:
                with self.start_multi_process_pool(device) as started:
                    return self._computed(items, options, pool=started, chunk_size=chunk_size)
        elif isinstance(device, (str, torch.device)):
            self.to(device)
        runner = TorchRunner(self, options)
        own, places = items, None
        if runner.gives_array:  # a text that is there several times is computed once
            own, places = loop.distinct(items)
        with progress(len(items), options) as count:
            count(len(items) - len(own))
            if pool is not None and own:
                found = pool.encode(own, options, chunk_size, count)
            else:
                sink = Whole(len(own), on_cpu=on_cpu)
                size = options.batch_size
                found = loop.run(own, runner, sink, batch_size=size, count=count)
        return found if places is None else arrays.take(found, places)

    def _checked_kwargs(self, kwargs: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
        """Arguments for the modules that take them, after a check that one does."""
        unknown = [name for name in kwargs if not any(pipeline.takes(m, name) for m in self)]
        if unknown:
            known = sorted(set().union(*(getattr(m, "forward_kwargs", ()) for m in self)))
            raise SettingError(
                f"encode() got unknown arguments {unknown}; "
                f"the modules of this model take {known or 'no further ones'}"
            )
        return tuple(kwargs.items())

    def _check_default_prompt(self) -> None:
        name = self.default_prompt_name
        if name is not None and name not in self.prompts:
            raise SettingError(
                f"default_prompt_name={name!r} is not among the prompts {sorted(self.prompts)}; "
                "add it to prompts={...}"
            )


@contextmanager
def progress(total: int | None, options: Options) -> Iterator[Callable[[int], object]]:
    """What counts items on a progress bar, if one is wanted; `total` may be unknown."""
    with tqdm(total=total, desc="Texts", disable=not options.show_progress_bar) as bar:
        yield bar.update


def wants_bar(asked: bool | None) -> bool:
    """Whether a progress bar is drawn; by default where logging is at INFO or below."""
    return logger.getEffectiveLevel() in (logging.INFO, logging.DEBUG) if asked is None else asked
