"""Which folders are downloads: files of strangers, in the cache that the Hub's client keeps.

Only the layout of that cache is known here. `sentune.hub` fills it, and `sentune.files` asks where
the files of a folder may lie.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_SNAPSHOT = re.compile(r"(?:.*/)?models--([^/]+)/snapshots/([0-9a-f]{40})(?=/|$)")
# The Hub's client marks so the folder where its cache keeps what several repositories share.
_SHARED = "blobs/.huggingface-shared-blobs"


@dataclass(frozen=True)
class Snapshot:
    """What was downloaded of a repository: strangers' files, which have to stay among themselves.

    Args:
        path: The folder with its files.
        repo_id: The repository, `owner/name`.
        commit: The commit they are of; None if the folder does not say it.
        roots: The real folders that its files may lie in: its own, and where the cache keeps the
            content of files, on whatever disk that is.
    """

    path: Path
    repo_id: str
    commit: str | None
    roots: tuple[Path, ...]


def snapshot_of(path: Path) -> Snapshot | None:
    """The snapshot in the Hub's cache that a folder is, or lies in; None for any other folder.

    Args:
        path: The folder; for a link it counts where it is and where it leads.
    """
    for place in (os.path.abspath(path), os.path.realpath(path)):
        if found := _SNAPSHOT.match(Path(place).as_posix()):
            folder = Path(found[0])
            cache = folder.parents[2]
            stores = [folder.parents[1] / "blobs"]
            stores += [cache / "blobs"] if (cache / _SHARED).is_file() else []
            roots = (folder, *(store for store in stores if store.is_dir()))
            resolved = tuple(root.resolve() for root in roots)
            return Snapshot(folder, _id_in(found[1]), found[2], resolved)
    return None


def named(path: str | Path) -> tuple[str, str] | None:
    """Repository and commit that a path in the cache names, whether or not it is there."""
    found = _SNAPSHOT.match(Path(path).as_posix())
    return (_id_in(found[1]), found[2]) if found else None


def _id_in(name: str) -> str:
    return name.replace("--", "/")
