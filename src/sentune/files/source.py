"""Where the files of a model are, and where they may lie.

The user's own folder may hold links to anywhere. What was downloaded may not: `sentune.hub` says
what that is, and in which folders its files have to stay.
"""

from __future__ import annotations

import os
from pathlib import Path

from sentune.disk.folders import finish
from sentune.errors import ModelFileError, SettingError
from sentune.files.folder import ModelFolder
from sentune.files.layout import MODULES_FILE
from sentune.hub import fetch as hub
from sentune.hub.fetch import Access


def source_folder(source: str | Path, access: Access, *, with_code: bool = False) -> ModelFolder:
    """The folder that the user names, or that of a download.

    Args:
        source: A folder, or an id on the Hub.
        access: How to reach the Hub.
        with_code: Whether Python files are needed too.

    Raises:
        SettingError: If the name is neither.
        ModelFileError: If there is no such folder.
        HubError: If there is no such model on the Hub, or it cannot be had.
    """
    name = os.fspath(source)
    if not name or "\0" in name:
        raise SettingError("the model must be a folder or an id on the Hugging Face Hub, got ''")
    if name.startswith(("http://", "https://")):
        wanted = "/".join(name.rstrip("/").split("/")[3:5])
        raise SettingError(f"{name} is an address; a model is named as {wanted!r}")
    path = Path(name).expanduser()
    if path.is_dir():
        return local_folder(path)
    if path.exists():
        raise ModelFileError(f"{path} is a file; a model is a folder with {MODULES_FILE}")
    if name.startswith(("/", ".", "~", "\\")) or name.count("/") > 1 or "\\" in name:
        raise ModelFileError(f"there is no folder {path}")
    snapshot = hub.fetch(name, access, with_code=with_code)
    return ModelFolder(snapshot.path, snapshot.roots)


def local_folder(path: Path) -> ModelFolder:
    """A folder on this machine; a save into it that was interrupted is finished first.

    Args:
        path: The folder; one in the Hub's cache is a download.

    Raises:
        ModelFileError: If that cannot be finished.
    """
    snapshot = hub.snapshot_of(path)
    if snapshot is not None:
        return ModelFolder(path, snapshot.roots)
    finish(path)
    return ModelFolder(path)
