"""The record of a run: what is in it, what is not, and that JSON gives it back."""

import json
import os
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentune import losses
from sentune.data.statistics import Column, Spread
from sentune.errors import InputError
from sentune.record.model import ModelRecord
from sentune.record.run import FILE, DatasetFacts, LossFacts, Result, Run


def strict(text):
    """As a reader that knows JSON alone reads it."""

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def full():
    inner = LossFacts("Inner", {"scale": 20.0, "dims": [8, 4]}, citation="@misc{a}")
    columns = (
        Column("text", "text", Spread(3, 9.0, 1, 5), Spread(3, 6.0, 1, 3), {}),
        Column("label", "number", Spread(2, 1.0, 0, 1), counts={True: 1, 0: 1}),
        Column("score", "number", Spread(2, 0.75, 0.25, 0.5), counts=None),
    )
    rows = (["a", True, 0.25], ["b", False, float("inf")])
    data = DatasetFacts("d", "o/d", "abc", 3, 3, columns, rows, LossFacts("Outer", {}, inner))
    return Run(
        train=[data, DatasetFacts("")],
        eval=[DatasetFacts("e")],
        settings={"epochs": 3, "nested": {"betas": [0.9, None]}, "deep": float("-inf")},
        changed=["epochs"],
        log=[{"loss": 0.5, "step": 1, "epoch": 0.1}, {"loss": float("inf"), "step": 2}],
        results=[Result("Kind", "dev", {"map": 0.5}, "map", {"k": [1]}, 1.0, 2)],
        steps=2,
        saved_step=1,
        seconds=1.5,
        tokens=10,
        hardware={"processor": "CPU", "cores": 2, "accelerators": {"GPU": 1}},
        emissions={"emissions": 1.0, "on_cloud": False},
        versions={"Python": "3"},
    )


def test_json_gives_a_run_back():
    run = full()
    text = run.to_json()
    assert strict(text)["version"] == 1
    again = Run.from_json(text)
    assert again == run
    assert [type(value) for value in again.train[0].columns[1].counts] == [bool, int]
    assert again.to_json() == text
    assert Run.from_json(Run().to_json()) == Run()


def test_what_is_not_a_number_comes_back_as_such():
    (entry,) = Run.from_json(Run(log=[{"loss": float("nan"), "$float": "x"}]).to_json()).log
    assert entry["loss"] != entry["loss"] and entry["$float"] == "x"


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
    lambda part: st.one_of(st.lists(part), st.dictionaries(st.text(), part)),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(), json_values), st.text())
def test_any_values_and_texts_come_back(values, text):
    columns = (Column(text, text),)
    loss = LossFacts(text, values, LossFacts(text, {}), text)
    data = DatasetFacts(text, columns=columns, rows=([text, 1],), loss=loss)
    run = Run(
        train=[data], settings=values, log=[values], results=[Result(text, text, {text: 1.0})]
    )
    assert Run.from_json(run.to_json()) == run
    strict(run.to_json())


@pytest.mark.parametrize(
    "text",
    ["", "5", "[]", "{}", '{"version": 1}', '{"version": 1, "train": 5}', "{"]
    + [Run().to_json().replace('"train": []', f'"train": {wrong}') for wrong in ("[5]", "[{}]")],
)
def test_what_is_no_record_is_refused(text):
    with pytest.raises(InputError, match="not the record of a run"):
        Run.from_json(text)


def test_a_record_of_another_version_is_refused():
    text = Run().to_json().replace('"version": 1', '"version": 2')
    with pytest.raises(InputError, match="has version 2, and this sentune reads 1"):
        Run.from_json(text)


def test_it_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    Run(steps=1).write(tmp_path)

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OSError, match="No space"):
        Run(steps=2).write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert Run.from_json((tmp_path / FILE).read_text()).steps == 1


def test_all_values_under_a_name_of_the_log_are_given():
    run = Run(log=[{"loss": 2.0}, {"eval_loss": 1.0}, {"loss": 1.0}])
    assert run.logged("loss") == [2.0, 1.0]
    assert run.logged("other") == []


# What is recorded ---------------------------------------------------------------------------------


def begun(loss, **options):
    data = ModelRecord()
    rows = [{"a": "x", "label": 1}]
    return data, data.begin_run(rows, losses=loss, **options)


def test_what_a_run_is_recorded_from_comes_back_from_json(tiny_model):
    loss = losses.MatryoshkaLoss(tiny_model, losses.CoSENTLoss(tiny_model), [32, 8])
    own = losses.CoSENTLoss(tiny_model)
    own.settings = lambda: {"tuple": (1, 2), 5: object, "deep": {1: {(2, 3)}}}
    for one in (loss, own):
        data, run = begun(one, settings={"betas": (0.9, 0.99), "kind": int}, defaults={})
        evaluator = SimpleNamespace(name="dev", get_config_dict=lambda: {"k": (1, 2), "o": object})
        data.set_evaluation_metrics(evaluator, {"dev_map": float("nan"), "dev_mrr": 1}, 1, 2)
        data.end_run(1.0)
        assert Run.from_json(run.to_json()).to_json() == run.to_json()
        assert Run.from_json(run.to_json()).train == run.train


def test_no_secret_and_no_absolute_path_is_recorded(tiny_model, tmp_path):
    secrets = {
        "hub_token": "hf_secret",
        "output_dir": "/home/me/run",
        "hub_model_id": "me/mine",
        "deepspeed": {"config": "/home/me/speed.json", "api_key": "secret", "list": ["/home/me/x"]},
        "nested": {"wandb": {"password": "secret", "rate": 1}},
        "path": tmp_path / "file",
        "prompts": {"query": "/query: "},
    }
    loss = losses.CoSENTLoss(tiny_model)
    loss.settings = lambda: {"guide": "/home/me/guide", "auth_token": "secret"}
    data, run = begun(loss, settings=secrets, defaults={})
    evaluator = SimpleNamespace(name="", get_config_dict=lambda: {"file": "/home/me/file.csv"})
    data.set_evaluation_metrics(evaluator, {"map": 1.0})
    text = run.to_json()
    for part in ("secret", "/home/me", "me/mine", str(tmp_path)):
        assert part not in text
    assert run.settings == {
        "deepspeed": {"config": "speed.json", "list": ["x"]},
        "nested": {"wandb": {"rate": 1}},
        "path": "file",
        "prompts": {"query": "/query: "},
    }
    assert run.train[0].loss.settings == {"guide": "guide"}
    assert run.results[0].settings == {"file": "file.csv"}


def test_only_what_was_set_counts_as_changed(tiny_model):
    given_ = {"a": 1, "b": None, "c": "/home/me/x", "d": (1, 2), "use_cpu": True, "new": 3}
    defaults = {"a": 2, "b": False, "c": "/home/me/x", "d": (1, 2), "use_cpu": False}
    _, run = begun(losses.CoSENTLoss(tiny_model), settings=given_, defaults=defaults)
    assert run.changed == ["a"]
    assert list(run.settings) == list(given_)


def test_results_belong_to_the_run_that_goes_on(tiny_model):
    evaluator = SimpleNamespace(name="dev")
    data, run = begun(losses.CoSENTLoss(tiny_model))
    data.set_evaluation_metrics(evaluator, {"dev_map": 0.5}, 1, 2)
    data.end_run(1.0)
    data.set_evaluation_metrics(evaluator, {"dev_map": 0.75})
    assert [result.metrics for result in run.results] == [{"map": 0.5}]
    assert [result.metrics for result in data.results] == [{"map": 0.5}, {"map": 0.75}]


def test_energy_is_that_of_the_last_run(tiny_model):
    measured = {"emissions": 0.5, "energy_consumed": 1.0, "on_cloud": "Y", "cpu_model": "CPU"}
    measured |= {"ram_total_size": 8.0, "duration": 3600.0, "gpu_model": None}
    data, first = begun(losses.CoSENTLoss(tiny_model))
    data.end_run(1.0)
    second = data.begin_run([{"a": "x"}])
    data.end_run(1.0, energy=SimpleNamespace(**measured))
    assert first.emissions is None
    assert second.emissions == data.emissions
    assert (second.emissions["emissions"], second.emissions["on_cloud"]) == (500, True)
