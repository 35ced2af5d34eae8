"""A folder or an id -> the model in it, of any kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sentune.disk.downloads import snapshot_of
from sentune.encoder.cross_encoder import CrossEncoder
from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.files.plan import kind_of
from sentune.folders.source import source_folder
from sentune.hub.fetch import Access

_FACES: dict[str, Any] = {face.kind.name: face for face in (SentenceTransformer, CrossEncoder)}


def load(model_name_or_path: str | Path, **options: Any) -> Any:
    """The model in a folder or on the Hub: an encoder of texts, or a scorer of pairs.

    Args:
        model_name_or_path: A folder, or an id on the Hugging Face Hub. A plain transformers
            checkpoint becomes an encoder of texts, or a CrossEncoder if its head classifies
            (`...ForSequenceClassification`).
        **options: As for `SentenceTransformer` or `CrossEncoder`, whichever it is.

    Returns:
        A `sentune.types.Encoder`, or a `CrossEncoder`.

    Raises:
        ModelFileError: If the folder does not hold a model, is damaged, or is of a kind that
            sentune does not have.
        HubError: If the model cannot be had from the Hub.

    Example:
        >>> model = sentune.load("all-MiniLM-L6-v2")  # doctest: +SKIP
        >>> model.encode("A text.").shape  # doctest: +SKIP
        (384,)
    """
    names = ("token", "revision", "cache_folder", "local_files_only")
    given = {name: options[name] for name in names if name in options}
    access = Access(owners=tuple(face.kind.owner for face in _FACES.values()), **given)
    code = bool(options.get("trust_remote_code", False))
    folder = source_folder(model_name_or_path, access, with_code=code)
    # A download is named by its folder from here on, so that it is not looked for once more.
    name = folder.path if snapshot_of(folder.path) else model_name_or_path
    return _FACES[kind_of(folder).name](name, **options)
