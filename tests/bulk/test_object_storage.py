"""Corpora and shards in object storage: the protocol of S3, by a server in a thread."""

import os
import random
import subprocess
import sys
import time

import pytest

from sentune import bulk
from tests.bulk.ray_cluster import cluster, until
from tests.bulk.small import content, slow, static, write_corpus

SHARDS, ROWS = 16, 10


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """A bucket with a corpus; the address of it, and a file system to look at it."""
    pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    names = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in names.items():
            patch.setenv(name, value)
        system = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
        system.mkdir("bucket")
        folder = tmp_path_factory.mktemp("corpus")
        write_corpus(folder / "corpus.jsonl", rows=SHARDS * ROWS)
        system.put_file(str(folder / "corpus.jsonl"), "bucket/texts/corpus.jsonl")
        yield "s3://bucket", system
    server.stop()


def stored(system, folder):
    # A folder that appears while it is looked at is given as a file.
    paths = [path for path in system.find(folder) if path != folder]
    return {path.rpartition("/")[2]: system.cat_file(path) for path in paths}


def test_shards_in_a_bucket_are_those_of_a_folder(bucket, tmp_path):
    address, system = bucket
    bulk.encode_corpus(f"{address}/texts", static(), tmp_path / "out", shard_rows=ROWS)
    found = bulk.encode_corpus(f"{address}/texts", static(), f"{address}/out", shard_rows=ROWS)
    assert (found.output, found.missing, found.rows) == ("s3://bucket/out", [], SHARDS * ROWS)
    expected = content(tmp_path / "out")
    assert stored(system, "bucket/out") == expected and len(expected) == SHARDS + 2
    for name in ("shard-00003.parquet", "complete.json"):
        system.rm(f"bucket/out/{name}")
    found = bulk.encode_corpus(f"{address}/texts", static(), f"{address}/out", shard_rows=ROWS)
    assert (found.missing, found.rows) == ([], ROWS)
    assert stored(system, "bucket/out") == expected


@pytest.mark.slow
def test_kills_leave_nothing_half_written_in_a_bucket(bucket, tmp_path):
    address, system = bucket
    static().save(str(tmp_path / "model"))
    source = f"{address}/texts/corpus.jsonl"
    bulk.encode_corpus(source, tmp_path / "model", tmp_path / "out", shard_rows=ROWS)
    expected = content(tmp_path / "out")
    command = [sys.executable, "-m", "sentune", "encode", source, "--model", "model"]
    command += ["-o", f"{address}/killed", "--shard-rows", str(ROWS)]
    rng, kills = random.Random(0), 0

    def seen():
        return len(stored(system, "bucket/killed"))

    for _ in range(3):
        run = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
        before = seen()
        until(lambda before=before: seen() > before or seen() == len(expected), run)
        time.sleep(rng.uniform(0, 0.15))
        run.kill()
        kills += run.wait() != 0
        left = stored(system, "bucket/killed")
        assert left.items() <= expected.items()
    assert kills == 3
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert stored(system, "bucket/killed") == expected


@pytest.mark.slow
def test_a_cluster_fills_a_bucket_though_a_worker_and_the_driver_are_killed(bucket, tmp_path):
    pytest.importorskip("ray")
    address, system = bucket
    source = f"{address}/texts/corpus.jsonl"
    environment = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    with cluster(tmp_path, **environment) as nodes:
        bulk.encode_corpus(source, slow(), tmp_path / "out", shard_rows=ROWS)
        expected = content(tmp_path / "out")
        driver = nodes.driver(source, f"{address}/ray", ROWS)
        until(lambda: len(stored(system, "bucket/ray")) >= 3, driver)
        nodes.kill_a_worker()
        until(lambda: len(stored(system, "bucket/ray")) >= 6, driver)
        driver.kill()
        driver.communicate()
        left = stored(system, "bucket/ray")
        assert left.items() < expected.items()
        driver = nodes.driver(source, f"{address}/ray", ROWS)
        _, said = driver.communicate(timeout=300)
        assert driver.returncode == 0, said
    assert stored(system, "bucket/ray") == expected
