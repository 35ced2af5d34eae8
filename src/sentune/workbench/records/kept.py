"""The folder of a run: what is finished of it, so that a stopped run goes on.

`OUTPUT/run/state.json` is written atomically after each step of the race; a finished training has
its weights in a folder beside it. The folder goes when the run is over.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sentune.disk import files
from sentune.errors import SettingError
from sentune.workbench.records.run_file import warn_of_versions

FOLDER = "run"
LOGS = "logs"  # of trackers that write files, beside it; they stay
_STATE = "state.json"
_VERSION = 1


@dataclass
class Kept:
    """What is kept of an unfinished run.

    Attributes:
        folder: `OUTPUT/run`.
        asked: Options, hashes and versions that the run was started with.
        notes: Name -> what was found out, as plain values.
    """

    folder: Path
    asked: dict[str, Any]
    notes: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def opened(cls, output: Path, asked: Mapping[str, Any], *, resume: bool) -> Kept:
        """The state of a run in a folder, new or to go on with.

        Raises:
            SettingError: If there is an unfinished run and `resume` is not set, if there is none
                and it is, or if that run was started with something else.
        """
        folder = output / FOLDER
        found = _read(folder / _STATE)
        plain = json.loads(json.dumps(asked))
        if not resume:
            if found is not None:
                raise SettingError(
                    f"{output} has an unfinished run; go on with --resume, or remove {folder} to "
                    "begin anew"
                )
            _clear(folder)
            kept = cls(folder, plain)
            kept._write()
            return kept
        if found is None:
            raise SettingError(f"{output} has no unfinished run; leave out --resume to begin one")
        # The folder may be named in another way, as "model/".
        before, now = ({**one, "versions": None} for one in (found["asked"], plain))
        odd = [name for name in _differences(before, now) if name != "output"]
        if odd:
            raise SettingError(
                f"the run in {folder} was started with other values of {', '.join(odd)}; give the "
                "same ones, or remove that folder to begin anew"
            )
        warn_of_versions(f"the run in {folder} was started", found["asked"].get("versions") or {})
        return cls(folder, plain, found["notes"])

    @property
    def has_runs(self) -> bool:
        """Whether there is anything to go on with."""
        has_notes = any(name.startswith(("short-", "full-")) for name in self.notes)
        return has_notes or any(self.folder.glob("*/checkpoint-*"))

    def get(self, name: str) -> Any:
        """What was noted under a name; None if nothing was."""
        return self.notes.get(name)

    def note(self, name: str, value: Any) -> None:
        """Write something down, at once and atomically."""
        self.notes[name] = json.loads(json.dumps(value))
        self._write()

    def place(self, name: str) -> Path:
        """A folder for the checkpoints or weights of a training."""
        return self.folder / name

    def discard(self, name: str) -> None:
        """Remove such a folder."""
        shutil.rmtree(self.place(name), ignore_errors=True)

    def close(self) -> None:
        """Remove all of it: the run is over."""
        (self.folder / _STATE).unlink(missing_ok=True)  # first, so that no half is gone on with
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self) -> None:
        whole = {"version": _VERSION, "asked": self.asked, "notes": self.notes}
        files.write(self.folder / _STATE, json.dumps(whole).encode())


def is_of_training(folder: Path) -> bool:
    """Whether a folder holds nothing but what an unfinished run leaves."""
    names = [path.name for path in folder.iterdir()]
    return all(name == _STATE or name.startswith(("short-", "full-", ".")) for name in names)


def _clear(folder: Path) -> None:
    """Remove what a run left that was killed at its very end; weights of it are not gone on with.

    Raises:
        SettingError: If the folder is somebody else's.
    """
    if not folder.exists():
        return
    if not folder.is_dir() or not is_of_training(folder):
        raise SettingError(
            f"{folder} is not of a training, which needs that name; choose another folder with "
            "--output"
        )
    shutil.rmtree(folder)


def asked_in(output: Path) -> dict[str, Any]:
    """What the unfinished run in a folder was started with.

    Raises:
        SettingError: If there is none.
    """
    found = _read(output / FOLDER / _STATE)
    if found is None:
        raise SettingError(f"{output} has no unfinished run; leave out --resume to begin one")
    asked: dict[str, Any] = found["asked"]
    return asked


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise SettingError(
            f"{path} is damaged: {error}; remove {path.parent} to begin anew"
        ) from error
    if found.get("version") != _VERSION:
        raise SettingError(
            f"{path} is of another version of sentune; remove {path.parent} to begin anew"
        )
    return dict(found)


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names of what differs, those inside mappings too."""
    odd = []
    for name in sorted({*before, *now}):
        one, other = before.get(name), now.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            odd += _differences(one, other)
        elif one != other:
            odd.append(name)
    return odd
