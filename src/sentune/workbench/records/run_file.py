"""run.yaml: the options of a run, what it decided, and what it was made of.

The keys are the options of `train`. Three more say what the run depended on: `data` names the
files, `hashes` has theirs and that of the model, `versions` those of the packages. With a run file
of an earlier run everything is decided, so the same model comes out without a race.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sentune._lazy import need
from sentune._version import __version__
from sentune.checks import check_known
from sentune.data.columns import portions
from sentune.errors import DatasetError, ModelFileError, SettingError, warn
from sentune.workbench.settings import Settings

FILE = "run.yaml"
_PACKAGES = ("torch", "transformers", "datasets", "numpy")
_HEAD = """\
# Written by sentune: how the model in this folder was made. The same model comes out of
#     sentune train --config {name}
# Keys are the options of `sentune train`. Remove `hashes` to use other data or another model.
"""
_BLOCK = 1 << 20


@dataclass(frozen=True)
class RunFile:
    """What a run file says.

    Attributes:
        data: Files, folders or Hub ids with the rows; empty where it names none.
        options: Options by name.
        hashes: Name of a file, or "model" -> hash.
        versions: Package -> version.
    """

    data: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


def read(path: str | Path) -> RunFile:
    """A run file.

    Raises:
        SettingError: If it is not there, is no YAML, or has a key that is no option.
    """
    yaml = need("yaml", extra="train")
    try:
        found = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} is no YAML: {error}") from error
    if not isinstance(found, Mapping):
        raise SettingError(f"{path} must have options as `name: value`, one on each line")
    options = {str(name).replace("-", "_"): value for name, value in found.items()}
    extra = {name: options.pop(name, None) for name in ("data", "hashes", "versions")}
    known = [*(one.name for one in fields(Settings)), "data", "hashes", "versions"]
    for name in options:
        try:
            check_known("option", name, known)
        except SettingError as error:
            raise SettingError(f"{path}: {error}") from None
    data = extra["data"]
    named = [data] if isinstance(data, str) else list(data or ())
    return RunFile(named, options, dict(extra["hashes"] or {}), dict(extra["versions"] or {}))


def text_of(
    data: Sequence[str], options: Mapping[str, Any], hashes: Mapping[str, str], name: str
) -> str:
    """The text of a run file.

    Args:
        data: Where the rows are.
        options: Options by name, as plain values.
        hashes: As in `RunFile`.
        name: How the file is called, for its first lines.
    """
    yaml = need("yaml", extra="train")
    whole = {
        "data": list(data),
        **{name: value for name, value in options.items() if value is not None},
        "hashes": dict(hashes),
        "versions": versions(),
    }
    body = yaml.safe_dump(whole, sort_keys=False, allow_unicode=True, width=100)
    return _HEAD.format(name=name) + body


def versions() -> dict[str, str]:
    """The versions of what decides the numbers of a run."""
    return {"sentune": __version__, **{name: _version(name) for name in _PACKAGES}}


def check_same(known: RunFile, hashes: Mapping[str, str]) -> None:
    """Compare what a run file was made of with what is there now; other versions are a warning.

    Raises:
        DatasetError: If data have changed or are not given.
        ModelFileError: If the model has.
    """
    for name, before in known.hashes.items():
        now = hashes.get(name)
        if now is None:
            raise DatasetError(
                f"the run file was written for {name!r}, which is not given now, so another model "
                "would come out; give it again (data, dev or test), or remove `hashes` from the "
                "run file to train on what is there"
            )
        if now == before:
            continue
        what = "the model to start from" if name == "model" else f"the data in {name}"
        error = ModelFileError if name == "model" else DatasetError
        raise error(
            f"{what} changed since the run file was written (hash {now[:12]}, then "
            f"{before[:12]}), so another model would come out; bring it back, or remove `hashes` "
            "from the run file to train on what is there"
        )
    warn_of_versions("the run file was written", known.versions)


def warn_of_versions(what: str, before: Mapping[str, str]) -> None:
    """Warn where packages are not those of before: the same weights to the bit are not sure."""
    other = [
        f"{name} {now} (then {before[name]})"
        for name, now in versions().items()
        if before.get(name, now) != now
    ]
    if other:
        warn(f"{what} with other versions: {', '.join(other)}; bits may differ")


def hash_of(source: Any) -> str:
    """SHA-256 of a file, of the files of a folder, or of the rows of a dataset."""
    path = Path(source).expanduser() if isinstance(source, (str, Path)) else None
    digest = hashlib.sha256()
    if path is None:
        for portion in portions(source):
            for cells in zip(*portion.values(), strict=True):
                row = dict(zip(portion, cells, strict=True))
                digest.update(json.dumps(row, sort_keys=True, default=str).encode())
        return digest.hexdigest()
    files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    for file in files:
        with file.open("rb") as opened:
            while block := opened.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
