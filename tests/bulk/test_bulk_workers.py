"""Several processes: one that dies is noticed and its piece done again, for the reason shown."""

import json
import os
import signal

import numpy as np
import pyarrow.parquet as pq
import pytest

from sentune import SentenceTransformer, bulk
from sentune.encoder.workers import pieces
from sentune.errors import WorkersDiedError
from sentune.models.pooling import Pooling
from sentune.models.transformer import Transformer
from tests.bulk.small import content, static, write_corpus


class Dies(Transformer):
    """Ends its process at one text, until a file is there."""

    def tokenize(self, texts, **kwargs):
        kind = os.environ.get("SENTUNE_TEST_DIES", "")
        is_hit = any("fish fish fish" in text for text in texts)
        is_worker = os.environ.get("SENTUNE_TEST_PARENT") != str(os.getpid())
        if kind and is_hit and is_worker and not os.path.exists(kind):
            open(kind, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().tokenize(texts, **kwargs)


def test_a_worker_that_dies_costs_nothing_but_time(tiny_folders, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("SENTUNE_TEST_PARENT", str(os.getpid()))
    model = SentenceTransformer(modules=[Dies(tiny_folders("bert")), Pooling(32)], device="cpu")
    source, out = tmp_path / "corpus.jsonl", tmp_path / "out"
    rows = write_corpus(source, rows=120)
    rows[17]["text"] = "fish fish fish"
    rows[30]["text"] = None
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = {"shard_rows": 50, "device": ["cpu", "cpu"]}
    monkeypatch.setenv("SENTUNE_TEST_DIES", str(tmp_path / "died"))
    found = bulk.encode_corpus(source, model, out, **options)
    assert (found.rows, found.failed, found.missing) == (119, 1, [])
    assert "a worker died (signal SIGKILL); its texts are encoded again" in caplog.text
    tables = [pq.read_table(path) for path in sorted(out.glob("*.parquet"))]
    good = [row for row in rows if row["text"] is not None]
    assert [name for table in tables for name in table["id"].to_pylist()] == [r["id"] for r in good]
    vectors = np.concatenate([np.stack(table["embedding"].to_numpy()) for table in tables])
    np.testing.assert_allclose(vectors, model.encode([r["text"] for r in good]), atol=1e-4)


def test_texts_that_kill_workers_again_and_again_are_not_taken_for_bad_ones(tmp_path, monkeypatch):
    def die(*_, **__):
        raise WorkersDiedError("worker processes died 2 times on the same texts")

    source, out = tmp_path / "corpus.jsonl", tmp_path / "out"
    write_corpus(source)
    job = bulk.Job.start(source, static(), out)
    monkeypatch.setattr("sentune.bulk.compute.Encoder.floats", die)
    with pytest.raises(WorkersDiedError, match="died 2 times"):
        bulk.encode_shard(job, 0)
    assert list(content(out)) == ["manifest.json"]


def test_work_is_handed_out_by_characters():
    long, short = "word " * 400, "word"
    items = [long] * 5 + [short] * 995 + [long] * 5
    found = pieces(items, 20)
    assert [item for piece in found for item in piece] == items
    sizes = [sum(10 + len(item) for item in piece) for piece in found]
    assert len(found) <= 22 and max(sizes) < sum(sizes) / 20 + 2010
    assert len(found[0]) == 1 and max(map(len, found)) > 90
    assert pieces(["a"], 20) == [["a"]] and len(pieces(["a"] * 12_000, 2)) == 3
