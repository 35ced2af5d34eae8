"""The benchmark of quality: its data, its figures and its table, on a few made-up rows."""

import csv
import json
import math
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"
SCORED = [(f"a {k}", f"b {k}", k / 20) for k in range(21)]
FILES = {
    "stsb-train.csv": (("sentence1", "sentence2", "score"), SCORED),
    "stsb-dev.csv": (("sentence1", "sentence2", "score"), SCORED),
    "sick-nli-train.csv": (
        ("premise", "hypothesis", "label"),
        [(f"p {k}", f"h {k}", k % 3) for k in range(12)],
    ),
    "sick-nli-dev.csv": (
        ("premise", "hypothesis", "label"),
        [(f"p {k}", f"h {k}", k % 3) for k in range(12)],
    ),
    "msrp-train.csv": (
        ("sentence1", "sentence2", "label"),
        [(f"a {k}", f"b {k}", k % 2) for k in range(20)],
    ),
    "trec-train.csv": (("text", "label"), [(f"{k % 4} {k}", k % 4) for k in range(40)]),
    "banking77-train.csv": (("text", "label"), [(f"{k % 4} {k}", k % 4) for k in range(40)]),
    "sick-triplets-train.csv": (
        ("anchor", "positive", "negative"),
        [(f"a {k // 2}", f"p {k}", f"n {k}") for k in range(12)],
    ),
}


@pytest.fixture
def quality(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import quality

    yield quality
    for name in ("quality", "quality_tasks"):
        sys.modules.pop(name)


@pytest.fixture
def data(tmp_path):
    for name, (header, rows) in FILES.items():
        with (tmp_path / name).open("w", newline="") as file:
            csv.writer(file).writerows([header, *rows])
    return tmp_path


def angles(texts):
    """The first number of a text as an angle; `b` and `h` stand for less similar partners."""
    turned = []
    for text in texts:
        kind, number = text.split()[0], float(text.split()[1])
        angle = {"b": 3 - 3 * number / 20, "h": 3 - number % 3, "n": 2.0}.get(kind, 0.0)
        turned.append(angle if not kind.isdigit() else float(kind))
    return torch.tensor([[math.cos(angle), math.sin(angle)] for angle in turned])


def test_every_task_reads_its_rows_and_measures_a_perfect_encoder(quality, data):
    found = {task.name: task.load(data, 24) for task in quality.tasks() if task.files}
    assert len(found) == 16
    figures = {
        name: loaded.measure(angles)
        for name, loaded in found.items()
        if "STS pairs" not in name and "MSRP" not in name
    }
    assert figures == {name: pytest.approx(1) for name in figures}
    for name, loaded in found.items():
        sizes = {len(column) for column in loaded.train.values()}
        assert len(sizes) == 1 and sizes.pop() > 2, name


def test_nothing_is_both_trained_on_and_measured(quality, data):
    for task in quality.tasks():
        if len(task.files) != 1:
            continue
        loaded, seen = task.load(data, 24), []
        loaded.measure(lambda texts, seen=seen: seen.append(list(texts)) or angles(texts))
        asked = set(seen[0])
        if task.sampler == "group_by_label":
            assert seen[1] == loaded.train["text"]  # the neighbours to choose from
        first = next(iter(loaded.train.values()))
        assert asked and not asked & set(first), task.name


def test_the_rank_of_a_pair_is_among_all_others(quality, data):
    task = next(task for task in quality.tasks() if task.data == "STS pairs")
    measure = task.load(data, 24).measure
    worst = measure(lambda texts: torch.ones(len(texts), 2))
    own = {text: k for k, text in enumerate(f"{kind} {k}" for k in range(21) for kind in "ab")}
    best = measure(lambda texts: torch.eye(21)[[own[text] // 2 for text in texts]])
    # Where all scores are equal none is above the own one; turned away, all others are.
    away = measure(lambda t: torch.tensor([[1.0 if x[0] == "a" else own[x] / 99] for x in t]))
    assert best == worst == 1
    assert away < 0.6


def result(task, library, seed, figure):
    versions = {"torch": "1", "transformers": "2", "sentence-transformers": "3"}
    return {
        "task": task,
        "library": library,
        "seed": seed,
        "texts": 8,
        "figure": figure,
        "tokens": {"mean": 20.4, "longest": 64, "above 24": 0.31},
        "chip": "some chip",
        "versions": versions,
    }


def test_the_page_holds_what_was_measured(quality, tmp_path):
    lines = [result("MSRP", "before", 0, 0.5)]
    for seed, (own, peer) in enumerate([(0.75, 0.8), (0.85, 0.9)]):
        lines.append(result("MSRP, ContrastiveLoss", "sentune", seed, own))
        lines.append(result("MSRP, ContrastiveLoss", "sentence-transformers", seed, peer))
        lines.append(result("MSRP, ContrastiveLoss", "sentune, default precision", seed, own))
    out = tmp_path / "new" / "results.jsonl"
    for line in lines:
        quality.write_result(out, line)
    assert [json.loads(line) for line in out.read_text().splitlines()] == lines
    results = quality.read_results(out)
    page = quality.page(results, 8)
    row = next(line for line in page.splitlines() if line.startswith("| MSRP |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:3] == ["20, 64, 31%", "`ContrastiveLoss`"]
    assert cells[4:] == [
        "0.5000",
        "0.8000 ± 0.0707",
        "0.8500 ± 0.0707",
        "-0.0500",
        "0.1000",
        "within spread",
        "0.8000 ± 0.0707",
    ]
    assert "{" not in page and "over 2 seeds" in page and "some chip" in page
    assert "`ContrastiveLoss` | AP" not in quality.page(results, 9)  # of another recipe


@pytest.mark.parametrize(
    ("own", "expected"),
    [([0.9, 0.7], "not below"), ([0.75, 0.75], "within spread"), ([0.6, 0.6], "BELOW")],
)
def test_the_verdict_goes_by_the_spread_of_the_peer(quality, own, expected):
    assert quality.verdict(own, [0.7, 0.85]) == expected


def test_absent_files_are_named_and_skipped(quality, tmp_path, capsys):
    assert not quality.is_present(quality.tasks()[0], tmp_path)
    assert "stsb-train.csv" in capsys.readouterr().out


def test_libraries_take_turns_and_data_is_measured_once_before(quality):
    cells = quality.cells(quality.tasks(), 3)
    assert [library for _, library, _ in cells].count("before") == 8
    trained = [(task.name, library, seed) for task, library, seed in cells[8:]]
    assert len(set(trained)) == len(trained) == 17 * 3 * 3
    assert {library for _, library, _ in trained[::3]} == {"sentune"}


def test_the_documentation_is_learned_from_without_what_is_measured(quality):
    task = quality.tasks()[-1]
    loaded, asked = task.load(Path(), 24), []
    trained = set(loaded.train["query"])

    def encode(texts):
        asked.append(set(texts))
        return torch.eye(2).repeat(len(texts) // 2 + 1, 1)[: len(texts)]

    assert task.data == "Python docs" and 0 <= loaded.measure(encode) <= 1
    assert len(asked[0]) == 600 and not asked[0] & trained and len(trained) > 4000
