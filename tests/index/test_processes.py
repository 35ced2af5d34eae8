"""Readers and a writer at the same time, two writers, and writers that are killed."""

import subprocess
import sys
from datetime import timedelta

import numpy as np

from sentune import Index
from sentune.index import store
from tests.index.kills import kill_often, vectors

READER = """
import sys
from sentune import Index
import numpy as np
index = Index.open(sys.argv[1])
query = np.ones(16, np.float32)
print("ready", flush=True)
seen, count = set(), 0
while True:
    words = index.search("text", 100_000, mode="text")
    near = index.search(embedding=query, mode="vector", top_k=100_000)
    for hits in (words, near):
        size = len(hits)
        assert size % 10 == 0, size  # every write adds ten
        assert len({hit.id for hit in hits}) == size
        assert all(hit.text.startswith("text") for hit in hits)
        seen.add(size)
    assert len(near) >= len(words)
    count += 1
    if len(words) == 200:
        break
print(count, len(seen))
"""

WRITER = """
import sys
from sentune import Index
from tests.index.kills import vectors
from datetime import timedelta
from sentune.index import store
store._KEPT = timedelta(milliseconds=1)  # so that versions go while they are read
where, name, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
index = Index.open(where)
print("ready", flush=True)
for turn in range(times):
    documents = {f"{name}{turn}-{n}": f"text {name} {turn}" for n in range(10)}
    index.add(documents, embeddings=vectors(10, turn))
"""


def start(code, *arguments):
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    return process


def done(process):
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    return out


def filled(where):
    documents = {f"old-{n}": f"text {n}" for n in range(10)}
    return Index.build(where, documents, embeddings=vectors(10, 99), exact_below=50)


def test_two_readers_see_each_write_as_a_whole_while_a_writer_writes(tmp_path):
    filled(tmp_path / "i")
    readers = [start(READER, str(tmp_path / "i")) for _ in range(2)]
    writer = start(WRITER, str(tmp_path / "i"), "w", "19")
    done(writer)
    for reader in readers:
        rounds, sizes = map(int, done(reader).split())
        assert rounds >= sizes > 3  # it read while the index grew


def test_two_writers_take_turns(tmp_path):
    index = filled(tmp_path / "i")
    writers = [start(WRITER, str(tmp_path / "i"), name, "5") for name in "ab"]
    for writer in writers:
        done(writer)
    assert len(index) == 110
    assert len(index.search("b", 1_000, mode="text", filter="id LIKE 'b%'")) == 50


def test_old_versions_do_not_pile_up(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_KEPT", timedelta(milliseconds=1))

    def size():
        return sum(path.stat().st_size for path in (tmp_path / "i").rglob("*") if path.is_file())

    index = filled(tmp_path / "i")
    assert len(index._store._db.open_table("texts").list_versions()) == 1
    sizes = []
    for turn in range(12):
        index.replace({f"old-{n}": f"text {turn}" for n in range(10)}, embeddings=vectors(10, turn))
        sizes.append(size())
    assert max(sizes[6:]) < 2 * min(sizes[1:6])
    assert len(index) == 10


def test_a_killed_writer_leaves_the_old_index_or_the_new_one(tmp_path):
    found = kill_often(tmp_path, 20)
    assert found.kills == 20 and sum(found.old.values()) > 10
    assert found.unpublished > 2  # they were killed in the midst of a write


def test_a_reader_goes_on_when_its_version_is_removed(tmp_path, monkeypatch):
    index = filled(tmp_path / "i")
    other = Index.open(tmp_path / "i")
    calls = []
    plain = other._store.matching

    def matching(*arguments):
        calls.append(other._store._version)
        if len(calls) == 1:  # meanwhile two writes
            for name in "ab":
                index.add({name: "text"}, embeddings=np.ones((1, 16)))
            raise RuntimeError("file not found")
        return plain(*arguments)

    monkeypatch.setattr(other._store, "matching", matching)
    assert len(other.search("text", 100, mode="text")) == 12
    assert len(calls) == 2 and calls[0] < calls[1]
