"""Tokenizers that know words: text -> numbers of a vocabulary; unknown words are left out."""

from __future__ import annotations

import copy
import string
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from sentune._lazy import need
from sentune.folders.folder import read_json, write_json

T = TypeVar("T", bound="WordTokenizer")

# The words that sentence-transformers leaves out by default, so that new tokenizers of either give
# the same embeddings; one that was made with others keeps them in its file.
_STOP_WORDS = """
a about above across after afterwards again against ain all almost alone along already also although
always am among amongst amoungst amount an and another any anyhow anyone anything anyway anywhere
are aren around as at back be became because become becomes becoming been before beforehand behind
being below beside besides between beyond bill both bottom but by call can cannot cant co con could
couldn couldnt cry d de describe detail did didn do does doesn doing don done down due during each
eg eight either eleven else elsewhere empty enough etc even ever every everyone everything
everywhere except few fifteen fifty fill find fire first five for former formerly forty found four
from front full further get give go had hadn has hasn hasnt have haven having he hence her here
hereafter hereby herein hereupon hers herself him himself his how however hundred i ie if in inc
indeed interest into is isn it its itself just keep last latter latterly least less ll ltd m ma made
many may me meanwhile might mightn mill mine more moreover most mostly move much must mustn my
myself name namely needn neither never nevertheless next nine no nobody none noone nor not nothing
now nowhere o of off often on once one only onto or other others otherwise our ours ourselves out
over own part per perhaps please put rather re s same see seem seemed seeming seems serious several
shan she should shouldn show side since sincere six sixty so some somehow someone something sometime
sometimes somewhere still such system t take ten than that the their theirs them themselves then
thence there thereafter thereby therefore therein thereupon these they thick thin third this those
though three through throughout thru thus to together too top toward towards twelve twenty two un
under until up upon us ve very via was wasn we well were weren what whatever when whence whenever
where whereafter whereas whereby wherein whereupon wherever whether which while whither who whoever
whole whom whose why will with within without won would wouldn y yet you your yours yourself
yourselves
"""

ENGLISH_STOP_WORDS = (*_STOP_WORDS.split(), *string.punctuation, "''", "``")


class WordTokenizer(ABC):
    """What a tokenizer of words must offer."""

    config_file_name: ClassVar[str] = "wordtokenizer_config.json"

    @abstractmethod
    def set_vocab(self, vocab: Iterable[str]) -> None:
        """Take the words of a vocabulary; each is known by its place in it."""

    @abstractmethod
    def get_vocab(self) -> list[str]:
        """The words of the vocabulary, in order."""

    @abstractmethod
    def tokenize(self, text: str, **kwargs: Any) -> list[int]:
        """Numbers of the known words of a text, in its order."""

    def settings(self) -> dict[str, Any]:
        """JSON-able keyword arguments that build an equal tokenizer."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to rebuild it")

    def save(self, output_path: str) -> None:
        """Write the settings to a file in a folder."""
        write_json(Path(output_path) / self.config_file_name, self.settings())

    @classmethod
    def load(cls: type[T], input_path: str) -> T:
        """A tokenizer of the settings in a folder.

        Raises:
            ModelFileError: If the file is missing or damaged.
        """
        return cls(**read_json(Path(input_path) / cls.config_file_name, dict))


class _OwnVocabulary(WordTokenizer):
    """A tokenizer that holds its words and their numbers."""

    stop_words: set[str]
    do_lower_case: bool

    def set_vocab(self, vocab: Iterable[str]) -> None:
        """Take the words of a vocabulary; of a word given twice, the later number counts."""
        self.vocab = list(vocab)
        self.word2idx = {word: number for number, word in enumerate(self.vocab)}

    def get_vocab(self) -> list[str]:
        """The words of the vocabulary, in order."""
        return self.vocab

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"vocab": self.vocab, "stop_words": sorted(self.stop_words)}
        return {**own, "do_lower_case": self.do_lower_case}


class WhitespaceTokenizer(_OwnVocabulary):
    """Words between white space.

    A word is looked up as written, else without punctuation at its ends, else also in lower case;
    a form that is a stop word ends the search.

    Args:
        vocab: The words, in the order of their numbers.
        stop_words: Words that are left out.
        do_lower_case: Whether the whole text is lower-cased first.
    """

    config_file_name: ClassVar[str] = "whitespacetokenizer_config.json"

    def __init__(
        self,
        vocab: Iterable[str] = (),
        stop_words: Iterable[str] = ENGLISH_STOP_WORDS,
        do_lower_case: bool = False,
    ) -> None:
        self.stop_words = set(stop_words)
        self.do_lower_case = do_lower_case
        self.set_vocab(vocab)

    def tokenize(self, text: str, **kwargs: Any) -> list[int]:
        """Numbers of the known words of a text, in its order."""
        words = (text.lower() if self.do_lower_case else text).split()
        return [number for word in words for number in self._look_up(word)]

    def _look_up(self, word: str) -> Iterator[int]:
        bare = word.strip(string.punctuation)
        return _first_known((word, bare, bare.lower()), self.word2idx, self.stop_words)


class PhraseTokenizer(_OwnVocabulary):
    """Words as NLTK, which must be installed, splits them, with known phrases kept together.

    A phrase is written with a separator in the vocabulary: "New York is" -> New_York, is. A word
    is looked up as written, else in lower case, else without punctuation at its ends.

    Args:
        vocab: The words and phrases, in the order of their numbers.
        stop_words: Words that are left out.
        do_lower_case: Kept for the files of such tokenizers, which have it; changes nothing.
        ngram_separator: What joins the words of a phrase; None for no phrases.
        max_ngram_length: Most words of a phrase.
    """

    config_file_name: ClassVar[str] = "phrasetokenizer_config.json"

    def __init__(
        self,
        vocab: Iterable[str] = (),
        stop_words: Iterable[str] = ENGLISH_STOP_WORDS,
        do_lower_case: bool = False,
        ngram_separator: str | None = "_",
        max_ngram_length: int = 5,
    ) -> None:
        need("nltk", "words")
        self.stop_words = set(stop_words)
        self.do_lower_case = do_lower_case
        self.ngram_separator = ngram_separator
        self.max_ngram_length = max_ngram_length
        self.set_vocab(vocab)

    def set_vocab(self, vocab: Iterable[str]) -> None:
        """Take the words and phrases of a vocabulary; each is known by its place in it."""
        super().set_vocab(vocab)
        self.ngram_lookup = {word for word in self.word2idx if self._phrase_length(word) > 1}
        self.ngram_lengths = {self._phrase_length(phrase) for phrase in self.ngram_lookup}

    def tokenize(self, text: str, **kwargs: Any) -> list[int]:
        """Numbers of the known words and phrases of a text, in its order."""
        words = need("nltk", "words").word_tokenize(text, preserve_line=True)
        for length in sorted(self.ngram_lengths, reverse=True):
            words = self._joined(words, length)
        return [number for word in words for number in self._look_up(word)]

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("ngram_separator", "max_ngram_length")
        return {**super().settings(), **{name: getattr(self, name) for name in names}}

    def _phrase_length(self, word: str) -> int:
        """How many words a vocabulary entry joins; 1 if it is not a phrase, or is malformed."""
        if not self.ngram_separator or 2 * self.ngram_separator in word:
            return 1
        length = word.count(self.ngram_separator) + 1
        return length if length <= self.max_ngram_length else 1

    def _joined(self, words: list[str], length: int) -> list[str]:
        """The words, with the known phrases of one length put together, from left to right."""
        joined, start = [], 0
        while start < len(words):
            group = words[start : start + length]
            phrase = (self.ngram_separator or "").join(group)
            known = next((p for p in (phrase, phrase.lower()) if p in self.ngram_lookup), None)
            if len(group) < length or known is None:
                joined.append(words[start])
                start += 1
            else:
                joined.append(known)
                start += length
        return joined

    def _look_up(self, word: str) -> Iterator[int]:
        low = word.lower()
        forms = (word, low, low.strip(string.punctuation))
        return _first_known(forms, self.word2idx, self.stop_words)


class TransformersTokenizerWrapper(WordTokenizer):
    """A copy of a transformers tokenizer where a tokenizer of words is asked for."""

    def __init__(self, tokenizer: Any) -> None:
        # A copy, called once: its truncation and padding are off from here on, so that no later
        # call changes it, from whatever thread.
        self.tokenizer = copy.deepcopy(tokenizer)
        self.tokenizer("")

    def set_vocab(self, vocab: Iterable[str]) -> None:
        """Do nothing: the vocabulary belongs to the tokenizer."""

    def get_vocab(self, vocab: Any = None) -> list[str]:
        """The tokens of the vocabulary, in order; `vocab`, an older argument, is not read."""
        numbers: dict[str, int] = self.tokenizer.get_vocab()
        return sorted(numbers, key=numbers.__getitem__)

    def tokenize(  # type: ignore[override]  # the name in sentence-transformers
        self, sentence: str, **kwargs: Any
    ) -> list[int]:
        """Token ids of a text, with the special tokens."""
        ids: list[int] = self.tokenizer(sentence)["input_ids"]
        return ids

    def save(self, output_path: str) -> None:
        """Write the tokenizer's own files into a folder."""
        self.tokenizer.save_pretrained(output_path)

    @classmethod
    def load(cls, input_path: str) -> TransformersTokenizerWrapper:
        """A wrapper of the tokenizer in a folder."""
        from sentune.engine.encoders import load_tokenizer  # transformers takes long to import

        return cls(load_tokenizer(input_path, {}))


def _first_known(
    forms: tuple[str, ...], numbers: dict[str, int], stop_words: set[str]
) -> Iterator[int]:
    """The number of the first known form of a word, if there is one before a stop word."""
    for form in forms:
        if form in stop_words:
            return
        if form and form in numbers:
            yield numbers[form]
            return
