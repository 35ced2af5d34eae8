"""Static embeddings: one vector per token id, a text is the mean of its tokens."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from sentune._lazy import need
from sentune.checks import check_positive
from sentune.errors import HubError, InputTypeError, ModelFileError, SettingError
from sentune.models import layouts as rows
from sentune.models.base import PER_ROW, InputModule
from sentune.text import inputs, layouts, vocabulary
from sentune.types import Features, Text

logger = logging.getLogger(__name__)

_CURE = "a new StaticEmbedding(tokenizer, embedding_weights=...) with a vector for every token id"


class StaticEmbedding(InputModule):
    """The mean of a vector per token, without special tokens; zeros for a text without tokens.

    Texts are truncated only if the tokenizer does so or `max_seq_length` is set.

    Args:
        tokenizer: A `tokenizers.Tokenizer`, or a transformers tokenizer that is built on one. It
            stays as it is; one that pads, or that others could change, is copied.
        embedding_weights: `(v, d)` vectors of the token ids.
        embedding_dim: d, to start from random vectors instead.
        base_model: Name of the model that the vectors come from, for the model card.

    Raises:
        InputTypeError: If the tokenizer is of another kind.
        SettingError: If neither weights nor a width is given, or the weights do not fit.
    """

    reads_packed = True
    outputs = PER_ROW
    # Readers before 5.0 look for no other module than a Transformer in the model's own folder.
    save_in_root: ClassVar[bool] = False

    def __init__(
        self,
        tokenizer: Any,
        embedding_weights: Tensor | np.ndarray | None = None,
        embedding_dim: int | None = None,
        base_model: str | None = None,
    ) -> None:
        super().__init__()
        self.tokenizer = _own_tokenizer(tokenizer)
        self.base_model = base_model
        if embedding_weights is not None:
            weights = _checked(torch.as_tensor(embedding_weights), self.tokenizer)
            self.embedding = nn.EmbeddingBag.from_pretrained(weights, freeze=False)
        elif embedding_dim is not None:
            check_positive(embedding_dim=embedding_dim)
            self.embedding = nn.EmbeddingBag(self.tokenizer.get_vocab_size(), embedding_dim)
        else:
            raise SettingError(
                "StaticEmbedding got neither embedding_weights nor embedding_dim; give the vectors "
                "of the token ids, or the width of random ones to start from"
            )
        self.num_embeddings = self.embedding.num_embeddings
        self.embedding_dim = self.embedding.embedding_dim

    @property
    def max_seq_length(self) -> int | None:
        """Most tokens of a text that are read; None for no limit. Kept with the tokenizer."""
        truncation = self.tokenizer.truncation
        return truncation["max_length"] if truncation else None

    @max_seq_length.setter
    def max_seq_length(self, length: int | None) -> None:
        tokenizer = _copy(self.tokenizer)  # a call under way goes on with the old one
        if length is None or length == math.inf:
            tokenizer.no_truncation()
        else:
            check_positive(max_seq_length=length)
            tokenizer.enable_truncation(length)
        self.tokenizer = tokenizer

    def read(self, texts: Sequence[Text], prompt: str | None = None) -> Features:
        """Texts or pairs, each behind the prompt, as tokens in the ragged layout."""
        items = list(texts)
        inputs.check_items(items)
        if prompt:
            items = [inputs.with_prefix(item, prompt) for item in items]
        try:
            encodings = self.tokenizer.encode_batch_fast(items, add_special_tokens=False)
        except TypeError as error:
            raise inputs.bad_unicode(items) or error from error
        ids = [encoding.ids for encoding in encodings]
        lengths = list(map(len, ids))
        flat = np.fromiter(chain.from_iterable(ids), dtype=np.int64, count=sum(lengths))
        vocabulary.check_rows(flat, self.num_embeddings, self.tokenizer, _CURE)
        cut = sum(1 for encoding in encodings if encoding.overflowing)
        return layouts.ragged(torch.from_numpy(flat), lengths, truncated=cut)

    def tokenize(
        self, texts: Sequence[Text], *, prompt: str | None = None, **kwargs: Any
    ) -> Features:
        """Tokenised texts as `input_ids (T,)` and `offsets (b,)`, where each text begins."""
        features = self.read(texts, prompt, **kwargs)
        sizes = torch.tensor(features["lengths"], dtype=torch.int64)
        return {"input_ids": features["input_ids"], "offsets": sizes.cumsum(0) - sizes}

    def forward(self, features: Features, **kwargs: Any) -> Features:
        """Add `sentence_embedding (b, d)`; the features may have `offsets`, or any layout."""
        ids, offsets = features["input_ids"], features.get("offsets")
        if offsets is None:
            ids, sizes = rows.flat(features, ids)
            offsets = sizes.cumsum(0) - sizes
        embedding = rows.in_caller_order(features, self.embedding(ids, offsets))
        return {**features, "sentence_embedding": embedding}

    @property
    def has_tokens_without_rows(self) -> bool:
        """Whether the tokenizer knows tokens that have no vector."""
        return vocabulary.has_more_than(self.tokenizer, self.num_embeddings)

    def get_embedding_dimension(self) -> int:
        """d, width of the embedding."""
        return self.embedding_dim

    @classmethod
    def from_model2vec(cls, model_id_or_path: str | Path) -> StaticEmbedding:
        """A model2vec model, from a folder or by its id on the Hugging Face Hub.

        A HubError if it is in neither, a ModelFileError if its weights lack the vectors.
        """
        source = str(model_id_or_path)
        tokenizer = Tokenizer.from_file(_file_of(source, "tokenizer.json"))
        path = _file_of(source, "model.safetensors")
        weights = load_file(path)
        vectors = weights.get("embeddings", weights.get("embedding.weight"))
        if vectors is None:
            raise ModelFileError(
                f"{path} holds {sorted(weights)}; a model2vec model has its vectors in 'embeddings'"
            )
        folded = fold(vectors, weights.get("mapping"), weights.get("weights"))
        return cls(tokenizer, folded, base_model=source)

    @classmethod
    def from_distillation(
        cls,
        model_name: str,
        vocabulary: list[str] | None = None,
        device: str | None = None,
        pca_dims: int | None = 256,
        apply_zipf: bool = True,
        sif_coefficient: float | None = 1e-4,
        token_remove_pattern: str | None = r"\[unused\d+\]",
        quantize_to: str = "float32",
        use_subword: bool = True,
        **kwargs: Any,
    ) -> StaticEmbedding:
        r"""A static model distilled from a transformers model by model2vec, if it is installed.

        Args:
            model_name: The model to distil, a folder or an id on the Hugging Face Hub.
            vocabulary: Words to give vectors to, beside the model's own tokens.
            device: Where to compute; None to let model2vec choose.
            pca_dims: Width to reduce to by principal components; None to keep the model's.
            apply_zipf: Whether to weight tokens by their rank; in older model2vec only.
            sif_coefficient: a in the weight a / (a + frequency) of a token; None for no weights.
            token_remove_pattern: Tokens that match this regular expression get no vector.
            quantize_to: Type of the vectors.
            use_subword: Whether to keep the model's own tokens; in older model2vec only.
            **kwargs: Further arguments of `model2vec.distill.distill`.
        """
        distill = need("model2vec.distill", "static").distill
        options = {
            "vocabulary": vocabulary,
            "device": device,
            "pca_dims": pca_dims,
            "apply_zipf": apply_zipf,
            "sif_coefficient": sif_coefficient,
            "token_remove_pattern": token_remove_pattern,
            "quantize_to": quantize_to,
            "use_subword": use_subword,
            **kwargs,
        }
        takes = inspect.signature(distill).parameters
        if unknown := sorted(set(options) - set(takes)):
            logger.info("the installed model2vec does not take %s", ", ".join(unknown))
        static = distill(model_name, **{name: options[name] for name in options if name in takes})
        folded = fold(
            static.embedding,
            getattr(static, "token_mapping", None),
            getattr(static, "weights", None),
        )
        return cls(static.tokenizer, folded, base_model=model_name)


def fold(
    embeddings: Tensor | np.ndarray,
    mapping: Tensor | np.ndarray | None = None,
    weights: Tensor | np.ndarray | None = None,
) -> Tensor:
    """One vector per token id `(v, d)`, of vectors `(m, d)`, the row of each id and its factor.

    Vectors in half precision become float32 where they are multiplied: a mean over tokens in half
    precision would round what model2vec computes in full.
    """
    table = torch.as_tensor(embeddings)
    if mapping is not None:
        table = table[torch.as_tensor(mapping).long()]
    if weights is None:
        return table.contiguous()
    wide = table.to(torch.promote_types(table.dtype, torch.float32))
    return (wide * torch.as_tensor(weights)[:, None]).to(wide.dtype)


def _own_tokenizer(tokenizer: Any) -> Tokenizer:
    """The tokenizer itself if nobody else's call can change it, else a copy; padding off."""
    if isinstance(tokenizer, Tokenizer):
        core = tokenizer if tokenizer.padding is None else _copy(tokenizer)
    elif isinstance(getattr(tokenizer, "backend_tokenizer", None), Tokenizer):
        core = _copy(tokenizer.backend_tokenizer)  # transformers changes it in every call
    else:
        raise InputTypeError(
            f"tokenizer must be a tokenizers.Tokenizer or a transformers tokenizer built on one, "
            f"got {type(tokenizer).__name__}; "
            "tokenizers.Tokenizer.from_pretrained(name) or .from_file(path) gives one"
        )
    if core.padding is not None:
        core.no_padding()
    return core


def _copy(tokenizer: Tokenizer) -> Tokenizer:
    return Tokenizer.from_str(tokenizer.to_str())


def _checked(weights: Tensor, tokenizer: Tokenizer) -> Tensor:
    """Weights `(v, d)` with a row for every token of the vocabulary."""
    if weights.ndim != 2 or not weights.is_floating_point():
        raise SettingError(
            "embedding_weights must be floating point of shape (vocabulary, width), "
            f"got {weights.dtype} of shape {tuple(weights.shape)}"
        )
    size = tokenizer.get_vocab_size(with_added_tokens=False)
    if len(weights) < size:
        raise SettingError(
            f"embedding_weights has {len(weights)} rows for a tokenizer of {size} tokens; "
            "give every token id a row, or the tokenizer that the weights were made for"
        )
    return weights


# Where the files of a model are: model2vec's own place, and that of sentence-transformers 3 and 4.
_PLACES = ("", "0_StaticEmbedding/")


def _file_of(source: str, name: str) -> str:
    """Path of a file of a model, downloaded if the model is not a folder here."""
    if Path(source).is_dir():
        for place in _PLACES:
            path = Path(source, place + name)
            if path.is_file():
                return str(path)
        raise ModelFileError(f"{source} has no {name}, so it is no model2vec model")
    try:
        return _downloaded(source, name)
    except (OSError, ValueError) as error:
        raise HubError(
            f"{source!r} is no folder here, and {name} could not be had from the Hub: {error}"
        ) from error


def _downloaded(repository: str, name: str) -> str:
    try:
        return hf_hub_download(repository, _PLACES[0] + name)
    except EntryNotFoundError:
        return hf_hub_download(repository, _PLACES[1] + name)
