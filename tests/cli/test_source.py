"""The arguments that say which rows a command reads, on files as people have them."""

import argparse
import io
import json
import shlex

import pytest

from sentune.cli import _parser, main
from sentune.cli._arguments import add_source, rows
from sentune.cli._output import streams


@pytest.fixture(autouse=True)
def own_place(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("id,query,doc,similarity\n1,q,d,4.5\n2,r,e,0.5\n")
    (tmp_path / "b.csv").write_text("id,query,doc,similarity\n3,s,f,1\n")


def read(*words):
    parser = argparse.ArgumentParser()
    add_source(parser)
    with streams(is_quiet=False):
        return rows(parser.parse_args(words))


def test_several_files_with_columns_and_label(capsys):
    found = read(
        "a.csv", "b.csv", "--columns", "anchor=query, positive=doc", "--label", "similarity"
    )
    assert found.to_dict() == {
        "anchor": ["q", "r", "s"],
        "positive": ["d", "e", "f"],
        "score": [4.5, 0.5, 1.0],
    }
    assert capsys.readouterr().err == ""
    assert read("*.csv", "--columns", "doc,query").column_names == ["doc", "query"]


def test_what_was_decided_is_said_on_standard_error(capsys):
    assert read("a.csv").column_names == ["query", "doc", "score"]
    said = capsys.readouterr()
    assert said.out == "" and [line.split(" ", 4)[:4] for line in said.err.splitlines()] == [
        ["note:", "column", "'similarity'", "is"],
        ["note:", "column", "'id'", "is"],
    ]


@pytest.mark.parametrize("text", ["a=b,a=c", "a=", "=b", "a,,b", ""])
def test_columns_that_are_no_names_are_refused(text, capsys):
    with pytest.raises(SystemExit):
        read("a.csv", f"--columns={text}")
    assert "must be different names as in anchor=query,positive=doc" in capsys.readouterr().err


def test_bad_rows_are_skipped_and_written(tmp_path, capsys):
    (tmp_path / "bad.csv").write_text("text\none\ntwo,three\nfour\n")
    assert main(["inspect", "bad.csv"]) == 2
    assert "bad.csv, line 3: the row has 2 cells" in capsys.readouterr().err
    assert read("bad.csv", "--skip-bad-rows", "left.jsonl")["text"][:] == ["one", "four"]
    assert "note: 1 row was left out, and written to left.jsonl" in capsys.readouterr().err
    assert json.loads((tmp_path / "left.jsonl").read_text())["line"] == 3
    assert len(read("bad.csv", "--skip-bad-rows")) == 2


def test_an_option_does_not_eat_the_data(tmp_path, capsys):
    """`--skip-bad-rows a.csv b.csv` names a.csv as the file to write, which it is not."""
    before = (tmp_path / "a.csv").read_text()
    assert main(["inspect", "--skip-bad-rows", "a.csv", "b.csv"]) == 2
    assert "a.csv is there and has no rows that were left out" in capsys.readouterr().err
    assert (tmp_path / "a.csv").read_text() == before


def test_standard_input_may_be_a_table(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("text,label\nx,ham\ny,spam\nz,ham\n"))
    found = read("-")
    assert found.features["label"].names == ["ham", "spam"] and found["label"][:] == [0, 1, 0]
    assert "note: standard input is read as csv" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", io.StringIO("text,label\nx,ham\n"))
    assert read("-", "--format", "txt")["text"][:] == ["text,label", "x,ham"]


def test_encode_reads_a_text_per_line_whatever_it_looks_like(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("Berlin,Germany\nParis,France\n"))
    found = rows(argparse.Namespace(source="-", split="train"))
    assert found["text"][:] == ["Berlin,Germany", "Paris,France"]


def test_an_encoding_can_be_said(tmp_path, capsys):
    (tmp_path / "x.txt").write_bytes("Привет".encode("koi8-r"))
    assert read("x.txt", "--encoding", "koi8-r")["text"][:] == ["Привет"]
    assert capsys.readouterr().err == ""


def test_a_second_reading_leaves_the_bad_rows_of_the_first(tiny_bert_folder, tmp_path, capsys):
    (tmp_path / "held.csv").write_text("query,doc\na b,c d\nodd\ne f,g h\n")
    (tmp_path / "more.csv").write_text("query,doc\ni j,k l\n")
    words = [str(tiny_bert_folder), "--data", "held.csv", "--train", "more.csv", "--no-report"]
    assert main(["evaluate", *words, "--skip-bad-rows", "left.jsonl"]) == 0
    assert json.loads((tmp_path / "left.jsonl").read_text())["line"] == 3
    words = ["held.csv", "--test", "more.csv"]
    assert main(["inspect", *words, "--skip-bad-rows", "left.jsonl"]) == 0
    assert json.loads((tmp_path / "left.jsonl").read_text())["line"] == 3
    assert main(["inspect", "more.csv", "--test", "held.csv", "--skip-bad-rows"]) == 0


def test_what_inspect_advises_reads_the_file_as_inspect_did(tmp_path, capsys):
    text = "qu\xe9stion;answer;mark\n" + "".join(f"a {n};b {n};{n % 2}\n" for n in range(30))
    (tmp_path / "odd.dat").write_bytes(text.encode("utf-16"))
    options = ["--format=csv", "--encoding=utf-16", "--split=train[:28]", "--skip-bad-rows=b.jsonl"]
    names = ["--columns", "a=qu\xe9stion,answer", "--label", "mark"]
    assert main(["inspect", "odd.dat", *options, *names]) == 0
    command = next(
        line for line in capsys.readouterr().out.splitlines() if "  sentune train" in line
    )
    given = _parser().parse_args(shlex.split(command)[1:])
    with streams(is_quiet=False):
        assert rows(given).to_dict() == read("odd.dat", *options, *names).to_dict()
    assert len(rows(given)) == 28 and (given.skip_bad_rows, given.label) == ("b.jsonl", "mark")


def test_inspect_advises_no_more_than_was_said(capsys):
    assert main(["inspect", "a.csv"]) == 0
    assert "  sentune train a.csv --model " in capsys.readouterr().out
