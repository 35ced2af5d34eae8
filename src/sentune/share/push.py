"""A model's folder -> the Hub, in one commit: readers see the new model whole, or the old one."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, errors

from sentune.disk.drafts import is_draft
from sentune.disk.folders import finish
from sentune.errors import HubError, MissingFolderError, SettingError
from sentune.files.own import is_model_file
from sentune.folders import names
from sentune.folders.names import README
from sentune.hub.fetch import LOGIN, NETWORK, refusal

_MODULE_FOLDER = re.compile(r"\d+_\w+")
# What a repository has when it was just made.
_AT_BIRTH = {".gitattributes"}


@dataclass(frozen=True)
class Repository:
    """A model's repository on the Hub that may be written to."""

    api: HfApi
    repo_id: str  # owner/name
    revision: str | None = None  # the branch; None for the main one
    create_pr: bool = False  # whether to open a pull request in place of changing the branch

    def send(self, folder: Path, message: str, *, replace_card: bool = False) -> str:
        """Upload a folder; gives the address of the commit, or of the pull request.

        Files of the model that was there before go; other files stay, and so does a README.md
        unless `replace_card` is set. Folders whose names begin with a dot are left out. If a
        `HubError` says that it cannot be uploaded, nothing has changed, and it can be repeated.
        """
        files = files_in(folder)
        with explained(self.repo_id):
            there = set(self.api.list_repo_files(self.repo_id, revision=self.revision))
            if README in there and not replace_card:
                files.pop(README, None)
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


def open_repository(
    repo_id: str,
    *,
    token: bool | str | None = None,
    private: bool | None = None,
    exist_ok: bool = False,
    revision: str | None = None,
    create_pr: bool = False,
) -> Repository:
    """A repository for a model; made if it is not there. Arguments as for `push_to_hub`."""
    if create_pr and revision not in (None, constants.DEFAULT_REVISION):
        raise SettingError(
            f"create_pr=True opens a pull request for the main branch; got revision={revision!r}"
        )
    if not isinstance(repo_id, str):
        raise SettingError(f"repo_id must be the name of a model, as 'you/model'; got {repo_id!r}")
    api = HfApi(token=token)
    with explained(repo_id):
        # One that is there and empty is what is left of an upload that broke.
        made = api.create_repo(repo_id, private=private, exist_ok=True)
        if not (exist_ok or create_pr) and set(api.list_repo_files(made.repo_id)) - _AT_BIRTH:
            raise HubError(
                f"there is a model {made.repo_id!r} on the Hub already; pass exist_ok=True to "
                "replace it, create_pr=True to propose it, or choose another name"
            )
        if revision not in (None, constants.DEFAULT_REVISION):
            api.create_branch(made.repo_id, branch=revision, exist_ok=True)
    return Repository(api, made.repo_id, revision, create_pr)


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
            reason = f"{error} Set what is wrong in model.model_card_data"
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
