"""Learning from damaged sentences: the embedding has to hold what is needed to repair them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from sentune.data.forms import DAMAGED_TEXT
from sentune.engine import packing
from sentune.errors import InputError, ModelFileError, SettingError, warn
from sentune.losses.base import Loss, full_precision
from sentune.losses.embed import Embedder, as_ragged
from sentune.losses.guide import texts
from sentune.types import Features


class DenoisingAutoEncoderLoss(Loss):
    """A decoder that sees only the embedding of a damaged sentence has to write the whole one.

        loss = mean over tokens t of  - log P( t | the tokens before it, embedding )

    The decoder is part of the loss: it is trained with the model and not saved with it.

    Inputs: damaged sentence, sentence. Labels: none.

    Args:
        model: Its first module must be a Transformer.
        decoder_name_or_path: Checkpoint of the decoder; None for that of the encoder.
        tie_encoder_decoder: Whether the decoder shares the weights of the encoder, all but its
            attention to the embedding and its output layer.
        mini_batch_size: As in `Loss`, for the encoder.

    Raises:
        ModelFileError: If the checkpoint cannot be a decoder.

    Source: Wang et al. 2021, TSDAE, equation 1, https://arxiv.org/abs/2104.06979.
    """

    inputs = "2 columns (damaged sentence, sentence)"
    forms = (DAMAGED_TEXT,)
    is_computed_in_full = False  # a decoder is a model: autocast is for it as well
    option_names = ("decoder_name_or_path", "tie_encoder_decoder")

    def __init__(
        self,
        model: Any,
        decoder_name_or_path: str | None = None,
        tie_encoder_decoder: bool = True,
        *,
        mini_batch_size: int | None = None,
    ) -> None:
        super().__init__(model, mini_batch_size=mini_batch_size)
        encoder = _encoder_of(model)
        if decoder_name_or_path is None and not tie_encoder_decoder:
            raise SettingError("tie_encoder_decoder=False needs a decoder_name_or_path")
        if decoder_name_or_path is not None and tie_encoder_decoder:
            warn(
                "decoder_name_or_path is not read with tie_encoder_decoder=True: the decoder is "
                "a copy of the encoder. Set tie_encoder_decoder=False to use another one"
            )
        self.tie_encoder_decoder = tie_encoder_decoder
        source = encoder.config._name_or_path if tie_encoder_decoder else decoder_name_or_path
        self.decoder_name_or_path = source
        self.decoder = _decoder(source, encoder)
        self.head_width = encoder.config.hidden_size
        self.tokenizer = model.tokenizer
        if tie_encoder_decoder:
            _tie(encoder, self.decoder)
        else:
            self.tokenizer = _tokenizer(str(source))
        self._has_own_tokens = self.tokenizer.get_vocab() != model.tokenizer.get_vocab()
        pad_id = self.tokenizer.pad_token_id
        self._pad_id = self.tokenizer.eos_token_id if pad_id is None else pad_id
        self.to(getattr(model, "device", "cpu"))

    @property
    def encoder(self) -> Any:
        """As `model`."""
        return self.model

    @property
    def tokenizer_encoder(self) -> Any:
        """The tokenizer of the model."""
        model: Any = self.model
        return model.tokenizer

    @property
    def tokenizer_decoder(self) -> Any:
        """The tokenizer of the decoder."""
        return self.tokenizer

    @property
    def need_retokenization(self) -> bool:
        """Whether the decoder numbers its tokens in another way."""
        return self._has_own_tokens

    def embed(self, features: Sequence[Features], embedder: Embedder | None = None) -> list[Tensor]:
        """The embeddings `(b, d)` of the damaged sentences."""
        if len(features) != 2:
            raise InputError(f"{type(self).__name__} wants {self.inputs}, got {len(features)}")
        return (embedder or self.embedder())(self.model, features[:1])

    def context(self, features: Sequence[Features]) -> dict[str, Any]:
        """The decoder's tokens of the whole sentences, padded `(b, t)`."""
        whole = as_ragged(features[1])
        if self._has_own_tokens:
            return {"target": self.retokenize(whole)["input_ids"]}
        return {"target": packing.pad(whole, self._pad_id, "right")["input_ids"]}

    def retokenize(self, sentence_features: Features) -> Features:
        """The texts of a column, as the decoder's tokenizer reads them, padded."""
        return self.tokenizer(
            texts(self.model, sentence_features), padding=True, truncation="longest_first",
            return_tensors="pt", padding_side="right",
        )  # fmt: skip

    def compute(
        self, columns: Sequence[Tensor], labels: Tensor | None = None, target: Tensor | None = None
    ) -> Tensor:
        """The loss of `(b, d)` of damaged sentences with the tokens `(b, t)` of the whole ones."""
        (rows,) = columns
        if target is None:
            raise InputError("DenoisingAutoEncoderLoss wants the tokens of the whole sentences")
        target = target.to(rows.device)
        output = self.decoder(
            input_ids=target[:, :-1],
            encoder_hidden_states=rows[:, None],  # the embedding is all there is to look at
            encoder_attention_mask=torch.ones(len(rows), 1, device=rows.device),
            use_cache=False,
        )
        logits = full_precision(output.logits).flatten(0, 1)  # (b·(t-1), v)
        return F.cross_entropy(logits, target[:, 1:].flatten(), ignore_index=self._pad_id)


def _encoder_of(model: Any) -> Any:
    first = model[0] if hasattr(model, "__getitem__") else model
    encoder = getattr(first, "auto_model", None)
    if encoder is None:
        raise SettingError(
            "DenoisingAutoEncoderLoss needs a model whose first module is a Transformer, got "
            f"{type(first).__name__}"
        )
    return encoder


def _tokenizer(source: str) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(source)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _decoder(source: str | None, encoder: Any) -> Any:
    """A language model that attends to the embedding; without a source of the encoder's kind."""
    try:
        if source:
            config = AutoConfig.from_pretrained(source)
        else:
            config = type(encoder.config).from_dict(encoder.config.to_dict())
        config.is_decoder = config.add_cross_attention = True
        if config.hidden_size != encoder.config.hidden_size:
            raise SettingError(
                f"the decoder's width {config.hidden_size} is not the encoder's "
                f"{encoder.config.hidden_size}; the decoder has to read its embeddings"
            )
        if source:
            return AutoModelForCausalLM.from_pretrained(source, config=config)
        return AutoModelForCausalLM.from_config(config)
    except (OSError, ValueError) as error:
        if isinstance(error, SettingError):
            raise
        raise ModelFileError(f"{source} cannot be loaded as a decoder: {error}") from error


def _tie(encoder: nn.Module, decoder: Any) -> None:
    """Give the decoder the encoder's own weights wherever both have one of a name."""
    base = getattr(decoder, decoder.base_model_prefix)
    weights = dict(encoder.named_parameters())
    shared = [name for name, _ in base.named_parameters() if name in weights]
    if not shared:
        raise SettingError(
            f"encoder {type(encoder).__name__} and decoder {type(decoder).__name__} share no "
            "weights; set tie_encoder_decoder=False and name a decoder"
        )
    for name in shared:
        home, _, last = name.rpartition(".")
        setattr(base.get_submodule(home), last, weights[name])
    decoder.tie_weights()  # its output layer, to the words it has now
