"""Models on the Hugging Face Hub: the files that are needed, and errors that say what to do."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias, cast

from huggingface_hub import HfApi, constants, errors, snapshot_download

from sentune.disk.downloads import Snapshot, named, snapshot_of
from sentune.errors import HubError, HubNotFoundError

logger = logging.getLogger(__name__)

_HUB_ID = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?(?<![.-])(?<!\.git)")

_SETTINGS = {".json", ".txt", ".jinja"}
_VOCABULARIES = {".model", ".spm", ".vocab", ".bpe", ".codes", ".tiktoken", ".tokenizer"}
_SAFETENSORS = re.compile(r"(adapter_)?model(-\d+-of-\d+)?\.safetensors")
_PICKLE = re.compile(r"(adapter_|pytorch_)model(-\d+-of-\d+)?\.bin")
# Folders with the same weights for other programs, or with the traces of a training run.
_OTHERS = re.compile(r"\..*|onnx|openvino|coreml|gguf|original|runs|eval|logs|checkpoint-\d+")
_NOT_THERE = (errors.RepositoryNotFoundError, errors.LocalEntryNotFoundError)
# The errors of whatever HTTP library the Hub's client is built on.
NETWORK = cast("tuple[type[Exception], ...]", errors.HfHubHTTPError.__bases__)
_NO_ANSWER: tuple[type[Exception], ...] = (OSError, ValueError, *NETWORK)
LOGIN = (
    "log in with `hf auth login` (in a notebook: huggingface_hub.notebook_login()) or pass token"
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SMALL = 2**24  # bytes of a file of weights that is downloaded also where weights are not asked for
Files: TypeAlias = "dict[str, int | None]"  # path in a repository -> bytes, where they are known
_NOT_NEEDED = {"trainer_state.json", "training_args.json", "all_results.json", "eval_results.json"}


@dataclass(frozen=True)
class Access:
    """How to reach the Hub; a plain name as "all-MiniLM-L6-v2" is tried for each owner in turn."""

    token: bool | str | None = None  # None for the one that is logged in
    revision: str | None = None  # branch, tag or commit; None for the main branch
    cache_folder: str | None = None  # None for the Hub's own place
    local_files_only: bool = False
    owners: tuple[str, ...] = ("sentence-transformers",)

    def fetch(self, name: str, *, with_code: bool = False) -> Snapshot:
        """The files of a model on the Hub, downloaded where they are not in the cache.

        A plain name is looked for under the usual owners and then as it is. A `HubError` says that
        there is no such model, or why it could not be downloaded.
        """
        return self._first(name, lambda repo_id: _fetch(repo_id, self, with_code))

    def fetch_without_weights(self, name: str) -> Snapshot:
        """As `fetch`, but large files of weights that are not in the cache stay on the Hub."""
        return self._first(name, lambda repo_id: _fetch(repo_id, self, False, _small))

    def weights_left(self, snapshot: Snapshot) -> dict[str, tuple[int, dict[str, int]]]:
        """Of the weights that are not in the cache: path -> bytes, and type -> how many numbers.

        Only their heads are read. Nothing where the Hub is not to be asked; of a file that is no
        safetensors the numbers are not known.
        """
        if self.local_files_only or constants.HF_HUB_OFFLINE:
            return {}
        name, at = snapshot.repo_id, replace(self, revision=snapshot.commit)
        with _explained(name, at):
            files = _list(name, at, has_sizes=True) or {}
            left = [
                path
                for path in needed(files)
                if is_weights(path) and not (snapshot.path / path).exists()
            ]
            return {path: (files[path] or 0, _counts(name, path, at)) for path in left}

    def _first(self, name: str, fetch: Callable[[str], Snapshot]) -> Snapshot:
        """What is fetched under the first name that the Hub has."""
        for owner in self.owners if "/" not in name else ():
            owned = f"{owner}/{name}"
            try:
                with _explained(owned, self):
                    return fetch(owned)
            except HubError as error:
                if not isinstance(error.__cause__, _NOT_THERE):
                    raise
        with _explained(name, self):
            return fetch(name)

    def commit(self, repo_id: str) -> str | None:
        """The commit that a repository is at now; None if the Hub is not to be asked."""
        if self.local_files_only or constants.HF_HUB_OFFLINE:
            return None
        with _explained(repo_id, replace(self, revision=None)):
            return HfApi(token=self.token).model_info(repo_id).sha

    def at(self, revision: str | None) -> Access:
        """The same for another revision; None for the main branch."""
        return replace(self, revision=revision)


def needed(files: Iterable[str], *, with_code: bool = False) -> list[str]:
    """The paths that loading the model needs of a repository; weights in one format."""
    paths = [
        path
        for path in map(PurePosixPath, files)
        if not any(_OTHERS.fullmatch(folder) for folder in path.parts[:-1])
    ]
    has_safetensors = {path.parent for path in paths if _SAFETENSORS.fullmatch(path.name)}
    return [
        str(path)
        for path in paths
        if (path.suffix in _SETTINGS | _VOCABULARIES and path.name not in _NOT_NEEDED)
        or (path.suffix == ".py" and with_code)
        or path.name == "README.md"
        or _SAFETENSORS.fullmatch(path.name)
        or (_PICKLE.fullmatch(path.name) and path.parent not in has_safetensors)
    ]


def is_id(name: Any) -> bool:
    """Whether a repository on the Hub can have this name."""
    return isinstance(name, str) and len(name) <= 96 and _HUB_ID.fullmatch(name) is not None


def origin(source: Any) -> tuple[str, str | None] | None:
    """Id and commit on the Hub of what was loaded; None for a folder of the user's own."""
    if not source:
        return None
    if found := named(source):
        return found
    return (str(source), None) if is_id(str(source)) and not Path(source).exists() else None


def published(repo_id: str, kind: str, revision: str | None = None) -> Any:
    """What the Hub says of a "model" or "dataset"; None if it has none, or cannot be asked."""
    try:
        return HfApi().repo_info(repo_id, repo_type=kind, revision=revision)
    except _NO_ANSWER as error:  # refused, not reached, or no name
        logger.debug("the Hub does not answer for the %s %r: %s", kind, repo_id, error)
        return None


def _fetch(
    repo_id: str, access: Access, with_code: bool, chosen: Callable[[Files], Files] = dict
) -> Snapshot:
    """The snapshot. Without a network, the one in the cache if there is one."""
    folder = _cached(repo_id, access, with_code) or _download(repo_id, access, with_code, chosen)
    return snapshot_of(folder) or Snapshot(folder, repo_id, None, (folder.resolve(),))


def _download(
    repo_id: str, access: Access, with_code: bool, chosen: Callable[[Files], Files]
) -> Path:
    is_offline = access.local_files_only or constants.HF_HUB_OFFLINE
    files = None if is_offline else _list(repo_id, access, has_sizes=chosen is not dict)
    folder = snapshot_download(
        repo_id,
        revision=access.revision,
        cache_dir=access.cache_folder,
        token=access.token,
        local_files_only=files is None,
        allow_patterns=[] if files is None else needed(chosen(files), with_code=with_code),
    )
    return Path(folder)


def _small(files: Files) -> Files:
    """The files without those of weights that are large."""
    return {
        path: size
        for path, size in files.items()
        if not is_weights(path) or (size is not None and size <= _SMALL)
    }


def _counts(repo_id: str, path: str, access: Access) -> dict[str, int]:
    """How many numbers of which type a file on the Hub holds."""
    if not path.endswith(".safetensors"):
        return {}
    api = HfApi(token=access.token)
    head = api.parse_safetensors_file_metadata(repo_id, path, revision=access.revision)
    return {str(kind): count for kind, count in head.parameter_count.items()}


def is_weights(path: str) -> bool:
    """Whether a file of a repository holds weights."""
    name = PurePosixPath(path).name
    return bool(_SAFETENSORS.fullmatch(name) or _PICKLE.fullmatch(name))


def _list(repo_id: str, access: Access, *, has_sizes: bool = False) -> Files | None:
    """The files of a repository; None if the Hub cannot be reached."""
    try:
        api = HfApi(token=access.token)
        ask = partial(api.model_info, files_metadata=True) if has_sizes else api.model_info
        info = ask(repo_id, revision=access.revision)
    except errors.LocalTokenNotFoundError:
        raise
    except NETWORK as error:
        answer = getattr(error, "response", None)
        if answer is not None and answer.status_code < 500:
            raise
        logger.warning(
            "the Hub cannot be reached (%s); looking for %s in the cache", error, repo_id
        )
        return None
    return {file.rfilename: getattr(file, "size", None) for file in info.siblings or ()}


def _cached(repo_id: str, access: Access, with_code: bool) -> Path | None:
    """The snapshot of a commit, if the cache holds all that is needed of it.

    A commit never changes, so that the Hub need not be asked. Its content is in a list that the
    Hub's client keeps (since its release 2); without one, the Hub is asked.
    """
    if access.revision is None or not _COMMIT.fullmatch(access.revision):
        return None
    cache = Path(access.cache_folder or constants.HF_HUB_CACHE).expanduser()
    repository = cache / f"models--{repo_id.replace('/', '--')}"
    snapshot = repository / "snapshots" / access.revision
    try:
        listed = json.loads((repository / "trees" / f"{access.revision}.json").read_bytes())
        files = needed(listed["files"], with_code=with_code)
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return snapshot if files and all((snapshot / file).exists() for file in files) else None


def is_unreachable(error: BaseException) -> bool:
    """Whether a `HubError` says that there was no answer, or none that says anything."""
    cause = error.__cause__
    if isinstance(cause, errors.HfHubHTTPError):
        return cause.response.status_code >= 500
    said = (errors.OfflineModeIsEnabled, errors.LocalTokenNotFoundError)
    return isinstance(cause, NETWORK) and not isinstance(cause, said)


def refusal(error: errors.HfHubHTTPError, advice: dict[int, str], otherwise: str) -> str:
    """What to do about a refusal, by its status, and what the Hub said."""
    known = {
        401: f"{LOGIN}=...; the token must be valid",
        429: "the Hub asks to wait: too many requests; try again in some minutes",
    }
    status = error.response.status_code
    what_to_do = (known | advice).get(status, otherwise)
    return f"{what_to_do} (the Hub answered {status}: {error})"


@contextmanager
def _explained(name: str, access: Access) -> Iterator[None]:
    """Turn what the Hub's client raises into a `HubError` that says what to do."""
    at = "" if access.revision is None else f" at revision {access.revision!r}"
    try:
        yield
    except errors.GatedRepoError as error:
        raise HubError(
            f"the model {name!r} asks its readers to accept its terms; do so at "
            f"{constants.ENDPOINT}/{name}, then log in with `hf auth login` or pass token=..."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise HubNotFoundError(
            f"{name!r} is neither a folder here nor a model on {constants.ENDPOINT}; check the "
            "name. If it is private, log in with `hf auth login` or pass token=..."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise HubNotFoundError(f"the model {name!r} has no revision {access.revision!r}") from error
    except errors.LocalEntryNotFoundError as error:
        raise HubNotFoundError(
            f"the model {name!r}{at} is not in the cache, and the Hub was not reached (offline, "
            "local_files_only, or no network); load it once with a network, or check the name: "
            "there is no such folder"
        ) from error
    except errors.HFValidationError as error:
        raise HubNotFoundError(
            f"{name!r} is neither a folder here nor a name a model can have: {error}"
        ) from error
    except errors.LocalTokenNotFoundError as error:
        raise HubError("token=True, but nobody is logged in; run `hf auth login`") from error
    except errors.HfHubHTTPError as error:
        advice = {403: f"the token may not read it; see {constants.ENDPOINT}/settings/tokens"}
        reason = refusal(error, advice, "check the name and the revision, or try again later")
        raise HubError(f"the Hub refused the model {name!r}{at}: {reason}") from error
    except NETWORK as error:
        raise HubError(
            f"the model {name!r}{at} could not be downloaded: {error}; check the network and the "
            "space on the disk, or pass the path of a folder"
        ) from error
