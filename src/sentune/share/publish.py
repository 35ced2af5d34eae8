"""A model with its card, written to a folder or to the Hub."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sentune.checks import accepts_old_names, with_arguments_of
from sentune.errors import SettingError
from sentune.files import save as files_save
from sentune.share import card, push


def _private_third(method: Callable[..., str]) -> Callable[..., str]:
    """A method whose third argument by position, if a bool, is the fourth: `private`, as once."""

    @wraps(method)
    def with_old_order(self: Any, *args: Any, **kwargs: Any) -> str:
        if len(args) > 2 and isinstance(args[2], bool):
            args = (*args[:2], None, *args[2:])
        return method(self, *args, **kwargs)

    return with_old_order


class Published:
    """The methods of a model that write it, with its card, to a folder or to the Hub."""

    def save(
        self,
        path: str | Path,
        model_name: str | None = None,
        create_model_card: bool = True,
        train_datasets: Sequence[Any] | None = None,
        safe_serialization: bool = True,
    ) -> None:
        """Save the model in a folder that `SentenceTransformer(path)` loads.

        Args:
            path: The folder; files of an earlier save in it are replaced.
            model_name: Name for the model card.
            create_model_card: Whether to write README.md.
            train_datasets: Ids of datasets, for the model card.
            safe_serialization: Whether weights go to safetensors; else to pytorch_model.bin.
        """
        names = {"model_name": model_name, "train_datasets": train_datasets}
        _save(self, path, names if create_model_card else None, safe_serialization)

    @with_arguments_of(save)
    def save_pretrained(self, *args: Any, **kwargs: Any) -> None:
        """As `save`."""
        self.save(*args, **kwargs)

    def push_to_hub(
        self,
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
        message = commit_message or f"Add a {type(self).__name__} model"
        if local_model_path is not None:
            folder = Path(local_model_path)
            return repository.send(folder, message, replace_card=replace_model_card)
        with TemporaryDirectory() as made, push.explained(repository.repo_id):
            names = {"model_id": repository.repo_id, "train_datasets": train_datasets}
            _save(self, made, names, safe_serialization)
            return repository.send(Path(made), message, replace_card=replace_model_card)

    @_private_third
    @accepts_old_names(repo_name="repo_id")
    def save_to_hub(
        self,
        repo_id: str,
        organization: str | None = None,
        token: bool | str | None = None,
        private: bool | None = None,
        safe_serialization: bool = True,
        commit_message: str = "Add new model.",
        local_model_path: str | None = None,
        exist_ok: bool = False,
        replace_model_card: bool = False,
        train_datasets: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> str:
        """As `push_to_hub`, under an organization; a `SettingError` if the name is under another.

        Args:
            repo_id: As of `push_to_hub`, and so are all others but one.
            organization: Whose model it is to be, for a `repo_id` that is a name alone.
            token: Access token.
            private: Whether a new repository is seen by its owner only.
            safe_serialization: Whether weights go to safetensors.
            commit_message: Of the commit.
            local_model_path: Upload this folder.
            exist_ok: Whether a model that is there may be replaced.
            replace_model_card: Whether a README.md that is there is replaced too.
            train_datasets: Ids of datasets.
            **kwargs: For `push_to_hub`.
        """
        is_name = isinstance(repo_id, str)
        if organization is not None and is_name and not repo_id.startswith(f"{organization}/"):
            if "/" in repo_id:
                raise SettingError(
                    f"{repo_id!r} is not under organization={organization!r}; give one of the two"
                )
            repo_id = f"{organization}/{repo_id}"
        return self.push_to_hub(
            repo_id,
            token=token,
            private=private,
            safe_serialization=safe_serialization,
            commit_message=commit_message,
            local_model_path=local_model_path,
            exist_ok=exist_ok,
            replace_model_card=replace_model_card,
            train_datasets=train_datasets,
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
