"""Several processes: one that dies is noticed and its piece done again, for the reason shown."""

import json
import os
import signal

import numpy as np
import pyarrow.parquet as pq
import pytest

from sentune import SentenceTransformer, bulk
from sentune.errors import WorkersDiedError
from sentune.models.pooling import Pooling
from sentune.models.transformer import Transformer
from tests.bulk.small import content, write_corpus


class Dies(Transformer):
    """Ends its process at one text: once, or always."""

    def tokenize(self, texts, **kwargs):
        kind = os.environ.get("SENTUNE_TEST_DIES", "")
        is_hit = any("fish fish fish" in text for text in texts)
        is_worker = os.environ.get("SENTUNE_TEST_PARENT") != str(os.getpid())
        if kind and is_hit and is_worker and (kind == "always" or not os.path.exists(kind)):
            if kind != "always":
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
    monkeypatch.setenv("SENTUNE_TEST_DIES", "always")
    with pytest.raises(WorkersDiedError, match=r"died 2 times on the same texts \(signal SIGKILL"):
        bulk.encode_corpus(source, model, out, **options)
    assert list(content(out)) == ["manifest.json"]
    monkeypatch.setenv("SENTUNE_TEST_DIES", str(tmp_path / "died"))
    caplog.clear()
    found = bulk.encode_corpus(source, model, out, **options)
    assert (found.rows, found.failed, found.missing) == (119, 1, [])
    assert "a worker died (signal SIGKILL); its texts are encoded again" in caplog.text
    tables = [pq.read_table(path) for path in sorted(out.glob("*.parquet"))]
    good = [row for row in rows if row["text"] is not None]
    assert [name for table in tables for name in table["id"].to_pylist()] == [r["id"] for r in good]
    vectors = np.concatenate([np.stack(table["embedding"].to_numpy()) for table in tables])
    np.testing.assert_allclose(vectors, model.encode([r["text"] for r in good]), atol=1e-4)
