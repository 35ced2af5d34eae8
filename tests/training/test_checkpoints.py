"""Checkpoints: whole or not at all, with the loss's weights, and an exact way to go on."""

import json
import os
import random
import resource
import signal
import threading
from concurrent.futures import Future
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import TrainerCallback
from transformers.trainer_utils import get_last_checkpoint

from sentune.data.example import InputExample
from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.errors import TrainingError
from sentune.losses import (
    ContrastiveTensionDataLoader,
    ContrastiveTensionLoss,
    CosineSimilarityLoss,
    MultipleNegativesRankingLoss,
)
from sentune.training.checkpoints import rotate, written_whole
from sentune.training.fit import fit
from sentune.training.training_step import LOSS_FILE
from tests import tiny
from tests.training.tools import (
    PAIRS,
    SCORED,
    LossWithHead,
    assert_equal_weights,
    pairs,
    scored,
    trainer,
    weights,
)


@pytest.fixture(scope="module")
def dropout_folder(tmp_path_factory):
    """A tiny encoder with dropout, so that the random numbers matter."""
    return tiny.make_folder(tmp_path_factory.mktemp("dropout") / "bert", dropout=0.1)


@pytest.fixture
def new_model(dropout_folder):
    """Function that makes the same fresh model every time."""
    return lambda: SentenceTransformer(str(dropout_folder), device="cpu")


def run_of(model, folder, **options):
    """A run over 8 steps in 4 epochs with a loss that has weights of its own."""
    torch.manual_seed(5)  # for the head of the loss
    settings = {
        "num_train_epochs": 4,
        "per_device_train_batch_size": 5,
        "save_strategy": "steps",
        "save_steps": 1,
        "weight_decay": 0.01,
        "warmup_steps": 3,
    }
    loss = options.pop("loss", LossWithHead)(model)
    return trainer(model, folder, scored(), loss, **{**settings, **options})


def all_weights(run):
    return {**weights(run.model), **{n: t.clone() for n, t in run.step.own_weights().items()}}


@pytest.fixture
def unbroken(new_model, tmp_path):
    run = run_of(new_model(), tmp_path / "unbroken")
    run.train()
    return all_weights(run)


# What is in it ----------------------------------------------------------------------------------


def test_a_checkpoint_is_a_model_and_what_is_needed_to_go_on(new_model, tmp_path):
    run = run_of(new_model(), tmp_path, max_steps=1)
    run.train()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-1", "run.json"]
    folder = tmp_path / "checkpoint-1"
    names = {path.name for path in folder.iterdir()}
    assert names >= {"modules.json", "optimizer.pt", "scheduler.pt", "rng_state.pth", LOSS_FILE}
    saved = weights(SentenceTransformer(str(folder), device="cpu"))
    assert_equal_weights(saved, weights(run.model))


def test_settings_are_kept_as_text_and_not_as_a_pickle(new_model, tmp_path):
    run = run_of(new_model(), tmp_path, max_steps=1)
    run.train()
    folder = tmp_path / "checkpoint-1"
    assert not (folder / "training_args.bin").exists()
    assert json.loads((folder / "training_args.json").read_text())["warmup_steps"] == 3


def test_a_loss_without_weights_has_no_file(new_model, tmp_path):
    run = run_of(new_model(), tmp_path, max_steps=1, loss=CosineSimilarityLoss)
    run.train()
    assert not (tmp_path / "checkpoint-1" / LOSS_FILE).exists()


def test_only_so_many_are_kept(new_model, tmp_path):
    run_of(new_model(), tmp_path, save_total_limit=2).train()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["checkpoint-7", "checkpoint-8", "run.json"]


# Going on ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", range(1, 8))
def test_a_resumed_run_ends_with_the_same_weights_bit_by_bit(new_model, tmp_path, unbroken, step):
    """Stopped in the middle or at the end of an epoch, and gone on with in a new trainer."""
    run_of(new_model(), tmp_path, callbacks=[StopAfter(step)]).train()
    torch.manual_seed(99)  # what a new process has in its place
    run = run_of(new_model(), tmp_path)
    run.train(resume_from_checkpoint=True)
    assert run.state.global_step == 8
    assert_equal_weights(all_weights(run), unbroken)


def test_a_resumed_run_with_accumulated_gradients_is_the_same(new_model, tmp_path):
    options = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    whole = run_of(new_model(), tmp_path / "whole", **options)
    whole.train()
    run_of(new_model(), tmp_path, callbacks=[StopAfter(4)], **options).train()
    resumed = run_of(new_model(), tmp_path, **options)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == whole.state.global_step == 12
    assert_equal_weights(all_weights(resumed), all_weights(whole))


@pytest.mark.parametrize("sampler", ["no_duplicates", "batch_sampler"])
def test_a_resumed_run_over_several_datasets_is_the_same(new_model, tmp_path, sampler):
    def run_over(folder, **options):
        model = new_model()
        losses = {
            "pairs": MultipleNegativesRankingLoss(model),
            "scored": CosineSimilarityLoss(model),
        }
        data = {"pairs": pairs(), "scored": scored()}
        settings = {"num_train_epochs": 2, "save_strategy": "steps", "save_steps": 1}
        settings["batch_sampler"] = sampler
        return trainer(model, folder, data, losses, **{**settings, **options})

    whole = run_over(tmp_path / "whole")
    whole.train()
    run_over(tmp_path, callbacks=[StopAfter(8)]).train()
    resumed = run_over(tmp_path)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == whole.state.global_step == 12
    assert_equal_weights(weights(resumed.model), weights(whole.model))


@pytest.mark.parametrize("step", [2, 3, 4, 5, 7])
@pytest.mark.parametrize("accumulated", [1, 2])
def test_a_resumed_run_over_a_stream_is_the_same(new_model, tmp_path, step, accumulated):
    """Stopped in the first pass over the stream, at its end, and in later ones."""
    per_step = {"per_device_train_batch_size": 4 // accumulated}

    def run_over(folder, **options):
        stream = Dataset.from_dict({name: cells * 2 for name, cells in PAIRS.items()})
        stream = stream.to_iterable_dataset(num_shards=2).shuffle(seed=3, buffer_size=5)
        loss = MultipleNegativesRankingLoss
        settings = {"save_strategy": "steps", "save_steps": 1, "max_steps": 12, **per_step}
        settings["gradient_accumulation_steps"] = accumulated
        return trainer(new_model(), folder, stream, loss, **{**settings, **options})

    whole = run_over(tmp_path / "whole")
    whole.train()
    run_over(tmp_path, callbacks=[StopAfter(step)]).train()
    torch.manual_seed(99)
    resumed = run_over(tmp_path)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == whole.state.global_step == 12
    assert_equal_weights(weights(resumed.model), weights(whole.model))


def test_a_longer_run_over_a_stream_goes_on_at_the_same_batch(new_model, tmp_path):
    stream = Dataset.from_dict(PAIRS).to_iterable_dataset()
    options = {"save_strategy": "steps", "save_steps": 1, "per_device_train_batch_size": 4}
    loss = MultipleNegativesRankingLoss
    trainer(new_model(), tmp_path, stream, loss, max_steps=4, **options).train()
    run = trainer(new_model(), tmp_path, stream, loss, max_steps=20, **options)
    state = (20, 20, 9, str(tmp_path / "checkpoint-4"), None)
    assert run._init_training_state(*state) == (1, 1)  # three batches in a pass, and one
    run.args.ignore_data_skip = True
    assert run._init_training_state(*state) == (1, 0)


@pytest.mark.parametrize("step", [1, 3, 4, 7])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_run_over_rows_drawn_at_random_is_the_same(new_model, tmp_path, step, workers):
    """Words are left out when a row is read, ahead of the step that is saved."""

    def thinned(rows):
        seen.append([random.random() for _ in rows["anchor"]])
        keep = lambda text: " ".join(w for w in text.split() if random.random() > 0.4) or text
        return {name: [keep(text) for text in texts] for name, texts in rows.items()}

    def run_over(folder, **options):
        settings = {"save_strategy": "steps", "save_steps": 1, "max_steps": 8, **options}
        settings["dataloader_num_workers"] = workers
        return trainer(new_model(), folder, pairs().with_transform(thinned), **settings)

    seen = []
    whole = run_over(tmp_path / "whole")
    whole.train()
    assert workers or len({tuple(batch) for batch in seen}) > 8, "each epoch is drawn anew"
    run_over(tmp_path, callbacks=[StopAfter(step)]).train()
    random.seed(99)
    resumed = run_over(tmp_path)
    resumed.train(resume_from_checkpoint=True)
    assert_equal_weights(weights(resumed.model), weights(whole.model))


def test_fit_goes_on_where_a_loader_without_numbers_was(new_model, tmp_path):
    def fitted(folder, callback=None, **options):
        torch.manual_seed(5)
        random.seed(3)
        model = new_model()
        loss = ContrastiveTensionLoss(model)
        fit(
            model,
            [(ContrastiveTensionDataLoader(PAIRS["anchor"] * 2, 4, 2), loss)],
            epochs=3,
            warmup_steps=2,
            evaluator=lambda *_, **__: 0.5,
            evaluation_steps=1,
            callback=callback,
            checkpoint_path=str(folder),
            checkpoint_save_steps=1,
            show_progress_bar=False,
            **options,
        )
        return weights(loss)

    whole = fitted(tmp_path / "whole")
    for step in (2, 3, 4, 8):  # of three batches in a pass
        folder = tmp_path / str(step)
        with pytest.raises(Stop):
            fitted(folder, callback=stop_at(step))
        assert_equal_weights(fitted(folder, resume_from_checkpoint=True), whole)


@pytest.mark.parametrize("steps", [None, 4])
def test_fit_goes_on_where_it_was(new_model, tmp_path, steps):
    rows = zip(*SCORED.values(), strict=True)
    examples = [InputExample(texts=[a, b], label=score) for a, b, score in rows]

    def fitted(folder, callback=None, **options):
        torch.manual_seed(5)
        model = new_model()
        loss = LossWithHead(model)
        loader = DataLoader(examples, batch_size=4, shuffle=True)
        fit(
            model,
            [(loader, loss)],
            epochs=2,
            steps_per_epoch=steps,
            warmup_steps=2,
            optimizer_params={"lr": 1e-3},
            evaluator=lambda *_, **__: 0.5,
            evaluation_steps=1,
            callback=callback,
            checkpoint_path=str(folder),
            checkpoint_save_steps=2,
            show_progress_bar=False,
            **options,
        )
        return {**weights(model), **weights(loss.head)}

    whole = fitted(tmp_path / "whole")
    with pytest.raises(Stop):
        fitted(tmp_path / "broken", callback=stop_at(5))
    assert get_last_checkpoint(tmp_path / "broken").endswith("checkpoint-4")
    assert_equal_weights(fitted(tmp_path / "broken", resume_from_checkpoint=True), whole)


def test_fit_begins_at_the_start_where_there_is_no_checkpoint_yet(new_model, tmp_path, caplog):
    model = new_model()
    loader = DataLoader([InputExample(texts=["a", "b"]), InputExample(texts=["c", "d"])], 2)
    fit(
        model,
        [(loader, MultipleNegativesRankingLoss(model))],
        checkpoint_path=str(tmp_path / "new"),
        resume_from_checkpoint=True,
        show_progress_bar=False,
    )
    assert "there is no checkpoint in" in caplog.text
    assert get_last_checkpoint(tmp_path / "new").endswith("checkpoint-1")


def test_the_weights_of_the_loss_must_be_those_of_this_loss(new_model, tmp_path):
    run_of(new_model(), tmp_path, max_steps=1).train()
    run = run_of(new_model(), tmp_path, loss=CosineSimilarityLoss)
    with pytest.raises(
        TrainingError, match=r"\['loss.head.bias', .*the losses of this run have non"
    ):
        run.train(resume_from_checkpoint=True)


def test_a_missing_file_of_the_losss_weights_is_named(new_model, tmp_path):
    run_of(new_model(), tmp_path, max_steps=1).train()
    (tmp_path / "checkpoint-1" / LOSS_FILE).unlink()
    with pytest.raises(TrainingError, match=f"{LOSS_FILE} holds no weights"):
        run_of(new_model(), tmp_path).train(resume_from_checkpoint=True)


def test_a_torn_file_of_weights_is_named(new_model, tmp_path):
    run_of(new_model(), tmp_path, max_steps=1).train()
    path = tmp_path / "checkpoint-1" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(TrainingError, match="is no checkpoint of this model: .*model.safetensors"):
        run_of(new_model(), tmp_path).train(resume_from_checkpoint=True)


def test_a_checkpoint_of_another_model_is_refused(new_model, tmp_path, tiny_folders):
    run_of(new_model(), tmp_path, max_steps=1).train()
    other = SentenceTransformer(str(tiny_folders("distilbert")), device="cpu")
    with pytest.raises(TrainingError, match="is no checkpoint of this model"):
        run_of(other, tmp_path).train(resume_from_checkpoint=True)


def test_a_checkpoint_that_is_not_there_is_named(new_model, tmp_path):
    with pytest.raises(TrainingError, match="there is no checkpoint .*nowhere"):
        run_of(new_model(), tmp_path).train(str(tmp_path / "nowhere"))


# The best ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("best", [1, 2, 4])
def test_the_best_model_comes_back_at_the_end_with_its_loss(new_model, tmp_path, best):
    kept = {}
    run = None

    def score(model, output_path=None, epoch=-1, steps=-1):
        kept[steps // 2] = all_weights(run)
        return {"score": 1.0 if steps // 2 == best else 0.1}

    run = run_of(
        new_model(),
        tmp_path,
        evaluator=score,
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model="score",
        save_total_limit=1,
    )
    parameters = [id(parameter) for parameter in run.model.parameters()]
    run.train()
    assert_equal_weights(all_weights(run), kept[best])
    assert [id(parameter) for parameter in run.model.parameters()] == parameters
    place = tmp_path / f"checkpoint-{best * 2}"
    assert run.state.best_model_checkpoint == str(place)
    state = json.loads((place / "trainer_state.json").read_text())
    assert state["best_model_checkpoint"] == str(place)


def test_only_the_best_is_saved_on_request(new_model, tmp_path):
    scores = iter([0.1, 0.9, 0.5, 0.2])
    run_of(
        new_model(),
        tmp_path,
        evaluator=lambda *_, **__: {"score": next(scores)},
        eval_strategy="epoch",
        save_strategy="best",
        load_best_model_at_end=True,
        metric_for_best_model="score",
    ).train()
    names = sorted(path.name for path in tmp_path.glob("checkpoint-*"))
    assert names == ["checkpoint-2", "checkpoint-4"]


def test_a_kill_while_old_checkpoints_are_removed_leaves_no_half_of_one(tmp_path, monkeypatch):
    for step in (1, 2, 3):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "model").write_text("whole")
    gone = []
    monkeypatch.setattr("sentune.training.checkpoints.discard", gone.append)  # killed before it
    rotate(tmp_path, 1, best=None)
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-3"]
    assert {path.name for path in gone} == {".checkpoint-1.old", ".checkpoint-2.old"}
    monkeypatch.undo()
    with written_whole(tmp_path / "checkpoint-4") as staged:  # removes what is left
        staged.mkdir(parents=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-3", "checkpoint-4"]


@pytest.mark.parametrize(
    ("limit", "best", "left"),
    [
        (None, None, "1234"),
        (0, None, "1234"),
        (1, 2, "24"),
        (2, 1, "14"),
        (3, 1, "134"),
        (9, 1, "1234"),
    ],
)
def test_the_newest_and_the_best_are_kept(tmp_path, limit, best, left):
    for step in range(1, 5):
        (tmp_path / f"checkpoint-{step}").mkdir()
    rotate(tmp_path, limit, None if best is None else str(tmp_path / f"checkpoint-{best}"))
    assert "".join(sorted(path.name[-1] for path in tmp_path.iterdir())) == left


# Whole or not at all ----------------------------------------------------------------------------


def test_a_folder_appears_when_it_is_finished(tmp_path):
    place = tmp_path / "checkpoint-3"
    with written_whole(place) as staged:
        staged.mkdir(parents=True)
        (staged / "a").write_text("1")
        assert not place.exists()
        assert get_last_checkpoint(tmp_path) is None
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-3"]
    assert (place / "a").read_text() == "1"


def test_a_folder_that_was_there_is_replaced_whole(tmp_path):
    place = tmp_path / "checkpoint-3"
    place.mkdir()
    (place / "old").write_text("1")
    with written_whole(place) as staged:
        staged.mkdir(parents=True)
        (staged / "new").write_text("2")
    assert [path.name for path in place.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-3"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("zip")])
def test_what_failed_leaves_nothing_behind(tmp_path, error):
    (tmp_path / "checkpoint-1").mkdir()
    place = tmp_path / "checkpoint-3"
    place.mkdir()
    (place / "old").write_text("1")
    with (
        pytest.raises(TrainingError, match=r"could not be written: .*whole one is .*checkpoint-1"),
        written_whole(place) as staged,
    ):
        staged.mkdir(parents=True)
        (staged / "new").write_text("2")
        raise error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-1", "checkpoint-3"]
    assert (place / "old").exists()


@pytest.mark.parametrize("room", [2_000, 120_000])
def test_a_disk_that_is_full_is_told_and_the_last_checkpoint_is_whole(
    new_model, tmp_path, room, unbroken
):
    """Writing really fails: no file may grow beyond a limit. Smaller: the model; larger: Adam's."""
    run_of(new_model(), tmp_path, callbacks=[StopAfter(3)]).train()
    run = run_of(new_model(), tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        with pytest.raises(TrainingError, match="checkpoint-4 could not be written") as caught:
            run.train(resume_from_checkpoint=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert f"The last whole one is {tmp_path / 'checkpoint-3'}" in str(caught.value)
    names = sorted(path.name for path in tmp_path.iterdir() if path.name != "unbroken")
    assert names == ["checkpoint-1", "checkpoint-2", "checkpoint-3", "run.json"]
    resumed = run_of(new_model(), tmp_path)
    resumed.train(resume_from_checkpoint=True)
    assert_equal_weights(all_weights(resumed), unbroken)


# Ctrl-C -----------------------------------------------------------------------------------------


class StopAfter(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop = state.global_step == self.step


class Stop(Exception):
    """Ends a run from inside."""


def stop_at(step):
    def callback(score, epoch, steps):
        if steps == step:
            raise Stop

    return callback


class PressCtrlC(TrainerCallback):
    def __init__(self, step, times=1):
        self.step, self.times = step, times

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == self.step - 1:
            for _ in range(self.times):
                os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_saves_and_says_how_to_go_on(new_model, tmp_path, unbroken, caplog):
    handler = signal.getsignal(signal.SIGINT)
    run = run_of(new_model(), tmp_path, save_strategy="no", callbacks=[PressCtrlC(3)])
    with pytest.raises(KeyboardInterrupt) as caught:
        run.train()
    assert signal.getsignal(signal.SIGINT) is handler
    place = tmp_path / "checkpoint-3"
    assert str(caught.value) == (
        f"stopped by Ctrl-C and saved; go on with trainer.train({str(place)!r})"
    )
    assert "saving after this step" in caplog.text
    resumed = run_of(new_model(), tmp_path)
    resumed.train(str(place))
    assert_equal_weights(all_weights(resumed), unbroken)


def test_a_second_ctrl_c_stops_at_once(new_model, tmp_path):
    run = run_of(new_model(), tmp_path, save_strategy="no", callbacks=[PressCtrlC(3, times=2)])
    with pytest.raises(KeyboardInterrupt):
        run.train()
    assert run.state.global_step == 2
    assert not list(tmp_path.glob("checkpoint-*"))


def test_ctrl_c_when_the_last_step_is_over_saves_too(new_model, tmp_path):
    class PressAtTheEnd(TrainerCallback):
        def on_train_end(self, args, state, control, **kwargs):
            os.kill(os.getpid(), signal.SIGINT)

    run = run_of(new_model(), tmp_path, save_strategy="no", callbacks=[PressAtTheEnd()])
    with pytest.raises(KeyboardInterrupt, match="stopped by Ctrl-C and saved; .*checkpoint-8"):
        run.train()
    assert_equal_weights(
        weights(SentenceTransformer(str(tmp_path / "checkpoint-8"), device="cpu")),
        weights(run.model),
    )


def test_workers_leave_ctrl_c_to_the_trainer(new_model, tmp_path):
    """A terminal sends it to them as well; they would tell of it a second time."""

    def note(rows):
        (tmp_path / "seen").write_text(str(signal.getsignal(signal.SIGINT)))
        return rows

    data = pairs().with_transform(note)
    trainer(new_model(), tmp_path, data, max_steps=1, dataloader_num_workers=1).train()
    assert (tmp_path / "seen").read_text() == str(signal.SIG_IGN)


def test_training_in_another_thread_works(new_model, tmp_path):
    run = run_of(new_model(), tmp_path, max_steps=1)
    thread = threading.Thread(target=run.train)
    thread.start()
    thread.join()
    assert run.state.global_step == 1


def test_without_a_checkpoint_path_ctrl_c_stops_fit_at_once(new_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = new_model()
    loader = DataLoader([InputExample(texts=["a", "b"]), InputExample(texts=["c", "d"])], 2)
    with pytest.raises(KeyboardInterrupt):
        fit(
            model,
            [(loader, MultipleNegativesRankingLoss(model))],
            evaluator=lambda *_, **__: 0.5,
            callback=lambda *_: os.kill(os.getpid(), signal.SIGINT),
            show_progress_bar=False,
        )
    assert list(Path().iterdir()) == []


# The Hub ----------------------------------------------------------------------------------------


def test_what_goes_to_the_hub_is_a_whole_model_without_the_state_of_training(
    new_model, tmp_path, monkeypatch
):
    sent = []

    class Api:
        def upload_folder(self, **options):
            folder = Path(options["folder_path"])
            names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
            sent.append([name for name in names if not name.startswith("checkpoint-")])
            done = Future()
            done.set_result(None)
            return done

    monkeypatch.setattr("sentune.training.trainer_saving.HfApi", Api)
    run = run_of(new_model(), tmp_path, max_steps=1)
    run.args.push_to_hub, run.push_in_progress = True, None  # as after asking the Hub
    run.train()
    assert {"modules.json", "1_Pooling/config.json", "model.safetensors"} <= set(sent[0])
    assert not {"optimizer.pt", "trainer_state.json", LOSS_FILE} & set(sent[0])
