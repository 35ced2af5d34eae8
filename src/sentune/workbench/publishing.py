"""A model's card made again, and its folder uploaded to the Hugging Face Hub."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sentune.encoder.load import load
from sentune.errors import (
    HubError,
    InputError,
    MissingModelError,
    ModelFileError,
    SettingError,
)
from sentune.files.plan import kind_of, plan
from sentune.folders.folder import read_json
from sentune.folders.names import ADAPTER_FILE, ENCODER_FILE, README
from sentune.folders.source import local_folder
from sentune.hub.fetch import is_id
from sentune.record.run import FILE, Run, runs_in
from sentune.share import card as cards
from sentune.share import front
from sentune.share import push as hub
from sentune.share.rows import rows_shown, without_rows
from sentune.workbench.models.files import model_files
from sentune.workbench.models.history import front_of, listed, origin_in
from sentune.workbench.models.sizes import in_words

logger = logging.getLogger(__name__)

# What a training run leaves beside a model; it may hold texts of the user's data.
RUN_FILES = (FILE, "run.yaml", "report.html")
_MOST_NAMES = 12  # that are listed


@dataclass(frozen=True)
class Upload:
    """What would be uploaded of a folder.

    Attributes:
        files: Path in the repository -> file.
        left: What stays here; of a folder that stays as a whole its name alone.
        rows_shown: Rows of the training data that the card shows.
    """

    files: dict[str, Path]
    left: tuple[str, ...] = ()
    rows_shown: int = 0

    @property
    def bytes(self) -> int:
        """Of all files together."""
        return sum(path.stat().st_size for path in self.files.values())

    def __str__(self) -> str:
        return f"{len(self.files)} files, {in_words(self.bytes)}"

    def details(self) -> str:
        """What goes and what stays, by name, a line each."""
        lines = [f"goes: {_few(list(self.files))}"]
        if self.left:
            lines.append(f"stays here: {_few(self.left)}")
        if self.rows_shown:
            count = "1 row" if self.rows_shown == 1 else f"{self.rows_shown} rows"
            lines.append(f"the card shows {count} of the training data")
        return "\n".join(lines)


def _few(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def card(
    model: str | Path,
    *,
    name: str | None = None,
    model_id: str | None = None,
    license: str | None = None,
    language: Sequence[str] = (),
    datasets: Sequence[str] = (),
    has_rows: bool = True,
    is_new: bool = False,
) -> str:
    """The card of a model, made of what is recorded of it, of its modules and of what is given.

    A card that is there stays, whoever wrote it, with what is given added to it. A model without
    one, or any with `is_new`, gets a card of what its `run.json` records; base model, license and
    languages of the card before are kept.

    Args:
        model: A folder, or an id on the Hugging Face Hub.
        name: What the card calls the model.
        model_id: Its address on the Hub, for the code in the card.
        license: As the Hub names it, as "apache-2.0".
        language: Codes of languages, as "en".
        datasets: Ids of the datasets on the Hub that it was trained on.
        has_rows: Whether the card may show rows of the training data.
        is_new: Write it anew, whatever the folder has.

    Raises:
        ModelFileError: If the folder does not hold a model, or its card cannot be read.
        SettingError: If a card cannot say what is given.
    """
    front.check(language, datasets)
    if model_id is not None and not (is_id(model_id) and "/" in model_id):
        raise SettingError(f"the address of a model on the Hub is owner/name, got {model_id!r}")
    folder = Path(os.fspath(model)).expanduser()
    _readme(folder)  # before a card that cannot be read is taken for none
    loaded = load(model)
    data, before = loaded.model_card_data, loaded.model_card_data.loaded_card
    if before is not None and not is_new:
        text = _kept(before, name)
    else:
        data.loaded_card, text = None, None
        _recorded(data, folder, before)
    data.license = license or data.license
    data.language = list(language) or data.language
    data.loaded_card = text
    found = cards.text(loaded, model_name=name, model_id=model_id, train_datasets=list(datasets))
    if found is None:
        raise ModelFileError(f"no card can be made of {model}; the log says why")
    if model_id is not None and text is not None and model_id not in found:
        raise SettingError(
            f"the card has an address in its code already, and {model_id!r} is not put in its "
            "place; change it there, or make a new card (--new)"
        )
    return found if has_rows else without_rows(found)


def _kept(text: str, name: str | None) -> str:
    """A card that stays, with the name that is given."""
    if fault := front.fault_of(text):
        raise ModelFileError(
            f"the front of README.md cannot be read: {fault}; mend it, or make a new card (--new)"
        )
    named = text if name is None else cards.with_title(text, name)
    if named is None:
        raise SettingError(
            "the card has no title to change (a line that begins with '# '); write one, or make a "
            "new card (--new)"
        )
    return named


def _recorded(data: Any, folder: Path, before: str | None) -> None:
    """Put into the data of a card what a folder records of its model, and the card before says."""
    for run in _runs_in(folder):
        data.add_run(run)
    said = front_of(before or "")
    data.license = next(iter(listed(said.get("license_name") or said.get("license"))), None)
    data.language = listed(said.get("language"))
    made_from = origin_in(local_folder(folder)) if folder.is_dir() else {}
    data.base_model = data.base_model or made_from.get("base_model")
    data.license = data.license or made_from.get("license")
    data.language = data.language or listed(made_from.get("language"))


def _readme(folder: Path) -> str | None:
    """The card in a folder; None if there is none, or it is no folder here."""
    path = local_folder(folder).file(README) if folder.is_dir() else None
    try:
        return None if path is None else path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ModelFileError(f"{path} must be in UTF-8: {error}; save it so") from error


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
    has_rows: bool = True,
    message: str | None = None,
    token: str | None = None,
    confirm: Callable[[Upload], bool] | None = None,
) -> str | None:
    """Upload the model in a folder to the Hugging Face Hub in one commit; gives its address there.

    What goes are the files that the model's own files name, its card with the pictures in it,
    licenses and notices, and its folders onnx and openvino; all as they are, but that the card gets
    the address. What else is in the folder stays. A model without a card gets one.

    Args:
        model: The folder.
        repo_id: `owner/name`, or a name under your own.
        private: Whether a new repository is seen by its owner only; an error for one that is there
            and public.
        revision: A branch; made if it is not there.
        create_pr: Open a pull request in place of changing the branch.
        exist_ok: Whether a model that is there may be replaced.
        replace_card: Whether a README.md is replaced too that sentune did not make, or that was
            changed since.
        has_run: Whether to upload also run.json, run.yaml and report.html, which may show texts of
            the data.
        has_rows: Whether the card may show rows of the training data.
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
    _check_adapters(upload)
    repository = hub.open_repository(
        repo_id,
        token=token,
        private=private,
        exist_ok=exist_ok,
        revision=revision,
        create_pr=create_pr,
    )
    with TemporaryDirectory(prefix="sentune-push-") as place:
        made = Path(place)
        text = _staged(upload, folder, made, repository.repo_id, has_rows=has_rows)
        upload = Upload(hub.files_in(made), upload.left, rows_shown(text))
        if confirm is not None and not confirm(upload):
            return None
        what = message or f"Add a {kind_of(local_folder(folder)).name} model"
        return repository.send(made, what, replace_card=replace_card)


def check_free(repo_id: str, *, private: bool | None = None, token: str | None = None) -> None:
    """Raise a HubError if a new model could not be pushed there: as far as that can be asked."""
    if not is_id(repo_id):
        raise HubError(f"{repo_id!r} is no name a model can have; give owner/name")
    hub.check_login(repo_id, token)
    hub.open_repository(repo_id, token=token, private=private)


def files_of(folder: Path, *, has_run: bool = False) -> Upload:
    """What would be uploaded of a folder: the model, its papers, and a run's files if asked."""
    there = hub.files_in(folder)
    root = local_folder(folder)
    wanted = model_files(plan(root, kind_of(root), is_trusted=True), there)
    wanted = (wanted - set(RUN_FILES)) | set(RUN_FILES if has_run else ())
    files = {name: path for name, path in there.items() if name in wanted}
    return Upload(files, tuple(_left(there, set(files))))


def _left(there: Iterable[str], chosen: set[str]) -> list[str]:
    """What is not chosen; folders of which nothing is by their names."""
    used = {name.partition("/")[0] for name in chosen}
    names = [name for name in there if name not in chosen]
    short = [name if name.partition("/")[0] in used else _top(name) for name in names]
    return list(dict.fromkeys(short))


def _top(name: str) -> str:
    first, sign, _ = name.partition("/")
    return f"{first}{sign}"


def _folder(model: str | Path) -> Path:
    """The folder of a model, looked at as a loader would."""
    path = Path(os.fspath(model)).expanduser()
    if not path.is_dir():
        raise MissingModelError(f"there is no folder {path}; what is pushed is a model's folder")
    root = local_folder(path)
    plan(root, kind_of(root), is_trusted=True)
    return path


def _check_adapters(upload: Upload) -> None:
    """Raise if an adapter goes with a base model that nobody else has."""
    for path in (path for name, path in upload.files.items() if Path(name).name == ADAPTER_FILE):
        base = read_json(path, dict).get("base_model_name_or_path")
        has_encoder = path.with_name(ENCODER_FILE).exists()  # whatever the adapter names then
        if not has_encoder and (not is_id(base) or Path(str(base)).expanduser().exists()):
            raise ModelFileError(
                f"{path}: the adapter is for the encoder in {base!r}, a folder of this machine, so "
                "nobody else could load it; set 'base_model_name_or_path' there to an id on the "
                "Hub, or merge the adapter and save the model (model[0].auto_model = "
                "peft.PeftModel.from_pretrained(transformers.AutoModel.from_pretrained(base), "
                "folder).merge_and_unload())"
            )


def _staged(upload: Upload, folder: Path, made: Path, repo_id: str, *, has_rows: bool) -> str:
    """Bring the files together, with a card that names the model's address; gives that card."""
    for name, path in upload.files.items():
        place = made / name
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path.resolve(), place)
        except OSError:  # another disk
            shutil.copyfile(path, place)
    own = _readme(folder)
    if own is None:
        text = card(folder, model_id=repo_id)
    else:
        text = cards.with_address(own, repo_id)
    text = text if has_rows else without_rows(text)
    readme = made / README
    readme.unlink(missing_ok=True)  # it may be the file in the folder itself
    readme.write_text(text, encoding="utf-8")
    return text


def _runs_in(folder: Path) -> list[Run]:
    """The records of the trainings that made the model in a folder."""
    try:
        path = local_folder(folder).file(FILE) if folder.is_dir() else None
        return [] if path is None else runs_in(path)
    except (InputError, ModelFileError) as error:
        logger.warning("the card says nothing of the training: %s (%s)", error, FILE)
        return []
