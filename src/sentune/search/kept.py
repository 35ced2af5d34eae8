"""Embeddings kept in a folder, for the next run with the same model and texts.

A file is a `.npy` with a checksum behind the numbers, written atomically and read as a memory map,
so that it may be larger than the memory. Its name depends on the model's weights and settings, the
prompts and the texts. Models that have no weights to look at, and what weights do not show (hooks,
adapters that are switched off), are recognised by encoding a few of the texts again.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from sentune.disk import files
from sentune.vectors.similarity import to_tensor

logger = logging.getLogger(__name__)

_TEXTS_AT_A_TIME = 1 << 16
_LOOKED_AT = 8  # texts that are encoded again to see whether the model is the same
_CHECKED_BYTES = 1 << 24
_SETTINGS = ("max_seq_length", "truncate_dim", "prompts", "default_prompt_name", "dtype")
# The same weights give nearly the same numbers with other threads, batches or chips, even in
# bfloat16; without weights to compare the numbers have to say it alone.
_TOLERANCE = {True: 2e-2, False: 1e-5}

Encode = Callable[..., Any]


def embedded(
    model: Any, encode: Encode, name: str, texts: list[str], options: dict[str, Any], folder: str
) -> Tensor:
    """The embeddings `(n, d)` of the texts, from the folder if they are there.

    Args:
        model: Whose weights and settings count.
        encode: Its method.
        name: Beginning of the name of the file.
        texts: At least one.
        options: For `encode`.
        folder: Is made if it is missing.
    """
    weights = _weights(model)
    settings = [(name, repr(getattr(model, name, None))) for name in _SETTINGS]
    prompts = [options.get("prompt_name"), options.get("prompt")]
    known = repr((weights, settings, prompts, options.get("normalize_embeddings"), texts))
    digest = hashlib.sha256(known.encode("utf-8", "surrogatepass")).hexdigest()
    path = Path(folder) / f"{name}_embeddings_{digest}.npy"

    if path.exists():
        rows = _read(path, len(texts))
        if rows is not None:
            if _are_of(encode, texts, options, rows, _TOLERANCE[weights is not None]):
                return to_tensor(rows)
            logger.warning("%s is of another model; its embeddings are computed again", path)
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = range(0, len(texts), _TEXTS_AT_A_TIME)
    with files.opened(path) as file:
        encoded = (encode(texts[at : at + _TEXTS_AT_A_TIME], **options) for at in parts)
        _write(file, encoded, len(texts))
    return to_tensor(np.load(path, mmap_mode="c"))


def _weights(model: Any) -> str | None:
    """A checksum of all weights and their names; None if the model has none."""
    state = model.state_dict() if isinstance(model, torch.nn.Module) else {}
    if not state:
        return None
    checksum = hashlib.sha256(f"{type(model).__module__}.{type(model).__qualname__}".encode())
    for name, value in state.items():
        if type(value) in (Tensor, torch.nn.Parameter) and not value.is_sparse:
            checksum.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            flat = value.detach().reshape(-1).contiguous().cpu()
            checksum.update(flat.view(torch.uint8).numpy().data)
        else:
            checksum.update(f"{name} {value!r}".encode())
    return checksum.hexdigest()


def _are_of(
    encode: Encode, texts: list[str], options: dict[str, Any], rows: np.ndarray, tolerance: float
) -> bool:
    """Whether rows are what the model gives for some of the texts, the longest among them."""
    places = np.linspace(0, len(texts) - 1, min(_LOOKED_AT, len(texts))).astype(int)
    longest = max(range(len(texts)), key=lambda place: len(texts[place]))
    places = np.unique(np.append(places, longest))
    options = {name: value for name, value in options.items() if name != "pool"}  # for few texts
    options["show_progress_bar"] = False
    now = np.asarray(encode([texts[place] for place in places.tolist()], **options))
    if now.shape != rows[places].shape:
        return False
    return np.allclose(now, rows[places], rtol=0, atol=tolerance, equal_nan=True)


def _write(file: IO[bytes], parts: Iterable[Any], count: int) -> None:
    """A `.npy` of rows that come in parts, and a checksum behind it."""
    checksum = hashlib.sha256()
    for number, part in enumerate(parts):
        rows = np.ascontiguousarray(part)
        if number == 0:
            shape = (count, *rows.shape[1:])
            header = np.lib.format.header_data_from_array_1_0(rows) | {"shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
        checksum.update(rows.data)
        file.write(rows.data)
    file.write(checksum.digest())


def _read(path: Path, count: int) -> np.ndarray | None:
    """The rows of a file; None, with a warning, if it is damaged."""
    try:
        rows = np.load(path, mmap_mode="c")
        flat = rows.reshape(-1).view(np.uint8)
        checksum = hashlib.sha256()
        for at in range(0, len(flat), _CHECKED_BYTES):
            checksum.update(flat[at : at + _CHECKED_BYTES].data)
        with path.open("rb") as file:
            file.seek(-checksum.digest_size, 2)
            is_whole = file.read() == checksum.digest()
    except (ValueError, EOFError):
        is_whole = False
    if is_whole and rows.ndim == 2 and len(rows) == count:
        return rows
    logger.warning("%s is damaged; its embeddings are computed again", path)
    return None
