"""From rows to a folder with a better model, or the start and why."""

import io
import json
import shutil

import numpy as np
import pytest
import torch
from datasets import Dataset, DatasetDict

from sentune import SentenceTransformer
from sentune.errors import DatasetError, SettingError
from sentune.workbench import train
from sentune.workbench.racing.course import Course
from sentune.workbench.records import told
from tests import tiny
from tests.training.tools import assert_equal_weights, weights
from tests.workbench import topics

# Learnt in a second: one loss, a high rate, and any change of other texts is allowed.
QUICK = {
    "loss": "SupervisedContrastiveLoss",
    "learning_rate": 1e-2,
    "epochs": 4,
    "agreement": 0,
    "dtype": "float32",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(tiny.make_folder(tmp_path_factory.mktemp("start") / "bert", dropout=0.1))


@pytest.fixture(scope="module")
def trained(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    data = topics.write(topics.classes(500), folder / "topics.csv")
    return train(data, model, folder / "out", **QUICK), data


def test_what_is_learnt_is_kept_with_its_proof(trained, model):
    result, _ = trained
    record = result.record
    assert result.kept == record["decision"]["kept"] == "trained"
    assert record["result"]["dev"]["low"] > 0
    assert record["result"]["test"]["after"] > record["result"]["test"]["before"]
    assert record["leaderboard"][0]["name"] == "start"
    assert [row["state"] for row in record["leaderboard"]].count("won") == 1
    start = weights(SentenceTransformer(model))
    kept = weights(SentenceTransformer(str(result.model_path)))
    assert any(not torch.equal(start[name], kept[name]) for name in start)


def test_the_folder_has_the_model_and_all_that_tells_of_it(trained):
    result, _ = trained
    names = {path.name for path in result.model_path.iterdir()}
    assert {"model.safetensors", "README.md", "run.json", "run.yaml", "report.html"} <= names
    assert "run" not in names
    assert json.loads((result.model_path / "run.json").read_text()) == result.record
    curves = result.record["curves"][result.record["leaderboard"][1]["name"]]
    assert {"loss", "learning_rate", "tokens_per_second", "padding_saved"} <= curves.keys()
    assert all(speed > 0 for _, speed in curves["tokens_per_second"])
    card = (result.model_path / "README.md").read_text()
    assert "SupervisedContrastiveLoss" in card
    assert str(result.model_path) in str(result)


def test_the_parts_of_the_loss_are_curves(model, tmp_path):
    options = {**QUICK, "steps": 4, "epochs": None, "anchors": 4}
    result = train(topics.classes(200), model, tmp_path / "out", **options)
    (curves,) = [found for found in result.record["curves"].values() if found]
    assert curves["parts"].keys() == {"task", "other_texts"}
    for place, (step, loss) in enumerate(curves["loss"]):
        parts = [points[place] for points in curves["parts"].values()]
        assert [part[0] for part in parts] == [step, step]
        assert loss == pytest.approx(sum(part[1] for part in parts), abs=1e-3)


def test_the_weights_are_between_the_start_and_the_end(trained):
    """The mix in the folder is the one that the record names."""
    result, _ = trained
    alphas = [mix["alpha"] for mix in result.record["mixes"]]
    assert alphas[0] == 1 and alphas == sorted(alphas, reverse=True)
    assert result.record["decision"]["alpha"] in alphas


def test_a_run_file_gives_the_same_model_to_the_bit(trained, tmp_path):
    result, _ = trained
    again = train(config=result.model_path / "run.yaml", output=tmp_path / "again")
    assert again.kept == "trained"
    one, other = (SentenceTransformer(str(r.model_path)) for r in (result, again))
    assert_equal_weights(weights(one), weights(other))


RACE = {"learning_rate": 1e-2, "budget": "12x", "agreement": 0, "dtype": "float32", "folds": 1}


@pytest.mark.parametrize("more", [{}, {"anchors": 3, "agreement": 0.1, "alpha": 1.0}])
def test_a_race_is_repeated_without_racing(model, tmp_path, more):
    data = topics.write(topics.scored(300, kind="match"), tmp_path / "pairs.csv")
    first = train(data, model, tmp_path / "first", **{**RACE, **more})
    assert len(first.record["leaderboard"]) > 3
    states = {row["state"] for row in first.record["leaderboard"]}
    assert "won" in states and states & {"dropped", "not tried"}
    for row in first.record["leaderboard"]:
        assert row["state"] != "not tried" or not row["rounds"]
    assert "alpha" not in more or first.kept == "trained"
    _assert_repeated(tmp_path)


def test_a_turn_reads_no_more_rows_than_the_budget_trains_on_and_that_is_repeated(model, tmp_path):
    data = topics.write(topics.scored(2500, kind="class"), tmp_path / "pairs.csv")
    first = train(data, model, tmp_path / "first", **{**RACE, "budget": "0.2x", "alpha": 1.0})
    assert first.kept == "trained"
    assert first.record["settings"]["data_settings"] == {"most": 1000}
    _assert_repeated(tmp_path)


def test_the_average_of_several_trainings_is_repeated(model, tmp_path):
    data = topics.write(topics.classes(500), tmp_path / "topics.csv")
    options = {"loss": "SupervisedContrastiveLoss", "budget": "8x", "seed": 3}
    first = train(data, model, tmp_path / "first", **{**RACE, **options, "learning_rate": None})
    options = {**RACE, **options, "learning_rate": None, "alpha": 0.5}
    board = first.record["leaderboard"]
    assert any(row["name"].startswith("average of ") for row in board), board
    first = train(data, model, tmp_path / "half", **options)
    assert first.kept == "trained" and first.record["decision"]["candidate"].startswith("average")
    assert "runs:" in (tmp_path / "half" / "run.yaml").read_text()
    _assert_repeated(tmp_path, "half")
    config = tmp_path / "half" / "run.yaml"
    with pytest.raises(SettingError, match=r"\(runs\), so learning_rate, epochs would change"):
        train(config=config, output=tmp_path / "other", learning_rate=1e-3, epochs=1)


def test_few_rows_are_held_out_in_turn_and_that_is_repeated(model, tmp_path):
    data = topics.write(topics.classes(300), tmp_path / "topics.csv")
    first = train(data, model, tmp_path / "first", **QUICK)
    assert first.kept == "trained"
    rows = first.record["data"]["rows"]
    assert first.record["result"]["dev"]["rows"] >= 0.95 * (rows["train"] + rows["dev"])
    assert "folds: 3" in (tmp_path / "first" / "run.yaml").read_text()
    _assert_repeated(tmp_path)


def _assert_repeated(folder, name="first"):
    train(config=folder / name / "run.yaml", output=folder / "again")
    one, other = (SentenceTransformer(str(folder / place)) for place in (name, "again"))
    assert_equal_weights(weights(one), weights(other))


def test_a_changed_file_is_said(trained, tmp_path):
    result, data = trained
    before = data.read_bytes()
    try:
        data.write_bytes(before + b"one more row,1\n")
        with pytest.raises(DatasetError, match=r"topics\.csv changed since the run file"):
            train(config=result.model_path / "run.yaml", output=tmp_path / "again")
    finally:
        data.write_bytes(before)


def test_a_run_file_does_without_none_of_its_data(model, tmp_path):
    data = topics.write(topics.classes(100), tmp_path / "topics.csv")
    other = topics.write(topics.classes(60, seed=5), tmp_path / "other.csv")
    dev = [topics.write(topics.classes(20, seed=n), tmp_path / f"dev{n}.csv") for n in (1, 2)]
    train(data, model, tmp_path / "first", dev=dev, steps=2, loss="SupervisedContrastiveLoss")
    config = tmp_path / "first" / "run.yaml"
    with pytest.raises(DatasetError, match=r"dev1\.csv', which is not given now"):
        train(config=config, output=tmp_path / "again")
    with pytest.raises(DatasetError, match=r"topics\.csv', which is not given now"):
        train(other, config=config, output=tmp_path / "again", dev=dev)
    train(config=config, output=tmp_path / "again", dev=dev)
    one, two = (SentenceTransformer(str(tmp_path / place)) for place in ("first", "again"))
    assert_equal_weights(weights(one), weights(two))


def test_rows_are_not_held_out_in_turn_beside_rows_to_choose_by(model, tmp_path):
    dev = topics.pairs(40, seed=1)
    asked = {"folds": 3, "steps": 2}
    with pytest.raises(SettingError, match=r"folds=3 .*rows to choose by are given"):
        train(topics.pairs(90), model, tmp_path / "out", dev=dev, **asked)
    with pytest.raises(SettingError, match=r"folds=3 .*several datasets"):
        train([topics.pairs(90), topics.classes(90)], model, tmp_path / "out", **asked)
    with pytest.raises(SettingError, match=r"folds=3 .*texts alone"):
        train(FORMS["single texts"], model, tmp_path / "out", **asked)


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        ([{"loss": "CoSENTLos", "learning_rate": 1e-3, "batch_size": 8}], "did you mean CoSENTL"),
        ([{"loss": "CoSENTLoss", "steps": 2}], "learning_rate, batch_size and steps, got loss, st"),
    ],
)
def test_runs_are_checked(runs, said, model, tmp_path):
    with pytest.raises(SettingError, match=said):
        train(topics.scored(60), model, tmp_path / "out", runs=runs)


def test_a_second_gpu_is_named_by_the_variable_for_that(model, tmp_path):
    with pytest.raises(SettingError, match="CUDA_VISIBLE_DEVICES=1"):
        train(topics.classes(60), model, tmp_path / "out", device="cuda:1")


def test_runs_are_json_on_the_command_line():
    assert told.as_words("runs", [{"loss": "A", "steps": 2}]) == [
        "--runs",
        '[{"loss": "A", "steps": 2}]',
    ]


def test_changed_rows_behind_a_pattern_or_standard_input_are_said(model, tmp_path, monkeypatch):
    """They have no file of their own name, so it is the rows that are compared."""
    (tmp_path / "in").mkdir()
    file = topics.write(topics.classes(100), tmp_path / "in" / "rows.csv")
    given = file.read_text()
    for data in (str(tmp_path / "in" / "*.csv"), "-"):
        for number, text in enumerate((given, given, given.replace("cat", "dog"))):
            file.write_text(text)
            monkeypatch.setattr("sys.stdin", io.StringIO(text))
            output = tmp_path / f"out{number}"
            config = {"config": tmp_path / "out0" / "run.yaml"} if number else {"alpha": 0}
            if number == 2:
                with pytest.raises(DatasetError, match="changed since the run file was written"):
                    train(data, model, output, **config)
            else:
                train(data, model, output, data_format="csv", **config)
        assert "data_format" in (tmp_path / "out0" / "run.yaml").read_text()
        shutil.rmtree(tmp_path / "out0")
        shutil.rmtree(tmp_path / "out1")


def test_parts_and_words_in_memory_are_trained_on(model, tmp_path):
    data = topics.classes(200)
    rows = Dataset.from_dict({**data, "label": [f"topic {n}" for n in data["label"]]})
    parts = DatasetDict(train=rows, test=rows.select(range(40)))
    result = train(parts, model, tmp_path / "out", test=parts, alpha=0)
    assert any("the words in 'label' are numbered" in note for note in notes_of(result))
    assert result.record["data"]["form"] == "sentence and class"
    assert result.record["result"]["test"]["rows"] == 40


def test_what_is_left_out_of_rows_in_memory_is_said(model, tmp_path):
    data = {"id": [f"r{n}" for n in range(100)], **topics.classes(100)}
    result = train(Dataset.from_dict(data), model, tmp_path / "out", alpha=0)
    assert any("column 'id' is left out" in note for note in notes_of(result))


def notes_of(result):
    return result.record["data"]["notes"]


def test_labels_at_random_keep_the_start(model, tmp_path):
    data = topics.permuted(topics.classes(500))
    result = train(data, model, tmp_path / "out", **QUICK)
    assert result.kept == "start"
    assert "chance" in result.reason or "nothing was better" in result.reason
    one, start = (SentenceTransformer(str(name)) for name in (tmp_path / "out", model))
    assert_equal_weights(weights(one), weights(start))


def test_a_model_that_lost_what_it_knew_is_not_kept(model, tmp_path):
    options = {**QUICK, "agreement": 0.99999}
    result = train(topics.classes(500), model, tmp_path / "out", **options)
    assert result.kept == "start"
    assert "lost too much" in result.reason


def test_when_time_is_over_smaller_shares_are_seen_all_the_same(model, tmp_path, monkeypatch):
    monkeypatch.setattr(Course, "_is_late", lambda course: True)
    result = train(topics.classes(500), model, tmp_path / "out", **{**QUICK, "agreement": 0.98})
    shares = [mix["alpha"] for mix in result.record["mixes"]]
    assert shares[0] == 1 > shares[-1] and len(shares) == 2
    assert result.kept == "trained"


FORMS = {
    "classes": topics.classes(200),
    "pairs": topics.pairs(200),
    "scores": topics.scored(200),
    "matches": topics.scored(200, kind="match"),
    "classes of pairs": topics.scored(200, kind="class"),
    "triplets": topics.triplets(200),
    "single texts": {"text": [f"{a}. {b}." for a, b in zip(*topics.pairs(200).values())]},
}


def test_a_teachers_embeddings_are_learnt(model, tmp_path):
    """Of single texts: the start turned by a fixed rotation is the teacher."""
    texts = topics.classes(300)["text"]
    start = SentenceTransformer(model).encode(texts)
    teacher = np.roll(start, 7, axis=1)
    options = {**QUICK, "loss": "MSELoss", "learning_rate": 3e-2}
    data = {"text": texts, "label": teacher.tolist()}
    result = train(data, model, tmp_path / "out", **options)
    assert result.record["data"]["form"] == "text and embedding"
    assert result.record["task"]["metric"] == "cosine to the teacher"
    assert result.kept == "trained"
    assert result.record["result"]["test"]["gain"] > 0.05


def test_a_test_figure_that_is_not_finite_is_said_in_the_summary(trained):
    result, _ = trained
    test = {**result.record["result"]["test"], "after": None, "gain": None, "low": None}
    record = {
        **result.record,
        "result": {**result.record["result"], "test": {**test, "high": None}},
    }
    text = told.summary(record, result.model_path)
    assert f"{test['before']:.4f} before, not finite after (unknown, between" in text


@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_trained_on_with_nothing_said(name, model, tmp_path):
    result = train(FORMS[name], model, tmp_path / "out")
    board = result.record["leaderboard"]
    assert len(board) >= 2
    assert any(row["rounds"] for row in board), [row["reason"] for row in board]
    assert result.kept in ("start", "trained")
    SentenceTransformer(str(tmp_path / "out")).encode("a text")


@pytest.mark.parametrize("rows", [1, 5, 12, 30, 60, 99])
def test_few_rows_give_an_answer(rows, model, tmp_path):
    try:
        result = train(topics.classes(rows, seed=3), model, tmp_path / "out")
    except (DatasetError, SettingError) as error:
        assert "row" in str(error) or "tell apart" in str(error)
    else:
        assert result.kept == "start"
        assert any(words in result.reason for words in ("held-out rows", "chance", "better"))


def test_one_class_only_is_said(model, tmp_path):
    data = {"text": topics.classes(100)["text"], "label": [3] * 100}
    with pytest.raises(DatasetError, match="nothing to tell apart"):
        train(data, model, tmp_path / "out")


def test_a_column_of_numbers_among_the_texts_is_named(model, tmp_path):
    data = {**topics.classes(100), "number": list(range(100))}
    columns = {name: name for name in ("text", "number", "label")}
    with pytest.raises(DatasetError, match="column 'number' holds int values"):
        train(data, model, tmp_path / "out", columns=columns)


def test_short_texts_without_labels_are_said(model, tmp_path):
    with pytest.raises(DatasetError, match="too short to take their halves"):
        train({"text": topics.classes(100)["text"]}, model, tmp_path / "out")


def test_held_out_rows_of_the_users_own_are_used(model, tmp_path):
    dev, test = topics.classes(120, seed=1), topics.classes(150, seed=2)
    result = train(topics.classes(300), model, tmp_path / "out", dev=dev, test=test, **QUICK)
    assert result.record["data"]["rows"] == {"train": 300, "dev": 120, "test": 150, "dropped": 0}
    with pytest.raises(DatasetError, match="same form"):
        train(topics.classes(100), model, tmp_path / "other", dev=topics.pairs(50))


def test_everything_usual_can_be_fixed(model, tmp_path):
    result = train(
        topics.pairs(200),
        model,
        tmp_path / "out",
        batch_size=8,
        steps=3,
        warmup=0.5,
        max_length=16,
        matryoshka=[32, 16],
        prompts={"query": "search for "},
        negatives=2,
        data_settings={"relative_margin": None},
        seed=5,
        alpha=0.5,
        weight_decay=0.01,
    )
    settings = result.record["settings"]
    assert {settings[name] for name in ("batch_size", "steps", "seed")} == {8, 3, 5}
    assert settings["data_settings"] == {"negatives": 2, "relative_margin": None}
    assert [mix["alpha"] for mix in result.record["mixes"]] == [0.5]
    model = SentenceTransformer(str(tmp_path / "out"))
    assert model.max_seq_length == 16
    assert model.prompts["query"] == "search for "
    assert "MatryoshkaLoss" in (tmp_path / "out" / "README.md").read_text()


def test_an_adapter_is_trained_and_merged(model, tmp_path):
    pytest.importorskip("peft")
    options = {**QUICK, "lora": 4, "learning_rate": 5e-2}
    train(topics.classes(300), model, tmp_path / "out", alpha=1, **options)
    assert not list((tmp_path / "out").glob("adapter*"))
    one, start = (SentenceTransformer(str(name)) for name in (tmp_path / "out", model))
    mine, theirs = weights(one), weights(start)
    assert mine.keys() == theirs.keys()
    assert any(not torch.equal(mine[name], theirs[name]) for name in mine)


def test_unknown_options_and_losses_name_the_nearest(model, tmp_path):
    with pytest.raises(SettingError, match="did you mean learning_rate"):
        train(topics.classes(100), model, tmp_path / "out", lerning_rate=1)
    with pytest.raises(SettingError, match="did you mean .*CoSENTLoss"):
        train(topics.classes(100), model, tmp_path / "out", loss="CosentLoss")
    with pytest.raises(SettingError, match="cannot learn from the form"):
        train(topics.classes(100), model, tmp_path / "out", loss="TripletLoss")


def test_a_folder_of_something_else_is_left_alone(model, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SettingError, match="does not contain a model"):
        train(topics.classes(100), model, tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_fault_in_the_report_does_not_cost_the_model(model, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no picture")

    for name in ("workbench.records.told.compared", "workbench.records.told.inspect"):
        monkeypatch.setattr(f"sentune.{name}", broken)
    monkeypatch.setattr("sentune.report.document.view_of", broken)
    result = train(topics.classes(100), model, tmp_path / "out", alpha=0)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"model.safetensors", "run.json", "run.yaml", "report.html"} <= names
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record == result.record
    for what in ("the pictures of the report", "the inspection of the data", "the report"):
        assert any(f"note: {what} could not be made" in line for line in record["log"])
    assert "no picture" in (tmp_path / "out" / "report.html").read_text()


def test_why_the_start_was_kept_can_be_read_by_a_program(model, tmp_path):
    result = train(topics.classes(100), model, tmp_path / "out", alpha=0)
    assert result.record["decision"]["cause"] == "asked"
    assert result.record["data"]["folds"] == 3
