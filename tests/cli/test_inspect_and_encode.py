"""`sentune inspect` and `sentune encode` on small files."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest

from sentune.cli import main
from sentune.encoder.sentence_transformers import SentenceTransformer
from tests.precision import tolerance

CSV = "question,answer,label\nwhat is this,a test,1\nwho is there,nobody,0\n"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(CSV)
    return str(path)


def test_inspect_shows_form_findings_and_losses(source, capsys):
    with open(source, "a") as file:
        file.write("what is this,a test,1\n")
    assert main(["inspect", source]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    shown = captured.out
    assert shown.startswith(f"{source}: 3 rows\nForm: pair and 0 or 1, because it has 2 text")
    assert "Exact duplicates: 1 row, 2\n" in shown
    assert "row 2 (rows.csv, line 4): the same as row 0\n      question: what is" in shown
    assert f"sentune train {source} --model" in shown
    assert max(map(len, shown.splitlines())) <= 100 + len(source)


def test_inspect_checks_the_data_for_a_loss(source, capsys):
    assert main(["inspect", source, "--loss", "TripletLoss"]) == 1
    assert "error: TripletLoss wants three texts" in capsys.readouterr().out
    assert main(["inspect", source, "--loss", "ContrastiveLoss", "--batch-size", "8"]) == 0
    assert "warning: it has 2 rows, fewer than one batch of 8" in capsys.readouterr().out


def test_inspect_as_json_with_a_model_and_test_data(source, tiny_bert_folder, tmp_path, capsys):
    words = ["inspect", source, "--test", source, "--model", str(tiny_bert_folder), "--json"]
    clean = tmp_path / "clean.csv"
    assert main([*words, "--write-clean", str(clean)]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found["lengths"]["question"]["unit"] == "tokens"
    assert found["lengths"]["question"]["limit"] == 64
    assert found["findings"][-1]["kind"] == "rows of the test data"
    assert found["findings"][-1]["rows"] == [0, 1]
    assert f"{clean} has 0 rows, {tmp_path / 'clean.removed.csv'} the 2 that went" in said.err


def test_inspect_refuses_a_file_that_it_cannot_write_before_it_reads(capsys):
    assert main(["inspect", "nowhere.csv", "--write-clean", "clean.doc"]) == 2
    assert (
        "must end in .csv, .tsv, .jsonl, .json, .parquet; got clean.doc" in capsys.readouterr().err
    )


def test_what_is_read_is_not_written_over_and_kinds_are_checked_first(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    held = tmp_path / "in" / "held.csv"
    held.write_text("question,answer\n" + "".join(f"q {n} of,a {n} of\n" for n in range(9)))
    before = held.read_bytes()
    for words, says in (
        (
            ["inspect", str(held.parent), "--write-clean", str(held)],
            "is read; name a file elsewhere",
        ),
        (["inspect", "x.csv", "--test", str(held), "--write-clean", str(held)], "are read from"),
        (["evaluate", "m", "--data", str(held), "--report", str(held)], "are read from"),
        (["mine", "x.csv", "--corpus", str(held), "-o", str(held)], "are read from"),
        (["inspect", str(held), "--also-remove", "one-word texts"], "name its file"),
        (
            ["inspect", "x", "--write-clean", "c.csv", "--also-remove", "words"],
            "no finding 'words'",
        ),
    ):
        assert main(words) == 2
        assert says in " ".join(capsys.readouterr().err.split()), words
    assert held.read_bytes() == before


def test_a_folder_above_may_be_evaluated_where_no_page_is_named(tmp_path, monkeypatch, capsys):
    (tmp_path / "below").mkdir()
    (tmp_path / "held.csv").write_text("question,answer\nq of,a of\nq on,a on\n")
    monkeypatch.chdir(tmp_path / "below")
    assert main(["evaluate", "no-such-model", "--data", ".."]) != 0
    assert "would be in the folder" not in capsys.readouterr().err


def test_encode_writes_what_the_model_says(source, tiny_bert_folder, tmp_path, capsys):
    output = tmp_path / "embeddings.npy"
    words = ["encode", source, str(output), "--model", str(tiny_bert_folder), "--normalize"]
    assert main([*words, "--column", "answer"]) == 0
    expected = SentenceTransformer(str(tiny_bert_folder)).encode(
        ["a test", "nobody"], normalize_embeddings=True
    )
    np.testing.assert_allclose(np.load(output), expected, atol=1e-6)
    said = capsys.readouterr()
    assert said.out == f"2 embeddings of dimension 32 in {output}\n"
    assert said.err.startswith("Encoding  100%")  # a plain line where there is no terminal
    assert main(words) == 0  # the first column that holds no labels
    assert not np.allclose(np.load(output), expected)


@pytest.mark.parametrize(
    ("column", "says"), [("nothing", "no column 'nothing'"), ("label", "row 0 of column 'label'")]
)
def test_encode_names_a_column_that_it_cannot_use(source, column, says, tmp_path, capsys):
    words = ["encode", source, str(tmp_path / "out.npy"), "--column", column]
    assert main(words) == 2
    assert says in capsys.readouterr().err


def test_encode_reaches_columns_that_no_training_reads(tiny_bert_folder, tmp_path, capsys):
    source, output = tmp_path / "rows.csv", tmp_path / "out.npy"
    source.write_text("key,kind,text\n" + "".join(f"k{n:03d},a,text {n}\n" for n in range(60)))
    words = ["encode", str(source), str(output), "--model", str(tiny_bert_folder)]
    for name, texts in {"key": [f"k{n:03d}" for n in range(60)], "kind": ["a"] * 60}.items():
        assert main([*words, "--column", name]) == 0
        expected = SentenceTransformer(str(tiny_bert_folder)).encode(texts)
        np.testing.assert_allclose(np.load(output), expected, atol=tolerance(1e-6))
    capsys.readouterr()
    assert main([*words, "--column", "kye"]) == 2
    assert "no column 'kye'; there are key, kind, text" in capsys.readouterr().err


def test_encode_says_which_of_several_columns_it_takes(source, tiny_bert_folder, tmp_path, capsys):
    words = ["encode", source, str(tmp_path / "out.npy"), "--model", str(tiny_bert_folder)]
    assert main(words) == 0
    said = "note: the texts are those of column 'question'; --column takes answer\n"
    assert said in capsys.readouterr().err
    assert main([*words, "--column", "question"]) == 0
    assert "note:" not in capsys.readouterr().err


def test_encode_leaves_out_broken_rows_and_reads_encodings(tiny_bert_folder, tmp_path, capsys):
    source, output, bad = (str(tmp_path / name) for name in ("odd.csv", "out.npy", "bad.jsonl"))
    with open(source, "wb") as file:
        file.write("text\nПривет\nне,так\nдругой\n".encode("koi8-r"))
    words = ["encode", source, output, "--model", str(tiny_bert_folder), "--encoding", "koi8-r"]
    assert main([*words, "--skip-bad-rows", bad]) == 0
    expected = SentenceTransformer(str(tiny_bert_folder)).encode(["Привет", "другой"])
    np.testing.assert_allclose(np.load(output), expected, atol=tolerance(1e-6))
    assert "note: 1 row was left out, and written to" in capsys.readouterr().err
    for option in ("--skip-bad-rows", "--encoding=koi8-r"):
        assert main(["encode", source, "-o", str(tmp_path / "shards"), option]) == 2
        assert f"{option.partition('=')[0]} is for a single file" in capsys.readouterr().err


def test_encode_leaves_out_no_row_for_another_column(tiny_bert_folder, tmp_path, capsys):
    source, output = tmp_path / "rows.csv", str(tmp_path / "out.npy")
    source.write_text("text,answer,label\na test,x,1\nwho is there,,0\nwhat,y,\n,z,1\n")
    words = ["encode", str(source), output, "--model", str(tiny_bert_folder)]
    assert main([*words, "--skip-bad-rows"]) == 0
    expected = SentenceTransformer(str(tiny_bert_folder)).encode(["a test", "who is there", "what"])
    np.testing.assert_allclose(np.load(output), expected, atol=tolerance(1e-6))
    assert "note: 1 row was left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "column"),
    [
        (
            "id,url,title,body\n1,http://a,One title,The body\n2,http://b,Two titles,A body\n",
            "title",
        ),
        ("url,text\nhttp://a x,b\n", "text"),
        ("id,key,kind\nx,a,b\nx,c,d\n", "key"),
        ("year,words\n2000,one\n2001,two\n", "words"),
    ],
)
def test_a_file_and_a_corpus_have_their_texts_in_the_same_column(
    name, column, tiny_bert_folder, tmp_path, capsys
):
    from sentune.data.corpus import Corpus

    source = tmp_path / "rows.csv"
    source.write_text(name)
    words = ["encode", str(source), str(tmp_path / "out.npy"), "--model", str(tiny_bert_folder)]
    assert main(words) == 0
    corpus = Corpus.open(source)
    assert corpus.text == column
    expected = SentenceTransformer(str(tiny_bert_folder)).encode([one.text for one in corpus])
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=tolerance(1e-6))


def test_encode_says_so_where_there_are_no_texts(tmp_path, capsys):
    source = tmp_path / "rows.csv"
    for content, says in (
        ("a,b\n1,2\n", "has no column of texts; there are a, b"),
        ('text\n"open\n', "no rows that can be read; the first one: a quote is opened and not"),
        ("text\n", "has no rows"),
    ):
        source.write_text(content)
        assert main(["encode", str(source), str(tmp_path / "out.npy")]) == 2
        assert says in capsys.readouterr().err


def test_a_file_that_is_not_there_is_one_line(capsys):
    assert main(["inspect", "nowhere.csv"]) == 2
    assert capsys.readouterr().err.startswith("sentune inspect: there is no file nowhere.csv")


@pytest.mark.parametrize("output", ["folder.npy", "folder", "dangling.npy"])
def test_encode_finds_out_before_the_work_that_it_cannot_write(
    output, source, tiny_bert_folder, tmp_path, monkeypatch, capsys
):
    (tmp_path / "folder.npy").mkdir()
    (tmp_path / "dangling.npy").symlink_to(tmp_path / "nowhere" / "file.npy")
    monkeypatch.setattr(SentenceTransformer, "encode", lambda *_, **__: pytest.fail("encoded"))
    assert main(["encode", source, str(tmp_path / output), "--model", str(tiny_bert_folder)]) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("output", ["", "there", "there/", "nowhere/"])
def test_encode_refuses_names_that_are_no_files(output, source, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    before = sorted(tmp_path.rglob("*"))
    assert main(["encode", source, output, "--model", "no/model"]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "cannot be written" in error and "name a file, as embeddings.npy" in error
    assert sorted(tmp_path.rglob("*")) == before


def test_encode_refuses_an_empty_folder_for_shards(source, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["encode", source, "-o", ""]) == 2
    assert "-o is empty; name a folder" in capsys.readouterr().err


def test_encode_writes_to_what_is_no_plain_file(source, tiny_bert_folder, tmp_path, capsys):
    words = ["encode", source, "/dev/null", "--model", str(tiny_bert_folder)]
    assert main(words) == 0
    assert "embeddings of dimension 32 in /dev/null\n" in capsys.readouterr().out


def test_encode_does_not_write_over_what_it_reads(source, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.npy").symlink_to(source)
    bad = ["--skip-bad-rows", "both.npy"]
    for words, says in (
        ([source, "both.npy", *bad], "cannot have both the embeddings and the rows"),
        ([source, "both", *bad], "cannot have both the embeddings and the rows"),
        ([source, "link.npy"], "is what the rows are read from"),
        (["*.csv", "link.npy"], "is what the rows are read from"),
        ([str(tmp_path), "link.npy"], "would be in the folder"),
    ):
        assert main(["encode", *words, "--model", "no/model"]) == 2
        assert says in " ".join(capsys.readouterr().err.split()), words
    with open(source) as file:
        assert file.read() == CSV
    assert not (tmp_path / "both.npy").exists()


def test_encode_leaves_the_old_file_when_it_fails(source, tiny_bert_folder, tmp_path, monkeypatch):
    (tmp_path / "far.npy").write_bytes(b"old")
    (tmp_path / "out.npy").symlink_to("far.npy")
    command = ["encode", source, str(tmp_path / "out"), "--model", str(tiny_bert_folder)]

    def fail(*_, **__):
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(SentenceTransformer, "encode", fail)
        with pytest.raises(RuntimeError, match="out of memory"):
            main(command)
    assert (tmp_path / "far.npy").read_bytes() == b"old"
    assert main(command) == 0
    assert (tmp_path / "out.npy").is_symlink()
    assert np.load(tmp_path / "far.npy").shape == (2, 32)
    assert not list(tmp_path.glob(".*"))


def test_encode_names_a_folder_that_is_not_there_before_any_work(source, tmp_path, capsys):
    output = tmp_path / "nowhere" / "out.npy"
    assert main(["encode", source, str(output), "--model", "no/model"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"sentune encode: the folder {output.parent} does not exist")


def test_progress_is_a_line_for_each_part(tiny_bert_folder, tmp_path, capsys):
    source, output = tmp_path / "lines.txt", tmp_path / "out.npy"
    texts = [f"line {'number ' * (i % 7)}" for i in range(600)]
    source.write_text("\n".join(texts))
    assert main(["encode", str(source), str(output), "--model", str(tiny_bert_folder)]) == 0
    assert [line[10:14].strip() for line in capsys.readouterr().err.splitlines()] == [
        "42%",
        "85%",
        "100%",
    ]
    expected = SentenceTransformer(str(tiny_bert_folder)).encode(texts)
    np.testing.assert_allclose(np.load(output), expected, atol=tolerance(1e-6))


@pytest.mark.parametrize("devices", [[], ["--device", "cpu", "cpu"]])
def test_all_texts_that_are_truncated_are_counted(devices, tiny_bert_folder, tmp_path, capfd):
    source = tmp_path / "lines.txt"
    long = "word " * 100
    source.write_text("\n".join(f"{long if i % 2 else 'text'} {i}" for i in range(600)))
    words = ["--model", str(tiny_bert_folder), *devices]
    for output in ([str(tmp_path / "out.npy")], ["-o", str(tmp_path / "out"), "--shard-rows=90"]):
        assert main(["encode", str(source), *output, *words]) == 0
        said = capfd.readouterr().err
        assert said.count("were truncated") == 1
        assert "note: 300 of 600 texts had more than max_seq_length=64 tokens and were" in said


def test_standard_input_and_output(tiny_bert_folder):
    command = [sys.executable, "-m", "sentune"]
    given = b"a test\nnobody\n"
    words = ["encode", "-", "-", "--model", str(tiny_bert_folder)]
    done = subprocess.run([*command, *words], input=given, capture_output=True, check=True)
    expected = SentenceTransformer(str(tiny_bert_folder)).encode(["a test", "nobody"])
    found = np.load(io.BytesIO(done.stdout))
    np.testing.assert_allclose(found, expected, atol=tolerance(1e-6))
    assert b"2 embeddings of dimension 32 in standard output" in done.stderr
    done = subprocess.run([*command, "inspect", "-"], input=given, capture_output=True, check=True)
    assert done.stdout.startswith(b"standard input: 2 rows\nForm: sentence, because")


def test_an_empty_standard_input_is_an_error(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert main(["inspect", "-"]) == 2
    assert "standard input is empty; give it a text per line, or a" in capsys.readouterr().err


def test_encode_keeps_no_more_dimensions_than_there_are(source, tiny_bert_folder, tmp_path, capsys):
    words = ["encode", source, str(tmp_path / "out.npy"), "--model", str(tiny_bert_folder)]
    assert main([*words, "--truncate-dim", "1000"]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "(--truncate-dim) must be at most 32, the dimensions that the model gives" in error
    assert main([*words, "--truncate-dim", "32"]) == 0


def test_encode_says_what_it_reads_from_standard_input(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert main(["encode", "-", str(tmp_path / "out.npy")]) == 2
    assert "standard input is empty; give it a text per line\n" in capsys.readouterr().err


def test_embeddings_are_not_shown_as_text(source, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert main(["encode", source, "-", "--model", "no/model"]) == 2
    assert "- > file.npy" in capsys.readouterr().err


def test_an_unknown_loss_is_refused_with_the_near_ones(source, capsys):
    assert main(["inspect", source, "--loss", "TripletLos"]) == 2
    assert "there is no loss 'TripletLos'; did you mean TripletLoss" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["inspect"], ["encode", "out.npy"]])
@pytest.mark.parametrize("size", ["0", "-1", "x"])
def test_a_batch_size_below_one_is_refused(source, command, size, capsys):
    with pytest.raises(SystemExit) as error:
        main([command[0], source, *command[1:], "--batch-size", size])
    assert error.value.code == 2
    assert "must be an integer of at least 1" in capsys.readouterr().err


@pytest.mark.parametrize("cell", ['{"en": "a"}', '{"en": "a", "de": "b"}', '{"en": 1}'])
def test_a_column_of_dicts_is_an_error(cell, tmp_path, capsys):
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"text": {cell}}}\n' * 2)
    assert main(["inspect", str(path)]) == 1
    assert "column 'text' has dicts in place of texts in rows 0, 1" in capsys.readouterr().out


def test_an_error_of_the_system_is_one_line(
    source, tiny_bert_folder, tmp_path, monkeypatch, capsys
):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    output = tmp_path / "out.npy"
    assert main(["encode", source, str(output), "--model", str(tiny_bert_folder)]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert f"sentune encode: {output} cannot be written: No space left on device; what" in error
    assert not output.exists()
