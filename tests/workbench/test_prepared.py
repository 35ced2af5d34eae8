"""The rows of a run, read from files."""

import csv
from itertools import product
from random import Random

import pytest
from datasets import Dataset, DatasetDict

from sentune.errors import DatasetError, SentuneWarning, SettingError
from sentune.workbench.rows.prepared import parts_of
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


@pytest.mark.filterwarnings("ignore::sentune.errors.SentuneWarning")
def test_of_two_classes_in_words_the_one_that_says_alike_is_1(tmp_path):
    rows = ["a,b,label"]
    rows += [f"text {n},other {n},{'duplicate' if n % 2 else 'not_duplicate'}" for n in range(60)]
    (tmp_path / "pairs.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    parts = parts_of(tmp_path / "pairs.csv", {}, Settings())
    label = parts.whole.features["label"]
    assert label.names == ["not_duplicate", "duplicate"]
    for row in parts.whole:
        assert row["label"] == int(row["a"].split()[1]) % 2
    assert any("'duplicate' is label 1" in note for note in parts.notes)


def test_training_rows_with_a_text_of_held_out_rows_are_left_out():
    rows = {"text": [f"text {n}" for n in range(60)], "label": [0, 1] * 30}
    dev = {"text": ["Text 3!", "text 4", "new"], "label": [1, 0, 1]}
    parts = parts_of(rows, {"dev": dev}, Settings(test_share=0))
    assert {"text 3", "text 4"} & {*parts.rows["train"]["text"]} == set()
    assert len(parts.rows["train"]) == 58
    assert any(note.startswith("2 training rows are left out") for note in parts.notes)


def test_training_rows_with_a_near_duplicate_of_a_held_out_text_are_left_out():
    words = [" ".join(Random(n).sample(WORDS, 8)) for n in range(60)]
    dev = {"text": [f"{words[3].title()}!", f"{words[4]}s", "new"], "label": [1, 0, 1]}
    parts = parts_of({"text": words, "label": [0, 1] * 30}, {"dev": dev}, Settings(test_share=0))
    assert parts.rows["train"]["text"][:] == [*words[:3], *words[5:]]
    assert any(note.startswith("2 training rows are left out") for note in parts.notes)


def test_where_texts_come_again_and_again_only_equal_rows_are_left_out():
    rows = {"q": [f"q {n % 6}" for n in range(60)], "d": [f"d {n}" for n in range(60)]}
    dev = {"q": ["q 0", "q 1"], "d": ["d 0", "new"]}
    parts = parts_of(rows, {"dev": dev}, Settings(test_share=0))
    assert len(parts.rows["train"]) == 59
    assert any(note.startswith("19 training rows stay") for note in parts.notes)


def test_of_answers_that_come_again_and_again_the_questions_are_left_out_all_the_same():
    rows = {"q": [f"q {n}" for n in range(60)], "d": [f"d {n % 4}" for n in range(60)]}
    dev = {"q": ["q 7", "new"], "d": ["d 1", "d 1"]}
    parts = parts_of(rows, {"dev": dev}, Settings(test_share=0))
    assert len(parts.rows["train"]) == 59 and "q 7" not in parts.rows["train"]["q"]


@pytest.mark.parametrize("names", [("test",), ("dev", "test")])
def test_training_rows_that_are_all_held_out_are_an_error(names):
    rows = {"text": [f"text {n}" for n in range(60)], "label": [0, 1] * 30}
    with pytest.raises(DatasetError, match=r"only 0 of 60 rows are left.*are in the held-out"):
        parts_of(rows, dict.fromkeys(names, rows), Settings())


def test_shares_that_leave_nothing_name_their_options():
    rows = {"text": [f"text {n}" for n in range(60)], "label": [0, 1] * 30}
    with pytest.raises(SettingError, match="--dev-share, --test-share"):
        parts_of(rows, {}, Settings(dev_share=0.5, test_share=0.5))


def test_held_out_rows_are_as_many_as_can_show_something_and_the_others_train(monkeypatch):
    monkeypatch.setattr("sentune.workbench.rows.prepared._ENOUGH", 20)
    rows = {"text": [f"text {n} {n}" for n in range(1000)], "label": [0, 1] * 500}
    counts = {name: len(part) for name, part in parts_of(rows, {}, Settings()).rows.items()}
    assert counts == {"train": 960, "dev": 20, "test": 20}
    asked = parts_of(rows, {}, Settings(dev_share=0.1, test_share=0)).rows
    assert {name: len(part) for name, part in asked.items()} == {"train": 900, "dev": 100}


def test_of_a_large_file_to_choose_by_a_sample_is_used_and_said(monkeypatch):
    monkeypatch.setattr("sentune.workbench.rows.prepared._ENOUGH", 20)
    rows = {"text": [f"text {n} {n}" for n in range(100)], "label": [0, 1] * 50}
    other = {"text": [f"other {n} {n}" for n in range(60)], "label": [0, 1] * 30}
    parts = parts_of(rows, {"dev": other, "test": other}, Settings())
    assert {name: len(part) for name, part in parts.rows.items()} == {
        "train": 100,
        "dev": 20,
        "test": 60,
    }
    assert "20 of 60 rows are used to choose by, drawn at random" in parts.notes


def parts_in(folder):
    """A folder with files of two parts."""
    folder.mkdir()
    for part, count in (("train", 80), ("test", 30)):
        rows = "".join(f"{part} {n} {n},{n % 2}\n" for n in range(count))
        (folder / f"{part}.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    return str(folder)


@pytest.mark.filterwarnings("ignore::sentune.errors.SentuneWarning")
def test_a_range_of_training_rows_is_not_taken_of_held_out_files(tmp_path):
    whole = write(tmp_path / "rows.csv", [0, 1] * 60)
    test = write(tmp_path / "held.csv", [1, 0] * 20)
    parts = parts_of(whole, {"test": test}, Settings(split="train[:100]"))
    assert len(parts.rows["test"]) == 40
    assert sum(map(len, parts.rows.values())) == 140


@pytest.mark.filterwarnings("ignore::sentune.errors.SentuneWarning")
def test_of_held_out_data_with_parts_its_own_is_taken_or_else_the_one_asked_for(tmp_path):
    folder = parts_in(tmp_path / "parts")
    for data in (folder, DatasetDict(train=of_part("train", 80), test=of_part("test", 30))):
        parts = parts_of(data, {"test": data}, Settings(dev_share=0.2))
        assert len(parts.rows["test"]) == 30
        assert all(text.startswith("test") for text in parts.rows["test"]["text"])
        assert all(text.startswith("train") for text in parts.rows["train"]["text"])
    other = DatasetDict(mine=of_part("mine", 40))
    parts = parts_of(of_part("train", 80), {"dev": other}, Settings(split="mine", test_share=0))
    assert len(parts.rows["dev"]) == 40


def of_part(name, count):
    texts = [f"{name} {n} {n}" for n in range(count)]
    return Dataset.from_dict({"text": texts, "label": [n % 2 for n in range(count)]})


def test_a_column_of_numbers_is_not_taken_for_classes():
    data = {"text": [f"a text with the number {n}" for n in range(200)], "label": list(range(200))}
    with pytest.raises(DatasetError, match="200 different values in 200 rows"):
        parts_of(data, {}, Settings())
