"""Files to datasets, and errors that say what to do."""

import gzip

import pandas as pd
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
        ("empty.csv", "", "empty.csv is empty"),
        ("empty.txt", "", "empty.txt is empty"),
        ("empty.json", "", "empty.json is empty"),
        ("empty.txt.gz", "", "has no rows"),
        ("list.json", "[]", "has no rows"),
        ("head.csv", "a,b\n", "has no rows"),
        (
            "far.csv",
            "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            "Git LFS pointer.*git lfs pull",
        ),
        ("wide.csv", "a,b\n1,2,3,4\n", "wide.csv, line 2: the row has 4 cells, more than the 2"),
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


NAMES = [
    "a [final].csv",
    "q?.csv",
    "[1].csv",
    "a{b,c}.csv",
    "s*.csv",
    "a:b.csv",
    "100%.csv",
    "#.csv",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("is_relative", [True, False])
def test_a_file_name_is_no_pattern(tmp_path, monkeypatch, name, is_relative):
    """Another file that the name matches as a pattern is not read, nor is it read besides."""
    folder = tmp_path / "[x]"
    folder.mkdir()
    for other in ("a f.csv", "qx.csv", "1.csv", "ab.csv", "sx.csv"):
        write(folder, other, "text\nwrong\n")
    write(folder, name, "text\nright\n")
    monkeypatch.chdir(folder)
    assert read(name if is_relative else folder / name).to_dict() == {"text": ["right"]}


def test_a_folder_name_is_no_pattern(tmp_path):
    Dataset.from_dict({"a": ["x"]}).save_to_disk(tmp_path / "x")
    Dataset.from_dict({"a": ["right"]}).save_to_disk(tmp_path / "[x]*")
    assert read(tmp_path / "[x]*").to_dict() == {"a": ["right"]}


@pytest.mark.parametrize("separator", [";", "\t", "|", ","])
@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv", "rows.csv.gz"])
def test_the_separator_of_a_table_is_detected(tmp_path, name, separator):
    text = f'text{separator}label\n"one, two; three"{separator}1\nfour, five{separator}2\n'
    if separator == ",":
        text = text.replace("four, five", "four")
    found = read(write(tmp_path, name, text))
    assert found.column_names == ["text", "label"] and found["label"][:] == [1, 2]


def test_one_column_of_texts_with_separators_in_them_stays_one(tmp_path):
    for text in ("text\none; two\nthree; four\n", "some; text\nand; more; text\n"):
        assert len(read(write(tmp_path, "rows.csv", text)).column_names) == 1
    path = write(tmp_path, "plain.csv", "a;b\nc;d\n")
    assert read(path, column_names=["text"]).to_dict() == {"text": ["a;b", "c;d"]}
    assert read(path, delimiter=";").to_dict() == {"a": ["c"], "b": ["d"]}


def test_the_index_of_pandas_is_left_out(tmp_path):
    table = pd.DataFrame({"a": ["x", "y"], "b": [1, 2]}, index=[5, 3])
    table.to_parquet(tmp_path / "rows.parquet")
    table.to_csv(tmp_path / "rows.csv")
    for name in ("rows.parquet", "rows.csv"):
        assert read(tmp_path / name).to_dict() == {"a": ["x", "y"], "b": [1, 2]}


def test_a_pointer_in_a_saved_dataset_is_named(tmp_path):
    Dataset.from_dict({"a": ["x"]}).save_to_disk(tmp_path / "saved")
    (arrow,) = (tmp_path / "saved").glob("*.arrow")
    arrow.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(DatasetError, match="Git LFS pointer"):
        read(tmp_path / "saved")
