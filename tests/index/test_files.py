"""Documents of files and folders: their ids, their columns, and those of several sources."""

import json

import numpy as np
import pytest

from sentune import Index
from sentune.errors import DatasetError, InputError
from sentune.index.documents import documents_of


def write(folder, **files):
    """Files by name, where __ is a dot; a folder is made where there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return folder


def vectors(source, **options):
    return np.ones((documents_of(source, **options).total, 2))


def build(where, source, **options):
    return Index.build(where, source, embeddings=vectors(source, **options), **options)


def replaced(index, source, **options):
    return index.replace(source, embeddings=vectors(source, **options), **options)


def texts(index):
    hits = index.search(embedding=np.ones(2), mode="vector", top_k=100)
    return {hit.id: hit.text for hit in hits}


# Several sources ----------------------------------------------------------------------------------


def test_files_of_the_same_name_in_different_folders_are_different_documents(tmp_path):
    write(tmp_path / "jan", data__csv="text\none\ntwo\n")
    write(tmp_path / "feb", data__csv="text\nthree\n")
    index = build(tmp_path / "i", tmp_path / "jan" / "data.csv")
    assert replaced(index, tmp_path / "feb" / "data.csv") == 0
    assert texts(index) == {
        **{"data.csv:0": "one", "data.csv:1": "two"},
        **{"feb/data.csv:0": "three"},
    }
    write(tmp_path / "jan", data__csv="text\none more\ntwo\n")
    write(tmp_path / "feb", data__csv="text\nthree more\n")
    assert replaced(index, tmp_path / "jan" / "data.csv") == 2
    index = Index.open(tmp_path / "i")
    assert replaced(index, tmp_path / "feb" / "data.csv") == 1
    assert texts(index) == {
        **{"data.csv:0": "one more", "data.csv:1": "two"},
        **{"feb/data.csv:0": "three more"},
    }


def test_a_file_has_one_id_however_it_is_named(tmp_path, monkeypatch):
    folder = write(tmp_path / "all" / "notes", a__md="a", b__md="b")
    write(folder / "deep", c__md="c")
    index = build(tmp_path / "i", folder)
    monkeypatch.chdir(folder)
    for source in ("a.md", "./deep/../a.md", folder / "a.md"):
        assert replaced(index, source) == 1
    assert replaced(index, "deep") == replaced(index, "deep/c.md") == 1
    (tmp_path / "link").symlink_to(folder)
    assert replaced(index, tmp_path / "link") == 3
    assert texts(index) == {"a.md": "a", "b.md": "b", "deep/c.md": "c"}
    write(tmp_path / "all" / "more", a__md="A")
    assert replaced(index, tmp_path / "all") == 3  # a folder above: those it has keep their ids
    assert texts(index).keys() == {"a.md", "b.md", "deep/c.md", "all/more/a.md"}


def test_names_of_folders_that_are_taken_get_longer(tmp_path):
    for name in ("notes", "x/notes", "y/x/notes", "z/x/notes"):
        write(tmp_path / name, README__md=name)
    index = build(tmp_path / "i", tmp_path / "notes")
    for name in ("x/notes", "y/x/notes", "z/x/notes"):
        assert replaced(index, tmp_path / name) == 0
    index.add({"w/README.md": "of the caller"}, embeddings=np.ones((1, 2)))
    write(tmp_path / "v" / "w", README__md="v/w")
    assert replaced(index, tmp_path / "v" / "w") == 0
    assert texts(index) == {
        "README.md": "notes",
        "notes/README.md": "x/notes",
        "x/notes/README.md": "y/x/notes",
        "z/x/notes/README.md": "z/x/notes",
        "w/README.md": "of the caller",
        "v/w/README.md": "v/w",
    }


def test_ids_of_a_column_are_ids_of_the_whole_index(tmp_path):
    write(tmp_path / "jan", data__csv="id,text\na,one\nb,two\n")
    write(tmp_path / "feb", data__csv="id,text\nb,three\n")
    index = build(tmp_path / "i", tmp_path / "jan")
    with pytest.raises(InputError, match="'b' is in the index already"):
        index.add(tmp_path / "feb", embeddings=np.ones((1, 2)))
    assert replaced(index, tmp_path / "feb") == 1
    assert texts(index) == {"a": "one", "b": "three"}


def test_a_row_that_cannot_be_read_takes_the_place_of_none(tmp_path):
    write(tmp_path / "jan", data__jsonl='{"text": "one"}\n')
    write(tmp_path / "feb", data__jsonl='{broken\n{"id": "a", "text": "two"}\n')
    index = build(tmp_path / "i", tmp_path / "jan")
    with pytest.warns(UserWarning, match="not in the index.*'feb/data.jsonl:0'"):
        replaced(index, tmp_path / "feb", id="id")
    assert texts(index) == {"data.jsonl:0": "one", "a": "two"}


def test_a_failed_add_leaves_no_name_of_a_folder(tmp_path):
    write(tmp_path / "jan", data__csv="text\none\n")
    write(tmp_path / "feb", data__csv="text\ntwo\n")
    index = build(tmp_path / "i", tmp_path / "jan")
    with pytest.raises(InputError, match="embeddings"):
        index.add(tmp_path / "feb", embeddings=np.ones((3, 2)))
    assert replaced(index, tmp_path / "feb") == 0
    assert texts(index) == {"data.csv:0": "one", "feb/data.csv:0": "two"}


# Texts and tables ---------------------------------------------------------------------------------


def test_text_files_and_tables_of_a_folder_are_read_both(tmp_path):
    folder = write(
        tmp_path / "a",
        README__md="read\nme",
        notes__txt="one\ntwo",
        data__csv="text,year\nthree,1\nfour,2\n",
        more__jsonl='{"text": "five", "place": "here"}\n',
        code__py="print()",
    )
    found = documents_of(folder)
    assert found.notes == [
        "1 file is left out, whose endings are not read here: code.py",
        "column 'place' is kept as 'place_', since an index has its own 'place'",
    ]
    assert {d.id: (d.text, d.metadata) for d in found} == {
        "README.md": ("read\nme", {}),
        "notes.txt": ("one\ntwo", {}),
        "data.csv:0": ("three", {"year": 1, "place_": None}),
        "data.csv:1": ("four", {"year": 2, "place_": None}),
        "more.jsonl:0": ("five", {"year": None, "place_": "here"}),
    }
    index = build(tmp_path / "i", folder)
    assert len(index) == 5
    hits = index.search("three read", mode="text", filter="year = 1")
    assert [hit.id for hit in hits] == ["data.csv:0"]
    assert documents_of(folder, text="text").total == 5
    with pytest.raises(DatasetError, match="no column 'words'"):
        documents_of(folder, text="words")


def test_a_folder_of_neither(tmp_path):
    folder = write(tmp_path / "a", code__py="print()")
    with pytest.raises(DatasetError, match=r"no file with one of the endings \.txt.*\.csv"):
        documents_of(folder)


# Columns ------------------------------------------------------------------------------------------


def test_columns_whose_names_an_index_uses_are_kept_under_others(tmp_path):
    rows = "text,description,id,sku,place,place_,a.b\nx,a cat,7,s1,Rome,1,2\n"
    source = write(tmp_path / "a", rows__csv=rows) / "rows.csv"
    found = documents_of(source, text="description", id="sku")
    (document,) = found
    assert (document.id, document.text) == ("s1", "a cat")
    assert document.metadata == {"text_": "x", "id_": 7, "place__": "Rome", "place_": 1, "a_b": 2}
    assert [n for n in found.notes if "'id'" in n] == [
        "column 'id' is kept as 'id_', since an index has its own 'id'"
    ]
    assert any("column 'a.b' is kept as 'a_b', since" in note for note in found.notes)
    index = build(tmp_path / "i", source, text="description", id="sku")
    (hit,) = index.search("cat", mode="text", filter="id_ = 7 AND text_ = 'x'")
    assert hit.metadata == document.metadata
    assert replaced(index, source, text="description", id="sku") == 1


def never(*_, **__):
    raise AssertionError("it was encoded")


class Model:
    """A model that encodes nothing."""

    encode_document = encode_query = never
    similarity_fn_name = "cosine"
    max_seq_length = None


def test_columns_are_checked_before_anything_is_encoded(tmp_path, monkeypatch):
    from sentune.index.model import IndexModel

    monkeypatch.setattr(IndexModel, "identity", "0" * 32)
    monkeypatch.setattr(IndexModel, "chunker", lambda *_: None)
    with pytest.raises(InputError, match="a column 'place', which an index cannot have"):
        Index.build(tmp_path / "i", [{"text": "a", "place": "b"}], Model())
    assert not (tmp_path / "i").exists()
    source = write(tmp_path / "a", rows__csv="text,year\na,1\n")
    index = Index.build(tmp_path / "j", source, embeddings=np.ones((1, 2)))
    other = write(tmp_path / "b", rows__csv="text,colour\na,red\n")
    with pytest.raises(InputError, match="'colour', and the index has year"):
        Index.open(tmp_path / "j", Model()).add(other)
    assert len(index) == 1


# Types --------------------------------------------------------------------------------------------


def table(kind, rows):
    """The content of a file of some rows."""
    if kind == "jsonl":
        return "".join(json.dumps(row) + "\n" for row in rows)
    names = list(rows[0])
    lines = [",".join("" if row[n] is None else str(row[n]) for n in names) for row in rows]
    return "\n".join([",".join(names), *lines]) + "\n"


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize(
    ("first", "later", "kept"),
    [
        ("01234", 54321, "54321"),
        ("1.50 EUR", 2.25, "2.25"),
        (None, 7, "7"),
        (1.5, 2, 2.0),
        (1, 2.0, 2),
        (1, None, None),
    ],
)
def test_values_become_of_the_types_of_the_index_where_nothing_is_lost(
    kind, first, later, kept, tmp_path
):
    one = [{"text": "one", "zip": first}]
    two = [{"text": "two", "zip": later}]
    index = build(tmp_path / "i", write(tmp_path / "a", **{f"rows__{kind}": table(kind, one)}))
    replaced(index, write(tmp_path / "b", **{f"rows__{kind}": table(kind, two)}))
    hit = index.search("two", mode="text")[0]
    assert hit.metadata == {"zip": kept} and type(hit.metadata["zip"]) is type(kept)


def test_text_is_kept_as_it_is_written(tmp_path):
    write(tmp_path / "a", rows__csv="text,price\none,n/a\n")
    write(tmp_path / "b", rows__csv="text,price\ntwo,1.50\nthree,1e3\n")
    index = build(tmp_path / "i", tmp_path / "a")
    replaced(index, tmp_path / "b")
    hits = index.search("two three", mode="text")
    assert {hit.text: hit.metadata["price"] for hit in hits} == {"two": "1.50", "three": "1e3"}


@pytest.mark.parametrize(
    ("first", "later", "says"),
    [
        (1, "abc", "whole numbers, and b/rows.csv:1 has 'abc'"),
        (1, 1.5, "whole numbers, and b/rows.csv:1 has '1.5'"),
        (1, "007", "whole numbers, and b/rows.csv:1 has '007'"),
        (1.5, "abc", "numbers, and b/rows.csv:1 has 'abc'"),
        (1.5, "1_000", "numbers, and b/rows.csv:1 has '1_000'"),
        (1.5, 2**60 + 1, "numbers, and b/rows.csv:1 has '1152921504606846977'"),
    ],
)
def test_values_that_would_lose_something_are_named(first, later, says, tmp_path):
    write(tmp_path / "a", rows__csv=table("csv", [{"text": "one", "amount": first}]))
    rows = [{"text": "two", "amount": first}, {"text": "three", "amount": later}]
    write(tmp_path / "b", rows__csv=table("csv", rows))
    index = build(tmp_path / "i", tmp_path / "a")
    with pytest.raises(DatasetError, match=f"column 'amount' of the index holds {says}; correct"):
        replaced(index, tmp_path / "b")
    assert len(index) == 1
