"""A full disk is a clear error; what is whole stays whole, and with room the job goes on."""

import subprocess
import sys
from contextlib import contextmanager

import pytest

from sentune import bulk
from sentune.disk import files
from sentune.errors import OutputError
from tests.bulk.small import content, static, write_corpus


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "corpus.jsonl"
    write_corpus(path, rows=300)
    return path


class Full:
    """A file on a disk that is full after some bytes."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        self.room[0] -= len(data)
        if self.room[0] < 0:
            raise OSError(28, "No space left on device")
        return self.file.write(data)

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.mark.parametrize("form", ["parquet", "npy"])
@pytest.mark.parametrize("part", [0, 0.001, 0.3, 0.5, 0.7, 0.9, 0.999])
def test_a_full_disk_is_a_clear_error(form, part, source, tmp_path, monkeypatch, recwarn, capfd):
    model, options = static(), {"shard_rows": 50, "format": form}
    bulk.encode_corpus(source, model, tmp_path / "whole", **options)
    expected = content(tmp_path / "whole")
    left = [int(part * sum(map(len, expected.values())))]
    inner = files.opened

    @contextmanager
    def opened(path, **kwargs):
        with inner(path, **kwargs) as file:
            yield Full(file, left)

    with monkeypatch.context() as patch:
        patch.setattr(files, "opened", opened)
        with pytest.raises(OutputError, match=r"out is full \(No space left on device\)"):
            bulk.encode_corpus(source, model, tmp_path / "out", **options)
    there = content(tmp_path / "out")
    assert there.items() <= expected.items() and len(there) < len(expected)
    assert part < 0.4 or len(there) > 1
    bulk.encode_corpus(source, model, tmp_path / "out", **options)
    assert content(tmp_path / "out") == expected
    assert not recwarn.list and "Exception ignored" not in capfd.readouterr().err


CODE = """
import resource, signal, sys
from sentune import bulk
from sentune.errors import OutputError
from tests.bulk.small import static
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))
try:
    bulk.encode_corpus(sys.argv[1], static(), sys.argv[2], shard_rows=400)
except OutputError as error:
    print(error)
"""


def test_a_file_that_the_system_does_not_let_grow(source, tmp_path):
    """Of the real system, not of a stand-in for its file."""
    command = [sys.executable, "-c", CODE, str(source), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"{tmp_path / 'out'} is full (File too large)" in done.stdout
    assert done.stderr == ""
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["manifest.json"]


def test_a_folder_that_cannot_be_written_to(source, tmp_path):
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match="cannot be written to"):
            bulk.encode_corpus(source, static(), place)
