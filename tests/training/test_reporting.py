"""`report_to`: what a run writes for TensorBoard."""

import pytest

from tests.training.tools import LossOfParts, pairs, trainer

pytest.importorskip("tensorboard")
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


class Norm:
    """An evaluator with one figure that nothing else gives."""

    primary_metric = "norm"

    def __call__(self, model, output_path=None, epoch=-1, steps=-1):
        return {"norm": float(abs(model.encode(["a dog"])).sum())}


def test_tensorboard_gets_losses_parts_and_metrics(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "events"))
    run = trainer(
        tiny_model,
        tmp_path / "run",
        loss=LossOfParts(tiny_model),
        eval_dataset=pairs(),
        evaluator=Norm(),
        eval_strategy="steps",
        eval_steps=1,
        report_to="tensorboard",
    )
    run.train()
    assert list((tmp_path / "events").glob("events.out.tfevents.*"))
    events = EventAccumulator(str(tmp_path / "events")).Reload()
    written = {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}
    logged = run.state.log_history
    names = {
        "train/loss": "loss",
        "train/ranking": "ranking",
        "train/size": "size",
        "eval/loss": "eval_loss",
        "eval/ranking": "eval_ranking",
        "eval/size": "eval_size",
        "eval/norm": "eval_norm",
    }
    for tag, name in names.items():
        expected = [(entry["step"], entry[name]) for entry in logged if name in entry]
        assert len(expected) == 3, name
        assert [event.step for event in written[tag]] == [step for step, _ in expected]
        values = [event.value for event in written[tag]]
        assert values == pytest.approx([value for _, value in expected], rel=1e-6)
    whole, *each = (
        [event.value for event in written[f"train/{name}"]] for name in ("loss", "ranking", "size")
    )
    assert whole == pytest.approx([sum(values) for values in zip(*each, strict=True)], abs=1e-4)
