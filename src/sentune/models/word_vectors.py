"""Files of word vectors, as GloVe, word2vec and fastText write them in text form."""

from __future__ import annotations

import gzip
import logging
from pathlib import Path

import numpy as np

from sentune.errors import InputError, MissingInputError

logger = logging.getLogger(__name__)

PADDING = "PADDING_TOKEN"


def read_word_vectors(
    path: str | Path, item_separator: str = " ", max_vocab_size: int | None = None
) -> tuple[list[str], np.ndarray]:
    """The words of a file `(v,)` and their vectors `(v, d)` float32; the first is the padding.

    A first line of two items (word2vec's header) is skipped, and so is a line with more or fewer
    numbers than the first one. Of words, at most `max_vocab_size` are read.
    """
    words, skipped = [PADDING], 0
    vectors: list[np.ndarray] = []
    if not Path(path).is_file():
        raise MissingInputError(f"there is no file {path}; download the word vectors first")
    opened = gzip.open if str(path).endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            word, *items = line.rstrip().split(item_separator)
            if not vectors and len(items) == 1:
                continue
            if vectors and len(items) != len(vectors[0]):
                skipped += 1
                continue
            vectors.append(_numbers(items, f"{path}, line {number}"))
            words.append(word)
            if max_vocab_size and len(vectors) >= max_vocab_size:
                break
    if not vectors or not len(vectors[0]):
        raise InputError(
            f"{path} holds no word vectors; a line must be a word and its numbers, "
            f"with item_separator={item_separator!r} between them"
        )
    if skipped:
        logger.warning("%s: %d lines of another width than the first were skipped", path, skipped)
    return words, np.stack([np.zeros_like(vectors[0]), *vectors])


def _numbers(items: list[str], where: str) -> np.ndarray:
    try:
        return np.array(items, dtype=np.float32)
    except ValueError as error:
        raise InputError(f"{where}: {error}; a line must be a word and its numbers") from error
