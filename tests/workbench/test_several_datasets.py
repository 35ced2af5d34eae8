"""Training on several datasets, each with a loss for its form."""

import json

import numpy as np
import pytest
from datasets import Dataset

from sentune import SentenceTransformer
from sentune.data import forms
from sentune.errors import DatasetError, SentuneWarning, SettingError
from sentune.workbench import train
from sentune.workbench.measuring.measure import Measure, Together, gain
from sentune.workbench.racing.candidates import Candidate, joint
from sentune.workbench.rows.prepared import datasets_of
from sentune.workbench.rows.several import in_parts_each
from sentune.workbench.settings import Settings
from tests import tiny
from tests.training.tools import assert_equal_weights, weights
from tests.workbench import topics

QUICK = {"learning_rate": 1e-2, "epochs": 3, "agreement": 0, "dtype": "float32", "anchors": 0}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(tiny.make_folder(tmp_path_factory.mktemp("start") / "bert", dropout=0.1))


@pytest.fixture(scope="module")
def trained(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    files = [
        topics.write(topics.classes(400), folder / "topics.csv"),
        topics.write(topics.pairs(300, seed=5), folder / "pairs.csv"),
    ]
    return train([str(file) for file in files], model, folder / "out", **QUICK), files


def test_each_dataset_is_trained_on_and_measured_by_its_form(trained, model):
    result, _ = trained
    record = result.record
    assert result.kept == "trained"
    assert record["data"]["form"] == "sentence and class; pair"
    assert "different columns (text, label; query, document)" in record["data"]["notes"][0]
    assert [one["form"] for one in record["data"]["datasets"]] == ["sentence and class", "pair"]
    for part in ("dev", "test"):
        found = record["result"][part]
        assert len(found["each"]) == 2
        for name in ("before", "after"):
            assert found[name] == pytest.approx(np.mean([one[name] for one in found["each"]]))
        assert found["rows"] == sum(one["rows"] for one in found["each"])
        assert found["after"] > found["before"]
    assert (
        "SupervisedContrastiveLoss + MultipleNegativesRankingLoss"
        in record["decision"]["candidate"]
    )


def test_its_run_file_gives_the_same_model_to_the_bit(trained, tmp_path):
    result, _ = trained
    again = train(config=result.model_path / "run.yaml", output=tmp_path / "again")
    assert_equal_weights(
        weights(SentenceTransformer(str(result.model_path))),
        weights(SentenceTransformer(str(again.model_path))),
    )


def test_its_report_has_the_figures_of_each(trained):
    result, _ = trained
    page = (result.model_path / "report.html").read_text(encoding="utf-8")
    for one in result.record["result"]["test"]["each"]:
        assert one["metric"] in page
        assert f"{one['after']:.4f}" in str(result)
    columns = [one["data"] for one in result.record["data"]["inspection"]["columns"]]
    assert set(columns) == {"sentence and class", "pair"}


def test_a_run_is_stopped_at_a_step(model, tmp_path):
    data = [Dataset.from_dict(topics.classes(300)), Dataset.from_dict(topics.pairs(200, seed=5))]
    options = {**QUICK, "epochs": None, "steps": 6}
    whole = train(data, model, tmp_path / "whole", **options)
    stopped = train(data, model, tmp_path / "part", **options, stop_step=3)
    for result, steps in ((whole, 6), (stopped, 3)):
        rounds = [row["rounds"] for row in result.record["leaderboard"] if row["rounds"]]
        assert rounds and all(of[-1]["steps"] == steps for of in rounds)


def test_held_out_files_belong_to_the_dataset_of_their_form(model, tmp_path):
    files = {
        name: str(topics.write(rows, tmp_path / f"{name}.csv"))
        for name, rows in {
            "topics": topics.classes(300),
            "pairs": topics.pairs(200, seed=5),
            "test-topics": topics.classes(80, seed=9),
            "test-pairs": topics.pairs(70, seed=9),
        }.items()
    }
    result = train(
        [files["topics"], files["pairs"]],
        model,
        tmp_path / "out",
        test=str(tmp_path / "test-*.csv"),
        **{**QUICK, "epochs": 1},
    )
    rows = {one["form"]: one["rows"]["test"] for one in result.record["data"]["datasets"]}
    assert rows == {"sentence and class": 80, "pair": 70}
    assert json.loads((tmp_path / "out" / "run.json").read_text())["settings"]["test"]


def test_held_out_rows_of_a_form_that_is_not_trained_on_are_refused():
    scores = {"a": ["x y"] * 40, "b": ["y z"] * 40, "score": [0.5] * 40}
    wholes = [Dataset.from_dict(topics.classes(200)), Dataset.from_dict(topics.pairs(100, seed=5))]
    with pytest.raises(DatasetError, match="pair and score"):
        in_parts_each(wholes, {"test": [Dataset.from_dict(scores)]}, Settings())


def test_what_is_held_out_of_one_is_not_trained_on_in_another():
    rows = topics.classes(300)
    other = {"query": rows["text"], "document": [f"so {text}" for text in rows["text"]]}
    wholes = [Dataset.from_dict(rows), Dataset.from_dict(other)]
    first, second = in_parts_each(wholes, {}, Settings())
    held_out = {text for part in ("dev", "test") for text in first.rows[part]["text"]}
    assert held_out and not held_out & set(second.rows["train"]["query"])
    held_out = {text for part in ("dev", "test") for text in second.rows[part]["query"]}
    assert held_out and not held_out & set(first.rows["train"]["text"])
    assert any("are in held-out rows" in note for note in second.notes)
    assert second.dropped > 0 and sum(map(len, second.rows.values())) + second.dropped == 300


def test_files_of_one_form_with_other_columns_are_refused(tmp_path):
    files = [
        topics.write(topics.classes(60), tmp_path / "a.csv"),
        topics.write(
            {"words": topics.classes(60)["text"], "label": [0, 1] * 30}, tmp_path / "b.csv"
        ),
    ]
    wholes = datasets_of([str(file) for file in files], Settings())
    assert [whole.column_names for whole in wholes] == [["text", "label"], ["words", "label"]]
    with pytest.raises(DatasetError, match="text, label and with words, label.*--columns"):
        in_parts_each(wholes, {}, Settings())


def test_files_with_the_same_columns_are_one_dataset(tmp_path):
    for number in range(2):
        topics.write(topics.classes(30, seed=number), tmp_path / f"topics-{number}.csv")
        topics.write(topics.pairs(20, seed=number), tmp_path / f"pairs-{number}.csv")
    for source in (str(tmp_path / "*.csv"), [str(one) for one in sorted(tmp_path.iterdir())]):
        found = datasets_of(source, Settings())
        assert sorted(len(one) for one in found) == [40, 60]


def test_the_label_is_that_of_the_files_that_have_such_a_column(tmp_path):
    rows = "".join(f"text {n} of many,{n % 3},{n % 2}\n" for n in range(60))
    (tmp_path / "a.csv").write_text("words,intent,rating\n" + rows)
    topics.write(topics.pairs(20), tmp_path / "b.csv")
    files = [str(tmp_path / name) for name in ("a.csv", "b.csv")]
    with pytest.warns(SentuneWarning):
        found = datasets_of(files, Settings(label="intent"))
    assert [one.column_names for one in found] == [["words", "label"], ["query", "document"]]
    with pytest.raises(DatasetError, match="there is no column 'intention'"):
        datasets_of(files, Settings(label="intention"))


def test_rows_in_memory_with_the_same_columns_are_one_dataset():
    data = [topics.classes(30), Dataset.from_dict(topics.classes(20, seed=1)), topics.pairs(10)]
    found = datasets_of(data, Settings())
    assert [(len(one), one.column_names[0]) for one in found] == [(50, "text"), (10, "query")]
    rows = [{"text": "one", "label": 0}, {"text": "two", "label": 1}]
    assert [len(one) for one in datasets_of(rows, Settings())] == [2]


def test_bad_rows_of_each_dataset_have_a_file(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\none,0\ntwo\nthree,1\n")
    (tmp_path / "b.csv").write_text("query,document\none,two\nthree\n")
    files = [str(tmp_path / name) for name in ("a.csv", "b.csv")]
    bad = tmp_path / "bad.jsonl"
    with pytest.warns(SentuneWarning, match="left out") as said:
        found = datasets_of(files, Settings(skip_bad_rows=str(bad)))
    assert len(said) == 2
    assert [len(one) for one in found] == [2, 1]
    assert json.loads(bad.read_text())["file"] == "a.csv"
    assert json.loads((tmp_path / "bad-2.jsonl").read_text())["file"] == "b.csv"


def test_a_loss_is_for_the_datasets_that_it_can_learn_from():
    both = (forms.TEXT_AND_CLASS, forms.PAIR)
    found = joint(both, {"loss": "BatchHardTripletLoss", "batch_size": 7})
    assert {one.loss for one in found} == {"BatchHardTripletLoss"}
    assert {one.also[0].loss for one in found} == {"MultipleNegativesRankingLoss"}
    assert {one.batch_size for each in found for one in each.each} == {7}
    assert all(one.also[0].learning_rate == one.learning_rate for one in found)
    with pytest.raises(SettingError, match="MarginMSELoss cannot learn"):
        joint(both, {"loss": "MarginMSELoss"})


def test_a_candidate_for_several_is_made_again_of_its_settings():
    (first, *_) = joint((forms.TEXT_AND_CLASS, forms.PAIR), {})
    assert Candidate.of(json.loads(json.dumps(first.settings))) == first


def measure(values_by_model, groups):
    """A measure of which models are names."""
    return Measure(
        "mean", "", {}, np.array(groups), np.zeros(len(groups)),
        lambda model, _: np.array(values_by_model[model], float),
        lambda rows, _: float(rows.mean()),
    )  # fmt: skip


def test_the_figure_of_several_is_the_mean_of_theirs_however_many_rows_they_have():
    one = measure({"a": [0, 0, 0, 0], "b": [1, 0, 1, 0]}, [0, 0, 1, 2])
    other = measure({"a": [0.5, 0.5], "b": [1, 1]}, [0, 1])
    both = Together.of([one, other])
    before, after = both.values("a"), both.values("b")
    assert before.figure == pytest.approx(0.25) and after.figure == pytest.approx(0.75)
    assert [values.figure for values in after.parts] == [0.5, 1.0]
    assert both.figure_of(after.rows, np.array([0, 0, 5])) == pytest.approx(1.0)
    assert np.isnan(both.figure_of(after.rows, np.array([0, 1])))  # no row of the other
    assert len(np.unique(both.groups)) == 5
    assert gain(before, after).value == pytest.approx(0.5)
    assert Together.of([one]) is one
    assert [values.measure for values in one.values("a").parts] == [one]


def test_a_model_with_prompts_reads_each_dataset_with_its_own(model, tmp_path):
    start = SentenceTransformer(model)
    start.prompts = {"query": "ask: ", "document": "say: "}
    start.save(str(tmp_path / "start"))
    data = [Dataset.from_dict(topics.classes(200)), Dataset.from_dict(topics.pairs(150, seed=5))]
    result = train(data, tmp_path / "start", tmp_path / "out", **{**QUICK, "epochs": 1})
    assert any("'ask: ' before query" in note for note in result.record["data"]["notes"])
