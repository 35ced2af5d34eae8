"""Where the files of a model are, and where they may lie.

The user's own folder may hold links to anywhere. What was downloaded may not:
`sentune.disk.downloads` says what that is, and in which folders its files have to stay. Who
downloads is the caller's choice, an object that gives folders for names.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sentune.disk.downloads import Snapshot, snapshot_of
from sentune.disk.folders import finish
from sentune.errors import MissingModelError, ModelFileError, SettingError
from sentune.folders.folder import ModelFolder
from sentune.folders.names import MODULES_FILE


class Hub(Protocol):
    """Gives models by name, of one revision: what reading a model needs of a downloader.

    The properties are handed to transformers where it runs code that comes with a model.
    """

    @property
    def token(self) -> bool | str | None:
        """Access token; None for the one that is logged in."""

    @property
    def revision(self) -> str | None:
        """Branch, tag or commit; None for the main branch."""

    @property
    def cache_folder(self) -> str | None:
        """Where downloads are kept; None for the usual place."""

    @property
    def local_files_only(self) -> bool:
        """Whether to use only what has been downloaded before."""

    def fetch(self, name: str, *, with_code: bool = False) -> Snapshot:
        """The files of a model, and of its code if that is needed; or a HubError."""

    def commit(self, repo_id: str) -> str | None:
        """The commit that a repository is at now; None if the Hub may not be asked."""

    def at(self, revision: str | None) -> Hub:
        """The same for another revision."""


@dataclass(frozen=True)
class Code:
    """Which code that comes with a model may run, and where it is from."""

    root: Path  # the model's folder
    hub: Hub  # has the code that is in another repository
    is_trusted: bool = False  # whether its code may run

    def options(self) -> dict[str, Any]:
        """Keyword arguments for transformers' `from_pretrained`; said in full, or it would ask."""
        if not self.is_trusted:
            return {"trust_remote_code": False}
        return {
            "trust_remote_code": True,
            "token": self.hub.token,
            "cache_dir": self.hub.cache_folder,
            "local_files_only": self.hub.local_files_only,
        }


def source_folder(source: str | Path, hub: Hub, *, with_code: bool = False) -> ModelFolder:
    """The folder that the user names, or that of a download; a HubError if it cannot be had."""
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
        raise MissingModelError(f"there is no folder {path}")
    snapshot = hub.fetch(name, with_code=with_code)
    return ModelFolder(snapshot.path, snapshot.roots)


def local_folder(path: Path) -> ModelFolder:
    """A folder on this machine; a save into it that was interrupted is finished first."""
    snapshot = snapshot_of(path)
    if snapshot is not None:
        return ModelFolder(path, snapshot.roots)
    finish(path)
    return ModelFolder(path)
