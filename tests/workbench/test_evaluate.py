"""Models side by side: figures, intervals, which differences are real, for each form of data."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sentune import CrossEncoder
from sentune.cli import main
from sentune.errors import DatasetError, InputTypeError, MissingModelError, SettingError
from sentune.workbench import evaluate
from sentune.workbench.measuring.comparison import (
    Comparison,
    Difference,
    ModelFigure,
    check_folder,
    short_names,
)
from tests.fake_encoder import FakeEncoder

WORDS = (
    "red dog cat fish bird tree house river stone cloud apple chair lamp window door car".split()
)
RANDOM = np.random.default_rng(3)


def text(size=6):
    return " ".join(RANDOM.choice(WORDS, size, replace=False))


def pairs(count=120):
    """Pairs that share some words, and the share as score."""
    rows = []
    for number in range(count):
        words = list(RANDOM.permutation(WORDS))
        kept = number % 7
        rows.append((" ".join(words[:6]), " ".join(words[:kept] + words[6 : 12 - kept])))
    return {
        "first": [a for a, _ in rows],
        "second": [b for _, b in rows],
        "score": [number % 7 / 6 for number in range(count)],
    }


def named(name, **options):
    encoder = FakeEncoder(**options)
    encoder.model_card_data.model_name = name
    return encoder


GOOD, BAD = {"width": 256}, {"width": 2}


def test_a_better_model_is_called_better_and_an_equal_one_is_not():
    models = [named("small", **BAD), named("large", **GOOD), named("same", **BAD)]
    found = evaluate(models, pairs())
    assert [model.name for model in found.models] == ["small", "large", "same"]
    assert found.best.name == "large" and found.metric == "Spearman" and found.rows == 120
    for model in found.models:
        assert model.low <= model.figure <= model.high and model.low < model.high
    better, same, over_the_rest = found.differences
    assert (over_the_rest.first, over_the_rest.second) == ("same", "large")
    assert over_the_rest.is_real and over_the_rest.gain == better.gain
    assert (better.first, better.second, better.verdict) == ("small", "large", "better")
    assert better.is_real and better.low > 0
    assert better.gain == pytest.approx(found.models[1].figure - found.models[0].figure)
    assert (same.gain, same.is_real, same.verdict) == (0, False, "no real difference")
    said = str(found)
    assert "large is better than small by" in said
    assert "no real difference" in said and "correlation" in said
    assert all(line == line.rstrip() for line in said.splitlines())


def test_the_other_way_round_it_is_worse():
    found = evaluate([named("large", **GOOD), named("small", **BAD)], pairs())
    assert [one.verdict for one in found.differences] == ["worse"]
    assert "large is better than small by" in str(found)


def test_the_lead_of_the_best_is_to_the_next():
    models = [named("small", **BAD), named("a", width=200), named("b", width=260)]
    found = evaluate(models, pairs())
    ranked = sorted(found.models, key=lambda model: -model.figure)
    assert len(found.differences) == 3
    last = found.differences[-1]
    assert (last.first, last.second) == (ranked[1].name, ranked[0].name)
    assert last.gain > 0


def test_the_figure_is_that_of_the_evaluator():
    from sentune.evaluation import EmbeddingSimilarityEvaluator

    data, model = pairs(), FakeEncoder(width=32)
    evaluator = EmbeddingSimilarityEvaluator(
        data["first"], data["second"], data["score"], write_csv=False
    )
    expected = evaluator(model)["spearman_cosine"]
    assert evaluate(model, data).models[0].figure == pytest.approx(expected, abs=1e-6)


FORMS = {
    "pair and 0 or 1": (
        lambda: {**pairs(), "score": None} | {"label": [int(n % 7 > 3) for n in range(120)]},
        "average precision",
    ),
    "pair": (lambda: {"query": (texts := [text() for _ in range(60)]), "answer": [
        " ".join(reversed(one.split())) for one in texts]}, "MRR@10"),
    "triplet": (lambda: {"a": (texts := [text() for _ in range(60)]), "b": [
        one + " red" for one in texts], "c": [text() for _ in range(60)]}, "triplet accuracy"),
    "sentence and class": (lambda: {"text": [
        f"{WORDS[n % 4]} {WORDS[n % 4]} {text(2)} {n}" for n in range(80)],
        "label": [n % 4 for n in range(80)]}, "accuracy of 5 nearest neighbours"),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_the_form_decides_what_is_measured(form):
    make, metric = FORMS[form]
    data = {name: cells for name, cells in make().items() if cells is not None}
    found = evaluate([named("good", **GOOD), named("bad", **BAD)], data)
    assert found.metric == metric and found.record["data"]["form"] == form
    assert found.best.name == "good"
    assert found.best.figure > 0.5


def test_neighbours_are_looked_for_among_training_texts():
    data = FORMS["sentence and class"][0]()
    train = {name: cells[:40] for name, cells in data.items()}
    held_out = {name: cells[40:] for name, cells in data.items()}
    found = evaluate(named("good", **GOOD), held_out, train=train)
    assert found.models[0].figure > 0.9
    assert not any("--train" in note for note in found.notes)
    assert any("--train" in note for note in evaluate(FakeEncoder(), held_out).notes)
    # A text on both sides is named.
    leaking = {name: [*train[name], held_out[name][0]] for name in train}
    leaking["text"][-1] = leaking["text"][-1].upper()
    notes = evaluate(FakeEncoder(), held_out, train=leaking).notes
    assert any(note.startswith("1 of 40 held-out rows have a text that is in") for note in notes)


def test_of_training_data_with_parts_the_training_part_is_read(tmp_path, tiny_bert_folder):
    from datasets import Dataset, DatasetDict

    data = FORMS["sentence and class"][0]()
    of = {"train": range(40), "test": range(40, 70)}
    whole = Dataset.from_dict(data)
    DatasetDict({name: whole.select(own) for name, own in of.items()}).save_to_disk(tmp_path / "d")
    place, expected = str(tmp_path / "d"), {"test": 30, "train": 40, "dev": 0, "dropped": 0}
    found = evaluate(FakeEncoder(), place, train=place, split="test")
    assert found.record["data"]["rows"] == expected
    words = ["evaluate", str(tiny_bert_folder), "--data", place, "--train", place]
    assert main([*words, "--split", "test", "--output", str(tmp_path / "out"), "-q"]) == 0
    record = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))
    assert record["data"]["rows"] == expected


def test_classes_are_matched_by_their_names():
    """Each file numbers its words by itself; one class less must not shift the others."""
    from datasets import ClassLabel, Dataset

    data = FORMS["sentence and class"][0]()
    words = ["one", "two", "three", "four"]

    def rows(places):
        labels = [words[data["label"][place]] for place in places]
        names = sorted(set(labels))
        made = Dataset.from_dict({
            "text": [data["text"][place] for place in places],
            "label": [names.index(label) for label in labels]})  # fmt: skip
        return made.cast_column("label", ClassLabel(names=names))

    def without_one(places):
        return [place for place in places if data["label"][place] != 0]

    first, second = range(40), range(40, 80)
    found = evaluate(named("good", **GOOD), rows(without_one(second)), train=rows(first))
    assert found.models[0].figure > 0.9
    found = evaluate(named("good", **GOOD), rows(second), train=rows(without_one(first)))
    assert 0.6 < found.models[0].figure <= 0.75
    assert any("the classes one are not in the training rows" in note for note in found.notes)


def test_texts_without_labels_are_halved():
    data = {"text": [f"{text(8)} number {n} {text(8)}" for n in range(40)]}
    found = evaluate(FakeEncoder(), data)
    assert found.metric == "MRR@10"
    assert any("first half" in note for note in found.notes)


def test_the_record_names_a_command(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n" + "\n".join(f"{text()},{text()}" for _ in range(20)), encoding="utf-8")
    found = evaluate(named("m", **GOOD), [path], train=path)
    assert found.record["command"] == f"sentune evaluate m --data {path} --train {path}"
    assert found.source == str(path)


def test_a_model_that_was_trained_on_the_rows_is_named(files):
    digest = hashlib.sha256(Path("held-out.csv").read_bytes()).hexdigest()
    for name, kept in (("one", "trained"), ("two", "start")):
        record = {"kind": "train", "decision": {"kept": kept}}
        record["data"] = {"source": [{"name": "old.csv", "sha256": digest}]}
        Path(name, "run.json").write_text(json.dumps(record), encoding="utf-8")
    found = evaluate(["one", "two"], "held-out.csv", label="likeness", examples=False)
    notes = [note for note in found.notes if "trained on" in note]
    assert len(notes) == 1 and notes[0].startswith("one was trained on rows of held-out.csv")
    assert found.record["warnings"] == [{"model": "one", "seen": ["held-out.csv"]}]
    assert not [note for note in found.record["data"]["notes"] if "trained on" in note]
    with open("held-out.csv", "a", encoding="utf-8") as file:
        file.write("a cat,a dog,0.5\n")
    found = evaluate(["one"], "held-out.csv", label="likeness", examples=False)
    assert not [note for note in found.notes if "trained on" in note]


def test_a_sample_of_the_rows_is_the_same_in_each_run():
    data = pairs(200)
    one, two = (evaluate(FakeEncoder(), data, rows=50) for _ in range(2))
    assert one.rows == 50 and one.models == two.models
    assert one.notes[0] == "measured on 50 of 200 rows, chosen at random"
    assert evaluate(FakeEncoder(), data, rows=50, seed=1).models != one.models


def test_rows_without_a_text_are_left_out_and_told():
    data = pairs(50)
    data["second"][3] = ""
    found = evaluate(FakeEncoder(), data)
    assert found.rows == 49
    assert "1 rows" in found.notes[0] or "1 row" in found.notes[0]


@pytest.mark.parametrize(
    ("models", "data", "error", "says"),
    [
        ([], pairs(20), SettingError, "at least one model"),
        ([3], pairs(20), InputTypeError, "folders, Hub ids or loaded models"),
        ([FakeEncoder()], {"text": ["x"], "label": [["x"]]}, DatasetError, "no loss reads that"),
        (
            [FakeEncoder()],
            {"text": ["x"], "label": [1]},
            DatasetError,
            "all texts have the label 1",
        ),
    ],
)
def test_what_cannot_be_measured_is_an_error(models, data, error, says):
    with pytest.raises(error, match=says):
        evaluate(models, data)


def test_models_are_looked_at_before_any_work(tiny_bert_folder, tmp_path, recwarn, monkeypatch):
    scorer = CrossEncoder(str(tiny_bert_folder), num_labels=1, device="cpu")
    scorer.save(str(tmp_path))
    monkeypatch.setattr(FakeEncoder, "encode", lambda *_, **__: pytest.fail("encoded"))
    with pytest.raises(SettingError, match=f"{tmp_path} is a CrossEncoder, which scores pairs"):
        evaluate([FakeEncoder(), str(tmp_path)], pairs(20))
    with pytest.raises(SettingError, match="is a CrossEncoder, which scores pairs"):
        evaluate([FakeEncoder(), scorer], pairs(20))
    with pytest.raises(MissingModelError):
        evaluate([FakeEncoder(), tmp_path / "nowhere"], pairs(20))


def test_embeddings_that_are_not_finite_are_an_error():
    class Broken(FakeEncoder):
        def vector(self, text):
            return np.full(self.width, np.nan)

    with pytest.raises(DatasetError, match="not finite"):
        evaluate(Broken(), pairs(20))


def test_names_of_models(tmp_path):
    for name in ("a/model", "b/model", "c"):
        (tmp_path / name).mkdir(parents=True)
    paths = [str(tmp_path / name) for name in ("a/model", "b/model", "c")]
    assert short_names(paths) == [*paths[:2], "c"]
    assert short_names([f"{paths[2]}/", "org/name"]) == ["c", "org/name"]
    assert short_names(["x", "x", "x"]) == ["x", "x (2)", "x (3)"]


@pytest.fixture
def files(tiny_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny_model.save("one")
    shutil.copytree("one", "two")
    data = pairs(40)
    lines = ["left,right,likeness", *(",".join(map(str, row)) for row in zip(*data.values()))]
    (tmp_path / "held-out.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def test_the_command_prints_the_table_and_writes_the_report(files, capsys):
    words = ["evaluate", "one", "two", "--data", "held-out.csv", "--label", "likeness"]
    assert main([*words, "--output", "here"]) == 0
    said = capsys.readouterr()
    assert "40 rows of held-out.csv: two texts and a float" in said.out
    assert "one and two do equally well on these rows." in said.out
    assert "model 2 of 2: two" in said.err and "here/report.html" in said.err
    record = json.loads((files / "here" / "run.json").read_text())
    assert record["kind"] == "evaluate"
    assert record["command"] == f"sentune {' '.join(words)} --output here"
    assert [source["name"] for source in record["data"]["source"]] == ["held-out.csv"]
    assert len(record["data"]["source"][0]["sha256"]) == 64
    assert record["models"][0]["figure"] == record["models"][1]["figure"]
    assert record["differences"][0]["is_real"] is False
    assert {"lengths", "scores", "neighbours"} <= record.keys()
    assert record["sides"] == {"before": "one", "after": "two"}
    assert "</html>" in (files / "here" / "report.html").read_text()


def test_the_command_gives_json_and_writes_what_is_asked_for(files, capsys):
    words = ["evaluate", "one", "--data", "held-out.csv", "--label", "likeness", "-q"]
    assert main([*words, "--json", "--no-report"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert said.err == "" and found["models"][0]["name"] == "one" and found["best"] == "one"
    assert not (files / "evaluation").exists()
    assert main([*words, "--report", "page.html"]) == 0
    assert (files / "page.html").exists() and not (files / "evaluation").exists()
    assert main(words) == 0
    assert (files / "evaluation" / "report.html").exists()


def test_a_note_is_said_once_and_nothing_is_prepared_for_no_report(files, capsys, monkeypatch):
    words = ["evaluate", "one", "two", "--data", "held-out.csv", "--no-report"]
    monkeypatch.setattr("sentune.workbench.comparing.compared", None)
    assert main(words) == 0
    said = capsys.readouterr()
    assert "note: column 'likeness' is taken as the label" in said.out
    assert "note:" not in said.err and "behind the figures" not in said.err
    (files / "one-class.csv").write_text("text,label\na b,x\nc d,x\ne f,x\n")
    assert main([*words[:4], "one-class.csv", "--no-report"]) == 2
    said = capsys.readouterr()
    assert "note: the words in 'label' are numbered: x = 0" in said.err


def test_a_report_that_cannot_be_made_loses_no_figures(files, capsys, monkeypatch):
    from sentune.errors import MissingDependencyError

    def missing(self):
        raise MissingDependencyError('pip install "sentune[report]"')

    monkeypatch.setattr(Comparison, "report", missing)
    words = ["evaluate", "one", "--data", "held-out.csv", "--label", "likeness"]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "Spearman" in said.out
    assert 'no report was written: pip install "sentune[report]"' in said.err
    assert (files / "evaluation" / "run.json").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["one", "held-out.csv"], "with --data FILE; did you mean --data held-out.csv?"),
        (["one"], "the held-out rows are missing"),
        (["one", "--data", "nowhere.csv"], "nowhere.csv"),
        (["nobody/model", "--data", "held-out.csv", "--label", "likeness"], "nobody/model"),
    ],
)
def test_a_wrong_command_is_one_line(words, says, files, capsys):
    assert main(["evaluate", *words, "-q"]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("sentune evaluate: ") and says in said.err


def test_what_is_shown_is_plain_text_whatever_the_names_hold():
    model = ModelFigure("<b>m</b>", "x", 0.5, 0.4, 0.6, 3)
    other = ModelFigure("n", "y", 0.6, 0.5, 0.7, 3)
    found = Comparison(
        (model, other),
        (Difference("<b>m</b>", "n", 0.1, 0.05, 0.15),),
        *("Spearman", "words", 10, "a.csv", "pairs"),
    )
    assert "<b>" not in found._repr_html_() and "&lt;b&gt;m" in found._repr_html_()
    assert "+0.1000 (+0.050 to +0.150)" in str(found)
    assert found.to_dict()["differences"][0]["is_real"] is True


def test_the_record_of_a_training_is_not_replaced(tmp_path):
    (tmp_path / "run.json").write_text('{"version": 1, "kind": "train"}', encoding="utf-8")
    with pytest.raises(SettingError, match="record of a training"):
        check_folder(tmp_path)
    (tmp_path / "run.json").write_text('{"version": 1, "kind": "evaluate"}', encoding="utf-8")
    check_folder(tmp_path)
    check_folder(tmp_path / "new")
