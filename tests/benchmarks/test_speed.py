"""The benchmark of speed: its workers, its table, on the first row of each kind and a few texts."""

import json
import sys
from pathlib import Path

import pytest

from tests import tiny

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def speed(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in (
        "speed",
        "speed_tasks",
        "speed_worker",
        "speed_search",
        "quality",
        "quality_tasks",
    ):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import speed

    return speed


@pytest.mark.parametrize("library", ["sentune", "sentence-transformers"])
def test_a_worker_says_how_long_a_job_took(speed, library, tmp_path):
    model = str(tiny.make_folder(tmp_path / "bert"))
    process = speed.worker(library, tmp_path)
    common = {"model": model, "dtype": "float32", "max_seq_length": 32}
    jobs = [
        {"kind": "encode", "texts": "sentences", "count": 70, "encode_batch_size": None},
        {
            "kind": "train",
            "texts": "pairs",
            "loss": "MultipleNegativesRankingLoss",
            "batch_size": 4,
            "warm_up": 1,
            "steps": 2,
        },
    ]
    for job in jobs:
        answer = speed.ask(process, {**common, **job})
        assert answer["seconds"] > 0 and answer["peak"] > 1e8
        assert 4 <= answer["tokens"] <= 70 * 32
    assert speed.end(process) == 0


def test_the_table_has_a_line_for_each_comparison(speed, tmp_path):
    figures = {"seconds": 2.0, "tokens": 1000.0, "peak": 5e8}
    slow = {**figures, "seconds": 9.0}
    results = {
        "machine": {
            "versions": dict.fromkeys(("torch", "transformers", "sentence-transformers"), "1"),
            "python": "3",
            "name": "a chip",
            "threads": 2,
            "rates": {"float32": 1e11, "bfloat16": 2e11},
        }
    }
    for row in speed.ROWS:
        results[f"small: {row.title('small')}"] = {
            speed.label(c): figures if c.library == "sentune" else slow for c in row.contestants()
        }
    own = {
        "own": 1.0,
        "own float32": 2.0,
        "own mining": 0.02,
        "own mining float32": 0.1,
        "own float32 mining": 0.1,
    }
    for group in ("search", "pairs", "many", "sentences"):
        results.setdefault("search", {})[group] = {**own, "product": 1.5, "peer": 6.0}
    page = speed.page(results)
    table = page.partition("\n## ")[0]
    lines = [line for line in table.splitlines() if "all-MiniLM-L6-v2 |" in line]
    assert len(lines) == sum(len(row.pairings) for row in speed.ROWS)
    assert "| 4.50x (goal 5x) | train, MultipleNegativesRanking" in page
    assert "| **4.5x** | train, CosineSimilarity" in page
    assert "top 10 | defaults | 1 s | 1.5 s | 0.67 (goal 0.5) | 6 s | **6.00** |" in page
    assert "mining alone, of that | float32 | 5.0% |" in page
    assert "{" not in page.replace("{}", "")
    json.dumps(results)


def test_a_slow_hour_does_not_lower_the_rate_of_a_machine(speed):
    fast, slow, other = (
        {"name": name, "rates": {"float32": rate}} for name, rate in (("a", 3), ("a", 2), ("b", 1))
    )
    assert speed.at_its_best(slow, fast) == fast == speed.at_its_best(fast, slow)
    assert speed.at_its_best(other, fast) == other == speed.at_its_best(other, None)


def test_texts_do_not_need_the_files(speed, tmp_path):
    import speed_tasks

    for name, make in speed_tasks.TEXTS.items():
        found = make(tmp_path)
        columns = found.values() if isinstance(found, dict) else [found]
        assert len({len(column) for column in columns}) == 1, name
        assert all(len(column) > 500 for column in columns), name
    assert len(set(speed_tasks.take(["a", "b"], 7))) == 7


def test_search_is_timed_beside_product_and_peer(speed):
    import speed_search

    rows = speed_search.vectors(300, 0)
    assert rows.norm(dim=1).allclose(rows.new_ones(300))
    found = speed_search.in_turn(2, {"a": lambda: rows @ rows.T, "b": speed_search.exact(dict)})
    assert found["a"] > 0 and found["b"] > 0
