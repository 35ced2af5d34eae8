"""The card of a model that `train` made is about the whole of its training."""

import json

import pytest

from sentune import SentenceTransformer
from sentune.cli import main
from sentune.record.run import runs_in
from sentune.share.mark import is_untouched
from sentune.workbench import card, info, train
from tests import tiny
from tests.workbench import topics

HOW = {"steps": 6, "learning_rate": 1e-2, "alpha": 0.5, "batch_size": 16, "dtype": "float32"}
LOSS = "BatchSemiHardTripletLoss"
FRONT = "---\nlicense: mit\nlanguage:\n- en\nbase_model: owner/base\n---\n# Mine\n"


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    SentenceTransformer(str(tiny.make_folder(tmp_path / "bert"))).save("start")
    (tmp_path / "start" / "README.md").write_text(FRONT, encoding="utf-8")
    topics.write(topics.classes(300), tmp_path / "topics.csv")
    return tmp_path


def front_and_training(text):
    return text[: text.index("\n# ")], text[text.index("## Evaluation") : text.index("## Versions")]


def test_it_says_all_rows_the_averaging_the_share_the_results_and_the_start(work):
    found = train("topics.csv", "start", "out", folds=3, loss=LOSS, **HOW)
    text = (work / "out" / "README.md").read_text(encoding="utf-8")
    rows = found.record["data"]["rows"]
    count = rows["train"] + rows["dev"]
    assert f"**One dataset**, {count} rows" in text and f"- dataset_size:{count}\n" in text
    assert "trained 3 times" in text and "weights were averaged" in text
    assert "The model has 0.5 of the trained weights" in text
    assert "- `folds`: `3`" in text and "- `alpha`: `0.5`" in text
    assert "warmup_ratio" in text and "warmup_steps" not in text
    assert "license: mit" in text and "base_model: owner/base" in text and "- en\n" in text
    for part in ("dev", "test"):
        figures = found.record["result"][part]
        assert f"{figures['after']:.4f}" in text and f"{figures['before']:.4f}" in text
        assert f"({figures['rows']:,}) |" in text
    (run,) = runs_in(work / "out" / "run.json")
    assert run.size == count and run.seconds > 0 and run.losses
    told = json.loads((work / "out" / "run.json").read_text(encoding="utf-8"))
    assert told == found.record  # plain values, all of them
    assert info("out").history.runs[0].startswith("sentune train on")


def test_it_is_made_again_from_the_record(work):
    train("topics.csv", "start", "out", folds=1, loss=LOSS, **HOW)
    readme = work / "out" / "README.md"
    before = readme.read_text(encoding="utf-8")
    assert is_untouched(before)
    assert front_and_training(card("out", is_new=True)) == front_and_training(before)
    readme.unlink()
    assert front_and_training(card("out")) == front_and_training(before)
    assert main(["card", "out", "--write"]) == 0
    assert "BatchSemiHardTripletLoss" in readme.read_text(encoding="utf-8")


def test_without_rows_it_shows_none(work):
    train("topics.csv", "start", "out", folds=1, loss=LOSS, no_rows=True, **HOW)
    text = (work / "out" / "README.md").read_text(encoding="utf-8")
    assert "The first of them" not in text and "widget" not in text
    assert "no_rows: true" in (work / "out" / "run.yaml").read_text(encoding="utf-8")
    assert "The first of them" not in card("out", is_new=True)


def test_a_start_that_is_kept_keeps_its_card(work):
    train("topics.csv", "start", "out", **{**HOW, "alpha": 0})
    assert (work / "out" / "README.md").read_text(encoding="utf-8") == FRONT
    assert card("out") == FRONT
