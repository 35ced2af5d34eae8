"""CrossEncoder: pairs of texts in, a score each out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sentune.checks import accepts_old_names
from sentune.encoder.model import Model, opened, wants_bar
from sentune.encoder.runner import Options, check_finite
from sentune.encoder.workers import WorkerPool
from sentune.engine import heads
from sentune.errors import SettingError
from sentune.files.kinds import CROSS_ENCODER
from sentune.hub.fetch import Access
from sentune.models import activations
from sentune.models.activations import Activation
from sentune.share.data import CARD_DATA, BaseModelCardData
from sentune.tables import holds_rows, rows_of
from sentune.text import inputs as texts

_OLDER_ARGUMENTS = {
    "model_name": "model_name_or_path",
    "automodel_args": "model_kwargs",
    "tokenizer_args": "processor_kwargs",
    "tokenizer_kwargs": "processor_kwargs",
    "config_args": "config_kwargs",
    "cache_dir": "cache_folder",
    "default_activation_function": "activation_fn",
}
_OLDER_ORDER = ("num_labels", "max_length", "activation_fn", "device")
_OLDER_OPTIONS = {"sentences": "inputs", "activation_fct": "activation_fn"}


class CrossEncoder(Model):
    """Reads two texts together and scores them: a reranker, or a classifier of pairs.

    The arguments and errors are as for `SentenceTransformer`, and these:

    - `num_labels`: Scores per pair, for a new head. A plain transformers checkpoint gets a
      classification head, whose weights are random until trained; one of a causal language model
      scores by its next token, yes or no.
    - `max_length`: Most tokens of a pair; None for the tokenizer's limit.
    - `activation_fn`: Makes scores of logits; None for the model's, else sigmoid for one score per
      pair, and the logits themselves for several.
    - `keep_in_fp32_modules`: See `set_keep_in_fp32_modules`; None for the model's.

    Prompts are put before the first text of each pair.

    Example:
        >>> model = CrossEncoder("cross-encoder/ms-marco-MiniLM-L6-v2")  # doctest: +SKIP
        >>> model.rank("a question", ["an answer", "another"])  # doctest: +SKIP
        [{'corpus_id': 0, 'score': 8.6}, {'corpus_id': 1, 'score': -4.3}]
    """

    kind = CROSS_ENCODER
    model_card_data_class = CARD_DATA[CROSS_ENCODER.name]
    activation_fn: Activation

    @accepts_old_names(old_order=_OLDER_ORDER, **_OLDER_ARGUMENTS)
    @torch.inference_mode(mode=False)
    def __init__(
        self,
        model_name_or_path: str | Path | None = None,
        *,
        modules: Iterable[nn.Module] | Mapping[str, nn.Module] | None = None,
        device: str | torch.device | None = None,
        prompts: Mapping[str, str] | None = None,
        default_prompt_name: str | None = None,
        cache_folder: str | None = None,
        trust_remote_code: bool = False,
        revision: str | None = None,
        local_files_only: bool = False,
        token: bool | str | None = None,
        model_kwargs: Mapping[str, Any] | None = None,
        processor_kwargs: Mapping[str, Any] | None = None,
        config_kwargs: Mapping[str, Any] | None = None,
        model_card_data: BaseModelCardData | None = None,
        backend: str = "torch",
        num_labels: int | None = None,
        max_length: int | None = None,
        activation_fn: Activation | None = None,
        keep_in_fp32_modules: Sequence[str] | None = None,
        dtype: str | torch.dtype | None = None,
    ) -> None:
        labels = {} if num_labels is None else {"num_labels": num_labels}
        limit = {} if max_length is None else {"model_max_length": max_length}
        parts = opened(
            self.kind,
            model_name_or_path,
            modules,
            card=model_card_data,
            dtype=dtype,
            backend=backend,
            hub=Access(token, revision, cache_folder, local_files_only, (self.kind.owner,)),
            trust_remote_code=trust_remote_code,
            model_kwargs=model_kwargs,
            processor_kwargs={**(processor_kwargs or {}), **limit},
            config_kwargs={**(config_kwargs or {}), **labels},
        )
        super().__init__(
            parts,
            device=device,
            prompts=prompts,
            default_prompt_name=default_prompt_name,
            trust_remote_code=trust_remote_code,
        )
        self.activation_fn = activation_fn or self._stored_activation(parts.settings)
        self.keep_in_fp32_modules: list[str] = []
        stored = parts.settings.get("keep_in_fp32_modules") or ()
        self.set_keep_in_fp32_modules(
            stored if keep_in_fp32_modules is None else keep_in_fp32_modules
        )

    # From pairs to scores -----------------------------------------------------------------------

    @accepts_old_names(without_effect=("num_workers",), **_OLDER_OPTIONS)
    def predict(
        self,
        inputs: Any,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        activation_fn: Activation | None = None,
        apply_softmax: bool | None = False,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: str | torch.device | Sequence[str | torch.device] | None = None,
        pool: WorkerPool | None = None,
        chunk_size: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """Scores of pairs.

        `inputs` is one pair of texts, or any iterable of b pairs, or a table of two columns; a
        prompt is put before the first text of each. `activation_fn` makes scores of logits, None
        for that of the model; `apply_softmax` makes several scores of a pair sum to 1. The other
        arguments are as for `SentenceTransformer.encode`.

        Returns:
            `(b,)` scores in the order given, or `(b, labels)` where there are several per pair;
            one of them for a single pair. In float32.

        Raises:
            InputTypeError: If an input is not a pair; the message names its row.
            SettingError: If an option is out of range.
        """
        pairs, is_single = _as_pairs(inputs)
        options = Options(
            value=self.kind.output,
            prompt=self._prompt(prompt, prompt_name),
            batch_size=batch_size,
            show_progress_bar=wants_bar(show_progress_bar),
            forward_kwargs=self._checked_kwargs(kwargs),
        )
        to_cpu = convert_to_numpy and not convert_to_tensor
        logits = self._computed(
            pairs, options, pool=pool, device=device, chunk_size=chunk_size, on_cpu=to_cpu
        )
        scores = self._scores(logits, activation_fn or self.activation_fn, bool(apply_softmax))
        found = scores if convert_to_tensor else scores.cpu().numpy() if to_cpu else list(scores)
        return found[0] if is_single else found

    @accepts_old_names(
        without_effect=("num_workers", "apply_softmax", "convert_to_numpy", "convert_to_tensor"),
        **_OLDER_OPTIONS,
    )
    def rank(
        self,
        query: str,
        documents: Sequence[str],
        top_k: int | None = None,
        return_documents: bool = False,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        activation_fn: Activation | None = None,
        device: str | torch.device | Sequence[str | torch.device] | None = None,
        pool: WorkerPool | None = None,
        chunk_size: int | None = None,
    ) -> list[dict[str, Any]]:
        """Documents in the order of their scores for a query, best first.

        The best `top_k` are given, all for None; the other arguments are as for `predict`.

        Returns:
            For each document `corpus_id`, its number; `score`, a float; and `text` if
            `return_documents`. Equal scores are in the order of the documents.

        Raises:
            SettingError: If the model gives more than one score per pair.
        """
        if self.num_labels != 1:
            raise SettingError(
                f"rank() needs one score per pair, and this model gives {self.num_labels}; use "
                "predict() with pairs, and order them by the label that you want"
            )
        documents = rows_of(documents, "documents")
        found = self.predict(
            [(query, document) for document in documents],
            prompt_name=prompt_name,
            prompt=prompt,
            batch_size=batch_size,
            show_progress_bar=show_progress_bar,
            activation_fn=activation_fn,
            device=device,
            pool=pool,
            chunk_size=chunk_size,
        )
        best = np.argsort(-found, kind="stable")[:top_k].tolist()
        results = [{"corpus_id": number, "score": float(found[number])} for number in best]
        if return_documents:
            return [{**result, "text": documents[result["corpus_id"]]} for result in results]
        return results

    # What the model is --------------------------------------------------------------------------

    @property
    def num_labels(self) -> int:
        """Scores per pair."""
        for module in reversed(list(self)):
            if getattr(module, "module_output_name", None) == self.kind.output:
                config: Any = getattr(module, "config", None)
                return config.num_labels if config else int(module.out_features)  # type: ignore[arg-type]
        return 1

    @property
    def model(self) -> Any:
        """The transformers model inside."""
        return self.transformers_model

    @property
    def max_length(self) -> int | None:
        """As `max_seq_length`."""
        return self.max_seq_length

    @max_length.setter
    def max_length(self, value: int | None) -> None:
        self.max_seq_length = value

    def is_singular_input(self, inputs: Any) -> bool:
        """Whether it is one pair, and not a batch of them."""
        if isinstance(inputs, (str, Mapping)) or not holds_rows(inputs):
            return True
        return hasattr(inputs, "__len__") and isinstance(next(iter(inputs), None), str)

    @property
    def default_activation_function(self) -> Activation:
        """As `activation_fn`."""
        return self.activation_fn

    def set_keep_in_fp32_modules(self, module_names: Sequence[str]) -> None:
        """Let linear layers, and no others, compute in float32 and give it.

        They are named as in `named_modules()`; a SettingError if one is no plain `torch.nn.Linear`.
        """
        names = [name.replace(".auto_model.", ".model.", 1) for name in module_names]  # as once
        layers = {name: _layer(self, name) for name in names}
        for module in self.modules() if layers or self.keep_in_fp32_modules else ():
            heads.compute_in_float32(module, wanted=module in layers.values())
        self.keep_in_fp32_modules = list(layers)

    # Inside -------------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; the activation is not one of the modules."""
        if name == "activation_fn":
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Read the names of earlier versions, which were the library's model alone."""
        for name in [name for name in state_dict if name.startswith(f"{prefix}model.")]:
            state_dict[f"{prefix}0.{name.removeprefix(prefix)}"] = state_dict.pop(name)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _file_settings(self) -> dict[str, Any]:
        name, arguments = activations.described(self.activation_fn)
        return {
            **super()._file_settings(),
            "activation_fn": name,
            "activation_kwargs": arguments or None,
            "keep_in_fp32_modules": list(self.keep_in_fp32_modules) or None,
        }

    def _stored_activation(self, settings: Mapping[str, Any]) -> Activation:
        """The activation that the files name, else the usual one."""
        usual = nn.Sigmoid() if self.num_labels == 1 else nn.Identity()
        name = settings.get("activation_fn")
        if name is None:
            return usual
        arguments = settings.get("activation_kwargs") or {}
        return activations.read(name, arguments, is_trusted=self.trust_remote_code)

    def _scores(self, logits: Tensor | None, activation: Activation, softmax: bool) -> Tensor:
        """Scores `(b,)` or `(b, labels)` in float32 of logits `(b, labels)`; None for none."""
        labels = self.num_labels
        if logits is None:
            return torch.zeros((0, labels) if labels > 1 else (0,))
        check_finite(self, logits)
        with torch.no_grad():
            scores = activation(logits.float())
            if labels == 1 and scores.ndim > 1:
                scores = scores.squeeze(-1)
            return scores.softmax(dim=1) if softmax and scores.ndim > 1 else scores


def _as_pairs(inputs: Any) -> tuple[list[Any], bool]:
    """Checked pairs (or texts), and whether a single one was given."""
    if isinstance(inputs, (str, bytes, Mapping)) or not holds_rows(inputs):
        return texts.as_items(inputs)
    items = rows_of(inputs, "inputs", width=2)
    is_single = bool(items) and isinstance(items[0], str)
    return texts.as_items([items] if is_single else items)[0], is_single


def _layer(model: nn.Module, name: str) -> nn.Module:
    """The linear layer of a name."""
    found = dict(model.named_modules()).get(name)
    if type(found) is not nn.Linear:
        linear = [n for n, module in model.named_modules() if type(module) is nn.Linear]
        raise SettingError(
            f"keep_in_fp32_modules must name linear layers of the model, as {linear[-3:]}; "
            f"{name!r} is {'none of its modules' if found is None else type(found).__name__}"
        )
    return found
