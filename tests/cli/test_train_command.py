"""`sentune train`, as it is typed."""

import json

import pytest

from sentune.cli import main
from tests import tiny
from tests.workbench import topics


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny.make_folder(tmp_path / "bert")
    topics.write(topics.pairs(150), tmp_path / "pairs.csv")
    return tmp_path


def test_the_summary_goes_to_stdout_and_progress_to_stderr(work, capsys):
    given = ["train", "pairs.csv", "--model", "bert", "--output", "out", "--steps", "2"]
    assert main([*given, "--loss", "MultipleNegativesRankingLoss", "--batch-size", "8"]) == 0
    found = capsys.readouterr()
    assert "Kept: " in found.out and "Why: " in found.out and "report.html" in found.out
    assert "start    MRR@10" in found.err and "after 2 steps" in found.err
    assert main(["train", "--config", "out/run.yaml", "--output", "again", "--json", "-q"]) == 0
    found = capsys.readouterr()
    assert json.loads(found.out)["kind"] == "train"
    assert found.err == ""


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "name the data"),
        (["pairs.csv", "--model", "bert", "--loss", "MultipleNegativeRankingLoss"], "did you mean"),
        (["pairs.csv", "--model", "bert", "--epochs", "many"], "must be a number"),
        (["pairs.csv", "--model", "bert", "--budget", "soon"], "must be a time"),
        (["pairs.csv", "--model", "bert", "--resume"], "no unfinished run"),
        (["none.csv", "--model", "bert"], "there is no file"),
        (["--config", "none.yaml"], "cannot be read"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(given, words, work, capsys):
    assert main(["train", *given]) == 2
    error = capsys.readouterr().err
    assert words in error.splitlines()[-1] and "Traceback" not in error
    assert not (work / "trained-model" / "run").exists()


def test_help_has_every_option_of_the_table(capsys):
    from dataclasses import fields

    from sentune.workbench.settings import Settings

    with pytest.raises(SystemExit):
        main(["train", "--help"])
    shown = capsys.readouterr().out
    for one in fields(Settings):
        name = "format" if one.name == "data_format" else one.name.replace("_", "-")
        assert f"--{name}" in shown
    assert "sentune train --config my-model/run.yaml" in shown
