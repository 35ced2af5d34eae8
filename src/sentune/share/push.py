"""A model's folder -> the Hub, in one commit: readers see the new model whole, or the old one."""

from __future__ import annotations

import errno
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    ModelCard,
    ModelInfo,
    constants,
    errors,
)

from sentune.disk.drafts import is_draft
from sentune.disk.folders import finish
from sentune.errors import HubError, MissingFolderError, SettingError
from sentune.files.own import is_model_file
from sentune.folders import names
from sentune.folders.names import README
from sentune.hub.fetch import LOGIN, NETWORK, refusal
from sentune.record.model import BLOCK
from sentune.share.front import fault_of
from sentune.share.mark import is_untouched

logger = logging.getLogger(__name__)

_MODULE_FOLDER = re.compile(r"\d+_\w+")
# What a repository has when it was just made.
_AT_BIRTH = {".gitattributes"}


@dataclass(frozen=True)
class Repository:
    """A model's repository on the Hub as it was found; nothing of it is made before `send`."""

    api: HfApi
    repo_id: str  # owner/name
    revision: str | None = None  # the branch; None for the main one
    create_pr: bool = False  # whether to open a pull request in place of changing the branch
    private: bool | None = None  # whether to make it private, if it is made
    is_there: bool = True
    has_branch: bool = True

    def send(self, folder: Path, message: str, *, replace_card: bool = False) -> str:
        """Upload a folder; gives the address of the commit, or of the pull request.

        Files of the model that was there before go; other files stay. So does a README.md that was
        written or changed by hand, unless `replace_card` is set. Folders whose names begin with a
        dot are left out. If a `HubError` says that it cannot be uploaded, no file has changed, and
        it can be repeated.
        """
        files = files_in(folder)
        with explained(self.repo_id):
            _check_card(files.get(README))
            self._make()
        try:
            with explained(self.repo_id):
                return self._commit(files, message, replace_card)
        except HubError as error:
            if self.is_there:
                raise
            raise HubError(
                f"{error}. The repository was made for it and is empty; the same push fills it"
            ) from error

    def _make(self) -> None:
        """Make the repository and the branch, where they are not there."""
        if not self.is_there:
            self.api.create_repo(self.repo_id, private=self.private)
        if not self.has_branch:
            self.api.create_branch(self.repo_id, branch=str(self.revision), exist_ok=True)

    def _commit(self, files: dict[str, Path], message: str, replace_card: bool) -> str:
        there = set(self.api.list_repo_files(self.repo_id, revision=self.revision))
        if README in there and README in files and not (replace_card or self._has_own_card()):
            logger.warning(
                "the README.md of %s stays: it was not made by sentune, or was changed since; "
                "replace_model_card=True (--replace-card) replaces it",
                self.repo_id,
            )
            files = {name: path for name, path in files.items() if name != README}
        stale = _stale(there, set(files)) if names.MODULES_FILE in files else []
        additions = [CommitOperationAdd(name, str(path)) for name, path in files.items()]
        # Not upload_folder, which sends a large folder in several commits.
        commit = self.api.create_commit(
            self.repo_id,
            [*additions, *(CommitOperationDelete(name) for name in stale)],
            commit_message=message,
            revision=self.revision,
            create_pr=self.create_pr,
        )
        # Where nothing differs from what is there, no pull request is made.
        return str((self.create_pr and commit.pr_url) or commit.commit_url)

    def _has_own_card(self) -> bool:
        """Whether the card there is one that was made here and that nobody has changed."""
        with TemporaryDirectory(prefix="sentune-card-") as place:
            path = self.api.hf_hub_download(
                self.repo_id, README, revision=self.revision, local_dir=place
            )
            return is_untouched(Path(path).read_text(encoding="utf-8", errors="replace"))


def open_repository(
    repo_id: str,
    *,
    token: bool | str | None = None,
    private: bool | None = None,
    exist_ok: bool = False,
    revision: str | None = None,
    create_pr: bool = False,
) -> Repository:
    """A repository for a model, after a look at it. Arguments as for `push_to_hub`.

    Raises:
        HubError: If there is a model that may not be replaced, if the repository is public and is
            to be private, if there is none to propose a change to, or if the Hub refuses to answer.
        SettingError: If the arguments do not fit together.
    """
    branch = None if revision == constants.DEFAULT_REVISION else revision
    if create_pr and branch is not None:
        raise SettingError(
            f"create_pr=True opens a pull request for the main branch; got revision={revision!r}"
        )
    if not isinstance(repo_id, str):
        raise SettingError(f"repo_id must be the name of a model, as 'you/model'; got {repo_id!r}")
    api = HfApi(token=token)
    with explained(repo_id):
        name = repo_id if "/" in repo_id else f"{api.whoami()['name']}/{repo_id}"
        found = _found(api, name)
        files = found if found is None or branch is None else _found(api, name, branch)
    start = f"the model was not uploaded to {name!r}"
    if found is None and create_pr:
        raise HubError(
            f"{start}: there is no such repository to propose a change to, or the token may not "
            "see it; check the name, or leave out create_pr=True to make it"
        )
    if found is not None and private and not found.private:
        raise HubError(
            f"{start}: it is to be private, and that repository is public; make it private at "
            f"{constants.ENDPOINT}/{name}/settings, choose another name, or leave out private=True"
        )
    if files is not None and not (exist_ok or create_pr) and _names_in(files) - _AT_BIRTH:
        at = "" if branch is None else f" (branch {branch!r})"
        raise HubError(
            f"there is a model {name!r} on the Hub already{at}; pass exist_ok=True to replace it, "
            "create_pr=True to propose it, or choose another name"
        )
    return Repository(
        api,
        name,
        revision,
        create_pr,
        private,
        is_there=found is not None,
        has_branch=branch is None or (found is not None and files is not None),
    )


def check_login(repo_id: str, token: bool | str | None = None) -> None:
    """Raise a HubError if nobody is logged in, or the token is not valid."""
    with explained(repo_id):
        HfApi(token=token).whoami()


def _found(api: HfApi, name: str, branch: str | None = None) -> ModelInfo | None:
    """What the Hub says of a repository or a branch of it; None if it is not there."""
    try:
        return api.model_info(name, revision=branch)
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError):
        return None


def _names_in(found: ModelInfo) -> set[str]:
    return {file.rfilename for file in found.siblings or ()}


def _check_card(path: Path | None) -> None:
    """Raise a ValueError if the Hub would refuse a card, while nothing was made there yet."""
    if path is None:
        return
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"README.md must be in UTF-8: {error}") from error
    if fault := fault_of(text):
        raise ValueError(f"the front of README.md is refused: {fault}")
    try:
        if BLOCK.match(text):
            ModelCard(text).validate()
    except ValueError as error:
        raise ValueError(f"the front of README.md is refused: {error}") from error


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn what the Hub's client raises in an upload into a `HubError` that says what to do."""
    start = f"the model was not uploaded to {name!r}"
    try:
        yield
    except HubError:
        raise
    except errors.HFValidationError as error:
        raise HubError(f"{name!r} is no name a model can have: {error}") from error
    except errors.LocalTokenNotFoundError as error:
        raise HubError(f"{start}: nobody is logged in; {LOGIN}=...") from error
    except errors.OfflineModeIsEnabled as error:
        raise HubError(f"{start}: HF_HUB_OFFLINE is set; unset it and try again") from error
    except errors.HfHubHTTPError as error:
        raise HubError(f"{start}: {_refusal(error)}") from error
    except NETWORK as error:
        raise HubError(f"{start}: {_obstacle(error)}") from error
    except (RuntimeError, ValueError) as error:  # of a part of the upload; of the card
        cause = error.__cause__
        reason = _refusal(cause) if isinstance(cause, errors.HfHubHTTPError) else _obstacle(error)
        if "README.md" in str(error):
            reason = f"{error}; mend that file, or set what is wrong in model.model_card_data"
        raise HubError(f"{start}: {reason}") from error


def _refusal(error: errors.HfHubHTTPError) -> str:
    advice = {
        403: "the token may not write there; make one with write access at "
        f"{constants.ENDPOINT}/settings/tokens, and check that you may write under this name",
        404: "there is no such repository or branch, or the token may not see it",
        413: "a file is larger than the Hub takes",
    }
    return refusal(error, advice, "nothing has changed there; try again later")


def _obstacle(error: Exception) -> str:
    """What prevents it besides the Hub's word: a disk, a network, damage on the way."""
    cause = error.__cause__ if error.__cause__ is not None else error
    if isinstance(cause, OSError) and cause.errno == errno.ENOSPC:
        return f"the disk is full ({cause}); free some space, or point TMPDIR to another disk"
    return f"{error} ({cause}); check the network and repeat it: nothing has changed there"


def files_in(folder: Path) -> dict[str, Path]:
    """Path in the repository -> file, of what would be uploaded of a folder."""
    if not folder.is_dir():
        raise MissingFolderError(f"there is no folder {folder} to upload")
    finish(folder)
    relative = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    found = {
        name.as_posix(): path
        for name, path in sorted(relative.items())
        if not (any(part.startswith(".") for part in name.parts[:-1]) or is_draft(path))
    }
    if not found:
        raise SettingError(f"the folder {folder} holds nothing to upload")
    return found


def _stale(there: set[str], fresh: set[str]) -> list[str]:
    """Files of an earlier model that the new one does not have.

    They would be read as its own: a `model.safetensors` beside a new `pytorch_model.bin`.
    """
    return sorted(
        name
        for name in there - fresh
        if is_model_file(Path(name).name)
        and ("/" not in name or _MODULE_FOLDER.fullmatch(name.partition("/")[0]))
    )
