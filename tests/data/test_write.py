"""Rows written to a file come back from it; what cannot be written is said before any work."""

import json

import datasets
import pytest

from sentune.data.read import read
from sentune.data.write import check, write
from sentune.errors import MissingFolderError, OutputError, SettingError

ROWS = {"a": ['one, "two"', "drei\nvier", "é 中"], "b": ["x", "y", "z"], "label": [1, 0, 1]}


@pytest.fixture
def dataset():
    from datasets import Dataset

    return Dataset.from_dict(ROWS)


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".json", ".parquet"])
def test_rows_come_back(ending, dataset, tmp_path):
    path = write(dataset, tmp_path / f"rows{ending}")
    assert read(path).to_dict() == ROWS
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_json_is_readable_as_it_is(dataset, tmp_path):
    assert "é 中" in write(dataset, tmp_path / "rows.jsonl").read_text(encoding="utf-8")


def test_an_error_leaves_the_old_file(dataset, tmp_path, monkeypatch):
    (tmp_path / "rows.csv").write_text("old")

    def full(self, file, **options):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(dataset), "to_csv", full)
    with pytest.raises(OutputError, match="No space left"):
        write(dataset, tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_text() == "old"


@pytest.mark.parametrize(
    ("name", "has_lists", "error", "says"),
    [
        ("rows.xls", False, SettingError, "must end in .csv"),
        ("rows", False, SettingError, "must end in"),
        ("rows.csv", True, SettingError, "hold no lists"),
        ("nowhere/rows.csv", False, MissingFolderError, "does not exist"),
        ("folder.csv", False, SettingError, "is a folder"),
    ],
)
def test_a_path_is_checked(name, has_lists, error, says, tmp_path):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(error, match=says):
        check(tmp_path / name, has_lists=has_lists)


def test_lists_go_where_there_are_lists(tmp_path):
    from datasets import Dataset

    lists = Dataset.from_dict({"a": ["x"], "scores": [[0.5, 0.25]]})
    with pytest.raises(SettingError, match="hold no lists"):
        write(lists, tmp_path / "rows.tsv")
    assert read(write(lists, tmp_path / "rows.parquet"))["scores"] == [[0.5, 0.25]]


def test_an_array_of_more_rows_than_a_batch_is_written(tmp_path):
    rows = datasets.Dataset.from_dict({"text": [f"text {n}" for n in range(1500)]})
    path = write(rows, tmp_path / "rows.json")
    assert len(json.loads(path.read_text(encoding="utf-8"))) == 1500


@pytest.mark.filterwarnings("ignore::sentune.errors.SentuneWarning")
@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_classes_keep_their_words(ending, tmp_path):
    feature = datasets.ClassLabel(names=["no", "yes"])
    rows = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": ["yes", "no", "yes"]})
    rows = rows.cast_column("label", feature)
    found = read(write(rows, tmp_path / f"rows.{ending}"), columns=["text", "label"])
    assert [found.features["label"].int2str(value) for value in found["label"]] == [
        "yes",
        "no",
        "yes",
    ]


def test_what_the_rows_are_read_from_is_not_replaced(tmp_path):
    (tmp_path / "rows.csv").write_text("text\na\n", encoding="utf-8")
    with pytest.raises(SettingError, match="name another file"):
        check(tmp_path / "rows.csv", sources=[tmp_path / "." / "rows.csv"])
