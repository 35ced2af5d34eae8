"""The benchmark of quantised search: its table, on a few texts."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import tiny

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def quantization(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in ("quantization", "quality", "quality_tasks", "speed", "speed_tasks"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import quantization

    return quantization


@pytest.mark.filterwarnings("ignore:.*were truncated")
def test_it_writes_a_page_with_a_row_for_every_kind(quantization, tmp_path, monkeypatch, capsys):
    for name in ("stsb-train.csv", "stsb-dev.csv"):
        with (tmp_path / name).open("w", encoding="utf-8", newline="") as file:
            rows = [(f"a {k}", f"b {k}", k / 20) for k in range(21)]
            csv.writer(file).writerows([("sentence1", "sentence2", "score"), *rows])
    model = str(tiny.make_folder(tmp_path / "bert"))
    monkeypatch.setattr(quantization, "DIMENSIONS", (32, 8))
    monkeypatch.setattr(quantization, "machine", lambda: {"name": "a chip"})
    page = tmp_path / "page.md"
    options = {"data": tmp_path, "model": model, "table": page, "texts": 40, "rows": 200}
    options |= {"rounds": 1, "vectors": tmp_path / "kept.npz"}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    for _ in range(2):  # the second time with the embeddings of the first
        monkeypatch.setattr(sys, "argv", ["quantization.py", *words])
        quantization.main()
    text = page.read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith(("| float32", "| int8"))]
    assert len(rows) == 2 * 3
    assert "| float32 | 32 | 128 |  | " in rows[0] and "100.0%" in rows[0]
    assert "a chip" in text and "{" not in text
    assert rows[0] in capsys.readouterr().out


def test_recall_counts_what_is_right_and_what_full_embeddings_find(quantization):
    entries = np.eye(16, 32, dtype=np.float32)
    queries = entries[:2] + 0.5 * entries[1:3]
    corpus = quantization.Corpus("x", queries, entries, np.array([1, 9]), np.array([0, -1]))
    kind = quantization.Kind("float32", 32)
    truth = quantization.found(corpus, kind)
    assert truth[0][0] == 1  # not the query itself
    assert truth[1][:2].tolist() == [1, 2]
    right, shared = quantization.recall(corpus, kind, truth)
    assert shared == 1
    assert right in (0.5, 1.0)
