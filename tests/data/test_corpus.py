"""A corpus is read in order, shard by shard, whatever its format and whatever is wrong in it."""

import bz2
import datetime
import decimal
import gzip
import json
import lzma
import random
import subprocess
import sys

import pyarrow as pa
import pyarrow.csv  # noqa: F401
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict

from sentune.data.corpus import Corpus, Document
from sentune.errors import DatasetError, MissingDatasetError, SettingError

ROWS = [
    {"id": f"d{n}", "text": f"text {n}, wörld", "year": 2000 + n, "tags": f"t{n % 2}"}
    for n in range(25)
]
WANTED = [Document(r["id"], r["text"], {"year": r["year"], "tags": r["tags"]}) for r in ROWS]


def as_csv(rows, separator=","):
    cells = [[str(v) if separator not in str(v) else f'"{v}"' for v in r.values()] for r in rows]
    return "".join(separator.join(line) + "\n" for line in [list(rows[0]), *cells])


def as_lines(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def zst(content):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


COMPRESS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zst}


def write(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    content = content.encode() if isinstance(content, str) else content
    compress = COMPRESS.get(path.suffix, lambda content: content)
    path.write_bytes(compress(content))
    return path


def make(folder, name, rows=ROWS):
    """A file of any format."""
    ending = name.removesuffix(".gz").removesuffix(".zst").removesuffix(".xz").split(".")[1]
    ending = ending.removesuffix(".bz2")
    if ending == "parquet":
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(rows), sink, row_group_size=7)
        return write(folder, name, sink.getvalue().to_pybytes())
    if ending == "arrow":
        sink = pa.BufferOutputStream()
        table = pa.Table.from_pylist(rows)
        with pa.ipc.new_file(sink, table.schema) as file:
            file.write_table(table, 6)
        return write(folder, name, sink.getvalue().to_pybytes())
    content = {
        "csv": lambda: as_csv(rows),
        "tsv": lambda: as_csv(rows, "\t"),
        "json": lambda: json.dumps(rows),
        "jsonl": lambda: as_lines(rows),
        "ndjson": lambda: as_lines(rows),
    }[ending]()
    return write(folder, name, content)


NAMES = [
    *("a.csv", "a.tsv", "a.json", "a.jsonl", "a.ndjson", "a.parquet", "a.arrow"),
    *("a.csv.gz", "a.jsonl.bz2", "a.jsonl.xz", "a.csv.zst", "a.json.gz", "a.parquet.gz"),
]


@pytest.mark.parametrize("name", NAMES)
def test_every_format_gives_the_same_documents(tmp_path, name):
    corpus = Corpus.open(make(tmp_path, name), shard_rows=10)
    assert (corpus.text, corpus.id, len(corpus)) == ("text", "id", 25)
    assert [shard.rows for shard in corpus.shards] == [10, 10, 5]
    assert list(corpus) == WANTED
    assert corpus.schema == pa.schema({"year": pa.int64(), "tags": pa.string()})


@pytest.mark.parametrize("name", NAMES)
def test_a_shard_has_the_same_rows_whoever_reads_it_in_any_order(tmp_path, name):
    path = make(tmp_path, name)
    plan = json.loads(json.dumps(Corpus.open(path, shard_rows=4).plan))
    numbers = list(range(7))
    random.Random(1).shuffle(numbers)
    corpus = Corpus.of_plan(path, plan)
    for number in numbers:
        assert list(corpus.shard(number)) == WANTED[4 * number : 4 * number + 4], number
        assert list(corpus.shard(number)) == WANTED[4 * number : 4 * number + 4], number


def test_a_shard_that_is_left_early_does_not_move_the_next_one(tmp_path):
    corpus = Corpus.open(make(tmp_path, "a.jsonl.gz"), shard_rows=10)
    assert next(corpus.shard(0)) == WANTED[0]
    assert list(corpus.shard(1)) == WANTED[10:20]


def test_what_datasets_writes_is_read(tmp_path):
    data = Dataset.from_list(ROWS)
    data.save_to_disk(tmp_path / "saved", num_shards=2)
    DatasetDict(train=data, test=data.select([3])).save_to_disk(tmp_path / "parts")
    corpus = Corpus.open(tmp_path / "saved")
    assert list(corpus) == WANTED and len(corpus.shards) == 2
    assert list(Corpus.open(tmp_path / "parts")) == WANTED
    assert list(Corpus.open(tmp_path / "parts", split="test")) == WANTED[3:4]
    with pytest.raises(DatasetError, match="parts train, test, not 'dev'"):
        Corpus.open(tmp_path / "parts", split="dev")


def test_a_part_of_a_folder_is_chosen_by_the_names_of_its_files(tmp_path):
    make(tmp_path, "train.jsonl", ROWS[:5])
    make(tmp_path, "test.jsonl", ROWS[5:8])
    whole = Corpus.open(tmp_path)
    assert len(whole) == 8
    assert "files of several parts (test, train, by their names) are read" in whole.notes[0]
    for name, rows in {"train": WANTED[:5], "test": WANTED[5:8]}.items():
        corpus = Corpus.open(tmp_path, split=name)
        assert list(corpus) == rows and f"part {name!r} is read" in corpus.notes[0]
    assert list(Corpus.open(tmp_path / "test.jsonl", split="train")) == WANTED[5:8]
    for place, split, says in (
        (tmp_path, "dev", "has files of the parts test, train, not 'dev'"),
        (tmp_path / "test.jsonl", "test", "has no part 'test': it is one file"),
        (tmp_path, "train[:3]", "a whole part of a corpus, as 'test', got 'train"),
        (tmp_path, "", "a whole part"),
    ):
        with pytest.raises(DatasetError, match=says):
            Corpus.open(place, split=split)


def test_the_rows_are_those_of_read(tmp_path, monkeypatch):
    import datasets

    from sentune.data.read import whole

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    for name in ("a.csv", "a.jsonl", "a.parquet"):
        path = make(tmp_path, name)
        found = [{"id": d.id, "text": d.text, **d.metadata} for d in Corpus.open(path)]
        assert found == whole(path).to_list()


def test_a_txt_file_has_a_text_per_line(tmp_path):
    path = write(tmp_path, "lines.txt", b"\xef\xbb\xbfone\r\n\ntw\xc3\xb6\nlast")
    found = list(Corpus.open(path, shard_rows=2))
    assert [d.text for d in found] == ["one", "", "twö", "last"]
    assert [d.id for d in found] == [f"lines.txt:{n}" for n in range(4)]
    assert all(d.metadata == {} for d in found)


def test_a_folder_has_a_shard_per_file_in_the_order_of_names(tmp_path):
    make(tmp_path, "b.jsonl", ROWS[10:12])
    make(tmp_path, "a.csv", ROWS[:10])
    make(tmp_path, "sub/c.parquet", ROWS[12:])
    write(tmp_path, ".hidden/x.jsonl", "{}")
    write(tmp_path, "notes.pdf", "x")
    write(tmp_path, "empty.jsonl", "")
    (tmp_path / "gone.csv").symlink_to(tmp_path / "nowhere.csv")
    (tmp_path / "other.csv").symlink_to(tmp_path / "sub")
    corpus = Corpus.open(tmp_path, shard_rows=9)
    assert list(corpus) == WANTED
    assert corpus.notes == [
        "3 files are left out, whose endings are not read here: gone.csv/ (a link), notes.pdf, "
        "other.csv/ (a link)"
    ]
    assert [(s.file, s.start, s.rows) for s in corpus.shards] == [
        *((0, 0, 9), (0, 9, 1), (1, 0, 2)),
        *((2, 0, 9), (2, 9, 4)),
    ]


def test_an_index_in_the_folder_of_its_corpus_is_no_part_of_it(tmp_path):
    make(tmp_path, "a.jsonl")
    for name in ("_refs/tags/published.json", "_versions/hint.json", "notes.txt"):
        write(tmp_path, f"my.index/texts.lance/{name}", '{"text": "not of the corpus"}')
    corpus = Corpus.open(tmp_path)
    assert list(corpus) == WANTED and corpus.notes == []
    with pytest.raises(DatasetError, match="has no file with one of the endings"):
        Corpus.open(tmp_path, per="file")


def test_ids_name_the_file_where_there_is_no_column(tmp_path):
    for name in ("a", "sub/b"):
        make(tmp_path, f"{name}.jsonl", [{"text": "x"}, {"text": "y"}])
    found = [d.id for d in Corpus.open(tmp_path)]
    assert found == ["a.jsonl:0", "a.jsonl:1", "sub/b.jsonl:0", "sub/b.jsonl:1"]


@pytest.mark.parametrize("ending", ["jsonl", "parquet", "csv"])
def test_ids_that_are_not_unique_are_not_used(tmp_path, ending):
    make(tmp_path, f"a.{ending}", [{"id": 1, "text": "x"}, {"id": 2, "text": "y"}])
    make(tmp_path, f"b.{ending}", [{"id": 2, "text": "z"}])
    corpus = Corpus.open(tmp_path)
    assert [d.id for d in corpus] == [f"a.{ending}:0", f"a.{ending}:1", f"b.{ending}:0"]
    assert [d.metadata["id"] for d in corpus] == [1, 2, 2]
    places = f"'2' is in row 1 of a.{ending} and in row 0 of b.{ending}"
    assert places in corpus.notes[0]
    with pytest.raises(DatasetError, match=places):
        Corpus.open(tmp_path, id="id")


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_ids_that_are_missing_are_not_used(tmp_path, ending):
    path = make(tmp_path, f"a.{ending}", [{"id": "p", "text": "x"}, {"id": None, "text": "y"}])
    assert Corpus.open(path).id is None
    with pytest.raises(DatasetError, match="cannot name the rows: an id is missing"):
        Corpus.open(path, id="id")


def test_columns_are_chosen(tmp_path):
    rows = [{"_id": 7, "title": "a", "body": "b", "label": 1}]
    path = make(tmp_path, "a.jsonl", rows)
    assert list(Corpus.open(path)) == [Document("7", "a", {"body": "b", "label": 1})]
    assert list(Corpus.open(path, text="body")) == [Document("7", "b", {"title": "a", "label": 1})]
    found = list(Corpus.open(path, text="body", id="title"))
    assert found == [Document("a", "b", {"_id": 7, "label": 1})]
    with pytest.raises(DatasetError, match="no column 'x'; there are _id, title, body, label"):
        Corpus.open(path, text="x")
    with pytest.raises(DatasetError, match="no column 'x'; there are _id, title, body, label"):
        Corpus.open(path, id="x")
    with pytest.raises(DatasetError, match="no column of texts; there are n"):
        Corpus.open(make(tmp_path, "b.jsonl", [{"n": 1}]))


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_the_texts_are_in_the_first_column_with_several_words(ending, tmp_path):
    rows = {"key": ["k1", "k2"], "kind": ["a", "b"], "words": ["", "two words"]}
    rows["more"] = ["c d"] * 2
    table = pa.table(rows)
    path = tmp_path / f"rows.{ending}"
    pa.csv.write_csv(table, path) if ending == "csv" else pq.write_table(table, path)
    assert Corpus.open(path).text == "words"
    assert Corpus.open(path, text="kind").text == "kind"
    han = pa.table({"key": ["k1"], "words": ["\u4f60\u597d"]})
    pq.write_table(han, tmp_path / "han.parquet")
    assert Corpus.open(tmp_path / "han.parquet").text == "words"
    single = pa.table({"one": ["a"], "two": ["b"]})
    pq.write_table(single, tmp_path / "single.parquet")
    assert Corpus.open(tmp_path / "single.parquet").text == "one"


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_files_in_other_encodings_are_read(tmp_path, encoding, ends):
    texts = [f"où est la clé numéro {n} ?" for n in range(25)]
    rows = ["id,text", *(f"r{n},{text}" for n, text in enumerate(texts))]
    path = write(tmp_path, "rows.csv", ends.join(rows).encode(encoding))
    corpus = Corpus.open(path, shard_rows=7)
    assert [one.text for one in corpus] == texts
    assert any("read as cp1252" in note for note in corpus.notes) == (encoding == "latin-1")
    again = Corpus.of_plan(path, json.loads(json.dumps(corpus.plan)))
    assert [one.text for one in again.shard(3)] == texts[21:]
    assert Corpus.open(path, shard_rows=7, plan=corpus.plan).files == corpus.files
    write(tmp_path / "texts", "one.txt", texts[0].encode(encoding))
    assert [one.text for one in Corpus.open(tmp_path / "texts", per="file")] == texts[:1]


def test_a_file_of_a_folder_without_the_column_is_named(tmp_path):
    make(tmp_path, "a.parquet", [{"text": "x"}])
    make(tmp_path, "b.parquet", [{"body": "x"}])
    with pytest.raises(DatasetError, match=r"b.parquet has no column 'text'; it has body"):
        Corpus.open(tmp_path)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "json"])
def test_a_text_file_of_a_folder_without_the_column_is_named_before_any_work(tmp_path, ending):
    make(tmp_path, "a.parquet", [{"text": "x"}])
    make(tmp_path, f"b.{ending}", [{"content": "x", "year": 1}])
    with pytest.raises(DatasetError, match=rf"b.{ending} has no column 'text'; it has content, y"):
        Corpus.open(tmp_path)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_corpus_without_any_text_is_refused(tmp_path, ending):
    rows = [{"text": None, "year": 1}, {"text": None, "year": 2}]
    path = make(tmp_path, f"a.{ending}", rows)
    if ending == "csv":
        path.write_text("text,year\n,1\n,2\n")
    with pytest.raises(DatasetError, match="column 'text' has no text in any row; name another"):
        Corpus.open(path)


def test_texts_that_cannot_be_read_are_told_with_their_ids(tmp_path):
    lines = [
        b'{"id": "a", "text": "good"}',
        b'{"id": "b", "text": null}',
        b'{"id": "c"}',
        b'{"id": "d", "text": 3.5}',
        b'{"id": "e", "text": ["x"]}',
        b'{"id": "f", "text": "\xff"}',
        b'{"id": "g", "text": ',
        b"[1]",
        b'{"id": "h", "text": "\\ud800"}',
        b"",
        b'{"id": "i", "text": "\\ud83d\\ude00"}',
        '{"id": "j", "text": "wörld, ça"}'.encode(),
    ]
    path = write(tmp_path, "a.jsonl", b"\n".join(lines))
    found = list(Corpus.open(path, shard_rows=4))
    assert [d.id for d in found] == [*"abcde", *(f"a.jsonl:{n}" for n in (5, 6, 7, 8)), *"ij"]
    assert [d.text for d in found] == ["good", *[None] * 8, "😀", "wörld, ça"]
    words = [
        "missing",
        "missing",
        "no string but 3.5",
        "no string but ['x']",
        "not UTF-8: byte 0xff",
    ]
    words += ["not JSON", "not a JSON object but [1]", "half of a character"]
    problems = [d.problem for d in found if d.text is None]
    assert all(word in problem for word, problem in zip(words, problems, strict=True)), problems
    assert found[0].problem is None


def test_csv_cells_of_every_kind(tmp_path):
    head = b"id,text,zip,n,price,none\r\n"
    body = (
        b'1,"two\r\nlines, ""quoted""",01710,1,1.5,\r\n'
        b"\r\n"
        b"2,NA,99999,-2,2,\r\n"
        b"3,,5,,,\r\n"
        b"4,caf\xe9,5,1,1,\r\n"
        b"5,x,5,1,1,,,\r\n"
        b"6,short\r\n"
    ) + "7,wörld; ça,,,,\r\n".encode()
    path = write(tmp_path, "a.csv", b"\xef\xbb\xbf" + head + body)
    for rows in (1, 3, 100):
        corpus = Corpus.open(path, shard_rows=rows)
        found = list(corpus)
        assert [d.id for d in found] == ["1", "2", "3", "a.csv:3", "a.csv:4", "6", "7"]
        assert [d.text for d in found] == [
            'two\r\nlines, "quoted"',
            "NA",
            None,
            None,
            None,
            "short",
            "wörld; ça",
        ]
        assert found[0].metadata == {"zip": "01710", "n": 1, "price": 1.5, "none": None}
        assert found[1].metadata == {"zip": "99999", "n": -2, "price": 2.0, "none": None}
        assert "not UTF-8" in found[3].problem and "8 cells, more than the 6" in found[4].problem
    types = {"zip": pa.string(), "n": pa.int64(), "price": pa.float64(), "none": pa.string()}
    assert corpus.schema == pa.schema(types)


def test_the_separator_is_found(tmp_path):
    path = write(tmp_path, "a.csv", "id;text\nx;one\ny;two\n")
    assert [d.text for d in Corpus.open(path)] == ["one", "two"]


@pytest.mark.parametrize(
    "cells",
    [
        ["12345678901234567890", "12345678901234567891"],
        ["9007199254740993", "1.5"],
        ["1.5", "-9007199254740993"],
        ["+493010", "+493011"],
        ["12e0", "493E5"],
    ],
)
def test_cells_that_a_number_would_change_stay_text(tmp_path, cells):
    rows = [f"text {n},{cell}\n" for n, cell in enumerate(cells)]
    for name, content in {"a.csv": "".join(rows), "b.csv": rows[0] * 1500 + rows[1]}.items():
        corpus = Corpus.open(write(tmp_path, name, f"text,x\n{content}"))
        assert {one.metadata["x"] for one in corpus} == set(cells)


def test_cells_that_a_number_gives_back_are_numbers(tmp_path):
    cells = ["9007199254740993,1e-05,1.5e3", "-5,2.5,1e+20"]
    path = write(tmp_path, "a.csv", "text,n,x,y\n" + "".join(f"t,{row}\n" for row in cells))
    first, second = Corpus.open(path)
    assert first.metadata == {"n": 2**53 + 1, "x": 1e-05, "y": 1500.0}
    assert second.metadata == {"n": -5, "x": 2.5, "y": 1e20}


def test_large_integers_of_one_file_and_floats_of_another_become_text(tmp_path):
    large, small = 2**60 + 1, 2**53
    for name, value, wanted in (("large", large, str(large)), ("small", small, float(small))):
        for kind in ("parquet", "jsonl", "arrow"):
            folder = tmp_path / name / kind
            make(folder, f"a.{kind}", [{"text": "a", "n": value}])
            make(folder, "b.parquet", [{"text": "b", "n": 1.5}])
            values = [one.metadata["n"] for one in Corpus.open(folder)]
            assert values == ([wanted, "1.5"] if name == "large" else [wanted, 1.5])


def test_a_column_of_several_types_becomes_text(tmp_path):
    rows = [{"text": "x", "v": 1, "w": 1, "o": {}}, {"text": "y", "v": "a", "w": 2.5, "o": {}}]
    rows += [{"text": "z", "v": {"k": [1, None]}, "w": None, "t": ["p"], "s": {"a": 1}}]
    corpus = Corpus.open(make(tmp_path, "a.jsonl", rows))
    assert [d.metadata["v"] for d in corpus] == ["1", "a", '{"k": [1, null]}']
    assert [d.metadata["w"] for d in corpus] == [1.0, 2.5, None]
    assert [d.metadata["o"] for d in corpus] == ["{}", "{}", None]
    assert [d.metadata["t"] for d in corpus] == [None, None, ["p"]]
    assert [d.metadata["s"] for d in corpus] == [None, None, {"a": 1}]
    pq.write_table(
        pa.Table.from_pylist([d.metadata for d in corpus], corpus.schema), tmp_path / "x"
    )


def test_a_type_that_changes_after_many_rows_or_in_another_file_is_seen(tmp_path):
    rows = [{"text": "x", "n": None}] * 1500 + [{"text": "x", "n": 1}] * 1500 + [{"n": "one"}]
    make(tmp_path, "a.jsonl", rows)
    make(tmp_path, "b.csv", [{"text": "x", "n": 1, "m": 1}])
    make(tmp_path, "c.parquet", [{"text": "x", "n": 1, "m": 1.5}])
    corpus = Corpus.open(tmp_path)
    assert corpus.schema == pa.schema({"n": pa.string(), "m": pa.float64()})
    kinds = {type(d.metadata["n"]) for d in corpus}
    assert kinds == {str, type(None)}


VALUES = {
    "bool": True,
    "bytes": b"\xff",
    "date": datetime.date(2020, 1, 2),
    "time": datetime.datetime(2020, 1, 2, 3, 4),
    "span": datetime.timedelta(hours=1),
    "decimal": decimal.Decimal("1.50"),
    "int": 2**62 + 1,
    "float": 0.5,
    "list": [1, 2],
    "struct": {"when": datetime.date(2020, 1, 2)},
    "large": pa.scalar(2**64 - 1, pa.uint64()),
    "cell": "5",
    "cell with a point": "5.25",
    "word": "5 or so",
}


@pytest.mark.parametrize("other", VALUES)
def test_columns_of_any_two_types_have_one_for_both(other, tmp_path):
    for name, value in VALUES.items():
        folder = tmp_path / name.replace(" ", "")
        folder.mkdir()
        for number, one in enumerate([value, VALUES[other]]):
            if isinstance(one, str):
                write(folder, f"{number}.csv", f"text,x\nt,{one}\n")
            else:
                pq.write_table(pa.table({"text": ["t"], "x": [one]}), folder / f"{number}.parquet")
        corpus = Corpus.open(folder)
        values = [document.metadata["x"] for document in corpus]
        stored = pa.array(values, corpus.schema.field("x").type)
        assert None not in stored.to_pylist(), (name, other)


@pytest.mark.parametrize("cell", ["0x1F", "-0x2", "0b1", "1_000", "\u0663", " 7", "1e3", "nan"])
def test_cells_that_are_numbers_to_some(cell, tmp_path):
    found = list(Corpus.open(write(tmp_path, "a.csv", f"text,x\nt,{cell}\nt,12\n")))
    assert found[0].metadata["x"] == cell or float(cell) == found[0].metadata["x"] or cell == "nan"


def test_columns_of_one_name_are_refused(tmp_path):
    for form, where in (("parquet", tmp_path / "a.parquet"), ("arrow", tmp_path / "b.arrow")):
        table = pa.table([["t"], [1], [2]], names=["text", "x", "x"])
        if form == "parquet":
            pq.write_table(table, where)
        else:
            with pa.ipc.new_file(where, table.schema) as file:
                file.write_table(table)
        with pytest.raises(DatasetError, match=f"{where.name} has several columns of the name 'x'"):
            Corpus.open(where)


def test_a_quote_that_is_never_closed_is_told(tmp_path):
    path = write(tmp_path, "a.csv", 'text,year\n"a\nb",1\n"c, 2\nd,3\n')
    first, second, third = Corpus.open(path)
    assert first.text == "a\nb"
    assert second.text is None and "a quote is opened and not closed" in second.problem
    assert (third.id, third.text) == ("a.csv:2", "d")


def test_a_stray_quote_takes_no_other_rows_with_it(tmp_path):
    lines = ["n\ttext", '1\t"To be or not to be', "2\tthat", '3\tis "the" question', "4\twhether"]
    tabs = Corpus.open(write(tmp_path, "a.tsv", "\n".join(lines) + "\n"), shard_rows=1)
    texts = ['"To be or not to be', "that", 'is "the" question', "whether"]
    assert [one.text for one in tabs] == texts
    assert [one.id for one in tabs] == [f"a.tsv:{n}" for n in range(4)]
    assert [next(tabs.shard(n)).text for n in (2, 0, 3, 1)] == [texts[n] for n in (2, 0, 3, 1)]
    commas = "\n".join(lines).replace("\t", ",")
    found = list(Corpus.open(write(tmp_path, "a.csv", commas)))
    assert [one.text for one in found] == [None, *texts[1:]]
    assert found[0].problem == "a quote is opened and not closed in the line"


def test_the_corpus_and_the_reader_of_tables_read_the_same_texts(tmp_path, monkeypatch):
    import datasets

    from sentune.data.read import whole

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    rng = random.Random(3)
    for _ in range(30):
        rows = ["".join(rng.choices('ab "', k=rng.randint(1, 6))) for _ in range(8)]
        path = write(
            tmp_path, "a.tsv", "n\ttext\n" + "".join(f"{n}\t{r}x\n" for n, r in enumerate(rows))
        )
        assert [one.text for one in Corpus.open(path, text="text")] == list(whole(path)["text"])


def test_a_quote_that_is_never_closed_holds_few_lines_in_memory(tmp_path, monkeypatch):
    from sentune.data import csv_rows

    monkeypatch.setattr(csv_rows, "_MOST_LINES", 5)
    rest = [f"text {n}" for n in range(20)]
    path = write(tmp_path, "a.csv", "\n".join(["text", '"open', *rest]))
    first, *others = Corpus.open(path)
    assert first.problem == "a quote is opened and not closed until 5 lines later"
    assert [one.text for one in others] == rest
    monkeypatch.undo()
    line = "a text " * 40
    path = write(tmp_path, "b.csv", 'text\n"open\n' + f"{line}\n" * 70_000)  # 20 MB
    first, *others = Corpus.open(path)
    assert "field larger than field limit" in first.problem
    assert [one.text for one in others] == [line] * 70_000


@pytest.mark.parametrize("rows", [1, 2])
def test_a_plan_that_counts_rows_otherwise_is_refused(tmp_path, rows):
    """As of a version that took the rows after a stray quote for one."""
    path = write(tmp_path, "a.tsv", 'n\ttext\n1\t"open\n2\ttwo\n3\tthree "\n4\tfour\n')
    plan = Corpus.open(path, shard_rows=rows).plan
    plan["shards"] = [[0, 0, 1, 7], [0, 1, 1, 30]][: 2 // rows]
    corpus = Corpus.of_plan(path, plan)
    with pytest.raises(DatasetError, match="a.tsv has other rows than when it was read first, by"):
        list(corpus)


def test_a_head_with_a_quote_that_is_not_closed_is_named(tmp_path):
    path = write(tmp_path, "a.csv", 'id,"text\n1,one\n')
    with pytest.raises(DatasetError, match=r"in its head \(line 1\) a quote is opened and not"):
        Corpus.open(path)
    tabs = write(tmp_path, "a.tsv", 'id\t"text\n1\tone\n')
    assert list(Corpus.open(tabs))[0].text == "one"


def test_text_files_are_a_document_each(tmp_path):
    write(tmp_path, "b.md", "# B\n\ntext\n")
    write(tmp_path, "a.txt", "one\ntwo\n")
    write(tmp_path, "sub/c.rst.gz", "wörld")
    write(tmp_path, "sub/d.txt", b"caf\xe9" + "wörld, ça".encode())
    write(tmp_path, "sub/e.txt", " \n")
    for name in ("f.md", "g.txt.xz"):
        (tmp_path / "sub" / name).touch()
    write(tmp_path, "x.csv", "text\nno\n")
    corpus = Corpus.open(tmp_path, per="file", shard_rows=2)
    found = list(corpus)
    names = ["a.txt", "b.md", "sub/c.rst.gz", "sub/d.txt", "sub/e.txt", "sub/f.md", "sub/g.txt.xz"]
    assert [d.id for d in found] == names
    assert [d.text for d in found] == ["one\ntwo\n", "# B\n\ntext\n", "wörld", *[None] * 4]
    assert "not UTF-8" in found[3].problem
    assert {d.problem for d in found[4:]} == {"the file is empty"}
    assert [s.rows for s in corpus.shards] == [2, 2, 2, 1] and list(corpus.shard(1)) == found[2:4]
    with pytest.raises(DatasetError, match="leave out text"):
        Corpus.open(tmp_path, per="file", text="body")


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("rows.xlsx", "x", "rows.xlsx has none of the known endings .csv, .tsv"),
        ("noending", "x", "known endings"),
        ("broken.json", '{"a": ', "broken.json cannot be read"),
        ("empty.csv", "", "empty.csv is empty"),
        ("empty.txt", "", "empty.txt is empty"),
        ("empty.txt.gz", "", "has no rows"),
        ("list.json", "[]", "has no rows"),
        ("head.csv", "a,b\n", "has no rows"),
        ("wide.parquet", "x" * 9, "wide.parquet cannot be read"),
        ("wide.arrow", "x" * 9, "wide.arrow cannot be read"),
        ("far.csv", "version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        ("half.json", '{"a": [1, 2],\n "b": [3]}', "equally long"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_clear_error(tmp_path, name, text, says):
    with pytest.raises(DatasetError, match=says):
        Corpus.open(write(tmp_path, name, text))


def test_a_compressed_file_that_is_cut_off_is_a_clear_error(tmp_path):
    path = make(tmp_path, "a.jsonl.gz")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DatasetError, match="a.jsonl.gz cannot be read: Compressed file ended"):
        Corpus.open(path)


def test_a_missing_source_and_a_folder_without_data(tmp_path):
    with pytest.raises(MissingDatasetError, match="there is no file or folder"):
        Corpus.open(tmp_path / "nowhere.csv")
    with pytest.raises(DatasetError, match="has no file with one of the endings .csv"):
        Corpus.open(tmp_path)
    write(tmp_path, "a.md", "x")
    with pytest.raises(DatasetError, match="say per='file'"):
        Corpus.open(tmp_path)
    with pytest.raises(SettingError, match="per must be one of"):
        Corpus.open(tmp_path, per="page")


def test_a_plan_saves_the_second_look_unless_files_changed(tmp_path, monkeypatch):
    from sentune.data import corpus as module

    path = make(tmp_path, "a.jsonl")
    plan = json.loads(json.dumps(Corpus.open(path, shard_rows=10).plan))
    scans = []
    scan = module.scan_rows
    monkeypatch.setattr(module, "scan_rows", lambda *args: scans.append(1) or scan(*args))
    assert list(Corpus.open(path, shard_rows=10, plan=plan)) == WANTED and not scans
    assert len(Corpus.open(path, shard_rows=5, plan=plan).shards) == 5 and len(scans) == 1
    path.write_text(path.read_text().replace("text 3", "test 3"))
    assert Corpus.open(path, shard_rows=10, plan=plan).plan["files"] != plan["files"]
    assert len(scans) == 2


def test_a_file_that_changed_or_lost_rows_is_an_error(tmp_path, monkeypatch):
    path = make(tmp_path, "a.jsonl")
    corpus = Corpus.open(path)
    make(tmp_path, "a.jsonl", ROWS[:20])
    with pytest.raises(DatasetError, match="a.jsonl has changed since it was read first; put"):
        list(corpus)
    plan = corpus.plan["files"][0][2]
    monkeypatch.setattr("sentune.data.corpus_files.sample", lambda file: plan)  # as if unnoticed
    with pytest.raises(DatasetError, match="a.jsonl has fewer rows than when it was read first"):
        list(corpus)
    path.unlink()
    monkeypatch.undo()
    with pytest.raises(DatasetError, match="a.jsonl cannot be read: No such file"):
        list(corpus)


def test_object_storage_is_read(tmp_path):
    import fsspec

    memory = fsspec.filesystem("memory")
    for name, rows in (("one.jsonl", ROWS[:10]), ("two.parquet", ROWS[10:])):
        memory.pipe(f"/bucket/data/{name}", make(tmp_path, name, rows).read_bytes())
    corpus = Corpus.open("memory://bucket/data", shard_rows=8)
    assert list(corpus) == WANTED
    again = Corpus.of_plan("memory://bucket/data", corpus.plan)
    assert list(again.shard(1)) == WANTED[8:10]
    alone = Corpus.open("memory://bucket/data/one.jsonl")
    assert list(alone) == WANTED[:10]
    assert list(Corpus.of_plan(alone.source, alone.plan)) == WANTED[:10]
    with pytest.raises(MissingDatasetError, match="no file or folder memory://bucket/none"):
        Corpus.open("memory://bucket/none")


def test_it_works_without_torch_and_datasets_in_little_memory(tmp_path):
    row = json.dumps({"text": "word " * 200}) + "\n"
    write(tmp_path, "a.jsonl", row * 100_000)  # 100 MB
    code = f"""
import resource, sys
for name in ("torch", "transformers", "datasets"):
    sys.modules[name] = None
from sentune.data.corpus import Corpus
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
corpus = Corpus.open({str(tmp_path)!r}, shard_rows=30_000)
assert sum(len(one.text) for one in corpus) == 100_000 * 1000
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 120, done.stdout  # MB, pyarrow's own included
