"""A Ray cluster writes what one process writes, whatever of it dies."""

import json
import subprocess
import sys

import pytest

from sentune import bulk
from sentune.bulk import ray as on_ray
from sentune.errors import MissingDependencyError, SettingError
from tests.bulk.ray_cluster import BUSY, DEADLY, cluster, until
from tests.bulk.small import content, slow, static, write_corpus

SHARDS, ROWS = 20, 10


def shards(folder):
    return {p.name: p.stat().st_mtime_ns for p in folder.glob("shard-*.parquet")}


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    pytest.importorskip("ray")
    with cluster(tmp_path_factory.mktemp("cluster")) as nodes:
        yield nodes


@pytest.fixture(scope="module")
def whole(nodes, tmp_path_factory):
    """A corpus, and what one process makes of it."""
    folder = tmp_path_factory.mktemp("whole")
    write_corpus(folder / "corpus.jsonl", rows=SHARDS * ROWS)
    text = (folder / "corpus.jsonl").read_text()
    (folder / "corpus.jsonl").write_text(text.replace('"text": ""', '"text": null'))  # some fail
    bulk.encode_corpus(folder / "corpus.jsonl", slow(), folder / "out", shard_rows=ROWS)
    return folder


@pytest.mark.slow
def test_a_worker_is_killed_and_its_shard_done_by_another(nodes, whole, tmp_path):
    out = tmp_path / "out"
    driver = nodes.driver(whole / "corpus.jsonl", out, ROWS)
    until(lambda: len(shards(out)) >= 4, driver)
    nodes.kill_a_worker()
    assert len(shards(out)) < SHARDS
    printed, said = driver.communicate(timeout=300)
    assert driver.returncode == 0, said
    expected = content(whole / "out")
    assert content(out) == expected and len(expected) > SHARDS
    found = json.loads(printed.splitlines()[-1])  # Ray tells of the death before
    complete = json.loads(expected["complete.json"])
    assert (found["rows"], found["failed"]) == (complete["rows"], complete["failed"])
    assert found["missing"] == [] and complete["failed"] > 0
    assert said.count("died at shard") == 1
    assert "100%" in said, printed + said


@pytest.mark.slow
def test_the_driver_is_killed_and_goes_on_though_a_machine_is_lost(nodes, whole, tmp_path):
    out = tmp_path / "out"
    driver = nodes.driver(whole / "corpus.jsonl", out, ROWS)
    until(lambda: len(shards(out)) >= 4, driver)
    driver.kill()
    driver.communicate()
    before = shards(out)
    assert len(before) < SHARDS - 6
    driver = nodes.driver(whole / "corpus.jsonl", out, ROWS)
    until(lambda: len(shards(out)) >= len(before) + 4, driver)
    nodes.lose()
    assert len(shards(out)) < SHARDS
    try:
        _, said = driver.communicate(timeout=300)
    finally:
        driver.kill()
        nodes.add()
    assert driver.returncode == 0, said
    assert content(out) == content(whole / "out")
    assert before.items() <= shards(out).items()  # none of them was done again


@pytest.mark.slow
def test_a_shard_that_kills_its_workers_ends_the_job(nodes, tmp_path):
    rows = write_corpus(tmp_path / "corpus.jsonl", rows=60)
    rows[25]["text"], rows[45]["text"] = DEADLY, BUSY
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    driver = nodes.driver(tmp_path / "corpus.jsonl", tmp_path / "out", 10)
    _, said = driver.communicate(timeout=240)
    assert driver.returncode == 1
    assert "WorkersDiedError: workers died 3 times at shard 2, on 1" in said
    assert len(shards(tmp_path / "out")) == 5  # with the one that was tried again
    assert "died at shard 4" not in said


@pytest.mark.slow
def test_storage_that_machines_do_not_share_is_noticed(nodes, whole):
    driver = nodes.driver(whole / "corpus.jsonl", "memory://out", ROWS)
    _, said = driver.communicate(timeout=300)
    assert driver.returncode == 1
    assert "SettingError: manifest.json, written by" in said
    assert "is not seen by the process that hands out work in memory://out" in said


@pytest.mark.slow
def test_the_command(nodes, tmp_path):
    write_corpus(tmp_path / "corpus.jsonl", rows=50)
    static().save(str(tmp_path / "model"))
    bulk.encode_corpus(
        tmp_path / "corpus.jsonl", tmp_path / "model", tmp_path / "whole", shard_rows=20
    )
    command = [sys.executable, "-m", "sentune", "encode", "corpus.jsonl", "--model", "model"]
    command += ["-o", "out", "--shard-rows", "20", "--ray", nodes.address]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert "50 rows, 3 shards" in done.stdout
    assert "50 embeddings of dimension 8 in 3 shards in out" in done.stdout
    assert "Encoding  100%" in done.stderr
    done = subprocess.run(
        [*command, "--device", "cuda"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "no machine of the cluster has a GPU; it has 2 CPUs and 0 GPUs in 3" in done.stderr


def test_without_ray_an_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "sentune\[ray\]"'):
        bulk.encode_on_ray(tmp_path / "corpus.jsonl", static(), tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"device": "mps"}, r"device must be one of \['cpu', 'cuda'\], got 'mps'"),
        ({"workers": 0}, "workers must be a whole number of at least 1, got 0"),
    ],
)
def test_what_a_cluster_does_not_have_is_refused(options, says, tmp_path):
    with pytest.raises(SettingError, match=says):
        bulk.encode_on_ray(tmp_path / "corpus.jsonl", static(), tmp_path / "out", **options)


@pytest.mark.parametrize(
    ("cpus", "workers", "each"),
    [([8], 1, 8), ([8], 3, 2), ([8, 8], 2, 8), ([8, 3], 2, 4), ([8, 3], 3, 3), ([2, 0], 9, 1)],
)
def test_workers_share_the_cpus(cpus, workers, each):
    assert on_ray._each(cpus, workers) == each


def test_a_cluster_that_is_not_there_is_named_at_once(tmp_path):
    pytest.importorskip("ray")
    with pytest.raises(SettingError, match=r"reached at 127.0.0.1:1 \(.*refused\); start one with"):
        bulk.encode_on_ray("corpus.jsonl", static(), tmp_path / "out", address="127.0.0.1:1")


def test_another_version_is_refused():
    with pytest.raises(SettingError, match="there has sentune .* work has 0.0; install the same"):
        on_ray._check_version("0.0", "there")


def test_the_board_tells_of_a_death_once():
    board = on_ray.Board()
    assert (board.begin(3, "a"), board.begin(4, "b"), board.news()) == ([], [], [])
    assert board.begin(3, "b") == ["a"]
    assert board.news() == [(3, "a")] and board.news() == []
    assert board.begin(3, "b") == ["a"] and board.news() == []  # it tries again
    assert board.begin(3, "c") == ["a", "b"] and board.news() == [(3, "b")]
