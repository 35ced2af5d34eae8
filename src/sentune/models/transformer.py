"""A transformers encoder as the first module of a model."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding, AutoTokenizer
from transformers.utils import logging as transformers_logging

from sentune.errors import HubError, ModelFileError, SettingError
from sentune.models import attention
from sentune.models.base import InputModule
from sentune.models.dropout import with_own_dropout
from sentune.models.linear import with_kept_copies
from sentune.text import batching
from sentune.text.tokens import TokenReader
from sentune.types import Features, Text

logger = logging.getLogger(__name__)

# Tokenizers without a limit of their own say so with a number of this size.
_NO_LIMIT = 10**9


class Transformer(InputModule):
    """Tokens -> contextual token embeddings, by any encoder of the transformers library.

    Encoders in `sentune.models.attention.PACKABLE` run on packed sentences, the others on padded
    ones; the numbers are the same.

    Args:
        model_name_or_path: A folder, or an id on the Hugging Face Hub.
        max_seq_length: Most tokens of a text, special tokens included. By default what the
            tokenizer says, within what the encoder's position table holds.
        model_kwargs: For `AutoModel.from_pretrained`: `dtype` (default float32),
            `attn_implementation`, `revision`, `token` ...
        processor_kwargs: For `AutoTokenizer.from_pretrained`.
        config_kwargs: For `AutoConfig.from_pretrained`.
        cache_dir: Where downloads are kept.
        do_lower_case: Whether texts are lower-cased before they are tokenised.
        tokenizer_name_or_path: Where the tokenizer is, if not with the encoder.
        model_args: Older name of `model_kwargs`.
        tokenizer_args: Older name of `processor_kwargs`.
        config_args: Older name of `config_kwargs`.

    Raises:
        HubError: If the model is neither a folder nor to be had from the Hub.
        ModelFileError: If its files are damaged.
        SettingError: If `max_seq_length` is not a positive number.
    """

    config_file_name: ClassVar[str] = "sentence_bert_config.json"
    forward_kwargs: ClassVar[frozenset[str]] = frozenset({"output_hidden_states"})

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
    ) -> None:
        super().__init__()
        source = str(model_name_or_path)
        common = {} if cache_dir is None else {"cache_dir": cache_dir}
        config_options = {**common, **(config_args or {}), **(config_kwargs or {})}
        model_options = {**common, **(model_args or {}), **(model_kwargs or {})}
        tokenizer_options = {**common, **(tokenizer_args or {}), **(processor_kwargs or {})}
        self.auto_model = _load_encoder(source, config_options, model_options)
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(
                str(tokenizer_name_or_path or source), **tokenizer_options
            )
        except (OSError, ValueError, KeyError) as error:
            raise _loading_error(source, "tokenizer", error) from error
        self.do_lower_case = do_lower_case
        self._max_seq_length: int | None = None
        self.max_seq_length = max_seq_length or self._default_max_seq_length()

    def forward(
        self, features: Features, *, output_hidden_states: bool = False, **kwargs: Any
    ) -> Features:
        """Add `token_embeddings`: `(b, t, d)`, or `(T, d)` for packed features.

        Args:
            features: Padded or packed tokens.
            output_hidden_states: Also add `all_layer_embeddings`, a tuple of the same shape per
                layer, the input embeddings first.
            **kwargs: Not read.
        """
        wants_layers = output_hidden_states or self._plain_encoder.config.output_hidden_states
        is_packed = batching.is_packed(features)
        tokens = self._packed_arguments(features) if is_packed else self._padded_arguments(features)
        output = self.auto_model(**tokens, return_dict=True, output_hidden_states=wants_layers)
        states = output.last_hidden_state
        result = {**features, "token_embeddings": states[0] if is_packed else states}
        if wants_layers:
            layers = output.hidden_states
            result["all_layer_embeddings"] = tuple(x[0] for x in layers) if is_packed else layers
        return result

    def read(self, texts: Sequence[Text], prompt: str | None = None) -> Features:
        """Tokenised texts in the ragged layout, cut to `max_seq_length`."""
        return self._reader.read(texts, prompt)

    def pad(self, features: Features) -> Features:
        """The padded layout of a ragged batch, as the tokenizer itself pads."""
        pad_id = self.tokenizer.pad_token_id or 0
        padded = batching.pad(features, pad_id, self.tokenizer.padding_side)
        return self._reader.type_ids(padded)

    @property
    def reads_packed(self) -> bool:
        """Whether the encoder runs on packed sentences."""
        return self.config._attn_implementation == attention.NAME

    @property
    def config(self) -> Any:
        """The encoder's configuration."""
        return self.auto_model.config

    @property
    def max_seq_length(self) -> int | None:
        """Most tokens of a text, special tokens included; None only where positions never end."""
        return self._max_seq_length

    @max_seq_length.setter
    def max_seq_length(self, value: int | None) -> None:
        if value is not None and (not isinstance(value, Integral) or value < 1):
            raise SettingError(f"max_seq_length must be a positive int or None, got {value!r}")
        least = self.tokenizer.num_special_tokens_to_add()
        if value is not None and value < least:
            raise SettingError(
                f"max_seq_length={value} leaves no room for the {least} special tokens that this "
                f"tokenizer puts around every text; use more than {least}"
            )
        table = self._position_table
        if table is not None and value is None:
            value = table
        elif table is not None and value is not None and value > table:
            logger.warning(
                "max_seq_length=%d is more than the %d positions this encoder has; %d is used",
                value,
                table,
                table,
            )
            value = table
        self._max_seq_length = None if value is None else int(value)

    def get_embedding_dimension(self) -> int:
        """d, width of the token embeddings."""
        return self.config.hidden_size

    def settings(self) -> dict[str, Any]:
        """The settings kept beside the encoder's own files."""
        return {"max_seq_length": self.max_seq_length, "do_lower_case": self.do_lower_case}

    def extra_repr(self) -> str:
        """Settings and architecture."""
        return f"{super().extra_repr()}, architecture={type(self.auto_model).__name__}"

    @property
    def _plain_encoder(self) -> Any:
        """The encoder itself, where `peft.get_peft_model` has put it into another module."""
        inner: Any = self.auto_model
        if not hasattr(inner, "get_base_model"):
            return inner
        adapter = getattr(inner, "active_peft_config", None)
        if getattr(adapter, "is_prompt_learning", False):
            raise SettingError(
                "an adapter of virtual tokens changes the number of tokens, which pooling cannot "
                "follow; use one of weights, as peft.LoraConfig"
            )
        return inner.get_base_model()

    @property
    def _reader(self) -> TokenReader:
        """The reader for the settings of now; made anew when one of them has changed."""
        core = getattr(self.tokenizer, "backend_tokenizer", None)
        state = (
            id(self.tokenizer),
            len(self.tokenizer) if core is None else core.get_vocab_size(),
            self.max_seq_length,
            self.do_lower_case,
            getattr(self.tokenizer, "truncation_side", None),
        )
        known = self.__dict__.get("_reader_state")
        if known is None or known[0] != state:
            # One assignment, so that another thread sees the old pair or the new one.
            reader = TokenReader(self.tokenizer, self.max_seq_length, self.do_lower_case)
            known = self.__dict__["_reader_state"] = (state, reader)
        return known[1]

    def __getstate__(self) -> dict[str, Any]:
        """Without the token reader, whose lock cannot be copied; it is made again when needed."""
        return {key: value for key, value in self.__dict__.items() if key != "_reader_state"}

    def _packed_arguments(self, features: Features) -> dict[str, Any]:
        ids = features["input_ids"]
        arguments = {
            "input_ids": ids[None],
            "position_ids": (features["position_ids"] + self._first_position)[None],
            "attention_mask": attention.no_mask(ids),
            "blocks": features["blocks"],
            "cu_seqlens": features["cu_seqlens"],
            "longest": max(features["lengths"], default=0),
        }
        if "token_type_ids" in features:
            arguments["token_type_ids"] = features["token_type_ids"][None]
        return arguments

    def _padded_arguments(self, features: Features) -> dict[str, Any]:
        return {name: features[name] for name in self._argument_names if name in features}

    @cached_property
    def _argument_names(self) -> tuple[str, ...]:
        """What the encoder's forward takes of a batch."""
        known = ("input_ids", "attention_mask", "token_type_ids", "inputs_embeds", "position_ids")
        takes = inspect.signature(self._plain_encoder.forward).parameters
        return tuple(name for name in known if name in takes)

    @cached_property
    def _first_position(self) -> int:
        """Position id of a text's first token: RoBERTa and its kin count from padding_idx + 1."""
        table = self._position_embeddings
        return 0 if table is None or table.padding_idx is None else table.padding_idx + 1

    @cached_property
    def _position_table(self) -> int | None:
        """How many tokens the learned position table can place; None if there is no table."""
        table = self._position_embeddings
        return None if table is None else table.num_embeddings - self._first_position

    @property
    def _position_embeddings(self) -> nn.Embedding | None:
        embeddings = getattr(self._plain_encoder, "embeddings", None)
        table = getattr(embeddings, "position_embeddings", None)
        return table if isinstance(table, nn.Embedding) else None

    def _default_max_seq_length(self) -> int | None:
        limits = [self.tokenizer.model_max_length, self._position_table]
        limits.append(getattr(self.config, "max_position_embeddings", None))
        return min((n for n in limits if n is not None and 0 < n < _NO_LIMIT), default=None)


def _load_encoder(source: str, config_options: dict, model_options: dict) -> nn.Module:
    """The encoder, in evaluation mode, with packed attention where it can have it."""
    model_options = dict(model_options)
    dtype = model_options.pop("dtype", model_options.pop("torch_dtype", torch.float32))
    try:
        config = model_options.pop("config", None) or AutoConfig.from_pretrained(
            source, **config_options
        )
        # Of an encoder-decoder (T5 ...) only the encoder is wanted.
        is_whole = not getattr(config, "is_encoder_decoder", False)
        loader = AutoModel if is_whole else AutoModelForTextEncoding
        with _without_bar() if Path(source).is_dir() else nullcontext():
            encoder, report = loader.from_pretrained(
                source, config=config, dtype=dtype, output_loading_info=True, **model_options
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise _loading_error(source, "encoder", error) from error
    # The pooler is missing in many checkpoints; what it gives is not used.
    if missing := sorted(name for name in report["missing_keys"] if "pooler." not in name):
        few = ", ".join(missing[:3]) + (" ..." if len(missing) > 3 else "")
        raise ModelFileError(
            f"the weights in {source} lack {len(missing)} tensors that its config.json asks for "
            f"({few}); they would be random"
        )
    is_encoder = config.model_type in attention.PACKABLE and not getattr(config, "is_decoder", 0)
    if is_encoder and "attn_implementation" not in model_options:
        encoder.set_attn_implementation(attention.NAME)
    return with_kept_copies(with_own_dropout(encoder))


@contextmanager
def _without_bar() -> Iterator[None]:
    """No progress bar for a second's work; the user's setting is put back afterwards."""
    was_on = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            transformers_logging.enable_progress_bar()


def _loading_error(source: str, part: str, error: Exception) -> Exception:
    """The error for a model that could not be loaded, with what to do."""
    if Path(source).is_dir():
        return ModelFileError(
            f"the {part} in {source} could not be loaded: {error}. "
            "The folder must hold config.json, weights (model.safetensors) and a tokenizer"
        )
    return HubError(
        f"{source!r} is no folder here, and its {part} could not be had from the Hub: {error}"
    )
