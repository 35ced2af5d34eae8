"""Files as people have them: encodings, separators, several files, broken rows, columns."""

import csv
import gzip
import io
import json
import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sentune.data.given import rows_of
from sentune.data.read import places, read, whole
from sentune.errors import (
    DatasetError,
    MissingDatasetError,
    OutputError,
    SentuneWarning,
    SettingError,
)

TEXTS = ["Le café est fermé", "Où est-il allé ?", "plain"]
TABLE = {"a": TEXTS, "b": ["one", "two, three", 'says "no"']}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)


def table(columns=TABLE, separator=","):
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=separator)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return stream.getvalue()


def put(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def noted(*args, **options):
    """What is read, and the warnings."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        data = read(*args, **options)
    assert all(issubclass(one.category, SentuneWarning) for one in found)
    return data, [str(one.message) for one in found]


# Encodings ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_unicode_and_separators_are_detected(tmp_path, encoding, separator):
    text = table(separator=separator)
    for number, ends in enumerate(["\r\n", "\n", "\r"][: 3 if encoding == "utf-8" else 2]):
        content = text.replace("\r\n", ends)
        found = read(put(tmp_path, f"{number}.csv", content.encode(encoding)))
        assert found.to_dict() == TABLE
        assert places(found).of(2) == f"{number}.csv, line 4"


def test_utf_16_with_either_mark_is_read(tmp_path):
    import codecs

    for mark, name in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        found = read(put(tmp_path, f"{name}.tsv", mark + table(separator="\t").encode(name)))
        assert found.to_dict() == TABLE


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Grüße aus München", "cp1252"),
        ("Le café, c’est 5 €", "cp1252"),
        ("Привет, как дела? Это простой русский текст", "cp1251"),
        ("这是一个简单的中文文本，今天天气很好。", "gb18030"),
    ],
)
def test_other_encodings_are_guessed_and_said(tmp_path, text, encoding):
    rows = {"text": [text, f"{text} ...", "x"]}
    found, notes = noted(put(tmp_path, "a.csv", table(rows).encode(encoding)))
    assert found.to_dict() == rows
    assert len(notes) == 1 and f"a.csv is not UTF-8 and read as {encoding}" in notes[0]
    found, notes = noted(tmp_path / "a.csv", encoding=encoding)
    assert found.to_dict() == rows and notes == []


def test_a_byte_that_cp1252_does_not_have_is_latin_1(tmp_path):
    found, notes = noted(put(tmp_path, "a.txt", "é\x81\nplain".encode("latin-1")))
    assert found["text"][:] == ["é\x81", "plain"] and "latin-1" in notes[0]


def test_a_broken_byte_in_utf_8_is_a_bad_row_not_another_encoding(tmp_path):
    content = "text\nééé\n".encode() + b"caf\xe9\n" + "ü\n".encode()
    path = put(tmp_path, "a.csv", content)
    with pytest.raises(DatasetError, match="a.csv, line 3: not UTF-8: byte 0xe9"):
        read(path)
    found, notes = noted(path, skip_bad_rows=True)
    assert found["text"][:] == ["ééé", "ü"] and places(found).of(1) == "a.csv, line 4"
    assert "1 row was left out" in notes[0]


def test_characters_that_the_encoding_does_not_have_are_bad_rows(tmp_path):
    content = "text\nfine\nbroken\nlast\n".encode("utf-16-le").replace(
        "broken".encode("utf-16-le"), b"\x00\xd8b\x00"
    )
    path = put(tmp_path, "a.csv", b"\xff\xfe" + content)
    with pytest.raises(DatasetError, match="a.csv, line 3: not utf-16"):
        read(path)
    found, _ = noted(path, skip_bad_rows=True)
    assert found["text"][:] == ["fine", "last"]


def test_an_unknown_encoding_is_refused(tmp_path):
    with pytest.raises(SettingError, match="no encoding 'utf-99'"):
        read(put(tmp_path, "a.csv", "text\nx\n"), encoding="utf-99")


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rows=st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=8),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
    separator=st.sampled_from([",", ";", "\t", "|"]),
    ends=st.sampled_from(["\r\n", "\n"]),
)
def test_what_csv_has_written_is_read(tmp_path, rows, encoding, separator, ends):
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=separator, lineterminator=ends, quoting=csv.QUOTE_ALL)
    writer.writerow(["one", "two", "three"])
    writer.writerows(rows)
    path = put(tmp_path, "rows.csv", stream.getvalue().encode(encoding))
    names = ["one", "two", "three"]
    found = read(path, columns=names, delimiter=separator)
    expected = [{n: cell or None for n, cell in zip(names, row, strict=True)} for row in rows]
    assert found.to_list() == expected
    where = places(found)
    at = 2  # each row is named by the line in which it starts
    for number, row in enumerate(rows):
        assert where.of(number) == f"rows.csv, line {at}"
        at += 1 + sum(cell.count("\n") for cell in row)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rows=st.lists(
        st.lists(st.text(st.sampled_from('ab ",\r\n'), max_size=6), min_size=1, max_size=4),
        min_size=1,
        max_size=6,
    )
)
def test_blocks_and_rows_read_the_same(tmp_path, rows):
    """What the fast reader takes is what `csv.reader` gives; else rows are read one by one."""
    content = "one,two,three\n" + "\n".join(",".join(row) for row in rows) + "\n"
    path = put(tmp_path, "rows.csv", content)
    try:
        found = read(path, columns=["one", "two", "three"]).to_list()
    except DatasetError:
        return  # a bad row, or none
    lines = io.StringIO(content, newline="\n")
    expected = [row for row in csv.reader(lines) if row][1:]
    padded = [[cell or None for cell in [*row, "", ""][:3]] for row in expected]
    assert [list(row.values()) for row in found] == padded


# Which files --------------------------------------------------------------------------------------


def test_several_files_and_patterns_are_read_in_order(tmp_path):
    put(tmp_path, "b.csv", "text,label\nthree,1\n")
    put(tmp_path, "a.csv", "label,text\n1,one\n0,two\n")
    put(tmp_path, "c.jsonl", '{"text": "four", "label": 2}\n')
    texts = ["one", "two", "three", "four"]
    found = read(["a.csv", "b.csv", tmp_path / "c.jsonl"])
    assert found["text"][:] == texts and found["label"][:] == [1, 0, 1, 2]
    found = read(["*.csv", "a.csv", "c.jsonl"])
    assert found["text"][:] == texts
    named = [places(found).of(row) for row in range(4)]
    assert named == ["a.csv, line 2", "a.csv, line 3", "b.csv, line 2", "c.jsonl, line 1"]
    assert read(str(tmp_path / "?.csv"))["text"][:] == texts[:3]
    with pytest.raises(MissingDatasetError, match=r"no file that matches \*.tsv"):
        read("*.tsv")
    with pytest.raises(MissingDatasetError, match="there is no file bb.csv; did you mean b.csv"):
        read(["a.csv", "bb.csv"])
    with pytest.raises(MissingDatasetError, match="on the Hub; did you mean b.csv"):
        read("bb.csv")
    with pytest.raises(MissingDatasetError, match="there is no file d.csv"):
        read(["a.csv", "d.csv"])
    with pytest.raises(DatasetError, match="name one"):
        read([])


def test_files_with_other_columns_are_named(tmp_path):
    put(tmp_path, "a.csv", "text,label\none,1\n")
    put(tmp_path, "b.csv", "text,kind\ntwo,1\n")
    with pytest.raises(
        DatasetError, match="b.csv has the columns text, kind, and a.csv has text, label"
    ):
        read(["a.csv", "b.csv"])
    found, notes = noted(["a.csv", "b.csv"], columns=["text"])
    assert found["text"][:] == ["one", "two"] and notes == []
    with pytest.raises(DatasetError, match="b.csv has no column 'label'; there are text, kind"):
        read(["a.csv", "b.csv"], columns=["text"], label="label")


def test_files_of_one_name_in_two_folders_are_told_apart(tmp_path):
    put(tmp_path, "x/a.csv", "text\none\n")
    put(tmp_path, "y/a.csv", "text\ntwo\n")
    found = read(["x/a.csv", "y/a.csv"])
    assert [places(found).of(row) for row in (0, 1)] == ["x/a.csv, line 2", "y/a.csv, line 2"]


def test_a_folder_of_files_of_one_kind_is_read(tmp_path):
    put(tmp_path, "in/2.csv", "text\ntwo\n")
    put(tmp_path, "in/1.csv", "text\none\n")
    put(tmp_path, "in/README.md", "not data")
    found, notes = noted("in")
    assert found["text"][:] == ["one", "two"] and "left out" in notes[0] and "README.md" in notes[0]
    put(tmp_path, "in/3.jsonl", '{"text": "three"}\n')
    with pytest.raises(DatasetError, match="several kinds: csv, jsonl.*'in/.*csv'"):
        read("in")


def test_the_parts_of_a_folder_are_kept_apart(tmp_path):
    for name in ("train", "dev", "test"):
        put(tmp_path, f"in/{name}.csv", f"text\nof {name}\n")
    found, notes = noted("in")
    assert found["text"][:] == ["of train"]
    assert notes == ["in: part 'train' is read; other files in it: dev.csv, test.csv"]
    assert noted("in", "validation")[0]["text"][:] == ["of dev"]
    (tmp_path / "in/dev.csv").unlink()
    with pytest.raises(DatasetError, match="files of the parts test, train, not 'dev'"):
        read("in", "dev")


def test_a_table_with_another_ending_is_read_if_asked_for(tmp_path):
    path = put(tmp_path, "a.txt", "a\tb\nx\ty\n")
    assert noted(path)[0].to_dict() == {"text": ["a\tb", "x\ty"]}
    assert read(path, format="tsv").to_dict() == {"a": ["x"], "b": ["y"]}
    assert read(put(tmp_path, "a.data", "a,b\nx,y\n"), format="csv").to_dict() == {
        "a": ["x"],
        "b": ["y"],
    }
    with pytest.raises(SettingError, match="format must be one of"):
        read(path, format="xlsx")


STANDARD = [
    ("one\ntwo, three\n", {"text": ["one", "two, three"]}, None),
    ("Yes, I do\nNo, I do not\n", {"text": ["Yes, I do", "No, I do not"]}, None),
    ("only,one\n", {"text": ["only,one"]}, None),
    ("a,b\nx,y\n", {"a": ["x"], "b": ["y"]}, "csv"),
    ("a;b\nx;y\n", {"a": ["x"], "b": ["y"]}, "csv"),
    ("a\tb\nx\ty\n", {"a": ["x"], "b": ["y"]}, "tsv"),
    ('{"a": "x"}\n{"a": "y"}\n', {"a": ["x", "y"]}, "jsonl"),
    ('[\n{"a": "x"},\n{"a": "y"}]\n', {"a": ["x", "y"]}, "json"),
    ("{not json}\nx\n", {"text": ["{not json}", "x"]}, None),
]


@pytest.mark.parametrize(("content", "rows", "kind"), STANDARD)
def test_the_kind_of_standard_input_is_detected(content, rows, kind, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(content))
    found, notes = noted("-")
    assert found.to_dict() == rows
    assert len(notes) == (kind is not None)
    if kind:
        assert notes[0].startswith(f"standard input is read as {kind}; say --format")
        monkeypatch.setattr("sys.stdin", io.StringIO(content))
        assert noted("-", format="txt")[0]["text"][:] == content.splitlines()


def test_compressed_standard_input_and_spreadsheets_say_what_to_do(tmp_path, monkeypatch):
    class Given:
        buffer = io.BytesIO(gzip.compress(b"text\nx\n"))

    monkeypatch.setattr("sys.stdin", Given)
    with pytest.raises(DatasetError, match="standard input is compressed; decompress it first"):
        read("-")
    with pytest.raises(DatasetError, match="a.xlsx is a spreadsheet.*save the sheet as csv"):
        read(put(tmp_path, "a.xlsx", "PK"))


def test_standard_input_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("sys.stdin", io.StringIO("one\n"))
    found = read("-")
    assert places(found).of(0) == "standard input, line 1"
    monkeypatch.setattr("sys.stdin", io.StringIO('{"a": 1}\n[1]\n'))
    with pytest.raises(DatasetError, match="standard input, line 2: the row is not a JSON object"):
        noted("-")
    assert not list(tmp_path.glob("sentune-input-*"))


def test_a_file_that_changes_is_read_again(tmp_path):
    path = put(tmp_path, "a.csv", "text\none\n")
    assert read(path)["text"][:] == ["one"]
    path.write_text("text\ntwo\n")
    assert read(path)["text"][:] == ["two"]


# Broken rows --------------------------------------------------------------------------------------

BROKEN = 'text,label\n"two\nlines",1\nfine,2\n\nx,y,z\n"never closed,3\nok,4\nlast,5\n'


def test_a_broken_row_is_named_by_its_line(tmp_path):
    with pytest.raises(DatasetError, match="a.csv, line 6: the row has 3 cells, more than the 2"):
        read(put(tmp_path, "a.csv", BROKEN))
    text = BROKEN.replace("x,y,z\n", "")
    with pytest.raises(DatasetError, match="a.csv, line 6: a quote is opened and not closed"):
        read(put(tmp_path, "a.csv", text))
    text = '{"a": "x"}\n\n{"a": "y"\n'
    with pytest.raises(DatasetError, match="a.jsonl, line 3: the line is not JSON"):
        read(put(tmp_path, "a.jsonl", text))
    text = '[\n  {"a": "x"},\n  {"a": "y"},\n  7\n]'
    with pytest.raises(DatasetError, match="a.json, line 4: the row is not a JSON object but 7"):
        read(put(tmp_path, "a.json", text))
    with pytest.raises(DatasetError, match="a.json cannot be read: .* line 2 column"):
        read(put(tmp_path, "a.json", '[\n{"a": "x"'))
    with pytest.raises(DatasetError, match="a.json cannot be read: line 2 is not UTF-8"):
        read(put(tmp_path, "a.json", '[{"a": "éé"},\n{"a": "'.encode() + b'\xe9"}]'))


def test_broken_rows_are_skipped_counted_and_written(tmp_path):
    path = put(tmp_path, "a.csv", BROKEN + "short\n")
    found, notes = noted(path, skip_bad_rows="bad.jsonl")
    assert found.to_dict() == {
        "text": ["two\nlines", "fine", "ok", "last"],
        "label": [1, 2, 4, 5],
    }
    named = [places(found).of(row) for row in range(4)]
    assert named == [f"a.csv, line {line}" for line in (2, 4, 8, 9)]
    assert places(found).skipped == 3
    assert notes == [
        "3 rows were left out, and written to bad.jsonl; the first: a.csv, line 6: the row has 3 "
        "cells, more than the 2 columns of the head"
    ]
    bad = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
    assert [(row["file"], row["line"], row["raw"]) for row in bad[:2]] == [
        ("a.csv", 6, "x,y,z"),
        ("a.csv", 7, '"never closed,3'),
    ]
    assert bad[2]["line"] == 10 and bad[2]["reason"] == "the label in column 'label' is missing"


def test_rows_without_a_text_are_skipped_in_tables_of_every_kind(tmp_path):
    from datasets import Dataset

    data = Dataset.from_dict({"a": ["x", None, "z"], "b": ["1 a", "2 b", "3 c"]})
    data.to_parquet(tmp_path / "a.parquet")
    data.save_to_disk(tmp_path / "saved")
    for name in ("a.parquet", "saved"):
        assert len(read(name)) == 3
        found, notes = noted(name, skip_bad_rows=True)
        assert (
            found["a"][:] == ["x", "z"] and "row 1: the text in column 'a' is missing" in notes[0]
        )
        assert places(found).of(1) == f"{name}, row 2"


def test_a_file_of_the_user_is_not_replaced_by_bad_rows(tmp_path):
    path = put(tmp_path, "a.csv", BROKEN)
    with pytest.raises(OutputError, match="has no rows that were left out"):
        read(path, skip_bad_rows=path)
    with pytest.raises(OutputError, match="does not exist"):
        read(path, skip_bad_rows=tmp_path / "nowhere" / "bad.jsonl")
    for _ in range(2):  # but those of an earlier time are
        noted(path, skip_bad_rows=tmp_path / "bad.jsonl")
    assert path.read_text() == BROKEN


def test_a_table_with_tabs_may_do_without_quotes(tmp_path):
    text = 'a\tb\n"He said\tx\n5" wide\t"\ny\tz\n'
    assert read(put(tmp_path, "a.tsv", text)).to_dict() == {
        "a": ['"He said', '5" wide', "y"],
        "b": ["x", '"', "z"],
    }


def test_the_separator_is_found_where_a_row_is_broken(tmp_path):
    path = put(tmp_path, "a.csv", "a;b\nx;y\nx;y;z\nv;w\n")
    with pytest.raises(DatasetError, match="a.csv, line 3: the row has 3 cells"):
        read(path)


def test_only_bad_rows_are_no_rows(tmp_path):
    path = put(tmp_path, "a.jsonl", "[1]\n")
    with pytest.raises(DatasetError, match="a.jsonl has no rows; the first that was left out"):
        read(path, skip_bad_rows=True)


def test_places_go_with_the_rows(tmp_path):
    found = read(put(tmp_path, "a.csv", "text\n" + "".join(f"number {n}\n" for n in range(50))))
    parts = found.shuffle(seed=1).train_test_split(0.2, seed=2)
    some = found.filter(lambda row: row["text"] > "number 3")
    for part in (parts["train"], parts["test"], some):
        where = places(part)
        for row, text in enumerate(part["text"]):
            assert where.of(row) == f"a.csv, line {int(text.split()[1]) + 2}"
    with pytest.raises(IndexError, match="there is no row 50"):
        places(found).of(50)
    assert places(found.map(lambda row: row)).of(3) == "row 3"


# Columns ------------------------------------------------------------------------------------------


def test_columns_are_chosen_renamed_and_ordered(tmp_path):
    path = put(tmp_path, "a.csv", "doc,query,id,year\nx,q,1,1990\ny,r,2,1991\n")
    found = read(path, columns={"anchor": "query", "positive": "doc"})
    assert found.to_dict() == {"anchor": ["q", "r"], "positive": ["x", "y"]}
    assert read(path, columns=["year", "doc"]).to_dict() == {
        "year": ["1990", "1991"],  # a text, since it was named as one
        "doc": ["x", "y"],
    }
    assert read(path, columns={"a": "doc", "b": "doc"}).to_dict() == {
        "a": ["x", "y"],
        "b": ["x", "y"],
    }
    for options, says in (
        ({"columns": ["quary"]}, "no column 'quary'; there are .*; did you mean query"),
        ({"label": "lable"}, "no column 'lable'"),
        ({"columns": {"label": "year"}, "label": "doc"}, "leave out one of them"),
        ({"columns": {"label": "doc", "a": "query"}, "label": "id"}, "leave out one of them"),
    ):
        with pytest.raises(DatasetError, match=says):
            read(path, **options)
    with pytest.raises(SettingError, match="must be a dict"):
        read(path, columns="query")
    with pytest.raises(SettingError, match="a name twice"):
        read(path, columns=["query", "query"])
    with pytest.raises(SettingError, match="delimiter, sep.*did you mean delimiter"):
        read(path, delimeter=";")


@pytest.mark.parametrize(
    ("cells", "name", "values"),
    [
        (["4.2", "5", "0"], "score", [4.2, 5.0, 0.0]),
        (["3", "5", "0"], "score", [3.0, 5.0, 0.0]),  # similarity: no classes
        (["1", "0", "1"], "label", [1, 0, 1]),
        (["no", "yes", "no"], "label", [0, 1, 0]),
        (['"0,5"', '"1"', '"0,25"'], "score", [0.5, 1.0, 0.25]),
    ],
)
def test_any_column_can_be_the_label(tmp_path, cells, name, values):
    text = "a,similarity,b\n" + "".join(f"x{n},{cell},y{n}\n" for n, cell in enumerate(cells))
    path = put(tmp_path, "a.csv", text)
    for label in ("similarity", None):
        found, _ = noted(path, label=label)
        assert found.column_names == ["a", name, "b"] and found[name][:] == values
    found, _ = noted(path, columns={"one": "a", "label": "similarity"})
    assert found.column_names == ["one", "label"] and found["label"][:] == values


def test_words_of_labels_are_kept(tmp_path):
    path = put(tmp_path, "a.csv", "text,label\nx,spam\ny,ham\nz,\n")
    found, notes = noted(path)
    assert found.features["label"].names == ["ham", "spam"]
    assert found["label"][:] == [1, 0, None]
    assert notes == ["the words in 'label' are numbered: ham = 0, spam = 1"]
    found.to_parquet(tmp_path / "b.parquet")
    again = read(tmp_path / "b.parquet")
    assert again.features["label"].names == ["ham", "spam"] and again["label"][:] == [1, 0, None]
    other, _ = noted(put(tmp_path, "c.csv", "text,label\nx,spam\ny,eggs\n"))
    other.to_parquet(tmp_path / "d.parquet")
    with pytest.raises(DatasetError, match="different classes in column 'label': eggs, spam, and"):
        read(["b.parquet", "d.parquet"])


def test_texts_that_all_differ_are_no_label(tmp_path):
    text = "text,other\n" + "".join(f"x{n},some text {n}\n" for n in range(30))
    with pytest.raises(DatasetError, match="cannot be the label: its 30 texts all differ"):
        read(put(tmp_path, "a.csv", text), label="other")


def test_ids_and_second_labels_are_left_out_and_said(tmp_path):
    rows = [f"{7 * n},k{n},text {n},{n % 3},{n / 10},\n" for n in range(12)]
    path = put(tmp_path, "a.csv", "nr,pair_id,text,label,score,\n" + "".join(rows))
    found, notes = noted(path)
    assert found.column_names == ["text", "label"]
    assert [note.split(" left out")[0] for note in notes] == [
        "column 'label' is the label; column 'score' is",
        "column 'Unnamed: 5' is",
        "columns 'nr', 'pair_id' are",
    ]
    assert noted(path, label="score")[0].column_names == ["text", "score"]
    assert whole(path).column_names == ["nr", "pair_id", "text", "label", "score", "Unnamed: 5"]
    assert read(path, columns=["pair_id", "text"])["pair_id"][:2] == ["k0", "k1"]


def test_columns_that_say_of_what_kind_a_row_is_are_no_texts(tmp_path):
    kinds = ["news", "forum"]
    rows = [f"a {n},b {n},{n % 5}.5,{kinds[n % 2]},{1990 + n % 7}" for n in range(60)]
    content = "first,second,similarity,genre,year\n" + "\n".join(rows)
    found, notes = noted(put(tmp_path, "a.csv", content))
    assert found.column_names == ["first", "second", "score"]
    assert "columns 'genre', 'year' are left out" in notes[1]
    found, _ = noted(tmp_path / "a.csv", label="genre")
    assert found.column_names == ["first", "second", "label"]
    rows = [f"text {n} of many,{kinds[n % 2]}" for n in range(60)]
    found, notes = noted(put(tmp_path, "b.csv", "words,genre\n" + "\n".join(rows)))
    assert found.column_names == ["words", "label"] and "'genre' is taken as the label" in notes[0]
    same = [f"text {n} of many,this is {kinds[n % 2]}" for n in range(60)]
    found, notes = noted(put(tmp_path, "c.csv", "words,about\n" + "\n".join(same)))
    assert found.column_names == ["words", "about"] and notes == []


def test_of_several_columns_that_may_be_the_label_none_is_guessed(tmp_path):
    rows = [f"text {n} of many,{n % 6},{n % 2}" for n in range(60)]
    path = put(tmp_path, "a.csv", "words,coarse,fine\n" + "\n".join(rows))
    with pytest.raises(
        DatasetError, match=r"'coarse', 'fine' may each be the label.*label='coarse'"
    ):
        read(path)
    found, notes = noted(path, label="fine")
    assert found.column_names == ["words", "label"] and found["label"][:2] == [0, 1]
    assert "column 'coarse' is left out" in notes[0] and "keeps it" in notes[0]
    assert read(path, columns=["words", "coarse"]).column_names == ["words", "coarse"]
    named = [f"text {n} of many,{n % 5},{n % 3}" for n in range(9)]
    named_so = put(tmp_path, "b.csv", "words,rating,sentiment\n" + "\n".join(named))
    with pytest.raises(DatasetError, match="'rating', 'sentiment' may each be the label"):
        read(named_so)


def test_a_json_object_of_columns_may_be_one_line(tmp_path):
    columns = {"text": ["a b c", "d e f"], "label": [0, 1]}
    for text in (json.dumps(columns), json.dumps(columns, indent=1), json.dumps(columns) + "\n\n"):
        assert read(put(tmp_path, "a.json", text)).to_dict() == columns
    rows = [{"text": "a b", "label": [0.5, 1.0]}, {"text": "c d", "label": [1.0, 0.5]}]
    assert len(read(put(tmp_path, "b.json", "\n".join(map(json.dumps, rows))))) == 2
    assert len(read(put(tmp_path, "c.json", json.dumps(rows[0])))) == 1


def test_columns_that_were_chosen_are_not_chosen_again(tmp_path):
    rows = [f"{n},text {n} of many,{'ab'[n % 2]}" for n in range(60)]
    path = put(tmp_path, "a.csv", "text_id,words,topic\n" + "\n".join(rows))
    found = read(path, columns=["text_id", "topic"])
    assert rows_of(found).column_names == ["text_id", "topic"]
    assert rows_of(found.select([1, 5])).column_names == ["text_id", "topic"]
    with pytest.warns(SentuneWarning):  # of a file as it is, nothing was chosen
        assert rows_of(whole(path)).column_names == ["words", "label"]


def test_a_column_that_says_the_label_in_words_is_no_text(tmp_path):
    names = ["very bad", "bad", "so so", "good", "very good"]
    rows = [f"text {n} of many,{n % 5},{names[n % 5]}" for n in range(30)]
    found, notes = noted(put(tmp_path, "a.csv", "text,label,label_text\n" + "\n".join(rows)))
    assert found.column_names == ["text", "label"] and "'label_text' is left out" in notes[0]
    rows = [f"text {n} of many,{n % 5},{names[n % 4]}" for n in range(30)]  # says something else
    found, _ = noted(put(tmp_path, "b.csv", "text,label,other\n" + "\n".join(rows)))
    assert found.column_names == ["text", "label", "other"]
    rows = [f"text {n} of many,{n},same {n}" for n in range(30)]  # nothing comes again
    found, _ = noted(put(tmp_path, "c.csv", "text,label,other\n" + "\n".join(rows)))
    assert found.column_names == ["text", "label", "other"]


def test_classes_of_single_texts_may_be_written_as_floats(tmp_path):
    rows = [f"text {n} of many,{n % 3}.0" for n in range(30)] + ["one without,"]
    content = "text,label\n" + "\n".join(rows)
    found = read(put(tmp_path, "a.csv", content))
    assert found["label"][:3] == [0, 1, 2] and found["label"][30] is None
    assert found.features["label"].dtype == "int64"
    numbers = [float("nan"), 2.0, 1.0]
    columns = {"text": ["a b", "c d", "e f"], "label": numbers}
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table(columns), tmp_path / "b.parquet")
    found = read(tmp_path / "b.parquet")
    assert found["label"][:] == [None, 2, 1] and found.features["label"].dtype == "int64"
    pairs = put(tmp_path, "c.csv", "a,b,label\n" + "x 1,y 1,2.0\nx 2,y 2,1.0\n")
    assert read(pairs).features["label"].dtype == "float64"  # of pairs these are scores
    scores = put(tmp_path, "d.csv", "text,score\n" + "x 1,2.0\nx 2,1.0\n")
    assert read(scores).features["score"].dtype == "float64"


@pytest.mark.parametrize("name", ["is_valid", "paid", "android", "grid"])
def test_a_word_that_ends_in_id_names_no_ids(tmp_path, name):
    rows = [f"text {n} of many,{n % 2}" for n in range(60)]
    found, _ = noted(put(tmp_path, "a.csv", f"words,{name}\n" + "\n".join(rows)))
    assert found.column_names == ["words", "label"]


@pytest.mark.parametrize("name", ["docid", "sentence_id", "pairID", "qid", "UserId", "uuid"])
def test_ids_are_known_by_their_names(tmp_path, name):
    rows = [f"text {n} of many,{n % 7}" for n in range(9)]
    found, _ = noted(put(tmp_path, "a.csv", f"words,{name}\n" + "\n".join(rows)))
    assert found.column_names == ["words"]


def test_lines_with_tabs_may_be_rows_of_a_table(tmp_path):
    lines = "".join(f"text {n} of many\t{n % 3}\n" for n in range(60))
    found, notes = noted(put(tmp_path, "a.txt", lines))
    assert found.column_names == ["text"] and "--format tsv" in notes[0]
    found, _ = noted(tmp_path / "a.txt", format="tsv")
    assert len(found.column_names) == 2 and found["label"][:2] == [0, 1]
    assert noted(put(tmp_path, "b.txt", lines + "no tab\n"))[1] == []


def test_the_columns_of_saved_datasets_are_chosen_too(tmp_path):
    from datasets import Dataset

    data = Dataset.from_dict({"id": [1, 2], "t": ["x", "y"], "category": ["b", "a"]})
    data.save_to_disk(tmp_path / "saved")
    found, notes = noted("saved", label="category")
    assert found.to_dict() == {"t": ["x", "y"], "label": [1, 0]} and "'id' is left out" in notes[0]
    assert read("saved", columns={"text": "t"}).to_dict() == {"text": ["x", "y"]}
    assert noted("saved", "train[1:]")[0]["t"][:] == ["y"]
    assert whole("saved").to_dict() == data.to_dict()


def test_a_first_line_with_a_number_is_no_head(tmp_path):
    found, notes = noted(put(tmp_path, "a.csv", "How are you,fine,1\nWho is it,nobody,0\n"))
    assert found.to_dict() == {
        "column_1": ["How are you", "Who is it"],
        "column_2": ["fine", "nobody"],
        "label": [1, 0],
    }
    assert "the first line of a.csv has a number, so it is read as a row" in notes[0]


def test_lists_of_texts_in_json_lines_are_rows(tmp_path):
    found = read(put(tmp_path, "a.jsonl", '["q", "a"]\n["r", "b"]\n'))
    assert found.to_dict() == {"text_1": ["q", "r"], "text_2": ["a", "b"]}


def test_the_rows_in_a_field_of_a_json_file(tmp_path):
    path = put(tmp_path, "a.json", '{"version": 1, "data": [{"a": "x"}, {"a": "y"}]}')
    assert read(path, field="data").to_dict() == {"a": ["x", "y"]}
    with pytest.raises(DatasetError, match="no field 'rows'; it has version, data"):
        read(path, field="rows")


def test_types_that_change_far_into_a_file(tmp_path):
    rows = [{"text": "x", "n": None, "m": 1}] * 6_000 + [{"text": "y", "n": 3, "m": "one"}]
    rows += [{"text": "z", "n": 2.5, "k": {"a": 1}}]
    lines = "\n".join(map(json.dumps, rows))
    found = read(put(tmp_path, "a.jsonl", lines))
    assert found[0] == {"text": "x", "n": None, "m": "1", "k": None}
    assert found[6_000] == {"text": "y", "n": 3.0, "m": "one", "k": None}
    assert found[6_001] == {"text": "z", "n": 2.5, "m": None, "k": {"a": 1}}
    text = "text,n\n" + "x,1\n" * 20_000 + "y,one\n"
    assert read(put(tmp_path, "b.csv", text))["n"][20_000] == "one"


VALUE = st.one_of(
    st.none(),
    st.integers(-(2**62), 2**62),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8"), max_size=8),
    st.booleans(),
    st.lists(st.integers(0, 9), max_size=2),
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rows=st.lists(st.dictionaries(st.sampled_from("xyz"), VALUE, max_size=3), max_size=6),
    is_escaped=st.booleans(),
)
def test_json_lines_come_back_or_become_text(tmp_path, rows, is_escaped):
    rows = [{"x": "first"}, *rows]
    lines = [json.dumps(row, ensure_ascii=is_escaped) for row in rows]
    found = whole(put(tmp_path, "rows.jsonl", "\n".join(lines))).to_list()
    assert len(found) == len(rows)
    for row, back in zip(rows, found, strict=True):
        for name, value in back.items():
            given_value = row.get(name)
            is_text = isinstance(value, str) and not isinstance(given_value, str)
            assert (json.loads(value) if is_text else value) == given_value


def test_the_thousands_of_rows_of_a_clean_and_of_a_broken_file_are_the_same(tmp_path):
    rows = [{"a": f"text {n}", "b": f"{n} é", "score": n / 8} for n in range(12_000)]
    lines = [json.dumps(row) for row in rows]
    clean = whole(put(tmp_path, "a.jsonl", "\n".join(lines)))
    broken, _ = noted(put(tmp_path, "b.jsonl", "\n".join([*lines, "{"])), skip_bad_rows=True)
    assert clean.to_list() == broken.to_list() == rows
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    clean = whole(put(tmp_path, "a.csv", table(columns)))
    broken, _ = noted(put(tmp_path, "b.csv", table(columns) + '"'), skip_bad_rows=True)
    assert clean.to_list() == broken.to_list() == rows
    assert places(clean).of(11_999) == "a.csv, line 12001"
    assert places(broken).of(11_999) == "b.csv, line 12001"


def test_files_in_object_storage_are_read_and_read_again_if_they_change(tmp_path):
    import fsspec

    storage = fsspec.filesystem("memory")
    storage.pipe("/pile/in/a.csv", b"text\none\n")
    storage.pipe("/pile/in/b.csv", b"text\ntwo\n")
    found = read("memory://pile/in")
    assert found["text"][:] == ["one", "two"] and places(found).of(1) == "b.csv, line 2"
    assert read("memory://pile/in/b.csv")["text"][:] == ["two"]
    storage.pipe("/pile/in/b.csv", b"text\nnew\n")
    assert read("memory://pile/in")["text"][:] == ["one", "new"]
    with pytest.raises(MissingDatasetError, match="no file or folder memory://pile/none"):
        read("memory://pile/none")


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(put(tmp_path, "file", "x")))
    with pytest.raises(OutputError, match="HF_DATASETS_CACHE names another folder"):
        read(put(tmp_path, "a.csv", "text\nx\n"))


@pytest.mark.filterwarnings("ignore::sentune.errors.SentuneWarning")
def test_a_file_of_which_no_row_is_left_has_no_rows_each_time(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,b\nx y,\n,y z\n", encoding="utf-8")
    for _ in range(2):  # the second time from the cache
        with pytest.raises(DatasetError, match="has no rows"):
            read(path, skip_bad_rows=True)


def test_an_empty_compressed_file_has_no_rows(tmp_path):
    with gzip.open(tmp_path / "rows.jsonl.gz", "wb"):
        pass
    with pytest.raises(DatasetError, match="has no rows|is empty"):
        read(tmp_path / "rows.jsonl.gz")


@pytest.mark.parametrize("broken", [False, True])
def test_columns_of_equal_names_are_all_kept(broken, tmp_path):
    path = tmp_path / "rows.csv"
    more = '"q\nr",s,t\n' if broken else ""
    path.write_text(f"text,text,text.1\na b,c d,e f\n{more}", encoding="utf-8")
    found = whole(path)
    assert found[0] == {"text": "a b", "text.2": "c d", "text.1": "e f"}


def test_a_label_that_is_also_a_new_name_is_refused(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("category,words\na,b c\nd,e f\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="new name of another column"):
        read(path, columns={"category": "words"}, label="category")
