"""What code written for sentence-transformers asks of a model besides what it computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from sentune.files.kinds import ModelKind
from sentune.models.router import Router
from sentune.tables import holds_rows


class Surface:
    """Names and facts of every model.

    Attributes:
        model_type: Its kind, as its files name it.
        default_huggingface_organization: Whose models a plain name means.
        backend: What computes; torch, always.
        is_hpu_graph_enabled: Whether it is compiled for one kind of accelerator; it never is.
    """

    kind: ClassVar[ModelKind]
    model_type: ClassVar[str]
    default_huggingface_organization: ClassVar[str | None] = None
    backend: Literal["torch"] = "torch"
    is_hpu_graph_enabled = False
    module_kwargs: Mapping[str, Sequence[str]] | None
    transformers_model: Any

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Take the names of the kind."""
        super().__init_subclass__(**kwargs)
        kind = vars(cls).get("kind")
        if kind is not None:
            cls.model_type, cls.default_huggingface_organization = kind.name, kind.owner

    @classmethod
    def merge(
        cls,
        models: Sequence[Any],
        method: str = "linear",
        *,
        base_model: str | Path | Any = None,
        parameters: Mapping[str, Any] | None = None,
        dtype: str | torch.dtype | None = torch.float32,
        out_dtype: str | torch.dtype | None = None,
        device: str | torch.device = "cpu",
        batch_options: Any = None,
        **load_kwargs: Any,
    ) -> Any:
        """One model of several that were trained from the same one, by a method of mergekit.

        Args:
            models: Two or more models, folders or ids on the Hub. The first one gives prompts,
                tokenizer and settings of the new model.
            method: "linear", "slerp", "ties", "dare_ties" ..., as mergekit names them.
            base_model: The model that the others were trained from, for methods that want it.
            parameters: Of the method, as `{"weight": [0.6, 0.4]}`.
            dtype: Type that weights are merged in; None for their own.
            out_dtype: Type of the new model's weights; None for what the method gives.
            device: Where to compute, and where the new model is.
            batch_options: A `mergekit.merge_methods.BatchOptions`.
            **load_kwargs: For the constructor, where a model is given by name.

        Raises:
            InputTypeError: If one is a model of another kind.
            MissingDependencyError: If mergekit is not installed.
            SettingError: If the models differ in more than their weights.
        """
        from sentune.encoder.merging import merge_models

        return merge_models(
            cls,
            models,
            method,
            base_model=base_model,
            parameters=parameters,
            dtype=dtype,
            out_dtype=out_dtype,
            device=device,
            batch_options=batch_options,
            **load_kwargs,
        )

    def get_backend(self) -> str:
        """As `backend`."""
        return self.backend

    @property
    def modalities(self) -> list[Any]:
        """Kinds of inputs that the first module reads."""
        return getattr(self[0], "modalities", ["text"])  # type: ignore[index]

    def supports(self, modality: str | tuple[str, ...]) -> bool:
        """Whether inputs of a kind can be read; of several kinds, whether in one message."""
        known = self.modalities
        if modality in known or not isinstance(modality, tuple):
            return modality in known
        return "message" in known and all(part in known for part in modality)

    def get_model_kwargs(self) -> list[str]:
        """Names of the arguments that `encode` takes for the modules."""
        found = {name for names in (self.module_kwargs or {}).values() for name in names}
        modules: list[Any] = list(self)  # type: ignore[call-overload]
        for module in modules:  # those of routes are found on the way
            for route in module.sub_modules.values() if isinstance(module, Router) else ():
                modules += route  # type: ignore[arg-type]
            found.update(getattr(module, "forward_kwargs", ()))
        return sorted(found)

    def is_singular_input(self, inputs: Any) -> bool:
        """Whether it is one input, and not a batch of them."""
        if isinstance(inputs, (str, Mapping, torch.Tensor)) or not holds_rows(inputs):
            return True
        if isinstance(inputs, np.ndarray):
            return inputs.dtype.kind not in "UO"  # numbers are one recording or image
        first = inputs[0] if isinstance(inputs, list) and inputs else None
        return isinstance(first, Mapping) and {"role", "content"} <= set(first)  # messages

    def clear_placement_cache(self) -> None:
        """Do nothing: where the weights are is looked up in each call."""

    @property
    def processor(self) -> Any:
        """As the first module's `processor`, its tokenizer."""
        first: Any = self[0]  # type: ignore[index]
        return getattr(first, "processor", None) or first.tokenizer

    @processor.setter
    def processor(self, value: Any) -> None:
        self[0].processor = value  # type: ignore[index]

    @property
    def config(self) -> Any:
        """The encoder's configuration; None if there is none."""
        return getattr(self.transformers_model, "config", None)

    @config.setter
    def config(self, value: Any) -> None:
        if self.transformers_model is not None:
            self.transformers_model.config = value
