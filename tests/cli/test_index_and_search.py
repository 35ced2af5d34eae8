"""`sentune index` and `sentune search` on small files."""

import json
import subprocess
import sys

import pytest

from sentune import Index, SentenceTransformer
from sentune.cli import main

FILES = {
    "cats.txt": "The cat sat on the mat. It sleeps in the morning.",
    "deep/dogs.md": "# Dogs\n\nA dog ran over the river. The zebra sat under a tree.",
    "birds.rst": "Birds sing in the tree.\n",
}


@pytest.fixture(scope="module")
def model(tiny_bert_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    SentenceTransformer(str(tiny_bert_folder), device="cpu").save(folder)
    return str(folder)


@pytest.fixture(scope="module")
def notes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notes")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return str(folder)


@pytest.fixture
def built(notes, model, tmp_path, capsys):
    assert main(["index", notes, "-o", str(tmp_path / "i"), "--model", model]) == 0
    capsys.readouterr()
    return str(tmp_path / "i")


def names(out):
    return [json.loads(line)["id"] for line in out.splitlines()]


def test_index_says_what_it_made_and_how_to_search_it(notes, model, tmp_path, capsys):
    place = str(tmp_path / "notes.index")
    assert main(["index", notes, "-o", place, "--model", model]) == 0
    out, err = capsys.readouterr()
    first, second = out.splitlines()
    assert first == f"3 documents are in {place}"
    assert second == f'Search them: sentune search {place} "some words"'
    assert err.splitlines()[-1].startswith("Indexing  100%")
    assert len(Index.open(place)) == 3


def test_search_shows_the_name_the_scores_and_the_best_sentence(built, capsys):
    assert main(["search", built, "a", "zebra", "-k", "2", "--mode", "text"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert err == "" and lines[0].startswith(" 1  deep/dogs.md  (words ")
    assert lines[1:] == ["    ... The zebra sat under a tree."]
    assert main(["search", built, "zebra"]) == 0
    out = capsys.readouterr().out
    assert out.count("meaning") == 3 and out.count("words") == 1
    assert "\033" not in out  # plain, where there is no terminal


def test_json_has_a_line_for_each_document(built, capsys):
    assert main(["search", built, "the dog", "--json", "-k", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    hit = Index.open(built).search("the dog", top_k=1)[0]
    assert found == {
        **{"id": hit.id, "score": hit.score, "scores": hit.scores, "text": hit.text},
        **{"start": hit.start, "end": hit.end, "metadata": {}},
    }


def test_a_folder_is_searched_as_it_is_with_the_same_result(notes, built, model, capsys):
    assert main(["search", built, "a cat", "--json"]) == 0
    expected = capsys.readouterr().out
    assert main(["search", notes, "a cat", "--json", "--model", model]) == 0
    out, err = capsys.readouterr()
    assert out == expected and err.startswith("Indexing  100%")


def test_a_table_is_searched_with_its_columns(tmp_path, model, capsys):
    (tmp_path / "rows.csv").write_text('title,body,year\nA,"a, cat",1999\nB,a dog,2001\n')
    words = ["search", str(tmp_path / "rows.csv"), "dog cat", "--model", model, "--text", "body"]
    assert main([*words, "--filter", "year > 2000"]) == 0
    assert capsys.readouterr().out.startswith(" 1  B (rows.csv:1)  (meaning ")
    assert main([*words, "--id", "title", "--json", "--filter", "year < 2000"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["id"], found["metadata"]) == ("A", {"year": 1999})


def test_add_keeps_other_files_of_the_same_name_and_replaces_its_own(built, tmp_path, capsys):
    more = tmp_path / "more"
    more.mkdir()
    (more / "cats.txt").write_text("A quick song.")
    (more / "fish.txt").write_text("A fish in the water.")
    assert main(["index", str(more), "-o", built]) == 2  # not by mistake
    assert "there is an index" in capsys.readouterr().err
    assert main(["index", str(more), "-o", built, "--add"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"5 documents are in {built}" and second.startswith("Search them: ")
    assert main(["search", built, "cat", "--mode", "text", "--json"]) == 0
    assert names(capsys.readouterr().out) == ["cats.txt"]
    (more / "cats.txt").write_text("A slow dance.")
    (more / "fish.txt").unlink()
    assert main(["index", str(more), "-o", built, "--add"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == [
        f"5 documents are in {built}",
        "1 document is replaced, of those that were there before",
    ]
    assert main(["search", built, "song", "--mode", "text"]) == 1
    assert capsys.readouterr().err == "nothing found\n"
    assert main(["search", built, "dance", "--mode", "text", "--json"]) == 0
    assert names(capsys.readouterr().out) == ["more/cats.txt"]


def test_a_place_with_blanks_is_said_as_a_shell_reads_it(notes, tmp_path, model, capsys):
    place = tmp_path / "my index"
    assert main(["index", notes, "-o", str(place), "--model", model]) == 0
    assert f"sentune search '{place}' \"some words\"" in capsys.readouterr().out


def test_add_where_there_is_no_index_leaves_nothing_behind(notes, tmp_path, capsys):
    assert main(["index", notes, "-o", str(tmp_path / "typo"), "--add"]) == 2
    assert "there is no index" in capsys.readouterr().err
    assert not (tmp_path / "typo").exists()


def test_a_folder_of_texts_and_tables_is_read_whole(tmp_path, model, capsys):
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "README.md").write_text("a cat")
    (folder / "rows.csv").write_text("text\na dog\na zebra\n")
    assert main(["index", str(folder), "-o", str(tmp_path / "i"), "--model", model]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("3 documents are in ") and "note:" not in err


@pytest.mark.parametrize("option", ["chunk-tokens", "chunk-overlap", "language", "exact-below"])
def test_what_an_index_was_built_with_cannot_be_changed_by_adding(option, built, notes, capsys):
    assert main(["index", notes, "-o", built, "--add", f"--{option}", "9"]) == 2
    assert f"--{option} is set when an index is built" in capsys.readouterr().err


def test_overwrite_with_options(notes, built, model, capsys):
    words = ["index", notes, "-o", built, "--model", model, "--overwrite"]
    options = ["--chunk-tokens", "8", "--chunk-overlap", "1", "--language", "none"]
    assert main([*words, *options, "--exact-below", "5"]) == 0
    assert ", as " in capsys.readouterr().out
    settings = Index.open(built).settings
    assert (settings.chunk_tokens, settings.chunk_overlap) == (8, 1)
    assert (settings.language, settings.exact_below) == (None, 5)


def test_a_reranker(built, tmp_path, capsys):
    from sentune import CrossEncoder
    from tests.engine.test_classification_heads import classifier

    classifier(tmp_path / "base", "bert", 1)
    assert main(["search", built, "a cat", "--rerank", str(tmp_path / "base")]) == 0
    assert capsys.readouterr().out.startswith(" 1  ")
    scorer = CrossEncoder(str(tmp_path / "base"))
    expected = [hit.id for hit in Index.open(built).search("a cat", reranker=scorer)]
    assert main(["search", built, "a cat", "--rerank", str(tmp_path / "base"), "--json"]) == 0
    assert names(capsys.readouterr().out) == expected


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nowhere", "words"], "nowhere"),
        (["{built}", " "], "nothing to search for"),
        (["{built}", "cat", "--filter", "nope = 1"], "the filter nope = 1 cannot be used"),
        (["{built}", "cat", "--model", "{other}"], "is another one"),
        (["{built}", "cat", "--mode", "text", "--model", "{other}"], "--model is about vectors"),
        (["{built}", "cat", "--mode", "text", "--exact"], "--exact is about vectors"),
        (["{built}", "cat", "--filter", " "], "the filter is blank"),
        (["{built}", "cat", "--filter", "TRUE ORDER BY id; x"], "cannot be used"),
        (["{built}", "cat", "--text", "body"], "--text and --id are for files"),
    ],
)
def test_mistakes_are_one_line(words, says, built, tiny_model, tmp_path, capsys):
    next(tiny_model.parameters()).data += 1
    tiny_model.save(tmp_path / "other")
    given = [word.format(built=built, other=tmp_path / "other") for word in words]
    assert main(["search", *given]) == 2
    err = capsys.readouterr().err
    assert says in err and err.startswith("sentune search: ") and err.count("\n") == 1


def test_documents_that_cannot_be_indexed_are_named(tmp_path, model, capsys):
    (tmp_path / "a.jsonl").write_text('{"text": "a cat"}\n{"text": null}\n')
    place = str(tmp_path / "i")
    assert main(["index", str(tmp_path / "a.jsonl"), "-o", place, "--model", model]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"1 document is in {place}\n")
    assert "note: 1 document is not in the index" in err and "'a.jsonl:1'" in err


def test_a_search_for_words_loads_no_torch(built):
    code = "import sys\nfrom sentune.cli import main\nmain(sys.argv[1:])\n"
    code += "print('torch' in sys.modules)"
    words = [sys.executable, "-c", code, "search", built, "zebra", "--mode", "text", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1] == "False" and done.stderr == ""


def test_files_are_searched_for_words_without_a_model(notes, tmp_path):
    code = "import sys\nfrom sentune.cli import main\ncode = main(sys.argv[1:])\n"
    code += "print('torch' in sys.modules)\nsys.exit(code)"
    words = [sys.executable, "-c", code, "search", notes, "cat", "--mode", "text"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "(words " in done.stdout and done.stdout.splitlines()[-1] == "False"
    words = [*words[:-3], "xylophone", "--mode", "text"]
    assert subprocess.run(words, capture_output=True).returncode == 1


def test_the_column_that_is_searched_is_said_where_there_are_several(tmp_path, model, capsys):
    (tmp_path / "rows.csv").write_text("key,question,answer\nk1,who is it,a cat\n")
    words = ["search", str(tmp_path / "rows.csv"), "cat", "--mode", "text"]
    main(words)
    said = "note: the texts are those of column 'question'; --text (text=...) takes key or answer\n"
    assert said in capsys.readouterr().err
    assert main([*words, "--text", "answer"]) == 0
    assert "note:" not in capsys.readouterr().err
