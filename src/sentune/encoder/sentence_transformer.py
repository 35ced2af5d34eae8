"""SentenceTransformer: the model as its user meets it. Each method is short and delegates."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sentune._lazy import upstairs
from sentune.encoder import adapters, pipeline
from sentune.encoder import encode as encoding
from sentune.encoder.workers import WorkerPool
from sentune.engine.deferred import is_quantized, weights_of
from sentune.errors import SettingError
from sentune.files import load as files_load
from sentune.machine.device import AUTO, as_dtype, auto_dtype, best_device, keep_freed_memory
from sentune.models.pooling import Pooling
from sentune.record.model import SentenceTransformerModelCardData
from sentune.share import publish as sharing
from sentune.text import prompts
from sentune.text.inputs import as_items
from sentune.text.prompts import checked as checked_prompts
from sentune.types import Features, Text
from sentune.vectors.finish import OutputValue, Precision, finish
from sentune.vectors.finish import check as check_output
from sentune.vectors.similarity import SimilarityFunction

logger = logging.getLogger(__name__)


class SentenceTransformer(nn.Sequential):
    """Maps texts to embeddings: a sequence of modules, executed one after the other.

    Args:
        model_name_or_path: A folder, or an id on the Hugging Face Hub. A checkpoint of a plain
            transformers encoder becomes Transformer + mean Pooling.
        modules: The modules, in order, in place of a name; or a dict of name -> module.
        device: "cpu", "cuda", "cuda:1", "mps" ...; None for the best there is.
        prompts: Name -> text put before each input that is encoded under that name.
        default_prompt_name: The prompt used when a call names none.
        similarity_fn_name: "cosine", "dot", "euclidean" or "manhattan"; None for what the model
            says, else cosine.
        cache_folder: Where downloads are kept.
        trust_remote_code: Whether code that comes with a model may run.
        revision: Branch, tag or commit on the Hub.
        local_files_only: Never ask the Hub.
        token: Access token for the Hub.
        truncate_dim: Keep this many dimensions of each embedding; None for all.
        model_kwargs: For the encoder's `from_pretrained`, as `dtype` or `attn_implementation`.
        processor_kwargs: For the tokenizer's `from_pretrained`.
        tokenizer_kwargs: Older name of `processor_kwargs`.
        config_kwargs: For the configuration's `from_pretrained`.
        model_card_data: What is known for the model card.
        dtype: "auto" (the default) keeps the weights in float32 and multiplies in bfloat16 where
            the chip has it natively, in `encode` and in training. "float32" is exact, and what
            training follows unless its arguments say otherwise; "bfloat16" and "float16" are the
            type of the weights as well. `model_kwargs={"dtype": ...}` means the same.
        backend: Only "torch".

    Raises:
        SettingError: If the arguments contradict each other or are out of range.
        ModelFileError: If the folder is no model or is damaged.
        HubError: If the model cannot be had from the Hub.

    Example:
        >>> model = SentenceTransformer("all-MiniLM-L6-v2")  # doctest: +SKIP
        >>> model.encode(["A text.", "Another one."]).shape  # doctest: +SKIP
        (2, 384)
    """

    @torch.inference_mode(mode=False)
    def __init__(
        self,
        model_name_or_path: str | Path | None = None,
        *,
        modules: Iterable[nn.Module] | Mapping[str, nn.Module] | None = None,
        device: str | torch.device | None = None,
        prompts: Mapping[str, str] | None = None,
        default_prompt_name: str | None = None,
        similarity_fn_name: str | SimilarityFunction | None = None,
        cache_folder: str | None = None,
        trust_remote_code: bool = False,
        revision: str | None = None,
        local_files_only: bool = False,
        token: bool | str | None = None,
        truncate_dim: int | None = None,
        model_kwargs: Mapping[str, Any] | None = None,
        processor_kwargs: Mapping[str, Any] | None = None,
        tokenizer_kwargs: Mapping[str, Any] | None = None,
        config_kwargs: Mapping[str, Any] | None = None,
        model_card_data: SentenceTransformerModelCardData | None = None,
        dtype: str | torch.dtype | None = None,
        backend: str = "torch",
    ) -> None:
        if (model_name_or_path is None) == (modules is None):
            raise SettingError("give either model_name_or_path or modules=[...], one of the two")
        if backend != "torch":
            raise SettingError(f"backend must be 'torch', got {backend!r}")
        options = dict(model_kwargs or {})
        for name in ("dtype", "torch_dtype"):
            dtype = dtype or options.pop(name, None)
        weights = None if dtype in (None, AUTO) else as_dtype(dtype)
        encoding.Options(truncate_dim=truncate_dim)  # raises if it is out of range
        stored: Mapping[str, Any] = {}
        kwargs: dict[str, list[str]] = {}
        card = model_card_data or SentenceTransformerModelCardData()
        if model_name_or_path is not None:
            if weights is not None:
                options["dtype"] = weights
            loaded = files_load.load(
                str(model_name_or_path),
                token=token,
                revision=revision,
                cache_folder=cache_folder,
                local_files_only=local_files_only,
                trust_remote_code=trust_remote_code,
                model_kwargs=options,
                processor_kwargs={**(tokenizer_kwargs or {}), **(processor_kwargs or {})},
                config_kwargs=config_kwargs,
            )
            modules, stored, kwargs = loaded.modules, loaded.settings, loaded.module_kwargs
            card.note_source(model_name_or_path, loaded.folder, loaded.card)
        super().__init__(pipeline.named(modules))
        self.is_auto_dtype = weights is None
        if model_name_or_path is not None:
            pipeline.follow_first(self)
        elif weights is not None:
            self.to(weights)
        self.prompts: dict[str, str] = {
            "query": "",
            "document": "",
            **(stored.get("prompts") or {}),
            **checked_prompts(prompts),
        }
        self.default_prompt_name = default_prompt_name or stored.get("default_prompt_name")
        self._check_default_prompt()
        self.similarity_fn_name = similarity_fn_name or stored.get("similarity_fn_name")
        self.truncate_dim = stored.get("truncate_dim") if truncate_dim is None else truncate_dim
        self.model_card_data = card
        self.module_kwargs = kwargs  # what modules.json names; see `forward_kwargs` of a module
        self.trust_remote_code = trust_remote_code
        self.to(device or best_device())
        keep_freed_memory()
        self.eval()

    # From texts to embeddings -------------------------------------------------------------------

    def encode(
        self,
        inputs: Any = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        output_value: OutputValue | None = "sentence_embedding",
        precision: Precision | None = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: str | torch.device | Sequence[str | torch.device] | None = None,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        pool: WorkerPool | None = None,
        chunk_size: int | None = None,
        *,
        sentences: Any = None,
        task: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Embeddings of texts.

        Args:
            inputs: One text, or any iterable of b texts. A pair of texts in a list is read as one
                input of two segments; `{route: text}` names the route of a routed model.
            prompt_name: Name of a prompt of the model to put before each text.
            prompt: A prompt to put before each text; wins over `prompt_name`.
            batch_size: Texts per forward pass; None for as many as this machine is fast with,
                counted in tokens. The embeddings do not depend on it.
            show_progress_bar: Whether to draw one; None: if logging is at INFO or below.
            output_value: "sentence_embedding"; "token_embeddings" for a list of `(tokens, d)`;
                None for a list of dicts with all that the modules gave out.
            precision: "float32", or "int8", "uint8", "binary", "ubinary" for quantised vectors.
            convert_to_numpy: Whether to give a numpy array.
            convert_to_tensor: Whether to give a tensor; wins over numpy. Neither: a list of rows.
            device: Where to compute; the model is moved there. A list starts a process for each.
            normalize_embeddings: Whether each vector is brought to length 1, after truncation.
            truncate_dim: Keep this many dimensions; None for the model's `truncate_dim`.
            pool: Processes started by `start_multi_process_pool`.
            chunk_size: Rows per piece of work of a pool.
            sentences: Older name of `inputs`.
            task: Route of a routed model: "query" or "document".
            **kwargs: For modules that name them in `forward_kwargs`.

        Returns:
            `(b, d)` array, tensor or list, rows in the order given; `(d,)` for a single text.

        Raises:
            InputTypeError: If an input is no text; the message names its row.
            SettingError: If an option is out of range.
        """
        check_output(output_value, precision)
        items, is_single = as_items(sentences if inputs is None else inputs)
        options = encoding.Options(
            prompt=prompts.resolve(self.prompts, prompt, prompt_name, self.default_prompt_name),
            batch_size=batch_size,
            show_progress_bar=_wants_bar(show_progress_bar),
            truncate_dim=self.truncate_dim if truncate_dim is None else truncate_dim,
            normalize=normalize_embeddings,
            task=task,
            forward_kwargs=tuple(self._checked_kwargs(kwargs).items()),
        )
        if pool is not None or isinstance(device, (list, tuple)):
            found = self._encode_with_workers(
                items, options, output_value, pool, device, chunk_size
            )
        else:
            if isinstance(device, (str, torch.device)):
                self.to(device)
            to_cpu = convert_to_numpy and not convert_to_tensor
            found = encoding.outputs(self, items, options, output_value, to_cpu=to_cpu)
        if output_value == "sentence_embedding":
            found = finish(found, precision, to_numpy=convert_to_numpy, to_tensor=convert_to_tensor)
        return found[0] if is_single else found

    def encode_query(
        self,
        inputs: Any = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """As `encode`, with the prompt named "query" and the route for queries."""
        if prompt_name is None and prompt is None:
            prompt_name = prompts.first_name(self.prompts, prompts.QUERY_NAMES)
        return self.encode(inputs, prompt_name, prompt, *args, **{"task": "query", **kwargs})

    def encode_document(
        self,
        inputs: Any = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """As `encode`, with the first prompt of document, passage, corpus, and that route."""
        if prompt_name is None and prompt is None:
            prompt_name = prompts.first_name(self.prompts, prompts.DOCUMENT_NAMES)
        return self.encode(inputs, prompt_name, prompt, *args, **{"task": "document", **kwargs})

    def forward(self, input: Features, **kwargs: Any) -> Features:  # the name is torch's
        """Run the modules.

        Args:
            input: Tokens in any layout of `sentune.text.layouts`.
            **kwargs: Given to the modules that name them in `forward_kwargs`.

        Returns:
            New features with `sentence_embedding (b, d)`, rows in the caller's order. With
            `output_hidden_states=True` also `layer_sentence_embeddings (b, layers + 1, d)`: what
            the modules after the encoder make of its input embeddings and of each of its layers.
        """
        return pipeline.run(self, input, kwargs)

    def read(
        self, texts: Sequence[Text], prompt: str | None = None, task: str | None = None
    ) -> Features:
        """Tokens of the texts, ragged where the first module can; what a collator calls.

        Args:
            texts: b texts.
            prompt: Put before each text.
            task: Route of a routed model.
        """
        return pipeline.read(self, texts, prompt, task)

    def tokenize(self, texts: Sequence[Text], **kwargs: Any) -> Features:
        """Padded tensors of the texts, as other libraries expect them: `input_ids (b, t)` ..."""
        return pipeline.tokenize(self, texts, **kwargs)

    def preprocess(
        self, inputs: Sequence[Text], prompt: str | None = None, **kwargs: Any
    ) -> Features:
        """As `tokenize`, with a prompt before each text."""
        extra = {} if prompt is None else {"prompt": prompt}
        return self.tokenize(inputs, **extra, **kwargs)

    def pad(self, features: Features) -> Features:
        """The padded layout of ragged features."""
        return pipeline.pad(self, features)

    # Comparing embeddings -----------------------------------------------------------------------

    @property
    def similarity_fn_name(self) -> str:
        """How `similarity` compares: "cosine", "dot", "euclidean" or "manhattan"."""
        return self._similarity_fn_name

    @similarity_fn_name.setter
    def similarity_fn_name(self, value: str | SimilarityFunction | None) -> None:
        name = value.value if isinstance(value, SimilarityFunction) else value or "cosine"
        SimilarityFunction.to_similarity_fn(name)  # raises if there is no such function
        self._similarity_fn_name = name

    @property
    def similarity(self) -> Callable[[Any, Any], Tensor]:
        """Function of two sets of vectors `(m, d)`, `(n, d)` to all their similarities `(m, n)`."""
        return SimilarityFunction.to_similarity_fn(self.similarity_fn_name)

    @property
    def similarity_pairwise(self) -> Callable[[Any, Any], Tensor]:
        """Function of two sets of vectors `(n, d)` to the similarities row by row, `(n,)`."""
        return SimilarityFunction.to_similarity_pairwise_fn(self.similarity_fn_name)

    # What the model is --------------------------------------------------------------------------

    def get_embedding_dimension(self) -> int | None:
        """Width of the embeddings that `encode` gives; None if no module knows."""
        widths = (pipeline.dimension(module) for module in reversed(list(self)))
        width = next((width for width in widths if width is not None), None)
        return min((w for w in (width, self.truncate_dim) if w is not None), default=None)

    def get_sentence_embedding_dimension(self) -> int | None:
        """As `get_embedding_dimension`."""
        return self.get_embedding_dimension()

    @property
    def is_packed(self) -> bool:
        """Whether every module reads the packed layout, so that nothing is ever padded."""
        return pipeline.is_packed(self)

    @property
    def reads_ragged(self) -> bool:
        """Whether the first module gives tokens in the ragged layout."""
        return hasattr(self._first_module(), "read")

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
        return next((x.dtype for x in weights_of(self) if x.is_floating_point()), None)

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

    @property
    def config(self) -> Any:
        """The encoder's configuration; None if there is none."""
        return getattr(self.transformers_model, "config", None)

    def get_input_embeddings(self) -> nn.Module:
        """The encoder's table of token embeddings."""
        return self.transformers_model.get_input_embeddings()

    def activation_checkpointing_enable(self, **options: Any) -> None:
        """In training, keep no inner results of the encoder: less memory, one more forward pass.

        Args:
            **options: As for the encoder's method of this name.
        """
        self.transformers_model.activation_checkpointing_enable(**options)

    def gradient_checkpointing_enable(
        self, gradient_checkpointing_kwargs: Mapping[str, Any] | None = None
    ) -> None:
        """As `activation_checkpointing_enable`.

        Args:
            gradient_checkpointing_kwargs: For `torch.utils.checkpoint.checkpoint`.
        """
        self.activation_checkpointing_enable(
            activation_checkpointing_kwargs=gradient_checkpointing_kwargs
        )

    @contextmanager
    def truncate_embeddings(self, truncate_dim: int | None) -> Iterator[None]:
        """Inside the block, `encode` keeps this many dimensions.

        Args:
            truncate_dim: How many; None for all.
        """
        before, self.truncate_dim = self.truncate_dim, truncate_dim
        try:
            yield
        finally:
            self.truncate_dim = before

    def truncate_sentence_embeddings(self, truncate_dim: int | None) -> Any:
        """As `truncate_embeddings`."""
        return self.truncate_embeddings(truncate_dim)

    def set_pooling_include_prompt(self, include_prompt: bool) -> None:
        """Say whether the tokens of a prompt count in pooling.

        Args:
            include_prompt: Whether they do.
        """
        for module in self:
            if isinstance(module, Pooling):
                module.include_prompt = include_prompt

    # Adapters (peft), as LoRA ---------------------------------------------------------------------

    add_adapter = adapters.add_adapter
    load_adapter = adapters.load_adapter
    set_adapter = adapters.set_adapter
    enable_adapters = adapters.enable_adapters
    disable_adapters = adapters.disable_adapters
    active_adapters = adapters.active_adapters
    get_adapter_state_dict = adapters.get_adapter_state_dict
    delete_adapter = adapters.delete_adapter

    # Several processes --------------------------------------------------------------------------

    def start_multi_process_pool(
        self, target_devices: Sequence[str | torch.device] | None = None
    ) -> WorkerPool:
        """Start a process per device, for `encode(..., pool=pool)`.

        Args:
            target_devices: "cuda:0", "cpu" ...; None for every accelerator, or four CPU processes.
        """
        return WorkerPool(self, target_devices)

    @staticmethod
    def stop_multi_process_pool(pool: WorkerPool) -> None:
        """End the processes of a pool."""
        pool.stop()

    # Files, training, evaluation ----------------------------------------------------------------

    save_pretrained = save = sharing.save_pretrained
    push_to_hub = sharing.push_to_hub
    save_to_hub = sharing.save_to_hub

    def evaluate(self, evaluator: Callable[..., Any], output_path: str | None = None) -> Any:
        """The evaluator's result for this model.

        Args:
            evaluator: Called as `evaluator(model, output_path)`.
            output_path: Folder for its files.
        """
        if output_path is not None:
            Path(output_path).mkdir(parents=True, exist_ok=True)
        return evaluator(self, output_path)

    def fit(
        self, train_objectives: Sequence[tuple[Any, nn.Module]], *args: Any, **kwargs: Any
    ) -> None:
        """Train the model.

        Args:
            train_objectives: Pairs of a `DataLoader` over `InputExample`s and a loss.
            *args: See `sentune.training.fit.fit`.
            **kwargs: See `sentune.training.fit.fit`.
        """
        upstairs("sentune.training.fit", "fit")(self, train_objectives, *args, **kwargs)

    # Inside -------------------------------------------------------------------------------------

    def _first_module(self) -> Any:
        return self[0]

    def _last_module(self) -> Any:
        return self[-1]

    def _encode_with_workers(
        self,
        items: list[Any],
        options: encoding.Options,
        output_value: OutputValue | None,
        pool: WorkerPool | None,
        devices: Any,
        chunk_size: int | None,
    ) -> Any:
        if not items:
            return encoding.outputs(self, items, options, output_value, to_cpu=True)
        if pool is not None:
            return pool.encode(items, options, output_value, chunk_size)
        with self.start_multi_process_pool(devices) as own:
            return own.encode(items, options, output_value, chunk_size)

    def _checked_kwargs(self, kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        unknown = [
            name for name in kwargs if not any(pipeline.takes(module, name) for module in self)
        ]
        if unknown:
            known = sorted(set().union(*(getattr(m, "forward_kwargs", ()) for m in self)))
            raise SettingError(
                f"encode() got unknown arguments {unknown}; "
                f"the modules of this model take {known or 'no further ones'}"
            )
        return kwargs

    def _check_default_prompt(self) -> None:
        name = self.default_prompt_name
        if name is not None and name not in self.prompts:
            raise SettingError(
                f"default_prompt_name={name!r} is not among the prompts {sorted(self.prompts)}; "
                "add it to prompts={...}"
            )


def _wants_bar(asked: bool | None) -> bool:
    if asked is not None:
        return asked
    return logger.getEffectiveLevel() in (logging.INFO, logging.DEBUG)
