"""A model's card made again, and its folder uploaded to the Hugging Face Hub."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sentune.encoder.load import load
from sentune.errors import HubError, InputError, MissingModelError, ModelFileError
from sentune.files.plan import kind_of, plan
from sentune.folders.names import README
from sentune.folders.source import local_folder
from sentune.hub.fetch import is_id, needed
from sentune.record.run import FILE, Run
from sentune.share import card as cards
from sentune.share import push as hub
from sentune.workbench.models.sizes import in_words

# What a training run leaves beside a model; it may hold texts of the user's data.
RUN_FILES = (FILE, "run.yaml", "report.html")
_WORK_FOLDERS = ("run", "evaluation")
_PAPERS = ("LICENSE", "LICENSE.md", "LICENSE.txt", "NOTICE", "NOTICE.txt")


@dataclass(frozen=True)
class Upload:
    """What would be uploaded of a folder: paths in the repository -> files."""

    files: dict[str, Path]

    @property
    def bytes(self) -> int:
        """Of all files together."""
        return sum(path.stat().st_size for path in self.files.values())

    def __str__(self) -> str:
        return f"{len(self.files)} files, {in_words(self.bytes)}"


def card(
    model: str | Path,
    *,
    name: str | None = None,
    model_id: str | None = None,
    license: str | None = None,
    language: Sequence[str] = (),
    datasets: Sequence[str] = (),
    is_new: bool = False,
) -> str:
    """The card of a model, made of what is recorded of it, of its modules and of what is given.

    A model with the record of a training run gets a new card of it. Any other keeps the card that
    it has, with what is given added to its front, unless `is_new` is set.

    Args:
        model: A folder, or an id on the Hugging Face Hub.
        name: What the card calls the model.
        model_id: Its address on the Hub, for the code in the card.
        license: As the Hub names it, as "apache-2.0".
        language: Codes of languages, as "en".
        datasets: Ids of the datasets on the Hub that it was trained on.
        is_new: Write it anew, whatever the folder has.

    Raises:
        ModelFileError: If the folder does not hold a model, or no card can be made of it.
    """
    loaded = load(model)
    data = loaded.model_card_data
    run = _run_in(Path(model)) if Path(model).is_dir() else None
    if run is not None:
        data.add_run(run)
    if is_new:
        data.loaded_card = None
    data.license = license or data.license
    data.language = list(language) or data.language
    text = cards.text(loaded, model_name=name, model_id=model_id, train_datasets=list(datasets))
    if text is None:
        raise ModelFileError(f"no card can be made of {model}; the log says why")
    return text


def push(
    model: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    exist_ok: bool = False,
    replace_card: bool = False,
    has_run: bool = False,
    message: str | None = None,
    token: str | None = None,
    confirm: Callable[[Upload], bool] | None = None,
) -> str | None:
    """Upload the model in a folder to the Hugging Face Hub in one commit; gives its address there.

    The files go as they are, without what a training run leaves beside them. A model without a
    card gets one.

    Args:
        model: The folder.
        repo_id: `owner/name`, or a name under your own.
        private: Whether a new repository is seen by its owner only.
        revision: A branch; made if it is not there.
        create_pr: Open a pull request in place of changing the branch.
        exist_ok: Whether a model that is there may be replaced.
        replace_card: Whether a README.md that is there is replaced too.
        has_run: Whether to upload also run.json, run.yaml and report.html, which may show texts of
            the data.
        message: Of the commit.
        token: Access token; None for that of `hf auth login`.
        confirm: Asked before anything is made on the Hub; None is returned if it says no.

    Raises:
        ModelFileError: If the folder does not hold a model.
        HubError: If the Hub refuses it or cannot be reached; it says what to do.
    """
    folder = _folder(model)
    if not is_id(repo_id):
        raise HubError(f"{repo_id!r} is no name a model can have; give owner/name")
    upload = files_of(folder, has_run=has_run)
    if confirm is not None and not confirm(upload):
        return None
    repository = hub.open_repository(
        repo_id,
        token=token,
        private=private,
        exist_ok=exist_ok,
        revision=revision,
        create_pr=create_pr,
    )
    with TemporaryDirectory(prefix="sentune-push-") as made:
        _staged(upload, folder, Path(made), repository.repo_id)
        name = kind_of(local_folder(folder)).name
        return repository.send(
            Path(made), message or f"Add a {name} model", replace_card=replace_card
        )


def files_of(folder: Path, *, has_run: bool = False) -> Upload:
    """What would be uploaded of a folder."""
    there = hub.files_in(folder)
    shown = [name for name in there if name.partition("/")[0] not in _WORK_FOLDERS]
    wanted = set(needed(shown, with_code=True)) - set(RUN_FILES)
    wanted |= {name for name in shown if name in _PAPERS}
    wanted |= {name for name in shown if has_run and name in RUN_FILES}
    return Upload({name: path for name, path in there.items() if name in wanted})


def _folder(model: str | Path) -> Path:
    """The folder of a model, looked at as a loader would."""
    path = Path(os.fspath(model)).expanduser()
    if not path.is_dir():
        raise MissingModelError(f"there is no folder {path}; what is pushed is a model's folder")
    root = local_folder(path)
    plan(root, kind_of(root), is_trusted=True)
    return path


def _staged(upload: Upload, folder: Path, made: Path, repo_id: str) -> None:
    """Bring the files together, with a card that names the model's address."""
    for name, path in upload.files.items():
        place = made / name
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path.resolve(), place)
        except OSError:  # another disk
            shutil.copyfile(path, place)
    readme = made / README
    if readme.exists():
        text = cards.with_address(readme.read_text(encoding="utf-8"), repo_id)
        readme.unlink()  # it may be the file in the folder itself
    else:
        text = card(folder, model_id=repo_id)
    readme.write_text(text, encoding="utf-8")


def _run_in(folder: Path) -> Run | None:
    """The record of the run that made the model in a folder; None if there is none of one."""
    try:
        return Run.from_json((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, InputError):
        return None
