"""Files to datasets, and errors that say what to do."""

import gzip

import pytest
from datasets import Dataset, DatasetDict

from sentune.data import read as reading
from sentune.data.read import read
from sentune.errors import DatasetError, HubError

ROWS = {"a": ["hello", "wörld"], "b": ["NA", "None, two"], "label": [1, 2]}
CSV = 'a,b,label\nhello,NA,1\nwörld,"None, two",2\n'


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def write(folder, name, text):
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.csv", CSV),
        ("rows.CSV.gz", CSV),
        ("rows.tsv", "a\tb\tlabel\nhello\tNA\t1\nwörld\tNone, two\t2\n"),
        (
            "rows.jsonl",
            '{"a": "hello", "b": "NA", "label": 1}\n{"a": "wörld", "b": "None, two", "label": 2}\n',
        ),
        (
            "rows.json",
            '[{"a": "hello", "b": "NA", "label": 1}, {"a": "wörld", "b": "None, two", "label": 2}]',
        ),
    ],
)
def test_text_formats_give_the_same_rows(tmp_path, name, text):
    found = read(write(tmp_path, name, text))
    assert found.to_dict() == ROWS


def test_parquet_arrow_and_saved_datasets_come_back(tmp_path):
    data = Dataset.from_dict(ROWS)
    data.to_parquet(tmp_path / "rows.parquet")
    data.save_to_disk(tmp_path / "saved")
    DatasetDict(train=data, test=data.select([0])).save_to_disk(tmp_path / "parts")
    assert read(tmp_path / "rows.parquet").to_dict() == ROWS
    assert read(str(tmp_path / "saved")).to_dict() == ROWS
    assert read(tmp_path / "saved" / "data-00000-of-00001.arrow").to_dict() == ROWS
    assert read(tmp_path / "parts").to_dict() == ROWS
    assert len(read(tmp_path / "parts", split="test")) == 1
    with pytest.raises(DatasetError, match="parts train, test, not 'dev'"):
        read(tmp_path / "parts", split="dev")


def test_a_txt_file_has_a_text_per_line(tmp_path):
    found = read(write(tmp_path, "lines.txt", "one\ntwo\n"))
    assert found.to_dict() == {"text": ["one", "two"]}


def test_only_an_empty_cell_is_missing(tmp_path):
    found = read(write(tmp_path, "rows.csv", "a,b\nnull,\nnan,x\n"))
    assert found.to_dict() == {"a": ["null", "nan"], "b": [None, "x"]}


def test_part_of_a_file_and_options_of_the_reader(tmp_path):
    path = write(tmp_path, "rows.csv", "hello,1\nthere,2\n")
    found = read(path, split="train[:1]", column_names=["text", "label"])
    assert found.to_dict() == {"text": ["hello"], "label": [1]}


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("rows.xlsx", "x", "known endings .csv, .tsv"),
        ("noending", "x", "known endings"),
        ("broken.json", '{"a": ', "broken.json cannot be read"),
        ("empty.csv", "", "empty.csv cannot be read"),
        ("head.csv", "a,b\n", "no data"),
        ("wide.csv", "a,b\n1,2,3,4\n", "more cells than its head"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_clear_error(tmp_path, name, text, says):
    with pytest.raises(DatasetError, match=says):
        read(write(tmp_path, name, text))


@pytest.mark.parametrize("source", ["nowhere.csv", "a/b/c", "data/nowhere.jsonl", "/no/such"])
def test_a_missing_file_is_not_looked_for_on_the_hub(source, monkeypatch):
    monkeypatch.setattr(reading, "need", lambda *args, **kwargs: None)
    with pytest.raises(DatasetError, match="there is no file"):
        read(source)


def test_a_dataset_without_rows_is_refused(tmp_path):
    Dataset.from_dict({"a": ["x"]}).select([]).to_parquet(tmp_path / "empty.parquet")
    with pytest.raises(DatasetError, match="has no rows|no data"):
        read(tmp_path / "empty.parquet")


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="save_to_disk"):
        read(tmp_path)


def test_a_dataset_that_the_hub_cannot_give_is_an_error_of_the_hub():
    with pytest.raises(HubError, match="hf auth login"):
        read("nobody/nothing-at-all")


def test_a_split_that_the_hub_does_not_have_is_an_error_of_the_dataset(monkeypatch):
    class FakeDatasets:
        @staticmethod
        def load_dataset(source, split):
            raise ValueError(f"Unknown split {split!r}. Should be one of ['test'].\nmore")

    monkeypatch.setattr(reading, "need", lambda *args, **kwargs: FakeDatasets)
    with pytest.raises(DatasetError, match=r"Should be one of \['test'\]\.$"):
        read("some/dataset")
