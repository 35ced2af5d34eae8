"""Files from the network, and what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from sentune.disk import files
from sentune.folders.names import MODULES_FILE
from sentune.models.files import load_file_path


class disabled_tqdm(tqdm):  # noqa: N801 - the name that code for sentence-transformers imports
    """A progress bar that is never drawn."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "disable": True})


def http_get(url: str, path: str) -> None:
    """Download a file; it is in its place when all of it is there.

    Args:
        url: Its address.
        path: Where to; folders are made.

    Raises:
        httpx.HTTPStatusError: If the server refuses.
        OSError: If the file cannot be written.
    """
    from huggingface_hub import get_session

    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with get_session().stream("GET", url, follow_redirects=True) as answer:
        answer.raise_for_status()
        total = int(answer.headers.get("Content-Length") or 0) or None
        bar = tqdm(total=total, unit="B", unit_scale=True, desc=f"Downloading {target.name}")
        with bar, files.opened(target) as file:
            for chunk in answer.iter_bytes():
                bar.update(file.write(chunk))


def is_sentence_transformer_model(
    model_name_or_path: str,
    token: bool | str | None = None,
    cache_folder: str | None = None,
    revision: str | None = None,
    local_files_only: bool = False,
) -> bool:
    """Whether a folder, or a model on the Hub, has a list of modules.

    Arguments and errors are those of `load_file_path`.
    """
    access = (token, cache_folder, revision, local_files_only)
    return load_file_path(model_name_or_path, MODULES_FILE, "", *access) is not None
