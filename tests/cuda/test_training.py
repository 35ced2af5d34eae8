"""Training on CUDA: losses fall, in every precision; checkpoints, resuming, random numbers."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch.utils.data import DataLoader

from sentune import InputExample, SentenceTransformer, losses
from sentune.engine.tree import engine_off
from sentune.training.arguments import SentenceTransformerTrainingArguments
from sentune.training.trainer import SentenceTransformerTrainer
from tests import uneven
from tests.cuda.tools import DEVICE, error, load
from tests.tiny import make_folder

ANCHORS = [text or "dog" for text in uneven.texts(64, seed=0, longest=150)]
POSITIVES = [" ".join(reversed(text.split())) for text in ANCHORS]
PAIRS = [{"anchor": a, "positive": b} for a, b in zip(ANCHORS, POSITIVES, strict=True)]
PRECISIONS = {
    "default": {},
    "bf16": {"bf16": True},
    "fp16": {"fp16": True},
    "float32": {"bf16": False},
}
if DEVICE == "cpu":
    del PRECISIONS["fp16"]
# A scheduler notes that the first step of a gradient scaler may be left out.
pytestmark = pytest.mark.filterwarnings("ignore:.*lr_scheduler.step", "ignore:.*pin_memory")


@pytest.fixture
def folder(tmp_path):
    return make_folder(tmp_path / "encoder", dropout=0.1, longest=256)


def trainer_of(model, folder, data=PAIRS, loss=losses.MultipleNegativesRankingLoss, **options):
    settings = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 16,
        "learning_rate": 5e-4,
        "max_steps": 24,
        "logging_steps": 4,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": DEVICE == "cpu",
        **options,
    }
    args = SentenceTransformerTrainingArguments(**settings)
    return SentenceTransformerTrainer(model, args, data, loss=loss(model))


def logged(trainer):
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize("name", PRECISIONS)
def test_the_loss_falls_and_the_model_loads(name, folder, tmp_path, monkeypatch):
    monkeypatch.delenv("SENTUNE_DTYPE")
    model = load(folder)
    trainer = trainer_of(model, tmp_path / "run", **PRECISIONS[name])
    if DEVICE == "cuda":
        is_new = torch.cuda.get_device_capability() >= (8, 0)
        assert trainer.args.bf16 == (name == "bf16" or (name == "default" and is_new))
        assert (trainer.accelerator.scaler is not None) == (name == "fp16")
    trainer.train()
    found = logged(trainer)
    assert found[-1] < 0.9 * found[0], found
    assert model.device.type == DEVICE and {p.dtype for p in model.parameters()} == {torch.float32}
    model.save_pretrained(str(tmp_path / "saved"))
    again = SentenceTransformer(str(tmp_path / "saved"), device=DEVICE)
    assert error(again.encode(ANCHORS), model.encode(ANCHORS)) < 1e-6
    back = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    assert error(back.encode(ANCHORS), model.encode(ANCHORS)) < 2e-2


@pytest.mark.parametrize("name", ["float32", "bf16"])
def test_steps_are_those_of_the_padded_run(name, tmp_path):
    folder = make_folder(tmp_path / "still", longest=256)
    found = []
    for is_padded in (False, True):
        model = load(folder)
        # Without Adam's division, which would make whole steps of gradients that are nearly 0.
        trainer = trainer_of(
            model, tmp_path / "run", max_steps=6, adam_epsilon=1e-2, **PRECISIONS[name]
        )
        if is_padded:
            with engine_off():
                trainer.train()
        else:
            trainer.train()
        found.append([x.detach().clone() for x in model.parameters()])
    start = list(load(folder).parameters())
    moved = sum(float((a - b).detach().norm()) for a, b in zip(found[1], start))
    apart = sum(float((a - b).norm()) for a, b in zip(*found))
    assert apart < (1e-3 if name == "float32" else 5e-2) * moved, (apart, moved)


def test_going_on_from_a_checkpoint_is_going_on(folder, tmp_path):
    """With dropout, so that the random numbers of the device come back too."""
    options = {"max_steps": 8, "save_strategy": "steps", "save_steps": 4, "bf16": False}
    whole = load(folder)
    trainer_of(whole, tmp_path / "run", **options).train()
    resumed = load(folder)
    trainer = trainer_of(resumed, tmp_path / "run", **options)
    trainer.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-4"))
    assert trainer.state.global_step == 8
    assert error(resumed.encode(ANCHORS), whole.encode(ANCHORS)) < 1e-4


@pytest.mark.parametrize("use_amp", [None, True, False])
def test_fit(use_amp, folder):
    model = load(folder)
    before = model.encode(ANCHORS)
    rows = [InputExample(texts=[a, b]) for a, b in zip(ANCHORS, POSITIVES)]
    loader = DataLoader(rows, shuffle=True, batch_size=16)
    loss = losses.MultipleNegativesRankingLoss(model)
    options = {} if use_amp is None else {"use_amp": use_amp}
    model.fit([(loader, loss)], epochs=2, warmup_steps=0, show_progress_bar=False, **options)
    assert error(model.encode(ANCHORS), before) > 1e-3 and model.device.type == DEVICE


@pytest.mark.parametrize(
    "options",
    [
        {"gradient_checkpointing": True},
        {"gradient_accumulation_steps": 2},
        {"optim": "adamw_torch"},
        {"dataloader_num_workers": 2},
        {"bf16": True, "torch_compile": False, "max_grad_norm": 0.1},
    ],
    ids=lambda options: next(iter(options)),
)
def test_settings(options, folder, tmp_path):
    trainer = trainer_of(load(folder), tmp_path / "run", **options)
    trainer.train()
    found = logged(trainer)
    assert found[-1] < found[0]


def test_cached_loss_with_evaluation(folder, tmp_path):
    from sentune.evaluation import EmbeddingSimilarityEvaluator

    model = load(folder)
    scores = [n % 5 / 4 for n in range(64)]
    evaluator = EmbeddingSimilarityEvaluator(ANCHORS, POSITIVES, scores)

    def cached(one):
        return losses.CachedMultipleNegativesRankingLoss(one, mini_batch_size=8)

    trainer = trainer_of(model, tmp_path / "run", loss=cached, bf16=True)
    trainer.evaluators = [evaluator]
    trainer.train()
    assert logged(trainer)[-1] < logged(trainer)[0]
    assert any("pearson" in name for name in trainer.evaluate(eval_dataset=PAIRS))


@pytest.mark.skipif(DEVICE == "cpu", reason="nothing to wait for")
def test_a_step_waits_for_the_device_no_more_than_the_padded_one(folder, tmp_path):
    """Each wait costs the work that could have been prepared meanwhile."""
    counts = []
    for is_padded in (False, True):
        model = load(folder).train()
        loss = losses.MultipleNegativesRankingLoss(model)
        read = [model.read(column) for column in (ANCHORS, POSITIVES)]
        columns = [{k: v.to(DEVICE) if k == "input_ids" else v for k, v in x.items()} for x in read]
        for column in columns:
            if "token_type_ids" in column:
                column["token_type_ids"] = column["token_type_ids"].to(DEVICE)
        loss([dict(x) for x in columns]).backward()
        torch.cuda.synchronize()
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            with engine_off(is_padded):
                loss([dict(x) for x in columns]).backward()
            torch.cuda.set_sync_debug_mode("default")
        found = [one for one in seen if "called a synchronizing" in str(one.message)]
        counts.append([f"{one.filename}:{one.lineno}" for one in found])
    assert len(counts[0]) <= min(2, len(counts[1])), counts
