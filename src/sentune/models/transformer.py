"""A transformers encoder as the first module of a model."""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from sentune.engine import attention, packing
from sentune.engine.bert import Bert
from sentune.engine.light import Light
from sentune.errors import SettingError
from sentune.machine.device import multiplied_in
from sentune.models.base import InputModule
from sentune.text import layouts
from sentune.text.tokens import TokenReader
from sentune.types import Features, Text

logger = logging.getLogger(__name__)

# Tokenizers without a limit of their own say so with a number of this size.
_NO_LIMIT = 10**9

_waking = threading.RLock()


class Transformer(InputModule):
    """Tokens -> contextual token embeddings, by any encoder of the transformers library.

    Encoders in `sentune.engine.attention.PACKABLE` run on packed sentences, the others on padded
    ones; the numbers are the same. A BERT that a model was loaded with is held without that library
    until `auto_model`, `tokenizer`, `config` or training ask for it (`sentune.engine.light`).

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
    ) -> None:
        super().__init__()
        source = str(model_name_or_path)
        common = {} if cache_dir is None else {"cache_dir": cache_dir}
        config_options = {**common, **(config_args or {}), **(config_kwargs or {})}
        model_options = {**common, **(model_args or {}), **(model_kwargs or {})}
        tokenizer_options = {**common, **(tokenizer_args or {}), **(processor_kwargs or {})}
        from sentune.engine import encoders as loading

        self.auto_model = loading.load_encoder(source, config_options, model_options)
        words = str(tokenizer_name_or_path or source)
        self.tokenizer = loading.load_tokenizer(words, tokenizer_options)
        self._set_limits(max_seq_length, do_lower_case)

    @classmethod
    def light(
        cls,
        encoder: Bert,
        light: Light,
        max_seq_length: int | None = None,
        do_lower_case: bool = False,
    ) -> Transformer:
        """A Transformer without the transformers library, until more is asked of it.

        Args:
            encoder: Its weights.
            light: Its tokenizer and settings.
            max_seq_length: As for the class.
            do_lower_case: As for the class.
        """
        module = cls.__new__(cls)
        InputModule.__init__(module)
        module.__dict__["_light"] = light
        module.auto_model = encoder
        module._set_limits(max_seq_length, do_lower_case)
        return module

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
        first, *layers = self._run(features, output_hidden_states)
        result = {**features, "token_embeddings": first}
        if layers:
            result["all_layer_embeddings"] = tuple(layers)
        return result

    def _run(self, features: Features, wants_layers: bool) -> list[torch.Tensor]:
        """The token embeddings, and behind them those of each layer where they are wanted."""
        if not layouts.is_packed(features):
            return self._call(self._padded_arguments(features), wants_layers)
        total = len(features["input_ids"])
        if self._multiplies_to_measure(features["input_ids"]):
            features = packing.lengthened(features, packing.spare(total))
        light = self._light_encoder
        is_in_use = self.training or torch.is_grad_enabled() or wants_layers
        if light is not None and not is_in_use:
            return [light(features)[:total]]
        return [x[0, :total] for x in self._call(self._packed_arguments(features), wants_layers)]

    def _call(self, arguments: dict[str, Any], wants_layers: bool) -> list[torch.Tensor]:
        wants_layers = wants_layers or self._plain_encoder.config.output_hidden_states
        output = self.auto_model(**arguments, return_dict=True, output_hidden_states=wants_layers)
        return [output.last_hidden_state, *(output.hidden_states if wants_layers else ())]

    def read(self, texts: Sequence[Text], prompt: str | None = None) -> Features:
        """Tokenised texts in the ragged layout, cut to `max_seq_length`."""
        return self._reader.read(texts, prompt)

    def pad(self, features: Features) -> Features:
        """The padded layout of a ragged batch, as the tokenizer itself pads."""
        pad_id = self.tokenizer.pad_token_id or 0
        padded = packing.pad(features, pad_id, self.tokenizer.padding_side)
        return self._reader.type_ids(padded)

    @property
    def reads_packed(self) -> bool:
        """Whether the encoder runs on packed sentences."""
        if self._light_encoder is not None:
            return True
        return self.config._attn_implementation == attention.NAME

    @property
    def is_light(self) -> bool:
        """Whether the transformers library has not been needed yet."""
        return self._light_encoder is not None

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
        least = self._words.num_special_tokens_to_add()
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
        return self._sizes.hidden_size

    @property
    def inner_width(self) -> int:
        """Numbers that the widest layer holds per token."""
        return getattr(self._sizes, "intermediate_size", None) or 4 * self.get_embedding_dimension()

    def settings(self) -> dict[str, Any]:
        """The settings kept beside the encoder's own files."""
        return {"max_seq_length": self.max_seq_length, "do_lower_case": self.do_lower_case}

    def extra_repr(self) -> str:
        """Settings and architecture."""
        return f"{super().extra_repr()}, architecture={type(self.auto_model).__name__}"

    def __getattr__(self, name: str) -> Any:
        """The library's own objects are made when they are first asked for."""
        light = self.__dict__.get("_light")
        if light is not None and name == "tokenizer":
            with _waking:
                return self.__dict__.setdefault("tokenizer", light.tokenizer())
        if light is not None and name == "auto_model" and self._light_encoder is not None:
            from sentune.engine import encoders as loading

            with _waking:
                bert = self._light_encoder
                if bert is not None:  # another thread may have been quicker
                    self._modules["auto_model"] = loading.awake(light, bert)
        return super().__getattr__(name)

    @property
    def _light_encoder(self) -> Bert | None:
        found = self.__dict__["_modules"].get("auto_model")
        return found if isinstance(found, Bert) else None

    @property
    def _sizes(self) -> Any:
        """What tells the sizes of the encoder."""
        light = self._light_encoder
        return self.config if light is None else light.shape

    @property
    def _words(self) -> Any:
        """The tokenizer, or what is known of it so far."""
        return self.__dict__["tokenizer"] if "tokenizer" in self.__dict__ else self._light.words

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
        words = self._words
        core = getattr(words, "backend_tokenizer", None)
        state = (
            id(words),
            len(words) if core is None else core.get_vocab_size(),
            self.max_seq_length,
            self.do_lower_case,
            getattr(words, "truncation_side", None),
        )
        known = self.__dict__.get("_reader_state")
        if known is None or known[0] != state:
            # One assignment, so that another thread sees the old pair or the new one.
            reader = TokenReader(words, self.max_seq_length, self.do_lower_case)
            known = self.__dict__["_reader_state"] = (state, reader)
        return known[1]

    def __getstate__(self) -> dict[str, Any]:
        """Without the token reader, whose lock cannot be copied; it is made again when needed."""
        return {key: value for key, value in self.__dict__.items() if key != "_reader_state"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """In a new process, transformers has to be told of the attention that its encoder names."""
        super().__setstate__(state)
        if not self.is_light:
            attention.register()

    def _multiplies_to_measure(self, ids: torch.Tensor) -> bool:
        """Whether matrix products of another number of tokens have to be prepared anew."""
        if ids.device.type != "cpu":
            return False
        weights = next(self.parameters()).dtype
        return multiplied_in("cpu") is not None or weights != torch.float32

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
        encoder = self._light_encoder or self._plain_encoder
        embeddings = getattr(encoder, "embeddings", None)
        table = getattr(embeddings, "position_embeddings", None)
        return table if isinstance(table, nn.Embedding) else None

    def _set_limits(self, max_seq_length: int | None, do_lower_case: bool) -> None:
        self.do_lower_case = do_lower_case
        self._max_seq_length = None
        self.max_seq_length = max_seq_length or self._default_max_seq_length()

    def _default_max_seq_length(self) -> int | None:
        limits = [self._words.model_max_length, self._position_table]
        limits.append(getattr(self._sizes, "max_position_embeddings", None))
        return min((n for n in limits if n is not None and 0 < n < _NO_LIMIT), default=None)
