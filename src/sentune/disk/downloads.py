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
    """What was downloaded of a repository: files of strangers, which may not lead elsewhere.

    Its files may lie in `roots` only: its own real folder, and those where the cache keeps the
    content of files, on whatever disk that is.
    """

    path: Path
    repo_id: str  # owner/name
    commit: str | None  # None if the folder does not say it
    roots: tuple[Path, ...]


def snapshot_of(path: Path) -> Snapshot | None:
    """The snapshot in the Hub's cache that a folder, or what it links to, is or lies in, if any."""
    for place in (os.path.abspath(path), os.path.realpath(path)):
        if found := _SNAPSHOT.match(Path(place).as_posix()):
            folder = Path(found[0])
            cache = folder.parents[2]
            stores = [folder.parents[1] / "blobs"]
            stores += [cache / "blobs"] if (cache / _SHARED).is_file() else []
            roots = (folder, *(store for store in stores if store.is_dir()))
            resolved = tuple(root.resolve() for root in roots)
            return Snapshot(folder, found[1].replace("--", "/"), found[2], resolved)
    return None


def named(path: str | Path) -> tuple[str, str] | None:
    """Repository and commit that a path in the cache names, whether or not it is there."""
    found = _SNAPSHOT.match(Path(path).as_posix())
    return (found[1].replace("--", "/"), found[2]) if found else None
