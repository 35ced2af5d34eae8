"""Hard negatives of a file: which rows are taken as pairs, what is written, what is refused."""

import json
import random

import pytest

from sentune.cli import main
from sentune.data.read import read
from sentune.errors import DatasetError, MissingFolderError, SentuneWarning, SettingError
from sentune.workbench import mine
from tests.fake_encoder import FakeEncoder

QUERIES = ["red dog", "red cat", "blue fish", "blue bird", "green tree", "green river"]
PAIRS = {"query": QUERIES, "answer": [f"{text} here" for text in QUERIES]}
MODEL = FakeEncoder(width=128)


def test_the_negatives_are_the_nearest_texts_that_are_no_answer():
    found = mine(PAIRS, MODEL, count=1)
    assert found.dataset.column_names == ["query", "answer", "negative"]
    negatives = dict(zip(found.dataset["query"], found.dataset["negative"], strict=True))
    assert negatives["red dog"] == "red cat here" and negatives["blue bird"] == "blue fish here"
    assert found.report.negatives == 6 and found.path is None


@pytest.mark.parametrize(
    ("format", "columns", "rows"),
    [
        ("triplet", ["query", "answer", "negative"], 12),
        ("n-tuple", ["query", "answer", "negative_1", "negative_2"], 6),
        ("labelled-pair", ["query", "answer", "label"], 18),
        ("labelled-list", ["query", "answer", "labels"], 6),
    ],
)
def test_formats_and_the_file(format, columns, rows, tmp_path):
    path = tmp_path / "mined.jsonl"
    found = mine(PAIRS, MODEL, count=2, format=format, output=path)
    assert found.dataset.column_names == columns and len(found.dataset) == rows
    assert found.path == path and read(path).to_dict() == found.dataset.to_dict()
    assert str(found).startswith(f"{rows} rows in {path}, with the columns query, answer")


def test_scores_and_limits(tmp_path):
    found = mine(PAIRS, MODEL, count=2, has_scores=True, max_score=0.3)
    assert all(row[1] <= 0.3 for row in found.dataset["scores"])
    assert found.report.dropped["max_score"] > 0
    with pytest.raises(SettingError, match="hold no lists"):
        mine(PAIRS, MODEL, has_scores=True, output=tmp_path / "mined.csv")
    with pytest.raises(MissingFolderError):
        mine(PAIRS, MODEL, output=tmp_path / "nowhere" / "mined.csv")
    with pytest.raises(SettingError, match="triplet, n-tuple"):
        mine(PAIRS, MODEL, format="tuple")


def test_more_documents_and_a_judge(tmp_path):
    (tmp_path / "more.txt").write_text("red dog there\nyellow\n", encoding="utf-8")

    def judge(pairs):
        return [float("there" in document) for _, document in pairs]

    found = mine(
        PAIRS, MODEL, count=1, corpus=str(tmp_path / "more.txt"), cross_encoder=judge, max_score=0.5
    )
    assert found.report.documents == 8
    assert "red dog there" not in found.dataset["negative"]
    assert (
        "red dog there" in mine(PAIRS, MODEL, count=1, corpus=["red dog there"]).dataset["negative"]
    )


def test_a_random_choice_is_repeated_and_pythons_numbers_are_left_alone():
    options = {"count": 1, "sampling_strategy": "random", "range_max": 5}
    random.seed(5)
    expected = random.random()
    random.seed(5)
    one, two = (mine(PAIRS, MODEL, **options).dataset.to_dict() for _ in range(2))
    assert random.random() == expected
    assert one == two
    others = [mine(PAIRS, MODEL, seed=n, **options).dataset.to_dict() for n in range(5)]
    assert any(other != one for other in others)


@pytest.mark.parametrize(
    ("labels", "options", "taken"),
    [
        ({"label": [1, 0, 1, 1, 0, 1]}, {}, 4),
        ({"score": [1.0, 0.8, 0.79, 0.1, 0.9, 0.0]}, {}, 3),
        ({"score": [5.0, 4.0, 3.9, 1.0, 4.5, 0.0]}, {}, 3),
        ({"score": [5.0, 4.0, 3.9, 1.0, 4.5, 0.0]}, {"label_at_least": 3.5}, 4),
        ({"label": [2, 0, 1, 2, 0, 1]}, {"label_at_least": 2}, 2),
        ({"score": [0.5, 0.4, 0.39, 0.1, 0.45, 0.0]}, {}, 3),  # of the highest, whatever it is
    ],
)
def test_labels_say_which_rows_are_pairs(labels, options, taken):
    found = mine({**PAIRS, **labels}, MODEL, count=1, **options)
    assert found.report.positives == taken
    assert found.notes[0].startswith(f"{taken} of 6 rows are taken")


def test_of_labels_in_words_the_one_that_says_alike_counts():
    words = ["duplicate", "not_duplicate", "duplicate", "duplicate", "not_duplicate", "duplicate"]
    with pytest.warns(SentuneWarning, match="are numbered"):
        found = mine({**PAIRS, "label": words}, MODEL, count=1)
    assert set(found.dataset["query"]) == {QUERIES[row] for row in (0, 2, 3, 5)}
    assert found.notes[0].startswith("'duplicate' is label 1")


def test_rows_without_a_text_or_score_are_left_out_and_counted():
    answers = [PAIRS["answer"][0], None, "", *PAIRS["answer"][3:]]
    found = mine({"query": QUERIES, "answer": answers}, MODEL, count=1)
    assert found.report.positives == 4
    assert found.notes == ("2 rows with an empty text or label are left out",)
    scores = [1.0, None, 0.9, 0.1, 0.9, 0.0]
    assert mine({**PAIRS, "score": scores}, MODEL, count=1).report.positives == 3


def test_what_is_read_is_not_replaced(tmp_path):
    lines = [f"{query},{answer}" for query, answer in zip(*PAIRS.values(), strict=True)]
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("\n".join(["query,answer", *lines]))
    with pytest.raises(SettingError, match="is what the rows are read from"):
        mine(str(pairs), MODEL, output=pairs)
    with pytest.raises(SettingError, match="is what the rows are read from"):
        mine(PAIRS, MODEL, corpus=str(pairs), output=pairs)
    with pytest.raises(SettingError, match="would be in the folder"):
        mine(str(tmp_path), MODEL, output=tmp_path / "new.csv")
    with pytest.raises(SettingError, match="is what the rows are read from"):
        mine(str(tmp_path / "*.csv"), MODEL, output=pairs)


def test_triplets_give_their_anchors_and_positives():
    found = mine({**PAIRS, "negative": QUERIES}, MODEL, count=1)
    assert found.report.positives == 6
    assert found.notes == ("the columns negative are left out",)


@pytest.mark.parametrize(
    ("data", "options", "says"),
    [
        ({"text": QUERIES}, {}, "the only text column"),
        ({**PAIRS, "label": [2, 0, 1, 2, 0, 1]}, {}, "are classes"),
        ({**PAIRS, "score": [0.1] * 6}, {"label_at_least": 0.5}, "no row has a label of at least"),
    ],
)
def test_rows_without_pairs_are_refused(data, options, says):
    with pytest.raises(DatasetError, match=says):
        mine(data, MODEL, **options)


def test_the_command(tiny_model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tiny_model.save("model")
    lines = ["q,a", *(f"{a},{b}" for a, b in zip(*PAIRS.values(), strict=True))]
    (tmp_path / "pairs.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    words = ["mine", "pairs.csv", "--model", "model", "--columns", "anchor=q,positive=a"]
    assert main([*words, "-o", "mined.csv", "--count", "2"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("12 rows in mined.csv, with the columns anchor, positive, negative")
    assert "note: train with them: sentune train mined.csv" in said.err
    assert len(read("mined.csv")) == 12
    capsys.readouterr()
    assert main([*words, "-o", "mined.jsonl", "--as", "n-tuple", "--json", "-q"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert said.err == "" and found["columns"][-1] == "negative_3" and found["rows"] == 6
    # Nothing is found: the answer is no.
    assert main([*words, "-o", "none.csv", "--max-score", "-0.9", "-q"]) == 1
    assert "0 negatives" in capsys.readouterr().out


def test_the_command_checks_the_file_before_any_work(capsys):
    assert main(["mine", "nowhere.csv", "-o", "mined.xls"]) == 2
    assert "must end in .csv" in capsys.readouterr().err
