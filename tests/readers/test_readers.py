"""Files of examples, read as scripts for `model.fit` know it; the peer reads the same."""

import gzip

import pytest

from sentune import readers
from sentune.errors import DatasetError


def shown(examples):
    return [(example.guid, example.texts, example.label) for example in examples]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "trec.txt").write_text("NUM\thow many cats\nLOC\twhere is it\nNUM\thow far\n")
    sts = 'main\tnews\t2012\t1\t2.5\ta cat\tone "cat\nmain\tnews\t2012\t2\t5.0\ta dog\tdogs\n'
    (tmp_path / "sts.csv").write_text(sts)
    (tmp_path / "plain.tsv").write_text("a\tb\t1.0\nc\td\t4.0\n")
    (tmp_path / "triplets.tsv").write_text("anchor\tpos\tneg\na\tb\tc\nd\te\tf\n")
    for name, text in {"s1": "a\nc\n", "s2": "b\nd\n", "labels": "neutral\nEntailment\n"}.items():
        with gzip.open(tmp_path / f"{name}.train.gz", "wt", encoding="utf-8") as file:
            file.write(text)
    (tmp_path / "en.txt").write_text("one\ntwo\nthree\n")
    with gzip.open(tmp_path / "de.txt.gz", "wt", encoding="utf-8") as file:
        file.write("eins\nzwei\n")
    return tmp_path


CASES = {
    "LabelSentenceReader": (
        "trec.txt",
        {},
        [
            ("trec.txt-0", ["how many cats"], 0),
            ("trec.txt-1", ["where is it"], 1),
            ("trec.txt-2", ["how far"], 0),
        ],
    ),
    "STSBenchmarkDataReader": (
        "sts.csv",
        {},
        [("sts.csv0", ["a cat", 'one "cat'], 0.5), ("sts.csv1", ["a dog", "dogs"], 1.0)],
    ),
    "STSDataReader": (
        "plain.tsv",
        {"min_score": 1, "max_score": 4},
        [("plain.tsv0", ["a", "b"], 0.0), ("plain.tsv1", ["c", "d"], 1.0)],
    ),
    "TripletReader": (
        "triplets.tsv",
        {"has_header": True},
        [("", ["a", "b", "c"], 0), ("", ["d", "e", "f"], 0)],
    ),
    "NLIDataReader": (
        "train.gz",
        {},
        [("train.gz-0", ["a", "b"], 2), ("train.gz-1", ["c", "d"], 1)],
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("most", [0, 1])
def test_readers(name, most, folder):
    filename, options, expected = CASES[name]
    reader = getattr(readers, name)(folder, **options)
    assert shown(reader.get_examples(filename, most)) == expected[: most or None]


@pytest.mark.filterwarnings(  # the peer leaves files open
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("name", CASES)
def test_the_peer_reads_the_same(name, folder):
    peer = pytest.importorskip("sentence_transformers.readers")
    filename, options, _ = CASES[name]
    own = getattr(readers, name)(folder, **options).get_examples(filename)
    theirs = getattr(peer, name)(str(folder), **options).get_examples(filename)
    # The peer leaves the ends of lines in some texts.
    strip = [(e.guid, [text.rstrip("\n") for text in e.texts], e.label) for e in theirs]
    assert shown(own) == strip


def test_paired_files_end_with_the_shortest(folder):
    reader = readers.PairedFilesReader([folder / "en.txt", folder / "de.txt.gz"])
    assert shown(reader.get_examples()) == [("0", ["one", "eins"], 1), ("1", ["two", "zwei"], 1)]
    assert len(reader.get_examples(max_examples=1)) == 1


def test_scores_as_they_are(folder):
    reader = readers.STSDataReader(folder, normalize_scores=False)
    assert [example.label for example in reader.get_examples("plain.tsv")] == [1.0, 4.0]


def test_labels_of_inference():
    reader = readers.NLIDataReader(".")
    assert reader.get_num_labels() == 3
    assert readers.NLIDataReader.get_labels()["contradiction"] == 0
    with pytest.raises(DatasetError, match="must be one of .*got 'maybe'"):
        reader.map_label("maybe")


def test_a_line_with_too_few_columns_is_named(folder):
    with pytest.raises(DatasetError, match=r"plain.tsv, line 1 has 3 columns, .*\[5, 6, 4\]"):
        readers.STSBenchmarkDataReader(folder).get_examples("plain.tsv")
