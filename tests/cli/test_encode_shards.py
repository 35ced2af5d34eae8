"""`sentune encode CORPUS -o DIR`."""

import os

import numpy as np
import pyarrow.parquet as pq
import pytest

from sentune.cli import main
from sentune.encoder.sentence_transformers import SentenceTransformer
from tests.bulk.small import content, static, write_corpus


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    static().save(str(folder))
    return str(folder)


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts").mkdir()
    write_corpus(tmp_path / "texts" / "a.jsonl", rows=70)
    (tmp_path / "texts" / "b.csv").write_text("id,text,lang\nx,a cat,en\ny,,de\n")
    return "texts"


def test_a_folder_becomes_shards(corpus, model, tmp_path, capsys):
    words = ["encode", corpus, "--model", model, "-o", "out", "--shard-rows", "50", "--normalize"]
    assert main(words) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "texts: 72 rows, 3 shards, texts in column 'text', ids in column 'id'",
        "71 embeddings of dimension 8 in 3 shards in out",
        "1 text could not be encoded; out/shard-*.errors.jsonl names them and says why",
    ]
    assert said.err.splitlines()[-1].startswith("Encoding  100%  ")
    table = pq.read_table("out/shard-00002.parquet")
    assert table.drop_columns("embedding").to_pylist() == [
        {"id": "x", "text": "a cat", "year": None, "lang": "en"}
    ]
    expected = SentenceTransformer(model).encode("a cat", normalize_embeddings=True)
    np.testing.assert_allclose(table["embedding"][0].as_py(), expected, atol=1e-6)
    before = content(tmp_path / "out")
    (tmp_path / "out" / "shard-00001.parquet").unlink()
    (tmp_path / "out" / "complete.json").unlink()
    assert main(words) == 0
    assert "going on: 2 of 3 shards are there" in capsys.readouterr().out
    assert content(tmp_path / "out") == before
    assert main([*words[:-1]]) == 2
    error = capsys.readouterr().err
    assert error.startswith("sentune encode: ") and "normalize was True and is False" in error


def test_shares_and_npy(corpus, model, capsys):
    words = ["encode", corpus, "--model", model, "-o", "out", "--shard-rows", "50"]
    words += ["--format", "npy", "--precision", "float16", "--truncate-dim", "4"]
    assert main([*words, "--shards", "2/2"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == (
        "20 embeddings of dimension 4 added to out; 2 of 3 shards are still missing"
    )
    assert main([*words, "--shards", "1/2"]) == 0
    assert "71 embeddings of dimension 4 in 3 shards in out" in capsys.readouterr().out
    assert np.load("out/shard-00000.npy").dtype == np.float16
    assert main([*words, "--shards", "3/2"]) == 2
    assert "there is no share 3 of 2" in capsys.readouterr().err


def test_documents_are_files(tmp_path, model, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes").mkdir()
    for name in ("a.md", "b.txt"):
        (tmp_path / "notes" / name).write_text(f"the cat\nof {name}\n")
    assert main(["encode", "notes", "--model", model, "-o", "out", "--per", "file"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "notes: 2 rows, 1 shard, ids by file"
    assert pq.read_table("out/shard-00000.parquet")["id"].to_pylist() == ["a.md", "b.txt"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "give either a file for the embeddings"),
        (["x.npy", "-o", "out"], "give either a file for the embeddings"),
        (["x.npy", "--workers", "2"], "--workers is for a corpus; give -o DIR"),
        (["x.npy", "--shard-rows", "2"], "--shard-rows is for a corpus"),
        (["x.npy", "--precision", "int8"], "needs ranges"),
        (["-o", "out", "--device", "cpu", "cpu", "--workers", "2"], "name one device, not 2"),
        (["-o", "out", "--device", "cuda:99"], "there is no device 'cuda:99' here"),
        (["-o", "out", "--column", "no"], "there is no column 'no'; there are id, text, year"),
    ],
)
def test_what_does_not_go_together_is_an_error(words, says, corpus, model, capsys):
    assert main(["encode", corpus, *words, "--model", model]) == 2
    assert says in capsys.readouterr().err
    assert not os.path.exists("out") and not os.path.exists("x.npy")


def test_a_single_file_takes_the_model_s_options(tmp_path, model, capsys, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "a.txt").write_text("a cat\na dog\n")
    words = ["encode", str(tmp_path / "a.txt"), str(tmp_path / "out.npy"), "--model", model]
    words += ["--precision", "float16", "--truncate-dim", "4", "--prompt", "the "]
    assert main([*words, "--dtype", "float32", "--device", "cpu"]) == 0
    found = np.load(tmp_path / "out.npy")
    expected = SentenceTransformer(model, dtype="float32").encode(
        ["a cat", "a dog"], prompt="the ", truncate_dim=4
    )
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_standard_input_is_no_corpus(model, capsys):
    assert main(["encode", "-", "-o", "out", "--model", model]) == 2
    assert "write standard input to a file first" in capsys.readouterr().err


def test_ctrl_c_says_how_to_go_on(corpus, model, monkeypatch, capsys):
    from sentune.bulk import encode

    inner = encode.encode_shard

    def interrupted(job, number, *args, **kwargs):
        if number == 1:
            raise KeyboardInterrupt
        return inner(job, number, *args, **kwargs)

    monkeypatch.setattr(encode, "encode_shard", interrupted)
    words = ["encode", corpus, "--model", model, "-o", "out", "--shard-rows", "50"]
    assert main(words) == 130
    said = capsys.readouterr().err
    assert "Stopped. 1 of 3 shards is in out; the same command goes on from there." in said


def test_a_corpus_of_which_no_text_can_be_encoded_is_an_error(corpus, model, tmp_path, capsys):
    (tmp_path / "numbers.jsonl").write_text('{"text": "1", "year": 2000}\n{"year": 2001}\n')
    words = ["encode", "numbers.jsonl", "--model", model, "-o", "out", "--column", "year"]
    assert main(words) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "none of 2 texts could be encoded; out/shard-*.errors.jsonl says why" in said
