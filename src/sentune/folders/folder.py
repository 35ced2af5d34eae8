"""Reading inside one folder, whatever its files say."""

from __future__ import annotations

import json
import os
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar

from sentune.errors import MissingModelError, ModelFileError
from sentune.folders.keys import shown

T = TypeVar("T")

# The largest files of text are vocabularies.
_MOST_BYTES = 256 * 2**20
# A folder below that of a tokenizer from which transformers reads too.
_TEMPLATES = "additional_chat_templates"


class ModelFolder:
    """The folder of a model, or of one of its modules.

    Paths that are written in its files lead to what is below it. Links are the work of whoever made
    the folder: the user's own may lead anywhere, those of a download may not.
    """

    def __init__(self, path: Path, roots: tuple[Path, ...] | None = None) -> None:
        self.path = path  # it need not exist
        self.roots = roots  # where files of a download have to be; None for the user's own folder

    def __str__(self) -> str:
        return str(self.path)

    @property
    def is_download(self) -> bool:
        """Whether it was downloaded, so that its links are not trusted."""
        return self.roots is not None

    def exists(self) -> bool:
        """Whether the folder is there."""
        return self.path.is_dir()

    def sub(self, relative: str, named_in: Path) -> ModelFolder:
        """A folder in this one."""
        if _points_down(relative) and self._may_hold(self.path / relative):
            return ModelFolder(self.path / relative, self.roots)
        raise ModelFileError(
            f"{named_in}: the path {shown(relative)} leads out of the model's folder; "
            "modules must lie in folders inside it"
        )

    def file(self, name: str) -> Path | None:
        """A file of this folder; None if there is none. An error for a link that leads out."""
        path = self.path / name
        if not os.path.lexists(path):
            return None
        if not self._may_hold(path):
            raise ModelFileError(f"{path}: the link leads out of what was downloaded")
        if not path.exists():
            raise ModelFileError(f"{path} is a link to {os.readlink(path)}, which is not there")
        if not path.is_file():
            raise ModelFileError(f"{path} is not a file")
        return path

    def check_files(self) -> None:
        """Raise if a file may not be opened, for readers that open files themselves.

        A link of the user's own that leads nowhere does not matter, until its file is asked for.
        """
        with os.scandir(self.path) as entries:
            names = [entry.name for entry in entries if entry.is_symlink() or not entry.is_dir()]
        for name in names:
            path = self.path / name
            if not path.is_dir() and (path.exists() or self.is_download):
                self.file(name)
        if (self.path / _TEMPLATES).is_dir():
            self.sub(_TEMPLATES, self.path).check_files()

    def text_file(self, name: str) -> Path | None:
        """As `file`, for a file that is read as a whole; an error if it is too large for that."""
        path = self.file(name)
        if path is not None:
            _check_size(path)
        return path

    def read_json(self, name: str, kind: type[T]) -> T | None:
        """What a json file holds, a `dict` or `list` by `kind`; None if there is no such file."""
        path = self.file(name)
        return None if path is None else read_json(path, kind)

    def need_json(self, name: str, kind: type[T]) -> T:
        """As `read_json`, but the file must be there."""
        found = self.read_json(name, kind)
        if found is None:
            raise MissingModelError(f"{self.path / name} is missing; the model needs it")
        return found

    def _may_hold(self, path: Path) -> bool:
        """Whether a path below leads to where files of this folder may lie."""
        if self.roots is None:
            return True
        try:
            real = path.resolve()
        except (OSError, RuntimeError, ValueError):  # a loop, a name the system refuses
            return False
        return any(map(real.is_relative_to, self.roots))


def read_json(path: Path, kind: type[T]) -> T:
    """What a json file holds, a `dict` or `list` by `kind`; a ModelFileError for anything else."""
    try:
        _check_size(path)
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise ModelFileError(
            f"{path} is not valid json (line {error.lineno}, column {error.colno}: {error.msg}); "
            "the download or the save may have been cut short"
        ) from error
    except RecursionError as error:
        raise ModelFileError(f"{path}: the json is nested too deeply") from error
    except ModelFileError:
        raise
    except (OSError, ValueError, MemoryError) as error:
        raise ModelFileError(f"{path} could not be read: {error}") from error
    if not isinstance(content, kind):
        wanted = "an object" if kind is dict else "a list"
        raise ModelFileError(f"{path} must hold {wanted}, got {shown(content)}")
    return content


def write_json(path: Path, content: Any, *, sort_keys: bool = False) -> None:
    """Write a json file, indented by two spaces, the same bytes for the same content."""
    text = json.dumps(content, indent=2, sort_keys=sort_keys)
    path.write_bytes(f"{text}\n".encode("ascii"))


def _check_size(path: Path) -> None:
    if path.stat().st_size > _MOST_BYTES:
        raise ModelFileError(f"{path} is larger than the {_MOST_BYTES} bytes that are read of it")


def _points_down(relative: Any) -> bool:
    """Whether a path from a file is relative and never goes up, on any system."""
    return (
        isinstance(relative, str)
        and "\0" not in relative
        and ".." not in relative.replace("\\", "/").split("/")
        and not PurePosixPath(relative).is_absolute()
        and not PureWindowsPath(relative).anchor
    )
