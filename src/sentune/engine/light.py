"""What a Transformer keeps in place of objects of the transformers library, until they are wanted.

Loading that library takes longer than all that it takes to embed a text. So a BERT is first held as
`sentune.engine.bert.Bert` with the Rust core of its tokenizer, and the files that the library would
have read. From these the library's own objects are made when somebody asks for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tokenizers import Tokenizer


@dataclass(frozen=True)
class WordPieces:
    """Of a tokenizer what reading texts needs, under the names of the transformers library.

    Attributes:
        backend_tokenizer: The Rust core.
        model_max_length: Most tokens of a text.
        model_input_names: Which tensors an encoder takes.
        all_special_ids: Tokens that stand for no text.
        truncation_side: Where a text that is too long is cut.
    """

    backend_tokenizer: Tokenizer
    model_max_length: int
    model_input_names: Sequence[str]
    all_special_ids: Sequence[int]
    truncation_side: str = "right"

    def __len__(self) -> int:
        return self.backend_tokenizer.get_vocab_size()

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """How many tokens are added to those of a text."""
        return self.backend_tokenizer.num_special_tokens_to_add(pair)


@dataclass(frozen=True)
class Light:
    """A tokenizer, and what the library's own objects are made of.

    Attributes:
        source: Folder or Hub id, for the name that they bear.
        words: The tokenizer.
        files: Name -> content of the settings and the vocabulary.
    """

    source: str
    words: WordPieces
    files: Mapping[str, bytes]

    @contextmanager
    def unpacked(self) -> Iterator[Path]:
        """A folder with the files."""
        with TemporaryDirectory() as folder:
            for name, content in self.files.items():
                (Path(folder) / name).write_bytes(content)
            yield Path(folder)

    def tokenizer(self) -> Any:
        """The library's own tokenizer."""
        from transformers import AutoTokenizer

        with self.unpacked() as folder:
            tokenizer = AutoTokenizer.from_pretrained(folder)
        tokenizer.name_or_path = self.source
        return tokenizer
