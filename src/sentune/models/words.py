"""Word-based models: WordEmbeddings, WordWeights, BoW."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from sentune.checks import check_positive
from sentune.errors import InputTypeError, SettingError
from sentune.models import layouts as rows
from sentune.models.base import PER_ROW, PER_TOKEN, InputModule, Module, take
from sentune.models.tokenizer import (
    TransformersTokenizerWrapper,
    WhitespaceTokenizer,
    WordTokenizer,
)
from sentune.models.word_vectors import read_word_vectors
from sentune.text import layouts
from sentune.types import Features, Text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)


class WordEmbeddings(InputModule):
    """A vector per word of a vocabulary; unknown words are left out.

    Args:
        tokenizer: Turns a text into numbers of the vocabulary. A transformers tokenizer will do.
        embedding_weights: `(v, d)` vectors of the words.
        update_embeddings: Whether training changes the vectors.
        max_seq_length: Most words of a text that are read.

    Raises:
        SettingError: If the weights do not fit the tokenizer.
        InputTypeError: If the tokenizer is of another kind.
    """

    reads_packed = True
    outputs = PER_TOKEN
    config_file_name: ClassVar[str] = "wordembedding_config.json"
    save_in_root: ClassVar[bool] = True
    config_keys = ["update_embeddings", "max_seq_length"]

    def __init__(
        self,
        tokenizer: WordTokenizer | PreTrainedTokenizerBase,
        embedding_weights: Tensor | np.ndarray | Sequence[Sequence[float]],
        update_embeddings: bool = False,
        max_seq_length: int = 1_000_000,
    ) -> None:
        super().__init__()
        check_positive(max_seq_length=max_seq_length)
        from transformers import PreTrainedTokenizerBase

        if isinstance(tokenizer, PreTrainedTokenizerBase):
            tokenizer = TransformersTokenizerWrapper(tokenizer)
        if not isinstance(tokenizer, WordTokenizer):
            raise InputTypeError(
                "tokenizer must be a WordTokenizer or a transformers tokenizer, "
                f"got {type(tokenizer).__name__}"
            )
        weights = torch.as_tensor(embedding_weights).detach().float().clone()
        _check_rows(weights, tokenizer)
        self.emb_layer = nn.Embedding.from_pretrained(weights, freeze=not update_embeddings)
        self.tokenizer = tokenizer
        self.update_embeddings = update_embeddings
        self.max_seq_length = max_seq_length

    def read(self, texts: Sequence[Text], prompt: str | None = None) -> Features:
        """Numbers of the known words in the ragged layout, truncated to `max_seq_length`."""
        return _read_words(self.tokenizer, texts, prompt, self.max_seq_length)

    def pad(self, features: Features) -> Features:
        """The padded layout of a ragged batch, with the number of words in each row."""
        padded = super().pad(features)
        return {**padded, "sentence_lengths": padded["attention_mask"].sum(dim=1)}

    def forward(self, features: Features, **kwargs: Any) -> Features:
        """Add `token_embeddings`, `(b, t, d)` or packed `(T, d)`."""
        return {**features, "token_embeddings": self.emb_layer(features["input_ids"])}

    @property
    def embeddings_dimension(self) -> int:
        """As `get_embedding_dimension`."""
        return self.get_embedding_dimension()

    def get_embedding_dimension(self) -> int:
        """d, width of the vectors."""
        return self.emb_layer.embedding_dim

    @classmethod
    def from_text_file(
        cls,
        embeddings_file_path: str | Path,
        update_embeddings: bool = False,
        item_separator: str = " ",
        tokenizer: WordTokenizer | None = None,
        max_vocab_size: int | None = None,
    ) -> WordEmbeddings:
        """Word vectors of a text file; its words become the vocabulary, after a zero for padding.

        A line has a word, the separator and numbers, else there is an InputError; the file may be
        gzipped. A copy of the tokenizer, by default a `WhitespaceTokenizer`, gets the words, of
        which there are at most `max_vocab_size`.
        """
        words, vectors = read_word_vectors(embeddings_file_path, item_separator, max_vocab_size)
        own = WhitespaceTokenizer() if tokenizer is None else copy.copy(tokenizer)
        own.set_vocab(words)
        return cls(own, vectors, update_embeddings)


class WordWeights(Module):
    """Token embeddings times a weight per word, such as its inverse document frequency.

    The mean of the pooling that follows divides by the sum of the weights. The weights are
    trained with the model.

    Args:
        vocab: The words, in the order of the tokenizer's numbers.
        word_weights: Word -> weight; looked up as written, else in lower case.
        unknown_word_weight: Weight of the words of the vocabulary that have none.
    """

    reads_packed = True
    outputs = {**PER_TOKEN, "token_weights_sum": "row"}
    config_keys = ["vocab", "word_weights", "unknown_word_weight"]

    def __init__(
        self,
        vocab: Sequence[str],
        word_weights: Mapping[str, float],
        unknown_word_weight: float = 1,
    ) -> None:
        super().__init__()
        self.vocab = list(vocab)
        self.word_weights = dict(word_weights)
        self.unknown_word_weight = unknown_word_weight
        weights = _weights_of(self.vocab, self.word_weights, unknown_word_weight)
        self.emb_layer = nn.Embedding.from_pretrained(weights[:, None], freeze=False)

    def forward(self, features: Features, **kwargs: Any) -> Features:
        """Weight `token_embeddings`; add `token_weights_sum (b,)`."""
        tokens = take(features, "token_embeddings", self)
        weights = self.emb_layer(features["input_ids"])  # (b, t, 1) or (T, 1)
        if rows.is_padded(features):
            weights = weights * rows.mask_of(features, tokens)[:, :, None]
            total = weights.sum(dim=(1, 2))
        else:
            flat, sizes = rows.flat(features, weights[:, 0])
            total = flat.new_zeros(len(sizes)).index_add(0, rows.owners(sizes), flat)
            total = rows.in_caller_order(features, total)
        return {**features, "token_embeddings": tokens * weights, "token_weights_sum": total}

    def extra_repr(self) -> str:
        """The size of the vocabulary."""
        return f"{len(self.vocab)} words, unknown_word_weight={self.unknown_word_weight}"


class BoW(InputModule):
    """A bag of words: entry i is the weight of word i, times how often it occurs.

    Words are split at white space. Nothing here is trained.

    Args:
        vocab: The words; of one given twice, the first place counts.
        word_weights: Word -> weight, such as its inverse document frequency; looked up as
            written, else in lower case. None for no weights.
        unknown_word_weight: Weight of the words of the vocabulary that have none.
        cumulative_term_frequency: Whether a word counts each time; else once.
    """

    reads_packed = True
    outputs = PER_ROW
    save_in_root: ClassVar[bool] = False
    config_keys = ["vocab", "word_weights", "unknown_word_weight", "cumulative_term_frequency"]
    _weights: Tensor

    def __init__(
        self,
        vocab: Sequence[str],
        word_weights: Mapping[str, float] | None = None,
        unknown_word_weight: float = 1,
        cumulative_term_frequency: bool = True,
    ) -> None:
        super().__init__()
        self.vocab = list(dict.fromkeys(vocab))
        self.word_weights = dict(word_weights or {})
        self.unknown_word_weight = unknown_word_weight
        self.cumulative_term_frequency = cumulative_term_frequency
        weights = _weights_of(self.vocab, self.word_weights, unknown_word_weight)
        self.register_buffer("_weights", weights, persistent=False)
        self.tokenizer = WhitespaceTokenizer(self.vocab, stop_words=())
        self.max_seq_length = None

    @property
    def weights(self) -> list[float]:
        """The weight of each word of the vocabulary; can be set."""
        return self._weights.tolist()

    @weights.setter
    def weights(self, weights: Sequence[float]) -> None:
        given = [float(weight) for weight in weights]
        if len(given) != len(self.vocab):
            raise SettingError(
                f"there are {len(self.vocab)} words, and {len(given)} weights for them"
            )
        self.word_weights = dict(zip(self.vocab, given, strict=True))  # which its file keeps
        self._weights = torch.tensor(given, device=self._weights.device)

    @property
    def sentence_embedding_dimension(self) -> int:
        """As `get_embedding_dimension`."""
        return self.get_embedding_dimension()

    def get_sentence_features(
        self, tokenized_texts: Sequence[Sequence[int]], pad_seq_length: int = 0
    ) -> Features:
        """`sentence_embedding (b, v)` of texts as numbers of words; the second has no effect."""
        sizes = [len(numbers) for numbers in tokenized_texts]
        flat = torch.tensor([n for numbers in tokenized_texts for n in numbers], dtype=torch.int64)
        features = self.forward(layouts.ragged(flat.to(self._weights.device), sizes))
        return {"sentence_embedding": features["sentence_embedding"]}

    def read(self, texts: Sequence[Text], prompt: str | None = None) -> Features:
        """Numbers of the known words in the ragged layout."""
        return _read_words(self.tokenizer, texts, prompt, self.max_seq_length)

    def forward(self, features: Features, **kwargs: Any) -> Features:
        """Add `sentence_embedding (b, v)`, unless it is there already."""
        if "sentence_embedding" in features:
            return features
        ids, sizes = rows.flat(features, features["input_ids"])
        counts = self._weights.new_zeros((len(sizes), len(self.vocab)))
        counts.index_put_((rows.owners(sizes), ids), self._weights.new_ones(()), accumulate=True)
        if not self.cumulative_term_frequency:
            counts.clamp_(max=1)
        embedding = rows.in_caller_order(features, counts * self._weights)
        return {**features, "sentence_embedding": embedding}

    def get_embedding_dimension(self) -> int:
        """Size of the vocabulary."""
        return len(self.vocab)

    def extra_repr(self) -> str:
        """The size of the vocabulary."""
        counts_all = self.cumulative_term_frequency
        return f"{len(self.vocab)} words, cumulative_term_frequency={counts_all}"


def _read_words(
    tokenizer: WordTokenizer, texts: Sequence[Text], prompt: str | None, limit: int | None
) -> Features:
    """Texts as numbers of words, ragged, truncated to a limit."""
    numbers, truncated = [], 0
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputTypeError(
                f"row {row} is a {type(text).__name__}; a model of words reads str only"
            )
        found = tokenizer.tokenize((prompt or "") + text)
        truncated += limit is not None and len(found) > limit
        numbers.append(found[:limit])
    flat = torch.tensor([number for row in numbers for number in row], dtype=torch.int64)
    return layouts.ragged(flat, list(map(len, numbers)), truncated=truncated)


def _weights_of(vocab: list[str], weights: Mapping[str, float], unknown: float) -> Tensor:
    """Weight of each word, `(v,)` float32."""
    found = [weights.get(word, weights.get(word.lower())) for word in vocab]
    logger.info("%d of %d words have no weight and get %s", found.count(None), len(vocab), unknown)
    return torch.tensor([unknown if w is None else w for w in found], dtype=torch.float32)


def _check_rows(weights: Tensor, tokenizer: WordTokenizer) -> None:
    """Refuse weights without a vector for every word of a vocabulary."""
    if weights.ndim != 2:
        raise SettingError(
            f"embedding_weights must have shape (vocabulary, width), got {tuple(weights.shape)}"
        )
    needed = max(getattr(tokenizer, "word2idx", {}).values(), default=-1) + 1
    if needed > len(weights):
        raise SettingError(
            f"embedding_weights has {len(weights)} rows for a vocabulary of {needed} words; "
            "give every word a row"
        )
