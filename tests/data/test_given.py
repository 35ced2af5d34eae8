"""Rows in memory are taken by the same rules as those of files."""

import os
import subprocess
import sys
from pathlib import Path

import pandas
import pytest
from datasets import Dataset, DatasetDict

from sentune.data.example import InputExample
from sentune.data.given import rows_of
from sentune.errors import DatasetError, InputTypeError, SentuneWarning, SettingError

ROWS = {"text": ["a cat", "a dog", "a cat sat", "a dog ran"], "label": [0, 1, 0, 1]}
PLAIN = [dict(zip(ROWS, row)) for row in zip(*ROWS.values())]
SHAPES = {
    "columns": ROWS,
    "rows": PLAIN,
    "dataset": Dataset.from_dict(ROWS),
    "stream": Dataset.from_dict(ROWS).to_iterable_dataset(),
    "table": pandas.DataFrame(ROWS),
    "formatted": Dataset.from_dict(ROWS).with_format("torch"),
    "parts": DatasetDict(train=Dataset.from_dict(ROWS), test=Dataset.from_dict({"text": ["x"]})),
    "dict of parts": {"train": Dataset.from_dict(ROWS)},
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("shape", SHAPES)
def test_any_shape_gives_the_same_rows(shape):
    assert list(rows_of(SHAPES[shape])) == PLAIN


def test_input_examples_are_rows():
    given = [InputExample(texts=["a", "b"], label=0.5), InputExample(texts=["c", "d"], label=1.0)]
    found = rows_of(given)
    assert len(found) == 2 and found[1]["label" if "label" in found.column_names else "score"] == 1


def test_of_several_parts_the_one_that_is_asked_for_is_taken():
    parts = DatasetDict(train=Dataset.from_dict(ROWS), test=Dataset.from_dict({"text": ["x"]}))
    assert list(rows_of(parts, "test")["text"]) == ["x"]
    assert list(rows_of(parts, "train[:2]")["text"]) == ROWS["text"][:2]
    with pytest.raises(DatasetError, match="the data has the parts train, test, not 'dev'"):
        rows_of(parts, "dev")


def test_labels_that_are_words_are_classes():
    rows = {"text": [f"text {n}" for n in range(30)], "label": ["spam", "ham", "eggs"] * 10}
    for given in (rows, Dataset.from_dict(rows), DatasetDict(train=Dataset.from_dict(rows))):
        with pytest.warns(SentuneWarning, match="eggs = 0, ham = 1, spam = 2"):
            found = rows_of(given)
        assert found.features["label"].names == ["eggs", "ham", "spam"]
        assert found["label"][:3] == [2, 1, 0]


def test_columns_are_chosen_and_named_as_those_of_files():
    rows = {"q": ["a", "b"], "d": ["c", "d"], "how": [0.1, 0.9], "rest": ["", "x"]}
    found = rows_of(rows, columns={"anchor": "q", "positive": "d"}, label="how")
    assert found.column_names == ["anchor", "positive", "score"]
    with pytest.raises(DatasetError, match="there is no column 'query'"):
        rows_of(rows, columns={"anchor": "query"})


def test_options_of_files_and_what_is_no_data_are_refused():
    with pytest.raises(SettingError, match="encoding says how files are read"):
        rows_of(ROWS, encoding="latin-1")
    with pytest.raises(InputTypeError, match="must be a file, a list of files.* got int"):
        rows_of(3)


def test_of_standard_input_nothing_is_kept_when_the_process_has_ended(tmp_path):
    code = (
        "from sentune.data.read import places, read; rows = read('-', format='txt'); "
        "from sentune.data import kept; "
        "print(len(rows), len(list(kept.home().iterdir())), places(rows).of(0))"
    )
    environment = {**os.environ, "HF_DATASETS_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        input="one\ntwo\n",
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    assert done.stdout.strip() == "2 1 standard input, line 1"
    assert not list(Path(tmp_path / "cache" / "sentune").iterdir())
