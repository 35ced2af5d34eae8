"""The rows of a run, read from files."""

import csv
from itertools import product
from random import Random

import pytest

from sentune.errors import SentuneWarning
from sentune.workbench.prepared import parts_of
from sentune.workbench.settings import Settings

WORDS = ["".join(letters) for letters in product("bdfgk", "aeiou", "lmnrst")]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))


def write(path, labels):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "label"])
        for number, label in enumerate(labels):
            words = Random(f"{path.stem} {number}").sample(WORDS, 6)
            writer.writerow([number, f"{' '.join(words)} {label}", label])
    return str(path)


def test_words_of_labels_have_the_same_numbers_in_all_parts(tmp_path):
    whole = write(tmp_path / "rows.csv", ["apple", "pear", "zebra"] * 20)
    test = write(tmp_path / "held.csv", ["zebra", "pear"] * 3)
    with pytest.warns(SentuneWarning):
        parts = parts_of(whole, {"test": test}, Settings())
    rows = parts.rows["test"]
    assert rows.column_names == parts.rows["train"].column_names == ["text", "label"]
    for row in (*rows, *parts.rows["train"]):
        assert row["text"].endswith(["apple", "pear", "zebra"][row["label"]])


def test_what_was_decided_of_the_files_is_among_the_notes(tmp_path):
    whole = write(tmp_path / "rows.csv", ["ham", "spam"] * 30)
    with pytest.warns(SentuneWarning):
        notes = parts_of(whole, {}, Settings()).notes
    assert any("column 'id' is left out" in note for note in notes)
    assert "the words in 'label' are numbered: ham = 0, spam = 1" in notes
