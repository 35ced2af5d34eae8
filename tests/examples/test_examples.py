"""Every example runs, with a tiny model, and shows what it is about."""

import re
import runpy
import sys
from functools import cache
from pathlib import Path

import pytest

from sentune.demo import pydocs

FOLDER = Path(__file__).parents[2] / "examples"
ENTRIES = cache(pydocs.entries)  # read once for all
# What is printed before and after, and how the figure moves where even a tiny model shows it.
SCRIPTS = {
    "distill_embeddings": (r"MSE ([\d.]+)", "falls"),
    "distill_scores": (r"MRR@10 ([\d.]+)", None),
    "matryoshka": (r"8 dimensions: MRR@10 ([\d.]+)", None),
    "negatives": (r"MRR@10 ([\d.]+)", None),
    "pair_binary": (r"average precision ([\d.]+)", None),
    "pair_class": (r"accuracy ([\d.]+)", "rises"),
    "pair_score": (r"Spearman (-?[\d.]+)", "rises"),
    "pairs": (r"MRR@10 ([\d.]+)", "may stay"),
    "resume": (None, None),
    "sentence_class": (r"in ([\d.]+)%", "may stay"),
    "sentences": (r"MRR@10 ([\d.]+)", None),
    "several_datasets": (r"MRR@10 ([\d.]+)", "may stay"),
    "triplet": (r"accuracy ([\d.]+)", "may stay"),
}


@pytest.fixture
def run(monkeypatch, tmp_path, tiny_bert_folder, capsys):
    """Function of an example's name to what it prints."""
    monkeypatch.setattr(pydocs, "entries", ENTRIES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.delitem(sys.modules, "_shared", raising=False)

    def run_script(name: str) -> str:
        monkeypatch.setattr(sys, "argv", [name, str(tiny_bert_folder)])
        runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    return run_script


def test_there_is_an_expectation_for_every_example():
    scripts = {path.stem for path in FOLDER.glob("*.py")}
    assert scripts - {"guide", "_shared"} == set(SCRIPTS)


@pytest.mark.filterwarnings("ignore:.*had more than max_seq_length")  # it reads letters, not words
@pytest.mark.parametrize("name", [name for name in SCRIPTS if name != "resume"])
def test_an_example_shows_a_figure_before_and_after(name, run):
    printed = run(name)
    pattern, moves = SCRIPTS[name]
    before, after = (
        [float(found) for line in printed.splitlines() if line.startswith(when)
         for found in re.findall(pattern, line)]
        for when in ("Before", "After")
    )  # fmt: skip
    assert before and after
    if moves != "may stay":
        assert before != after, "nothing was trained"
    if moves in ("rises", "falls"):
        assert (after[-1] > before[-1]) == (moves == "rises"), printed


def test_the_resumed_run_ends_as_the_unbroken_one(run):
    stopped, resumed = run("resume").splitlines()[-2:]
    assert float(stopped.rpartition(" ")[2]) > 0
    assert resumed == "Resumed from step 2: 0.0"
