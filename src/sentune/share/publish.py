"""The methods of a SentenceTransformer that write it, with its card, to a folder or to the Hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sentune.errors import SettingError
from sentune.files import save as files_save
from sentune.share import card, push


def save_pretrained(
    model: Any,
    path: str | Path,
    model_name: str | None = None,
    create_model_card: bool = True,
    train_datasets: Sequence[Any] | None = None,
    safe_serialization: bool = True,
) -> None:
    """Save the model in a folder that `SentenceTransformer(path)` loads.

    Args:
        model: The model.
        path: The folder; files of an earlier save in it are replaced.
        model_name: Name for the model card.
        create_model_card: Whether to write README.md.
        train_datasets: Ids of datasets, for the model card.
        safe_serialization: Whether weights go to safetensors; else to pytorch_model.bin.
    """
    names = {"model_name": model_name, "train_datasets": train_datasets}
    _save(model, path, names if create_model_card else None, safe_serialization)


def push_to_hub(
    model: Any,
    repo_id: str,
    token: bool | str | None = None,
    private: bool | None = None,
    safe_serialization: bool = True,
    commit_message: str | None = None,
    local_model_path: str | None = None,
    exist_ok: bool = False,
    replace_model_card: bool = False,
    train_datasets: Sequence[Any] | None = None,
    revision: str | None = None,
    create_pr: bool = False,
) -> str:
    """Upload the model to the Hugging Face Hub, in one commit; gives its address there.

    Args:
        model: The model.
        repo_id: `owner/name`, or a name under your own.
        token: Access token; None for that of `hf auth login`.
        private: Whether a new repository is seen by its owner only.
        safe_serialization: Whether weights go to safetensors; else to pytorch_model.bin.
        commit_message: Of the commit.
        local_model_path: Upload this folder in place of the model in memory.
        exist_ok: Whether a model that is there may be replaced.
        replace_model_card: Whether a README.md that is there is replaced too.
        train_datasets: Ids of datasets, for the model card.
        revision: A branch; made if it is not there.
        create_pr: Open a pull request in place of changing the branch.

    A `HubError` says what to do if the Hub refuses it or cannot be reached.
    """
    if local_model_path is not None:
        push.files_in(Path(local_model_path))  # raises before there is an empty repository
    repository = push.open_repository(
        repo_id,
        token=token,
        private=private,
        exist_ok=exist_ok,
        revision=revision,
        create_pr=create_pr,
    )
    message = commit_message or f"Add a {type(model).__name__} model"
    if local_model_path is not None:
        return repository.send(Path(local_model_path), message, replace_card=replace_model_card)
    with TemporaryDirectory() as folder, push.explained(repository.repo_id):
        names = {"model_id": repository.repo_id, "train_datasets": train_datasets}
        _save(model, folder, names, safe_serialization)
        return repository.send(Path(folder), message, replace_card=replace_model_card)


def save_to_hub(
    model: Any,
    repo_id: str,
    organization: str | None = None,
    token: bool | str | None = None,
    private: bool | None = None,
    safe_serialization: bool = True,
    commit_message: str | None = "Add new model.",
    local_model_path: str | None = None,
    exist_ok: bool = False,
    replace_model_card: bool = False,
    train_datasets: Sequence[Any] | None = None,
    **kwargs: Any,
) -> str:
    """As `push_to_hub`, under an organization; a `SettingError` if the name is under another."""
    is_name = isinstance(repo_id, str)
    if organization is not None and is_name and not repo_id.startswith(f"{organization}/"):
        if "/" in repo_id:
            raise SettingError(
                f"{repo_id!r} is not under organization={organization!r}; give one of the two"
            )
        repo_id = f"{organization}/{repo_id}"
    return push_to_hub(
        model,
        repo_id,
        token,
        private,
        safe_serialization,
        commit_message,
        local_model_path,
        exist_ok,
        replace_model_card,
        train_datasets,
        **kwargs,
    )


def write_card(model: Any, folder: str | Path, **names: Any) -> None:
    """Write the card alone into the folder of a model; `names` are arguments of `card.text`."""
    files_save.save_card(card.text(model, **names), folder)


def _save(model: Any, folder: str | Path, names: dict[str, Any] | None, safe: bool) -> None:
    """Write the model; `names` is what the card says besides what is known, None for no card."""
    files_save.save(
        dict(model.named_children()),
        model._file_settings(),
        folder,
        kind=model.kind,
        safe_serialization=safe,
        module_kwargs=model.module_kwargs,
        card=None if names is None else card.text(model, **names),
    )
