"""What a trainer writes: checkpoints, the model, its card, and what it sends to the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from torch import nn
from transformers.trainer import TRAINER_STATE_NAME, TRAINING_ARGS_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, HubStrategy, SaveStrategy
from transformers.utils.hub import PushInProgress

from sentune.disk import files
from sentune.errors import SettingError
from sentune.share.publish import write_card
from sentune.training.checkpoints import copy_model, load_weights, rotate, written_whole
from sentune.training.nan_guard import LossWatch
from sentune.training.run_recorder import SentenceTransformerModelCardCallback, as_names
from sentune.training.trainer_evaluating import EvaluatingTrainer

_NOT_PUSHED = ["_*", f"{PREFIX_CHECKPOINT_DIR}-*", TRAINING_ARGS_NAME]


class SavingTrainer(EvaluatingTrainer):
    """The part of the trainer that saves, loads and pushes."""

    _staging: Path | None = None  # where a checkpoint is being written
    push_in_progress: Any
    _watch: LossWatch
    _recorder: SentenceTransformerModelCardCallback

    @property
    def _checkpoint_name(self) -> str:
        return f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"

    def _get_output_dir(self, trial: Any) -> str:
        return super()._get_output_dir(trial) if self._staging is None else str(self._staging)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        self._watch.check()  # a model whose loss is NaN is not worth keeping
        runs = self._get_output_dir(trial)
        place = Path(runs) / self._checkpoint_name
        is_writer, wait = self.args.should_save, self.accelerator.wait_for_everyone
        with written_whole(place, is_writer=is_writer, wait=wait) as staged:
            self._staging = staged.parent
            try:
                super()._save_checkpoint(model, trial)
            finally:
                self._staging = None
            if self.state.best_model_checkpoint == str(staged):
                self.state.best_model_checkpoint = str(place)
            if is_writer:
                self.step.save_own_weights(staged)
                self.state.save_to_json(str(staged / TRAINER_STATE_NAME))
        if self.args.push_to_hub:
            self._push_from_checkpoint(str(place))
        if is_writer:
            rotate(Path(runs), self.args.save_total_limit, self.state.best_model_checkpoint)

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Begin to upload what a checkpoint holds, unless the last upload still goes on."""
        # transformers copies the files of an encoder only, and writes its arguments as a pickle,
        # which may run code when it is read.
        strategy = self.args.hub_strategy
        if self._staging is not None or strategy == HubStrategy.END:  # it is not in its place yet
            return
        is_busy = self.push_in_progress is not None and not self.push_in_progress.is_done()
        if not self.is_world_process_zero() or (is_busy and not self.args.hub_always_push):
            return
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        folder = Path(str(self.args.output_dir))
        copy_model(Path(checkpoint_folder), folder)
        if self.processing_class is not None:
            self.processing_class.save_pretrained(str(folder))
        is_by_step = self.args.save_strategy == SaveStrategy.STEPS
        place = f"step {self.state.global_step}" if is_by_step else f"epoch {int(self.state.epoch)}"
        message = f"Training in progress, {place}"
        uploads: Any = [self._upload(folder, message, ignore_patterns=_NOT_PUSHED)]
        if strategy in (HubStrategy.CHECKPOINT, HubStrategy.ALL_CHECKPOINTS):
            is_last = strategy == HubStrategy.CHECKPOINT
            name = "last-checkpoint" if is_last else Path(checkpoint_folder).name
            message += ", checkpoint"
            uploads.append(self._upload(Path(checkpoint_folder), message, path_in_repo=name))
        if is_busy:
            uploads += self.push_in_progress.jobs
        self.push_in_progress = PushInProgress(uploads)

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Save the model into `args.output_dir`, and upload what is there without checkpoints.

        Args:
            commit_message: Of the commit.
            blocking: Whether to wait for the end of the upload.
            token: In place of the one in the arguments.
            revision: Branch; by default the arguments' `hub_revision`.
            private: Whether a new repository is private.
            **kwargs: For `create_model_card`.

        Returns:
            The commit; or a `Future` of it, if not waited for. None on other processes.
        """
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        token = self.args.hub_token if token is None else token
        if self.hub_model_id is None:
            self.init_hf_repo(token=token, **({} if private is None else {"private": private}))
        self.save_model(_internal_call=True)
        if not self.is_world_process_zero():
            return None
        named = self.args.hub_model_id or Path(str(self.args.output_dir)).name
        kwargs.setdefault("model_name", named.split("/")[-1])
        self.create_model_card(**kwargs)
        self._finish_current_push()
        return self._upload(
            Path(str(self.args.output_dir)),
            commit_message,
            token=token,
            revision=self.args.hub_revision if revision is None else revision,
            run_as_future=not blocking,
            ignore_patterns=_NOT_PUSHED,
        )

    def _upload(self, folder: Path, message: str | None, **options: Any) -> Any:
        defaults = {
            "token": self.args.hub_token,
            "revision": self.args.hub_revision,
            "run_as_future": True,
        }
        return HfApi().upload_folder(
            repo_id=str(self.hub_model_id),
            folder_path=folder,
            commit_message=message,
            **{**defaults, **options},
        )

    def create_model_card(
        self,
        language: str | None = None,
        license: str | None = None,
        tags: str | list[str] | None = None,
        model_name: str | None = None,
        finetuned_from: str | None = None,
        tasks: str | list[str] | None = None,
        dataset_tags: str | list[str] | None = None,
        dataset: str | list[str] | None = None,
        dataset_args: str | list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write the model's card into `args.output_dir`; what is given is noted in the card's data.

        Args:
            language: Code of a language, as "en".
            license: As the Hub names it.
            tags: Tags to add.
            model_name: How the card calls the model.
            finetuned_from: Hub id of the model it was made from.
            tasks: Not used; the task of such models is always the same.
            dataset_tags: Ids of datasets on the Hub.
            dataset: The same.
            dataset_args: Not used.
            **kwargs: Other fields of the card's data, as `task_name`.

        Raises:
            SettingError: If the card's data has no such field.
        """
        if not self.is_world_process_zero():
            return
        data = self.model.model_card_data
        unknown = sorted(name for name in kwargs if not hasattr(data, name))
        if unknown:
            raise SettingError(
                f"the card has no {unknown}; create_model_card takes its own arguments and the "
                f"fields of {type(data).__name__}"
            )
        for name, value in kwargs.items():
            setattr(data, name, value)
        data.language, data.license = language or data.language, license or data.license
        data.base_model = finetuned_from or data.base_model
        data.tags = [*(data.tags or ()), *as_names(tags)]
        datasets = [*as_names(dataset), *as_names(dataset_tags)]
        names = {"model_name": model_name, "model_id": getattr(self, "hub_model_id", None)}
        write_card(self.model, str(self.args.output_dir), train_datasets=datasets, **names)

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        if not self.args.should_save:
            return
        folder = Path(output_dir or str(self.args.output_dir)).expanduser()
        self.model.save_pretrained(str(folder))
        self._recorder.write(folder)
        # As text: what transformers writes here is a pickle, which may run code when it is read.
        files.write(folder / "training_args.json", self.args.to_json_string().encode())

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_weights(self.model, Path(resume_from_checkpoint))
        self.step.load_own_weights(Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        self._load_from_checkpoint(str(self.state.best_model_checkpoint))
