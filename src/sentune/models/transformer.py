"""A transformers encoder as the first module of a model."""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
import torch
from torch import nn

from sentune.engine import bert, heads, packing, tasks
from sentune.engine.deferred import Deferred, Unopened
from sentune.engine.state import State
from sentune.engine.tree import inner_of, is_off
from sentune.errors import SettingError
from sentune.machine.device import multiplied_in
from sentune.models.base import InputModule
from sentune.text import layouts, vocabulary
from sentune.text.chat import ChatReader
from sentune.text.tokens import TokenReader
from sentune.types import Features, OutputKind, Text

logger = logging.getLogger(__name__)

# Tokenizers without a limit of their own say so with a number of this size.
_NO_LIMIT = 10**9
_UNLIMITED = 10**30  # how the library writes that a tokenizer has no limit
# What an encoder takes of a padded batch, those that every one takes first; and how it answers.
_TOKENS = ("input_ids", "attention_mask", "token_type_ids", "inputs_embeds", "position_ids")
_OPTIONS = ("return_dict", "output_hidden_states", "use_cache", "logits_to_keep")

# What to use in place of arguments of sentence-transformers.
_INSTEAD = {
    "processing_kwargs": "texts are truncated at max_seq_length and padded to the longest; "
    "set the tokenizer's own options by processor_kwargs",
    "query_length": "use max_seq_length, or models.Router with a Transformer for each task",
    "document_length": "use max_seq_length, or models.Router with a Transformer for each task",
}
_OF_OTHERS = "it is for inputs other than texts, or models of several vectors, which are not here"

T = TypeVar("T", bound="Transformer")
_making = threading.RLock()

_OTHER_NAMES = {"auto_model": "model", "processor": "tokenizer"}


class Transformer(InputModule):
    """Tokens -> contextual token embeddings, by any encoder of the transformers library.

    With another task than "feature-extraction" the library's model has a head, and its logits come
    out: `scores (b, labels)` of a classifier, or `causal_logits (b, 1, v)` for the token that a
    causal language model would put behind each text. Its inputs are padded on the left, and pairs
    go through the tokenizer's chat template where it has one.

    Encoders in `sentune.engine.attention.PACKABLE` run on packed sentences, the others on padded
    ones, and so does one that was changed in a way that the engine cannot follow
    (`sentune.engine.tree`); the numbers are the same. The modules of a BERT that a model was loaded
    with are made when they are first used (`sentune.engine.deferred`).

    Args:
        model_name_or_path: A folder, or an id on the Hugging Face Hub.
        max_seq_length: Most tokens of a text, special tokens included. By default what the
            tokenizer says, within what the encoder's position table holds.
        model_kwargs: For `AutoModel.from_pretrained`: `dtype` (default float32; "auto" for the
            type that the checkpoint is in), `attn_implementation`, `revision`, `token` ...
        processor_kwargs: For `AutoTokenizer.from_pretrained`.
        config_kwargs: For `AutoConfig.from_pretrained`.
        cache_dir: Where downloads are kept.
        do_lower_case: Whether texts are lower-cased before they are tokenised.
        tokenizer_name_or_path: Where the tokenizer is, if not with the encoder.
        model_args, tokenizer_args, config_args: Older names of the three.
        transformer_task: "feature-extraction", "sequence-classification" or "text-generation".
        unpad_inputs: False for padded batches always; else they are padded only where they must.
        backend: Only "torch".
        processing_kwargs, modality_config, module_output_name, query_length, document_length,
            query_expansion: Of sentence-transformers, for inputs other than texts and for models of
            several vectors; only their defaults are taken.

    Raises:
        SettingError: If an argument is out of range, or one of those that sentune does not have.
        HubError: If the model is neither a folder nor available on the Hub.
        ModelFileError: If its files are damaged.
    """

    config_file_name: ClassVar[str] = "sentence_bert_config.json"
    forward_kwargs: ClassVar[frozenset[str]] = frozenset({"output_hidden_states"})
    config_keys = ["max_seq_length", "do_lower_case"]  # kept beside the encoder's own files
    transformer_task: str = tasks.FEATURES
    unpad_inputs: bool | None = None
    backend: Literal["torch"] = "torch"
    processing_kwargs: Mapping[str, Any] = MappingProxyType({})
    query_length = document_length = query_expansion = None
    model: Any
    _max_seq_length: int | None

    def __init__(
        self,
        model_name_or_path: str | Path,
        max_seq_length: int | None = None,
        model_args: Mapping[str, Any] | None = None,
        tokenizer_args: Mapping[str, Any] | None = None,
        config_args: Mapping[str, Any] | None = None,
        cache_dir: str | None = None,
        do_lower_case: bool = False,
        tokenizer_name_or_path: str | Path | None = None,
        *,
        model_kwargs: Mapping[str, Any] | None = None,
        processor_kwargs: Mapping[str, Any] | None = None,
        config_kwargs: Mapping[str, Any] | None = None,
        transformer_task: str = tasks.FEATURES,
        unpad_inputs: bool | None = None,
        backend: str = "torch",
        processing_kwargs: Mapping[str, Any] | None = None,
        modality_config: Mapping[str, Any] | None = None,
        module_output_name: str | None = None,
        query_length: int | None = None,
        document_length: int | None = None,
        query_expansion: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if unpad_inputs is not None:
            self.unpad_inputs = unpad_inputs
        if transformer_task not in tasks.TASKS:
            raise SettingError(
                f"transformer_task must be one of {list(tasks.TASKS)}, got {transformer_task!r}"
            )
        self.transformer_task = transformer_task
        _check_backend(backend)
        _refuse(
            processing_kwargs=processing_kwargs,
            modality_config=None if modality_config == self.modality_config else modality_config,
            module_output_name=None
            if module_output_name == self.module_output_name
            else module_output_name,
            query_length=query_length,
            document_length=document_length,
            query_expansion=query_expansion,
        )
        self.__dict__["_engine"] = State()
        source = str(model_name_or_path)
        common = {} if cache_dir is None else {"cache_dir": cache_dir}
        config_options = {**common, **(config_args or {}), **(config_kwargs or {})}
        model_options = {**common, **(model_args or {}), **(model_kwargs or {})}
        tokenizer_options = {**common, **(tokenizer_args or {}), **(processor_kwargs or {})}
        from sentune.engine import encoders as loading

        options = (config_options, model_options)
        self.model = loading.load_encoder(source, *options, task=transformer_task)
        words = str(tokenizer_name_or_path or source)
        self.tokenizer = loading.load_tokenizer(words, tokenizer_options)
        if transformer_task == tasks.GENERATION:  # the last slot of each row holds a token
            self.tokenizer.padding_side = "left"
        self._set_limits(max_seq_length, do_lower_case)

    @classmethod
    def load(  # type: ignore[override]  # the order of sentence-transformers
        cls: type[T],
        model_name_or_path: str,
        subfolder: str = "",
        token: bool | str | None = None,
        cache_folder: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        trust_remote_code: bool = False,
        model_kwargs: Mapping[str, Any] | None = None,
        processor_kwargs: Mapping[str, Any] | None = None,
        config_kwargs: Mapping[str, Any] | None = None,
        backend: str = "torch",
        init_defaults: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> T:
        """A Transformer of the files in a folder; arguments as of `Module.load` and the class.

        Args:
            model_name_or_path: The model's folder, or its id on the Hub.
            subfolder: The module's folder in it.
            token: Access token for the Hub.
            cache_folder: Where downloads are kept.
            revision: Branch, tag or commit.
            local_files_only: Never ask the Hub.
            trust_remote_code: Whether code that comes with the model may run.
            model_kwargs: For the encoder.
            processor_kwargs: For the tokenizer.
            config_kwargs: For the configuration.
            backend: Only "torch".
            init_defaults: Arguments for the constructor that the file may lack.
            **kwargs: For subclasses.
        """
        _check_backend(backend)
        return super().load(
            model_name_or_path,
            subfolder,
            token,
            cache_folder,
            revision,
            local_files_only,
            init_defaults,
            trust_remote_code=trust_remote_code,
            model_kwargs=model_kwargs,
            processor_kwargs=processor_kwargs,
            config_kwargs=config_kwargs,
            **kwargs,
        )

    @classmethod
    def deferred(
        cls, encoder: Deferred, max_seq_length: int | None = None, do_lower_case: bool = False
    ) -> Transformer:
        """A Transformer whose encoder and tokenizer are made of their parts when first used."""
        module = cls.__new__(cls)
        InputModule.__init__(module)
        module.__dict__["_engine"] = State()
        module._defer(encoder)
        module.training = False
        module._set_limits(max_seq_length, do_lower_case)
        return module

    @classmethod
    def unloaded(cls, source: str, settings: Mapping[str, Any]) -> Transformer:
        """A Transformer without weights, of the settings in its file: to be asked, not to be run.

        Its encoder is on "meta", so a model of any size takes no memory.
        """
        from sentune.engine import encoders as loading

        module = cls.__new__(cls)
        InputModule.__init__(module)
        module.__dict__["_engine"] = State()
        module.transformer_task = settings["transformer_task"]
        task = module.transformer_task
        module.model = loading.without_weights(source, dict(settings["config_kwargs"]), task=task)
        module.tokenizer = loading.load_tokenizer(source, dict(settings["processor_kwargs"]))
        module._set_limits(settings["max_seq_length"], settings["do_lower_case"])
        return module

    def forward(
        self, features: Features, *, output_hidden_states: bool = False, **kwargs: Any
    ) -> Features:
        """Add `token_embeddings`: `(b, t, d)`, or `(T, d)` for packed features; or logits.

        With `output_hidden_states` also `all_layer_embeddings`, a tuple of the same shape per
        layer, the input embeddings first. Other keyword arguments have no effect.
        """
        first, *layers = self._run(features, output_hidden_states)
        result = {**features, self.module_output_name: first}
        if layers:
            result["all_layer_embeddings"] = tuple(layers)
        return result

    def _run(self, features: Features, wants_layers: bool) -> list[torch.Tensor]:
        """What the task gives, and behind it the embeddings of each layer where wanted."""
        if not layouts.is_packed(features):
            return self._run_padded(features, wants_layers)
        total = len(features["input_ids"])
        if self._multiplies_to_measure(features["input_ids"]):
            features = packing.lengthened(features, packing.spare(total))
        features = {**features, "position_ids": features["position_ids"] + self._first_position}
        deferred = self._deferred
        if deferred is not None and not (self.training or torch.is_grad_enabled() or wants_layers):
            return [bert.run(deferred.bert, features, self._engine.copies)[:total]]
        _check_adapter(self.auto_model)
        layers = wants_layers or self.config.output_hidden_states
        found = self._engine.run_packed(self._encoder, features, layers=layers)
        first, *others = (x[:total] for x in found)
        if self.transformer_task == tasks.CLASSES:
            first = heads.classify(self.auto_model, first, features)
        return [first, *others]

    def _run_padded(self, features: Features, wants_layers: bool) -> list[torch.Tensor]:
        wants_layers = wants_layers or bool(getattr(self.config, "output_hidden_states", False))
        _check_adapter(self.auto_model)
        options: dict[str, Any] = {"return_dict": True, "use_cache": False}
        options["output_hidden_states"] = wants_layers
        if self.transformer_task == tasks.GENERATION:
            options["logits_to_keep"] = 1
        output = self.auto_model(**self._padded_arguments({**features, **options}))
        first = getattr(output, tasks.TASKS[self.transformer_task].field, None)
        layers = getattr(output, "hidden_states", None) if wants_layers else None
        # A module in the encoder's place may give a tuple, as models of the library once did.
        return [output[0] if first is None else first, *(layers or ())]

    def _padded_arguments(self, features: Features) -> dict[str, Any]:
        """What the encoder's forward takes of a padded batch and its options."""
        takes = inspect.signature(inner_of(self.auto_model).forward).parameters
        known = [*_TOKENS, *_OPTIONS]
        if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in takes.values()):
            # Types of tokens and the like only where the encoder names them.
            always = (*_TOKENS[:2], *_OPTIONS[:2])
            known = [name for name in known if name in takes or name in always]
        else:
            known = [name for name in known if name in takes]
        return {name: features[name] for name in known if name in features}

    def read(self, texts: Sequence[Text], prompt: str | None = None) -> Features:
        """Tokenised texts in the ragged layout, truncated to `max_seq_length`."""
        features = self._reader.read(texts, prompt)
        self._check_rows(features["input_ids"])
        return packing.to_tensors(features)

    def pad(self, features: Features) -> Features:
        """The padded layout of a ragged batch, as the tokenizer itself pads."""
        pad_id = self.tokenizer.pad_token_id or 0
        if len(set(features["lengths"])) > 1:
            self._check_rows(np.asarray([pad_id]))
        padded = packing.pad(features, pad_id, self.tokenizer.padding_side)
        return self._reader.type_ids(padded)

    @property
    def reads_packed(self) -> bool:
        """Whether the encoder runs on packed sentences, as it is now."""
        if self.unpad_inputs is False:
            return False
        if self._deferred is not None:
            return not is_off()
        if self.transformer_task == tasks.GENERATION:
            return False
        if self.transformer_task == tasks.CLASSES and not self._head_reads_packed:
            return False
        return self._engine.way_of(self._encoder) != "padded"

    @property
    def outputs(self) -> Mapping[str, OutputKind]:  # type: ignore[override]
        """What the task gives."""
        kind = tasks.TASKS[self.transformer_task].kind
        return {self.module_output_name: kind, "all_layer_embeddings": "token"}

    @property
    def can_flatten_inputs(self) -> bool:
        """As `reads_packed`."""
        return self.reads_packed

    @property
    def modality_config(self) -> Mapping[str, Mapping[str, str]]:
        """Kind of input -> the encoder's method for it, and the field of its output.

        It cannot be written to: that would have no effect.
        """
        field = tasks.TASKS[self.transformer_task].field
        text = MappingProxyType({"method": "forward", "method_output_name": field})
        return MappingProxyType({"text": text})

    @property
    def module_output_name(self) -> str:
        """Key of the features that `forward` adds."""
        return tasks.TASKS[self.transformer_task].given

    @property
    def has_tokens_without_rows(self) -> bool:
        """Whether the tokenizer knows tokens that the encoder has no embedding for."""
        return vocabulary.has_more_than(self._words, self._table_rows)

    @property
    def is_deferred(self) -> bool:
        """Whether the encoder's modules have not been used yet."""
        return self._deferred is not None

    @property
    def config(self) -> Any:
        """The encoder's configuration; that of the one before where a wrapper has none."""
        found = getattr(inner_of(self.auto_model), "config", None)
        if found is None:
            return self.__dict__["_config"]
        self.__dict__["_config"] = found
        return found

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self._weights()).device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return next(x.dtype for x in self._weights() if x.is_floating_point())

    @property
    def max_seq_length(self) -> int | None:
        """Most tokens of a text, special tokens included; None only where positions never end.

        The tokenizer has the same limit, `model_max_length`, and it may be set at either place.
        """
        named = getattr(self.__dict__.get("tokenizer"), "model_max_length", None)
        if named is None or not 0 < named < _NO_LIMIT:
            return self._max_seq_length
        table = self._position_table
        return int(named) if table is None else min(int(named), table)

    @max_seq_length.setter
    def max_seq_length(self, value: int | None) -> None:
        if value is not None and (not isinstance(value, Integral) or value < 1):
            raise SettingError(f"max_seq_length must be a positive int or None, got {value!r}")
        least = self._words.num_special_tokens_to_add()
        if value is not None and value < least:
            raise SettingError(
                f"max_seq_length={value} leaves no space for the {least} special tokens that this "
                f"tokenizer puts around every text; use more than {least}"
            )
        table = self._position_table
        if table is not None and value is None:
            value = table
        elif table is not None and value is not None and value > table:
            logger.warning(
                "max_seq_length=%d is more than the %d positions this encoder has; %d is used",
                *(value, table, table),
            )
            value = table
        self._max_seq_length = None if value is None else int(value)
        self._name_limit(self.__dict__.get("tokenizer"))

    def get_embedding_dimension(self) -> int:
        """d, width of the token embeddings."""
        return self._sizes.hidden_size

    @property
    def inner_width(self) -> int:
        """Numbers that the widest layer holds per token."""
        return getattr(self._sizes, "intermediate_size", None) or 4 * self.get_embedding_dimension()

    def extra_repr(self) -> str:
        """Settings and architecture."""
        return f"{super().extra_repr()}, architecture={type(self.auto_model).__name__}"

    @property
    def auto_model(self) -> Any:
        """The encoder, or the library's model with a head: `model`, under its older name."""
        return self.model

    @property
    def processor(self) -> Any:
        """As `tokenizer`, under its name in sentence-transformers 6."""
        return self.tokenizer

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute, the two under either name."""
        super().__setattr__(_OTHER_NAMES.get(name, name), value)

    def __getattr__(self, name: str) -> Any:
        """The library's own tokenizer is made when it is first asked for."""
        deferred = self.__dict__.get("_parts")
        if deferred is not None and name == "tokenizer":
            with _making:
                if "tokenizer" not in self.__dict__:
                    self.__dict__["tokenizer"] = self._name_limit(deferred.tokenizer())
                return self.__dict__["tokenizer"]
        return super().__getattr__(name)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Read names of earlier versions of the encoder, and leave out buffers it had then."""
        for name in [name for name in state_dict if name.startswith(f"{prefix}auto_model.")]:
            inner = name.removeprefix(f"{prefix}auto_model.")
            state_dict[f"{prefix}model.{inner}"] = state_dict.pop(name)
        for name in [name for name in state_dict if name.endswith("embeddings.position_ids")]:
            if name.startswith(prefix) and name not in self.state_dict(prefix=prefix):
                del state_dict[name]
        super()._load_from_state_dict(state_dict, prefix, *args)

    def train(self, mode: bool = True) -> Transformer:
        """As `torch.nn.Module.train`; kept weights go where training begins."""
        if mode:
            self._engine.copies.drop()
        if self._deferred is None:
            return super().train(mode)
        self.training = mode
        return self

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Transformer:
        """What torch does to all weights, as `to` and `half`."""
        deferred = self._deferred
        if deferred is None:
            return super()._apply(fn, recurse)
        self.__dict__["_parts"] = deferred.mapped(fn)
        return self

    def _defer(self, encoder: Deferred) -> None:
        """Hold the parts of an encoder, and make it of them when it is first used."""
        self.__dict__["_parts"] = encoder
        self.__dict__["_modules"] = Unopened("model", self._open)

    def _open(self) -> dict[str, Any]:
        """The modules, with the library's own encoder among them."""
        with _making:
            deferred = self._deferred
            if deferred is not None:  # another thread may have been quicker
                with torch.inference_mode(mode=False):
                    encoder = deferred.encoder()
                self.__dict__["_modules"] = {"model": encoder.train(self.training)}
        return self.__dict__["_modules"]

    @property
    def _deferred(self) -> Deferred | None:
        is_open = not isinstance(self.__dict__["_modules"], Unopened)
        return None if is_open else self.__dict__["_parts"]

    def _weights(self) -> Iterator[torch.Tensor]:
        deferred = self._deferred
        return self.parameters() if deferred is None else iter(deferred.tensors.values())

    @property
    def _table_rows(self) -> int | None:
        """Rows of the table of token embeddings; None if the encoder does not show it."""
        deferred = self._deferred
        if deferred is not None:
            return deferred.shape.vocab_size
        try:
            table = inner_of(self.auto_model).get_input_embeddings()
        except (AttributeError, NotImplementedError):
            return None
        # Not the length of the weight: that may be sharded, or computed when it is asked for.
        return getattr(table, "num_embeddings", None)

    def _check_rows(self, ids: np.ndarray) -> None:
        cure = "model[0].auto_model.resize_token_embeddings(len(model.tokenizer))"
        vocabulary.check_rows(ids, self._table_rows, self._words, cure)

    @property
    def _sizes(self) -> Any:
        """What has the sizes of the encoder."""
        deferred = self._deferred
        return _sizes_in(self.config) if deferred is None else deferred.shape

    @property
    def _encoder(self) -> Any:
        """What makes token embeddings: `auto_model`, or the part of it below its head."""
        is_whole = self.transformer_task == tasks.FEATURES
        return self.auto_model if is_whole else heads.encoder_of(self.auto_model)

    @property
    def _head_reads_packed(self) -> bool:
        is_as_made = self._engine.head_watch.way_of(self.auto_model) != "padded"
        return is_as_made and heads.rows_needed(self.auto_model) is not None

    @property
    def _words(self) -> Any:
        """The tokenizer, or what is known of it so far."""
        return self.__dict__["tokenizer"] if "tokenizer" in self.__dict__ else self._parts.words

    @property
    def _reader(self) -> TokenReader:
        """The reader for the current settings; made again when one of them has changed."""
        words = self._words
        core = getattr(words, "backend_tokenizer", None)
        state = (
            id(words),
            len(words) if core is None else core.get_vocab_size(),
            self.max_seq_length,
            self.do_lower_case,
            getattr(words, "truncation_side", None),
            getattr(words, "chat_template", None),
        )
        known = self.__dict__.get("_reader_state")
        if known is None or known[0] != state:
            # One assignment, so that another thread sees the old pair or the new one.
            is_chat = self.transformer_task == tasks.GENERATION and words.chat_template
            kind = ChatReader if is_chat else TokenReader
            reader = kind(words, self.max_seq_length, self.do_lower_case)
            known = self.__dict__["_reader_state"] = (state, reader)
        return known[1]

    def __getstate__(self) -> dict[str, Any]:
        """Without the token reader, whose lock cannot be copied, and without unopened modules."""
        left_out = {"_reader_state"} | ({"_modules"} if self.is_deferred else set())
        return {key: value for key, value in self.__dict__.items() if key not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A new process has to register the attention that the encoder names."""
        is_open = "_modules" in state
        super().__setstate__({"_modules": {}, **state})
        if is_open:
            from sentune.engine import attention

            attention.register()
        else:
            self._defer(state["_parts"])

    def _multiplies_to_measure(self, ids: torch.Tensor) -> bool:
        """Whether matrix products of another number of tokens have to be compiled again."""
        if ids.device.type != "cpu":
            return False
        return multiplied_in("cpu") is not None or self.dtype != torch.float32

    @property
    def _first_position(self) -> int:
        """Position id of a text's first token: RoBERTa and its kin count from padding_idx + 1."""
        table = self._position_embeddings
        return 0 if table is None or table.padding_idx is None else table.padding_idx + 1

    @property
    def _position_table(self) -> int | None:
        """How many tokens the learned position table can place; None if there is no table."""
        if self._deferred is not None:
            return self._deferred.shape.max_position_embeddings
        table = self._position_embeddings
        return None if table is None else table.num_embeddings - self._first_position

    @property
    def _position_embeddings(self) -> nn.Embedding | None:
        if self._deferred is not None:
            return None
        embeddings = getattr(inner_of(self._encoder), "embeddings", None)
        table = getattr(embeddings, "position_embeddings", None)
        return table if isinstance(table, nn.Embedding) else None

    def _set_limits(self, max_seq_length: int | None, do_lower_case: bool) -> None:
        self.do_lower_case = do_lower_case
        self._max_seq_length = None
        self.max_seq_length = max_seq_length or self._default_max_seq_length()

    def _name_limit(self, tokenizer: Any) -> Any:
        """The tokenizer, with the limit as its own."""
        if hasattr(tokenizer, "model_max_length"):
            limit = self._max_seq_length
            tokenizer.model_max_length = _UNLIMITED if limit is None else limit
        return tokenizer

    def _default_max_seq_length(self) -> int | None:
        limits = [self._words.model_max_length, self._position_table]
        limits.append(getattr(self._sizes, "max_position_embeddings", None))
        return min((n for n in limits if n is not None and 0 < n < _NO_LIMIT), default=None)


def _sizes_in(config: Any) -> Any:
    """The configuration of the text encoder, which may be part of a larger one."""
    for part in ("encoder", "text_config"):
        if not hasattr(config, "hidden_size"):
            config = getattr(config, part, config)
    return config


def _check_backend(backend: str) -> None:
    if backend != "torch":
        raise SettingError(f"backend must be 'torch', got {backend!r}; sentune computes with torch")


def _refuse(**arguments: Any) -> None:
    """Raise for an argument that would have no effect."""
    for name, value in arguments.items():
        if value:
            raise SettingError(
                f"Transformer takes no {name}={value!r}: {_INSTEAD.get(name, _OF_OTHERS)}"
            )


def _check_adapter(encoder: nn.Module) -> None:
    """Raise for an adapter of `peft.get_peft_model` that changes how many tokens there are."""
    if hasattr(type(encoder), "get_base_model"):
        adapter = getattr(encoder, "active_peft_config", None)
        if getattr(adapter, "is_prompt_learning", False):
            raise SettingError(
                "an adapter of virtual tokens changes the number of tokens, which pooling cannot "
                "follow; use one of weights, as peft.LoraConfig"
            )
