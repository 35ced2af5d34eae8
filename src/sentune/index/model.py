"""The model of an index: loaded when it is needed, and known by its hash."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sentune.disk.folders import walk
from sentune.errors import HubError, MissingModelError, SettingError
from sentune.folders.source import source_folder
from sentune.index.rows import as_stored
from sentune.index.settings import SIMILARITIES, Settings
from sentune.text.chunks import Chunker, tokens_of
from sentune.text.prompts import DOCUMENT_NAMES, first_name

_USUAL_TOKENS = 256  # of a chunk, for a model without a limit
_SHARE = 8  # of a chunk is shared with the next one: one part of so many


class IndexModel:
    """A model that makes vectors of texts.

    Args:
        given: A `SentenceTransformer`, a folder or an id on the Hub.
        is_kept: Whether it is where the model was when the index was built.
    """

    def __init__(self, given: Any, is_kept: bool = False) -> None:
        self.given, self.is_kept = given, is_kept

    @property
    def name(self) -> str | None:
        """Where it can be loaded from; None of a model that was given itself."""
        if not isinstance(self.given, (str, Path)):
            return None
        path = Path(self.given).expanduser()
        return str(path.resolve()) if path.is_dir() else str(self.given)

    @cached_property
    def loaded(self) -> Any:
        """The model."""
        found = self.given
        if self._folder is not None:
            from sentune.encoder.load import load  # takes seconds, with torch

            found = load(self._folder)
        if not hasattr(found, "encode_document"):
            raise SettingError(
                f"{self.given} scores pairs of texts and makes no vectors; give it as reranker, "
                "and a SentenceTransformer as model"
            )
        return found

    @cached_property
    def identity(self) -> str:
        """Its hash."""
        from sentune.encoder.identity import identity

        return identity(self.loaded)

    @cached_property
    def stamp(self) -> str | None:
        """A hash of the names, sizes and times of its files, which is there at once.

        None of a model that was given itself.
        """
        if self._folder is None:
            return None
        digest = hashlib.sha256()
        for path in walk(self._folder):
            about = (self._folder / path).stat()
            digest.update(f"{path} {about.st_size} {about.st_mtime_ns}\n".encode())
        return digest.hexdigest()[:32]

    def is_of(self, settings: Settings) -> bool:
        """Whether it is the model of an index; its weights are looked at if its files changed."""
        if settings.stamp is not None and self.stamp == settings.stamp:
            return True
        return self.identity == settings.identity

    @cached_property
    def _folder(self) -> Path | None:
        """Where its files are; None of a model that was given itself."""
        if not isinstance(self.given, (str, Path)):
            return None
        from sentune.files.kinds import CROSS_ENCODER, SENTENCE_TRANSFORMER
        from sentune.hub.fetch import Access

        owners = tuple(kind.owner for kind in (SENTENCE_TRANSFORMER, CROSS_ENCODER))
        try:
            return source_folder(self.given, Access(owners=owners)).path
        except (MissingModelError, HubError) as error:
            if not self.is_kept:
                raise
            raise MissingModelError(
                f"the model that the index was built with is not at {self.given} ({error}); say "
                "where it is: Index.open(..., model=...), or --model"
            ) from error

    @property
    def similarity(self) -> str:
        """How its vectors are compared."""
        name = str(self.loaded.similarity_fn_name or SIMILARITIES[0])
        if name not in SIMILARITIES:
            raise SettingError(
                f"the model compares by {name!r}, and an index by one of {SIMILARITIES}; choose "
                "one: Index.build(..., similarity='cosine')"
            )
        return name

    def documents(self, texts: list[str]) -> np.ndarray:
        """Vectors of parts of documents, `(n, d)`."""
        found = self.loaded.encode_document(texts, show_progress_bar=False)
        return np.asarray(found, np.float32)

    def queries(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of queries, `(n, d)`."""
        found = self.loaded.encode_query(list(texts), show_progress_bar=False)
        return np.asarray(found, np.float32)

    def stored(self, texts: list[str], similarity: str) -> np.ndarray:
        """Vectors of parts of documents, as the index keeps them."""
        return as_stored(self.documents(texts), similarity)

    def chunker(self, tokens: int | None, overlap: int | None) -> Chunker:
        """What cuts documents for it.

        Args:
            tokens: Most tokens of a chunk; None for as many as the model reads.
            overlap: Most tokens that chunks share; None for an eighth of `tokens`.
        """
        limit = self.loaded.max_seq_length
        room = _USUAL_TOKENS if limit is None else max(1, limit - self._own_tokens())
        size = room if tokens is None else tokens
        if limit is not None and size > room:
            raise SettingError(
                f"chunk_tokens must be at most {room}, got {size}: the model reads {limit} tokens, "
                "those of its prompt and special ones included"
            )
        shared = size // _SHARE if overlap is None else overlap
        return Chunker(tokens_of(self.loaded.tokenizer), size, shared)

    def _own_tokens(self) -> int:
        """How many tokens come to those of a document: of the prompt, and special ones."""
        model = self.loaded
        name = first_name(model.prompts, DOCUMENT_NAMES) or model.default_prompt_name
        features = model.preprocess([""], prompt=model.prompts.get(name) if name else None)
        mask = features.get("attention_mask")
        return 0 if mask is None else int(mask.sum())
