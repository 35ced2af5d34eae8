"""`inspect` finds planted faults, by their rows, and says what to do about them."""

import json

import numpy as np
import pytest

from sentune import workbench
from sentune.errors import DatasetError, SentuneWarning, SettingError
from sentune.losses.fitting import losses_for
from sentune.workbench import inspect
from sentune.workbench.inspection import advice
from sentune.workbench.inspection.checks import CHECKS
from tests.fake_encoder import FakeEncoder, sentences

TOPICS = [[f"{letter}{number}" for number in range(8)] for letter in "abcd"]


def topical(topic, generator, words=6):
    return " ".join(generator.choice(TOPICS[topic], words)) + f" {generator.integers(10**9)}"


def found(inspection, kind):
    return next((f.rows for f in inspection.findings if f.kind == kind), [])


@pytest.fixture
def classes():
    generator = np.random.default_rng(0)
    labels = [row % 4 for row in range(400)]
    return {"text": [topical(label, generator) for label in labels], "label": labels}


@pytest.fixture
def pairs():
    texts = sentences(200, seed=1, words=9)
    return {
        "anchor": [f"{text} asked {row}" for row, text in enumerate(texts)],
        "positive": [f"{text} said {row}" for row, text in enumerate(texts)],
    }


def test_nothing_is_found_where_nothing_is_wrong(classes):
    assert inspect(classes, FakeEncoder()).findings == []


def test_empty_and_one_word_texts_are_found(classes):
    classes["text"][3], classes["text"][7], classes["text"][9] = "", " \n", "Help!"
    seen = inspect(classes)
    assert found(seen, "empty texts") == [3, 7]
    assert found(seen, "one-word texts") == [9]
    assert list(seen.reasons()) == [3, 7]


def test_data_of_single_words_is_as_it_is():
    words = {"text": [f"w{n}" for n in range(40)], "label": [0, 1] * 20}
    assert found(inspect(words), "one-word texts") == []


def test_duplicates_are_found_by_the_later_row(classes):
    text, label = classes["text"][5], classes["label"][5]
    classes["text"] += [text, text.upper() + "!", text]
    classes["label"] += [label, label, label]
    seen = inspect(classes)
    assert found(seen, "exact duplicates") == [400, 402]
    assert found(seen, "near duplicates") == [401]
    first = seen.findings[0].examples[0]
    assert first["note"] == "the same as row 5"
    assert first["other"] == {"text": text, "label": label}


def test_labels_that_contradict_are_found(classes):
    for row in (5, 6, 6):
        classes["text"].append(classes["text"][row])
        classes["label"].append(3 if row == 5 else classes["label"][row])
    classes["text"].append(classes["text"][6].title())
    classes["label"].append(0)
    seen = inspect(classes)
    assert found(seen, "contradicting labels") == [5, 400, 403]  # most rows agree on that of 6
    assert found(seen, "exact duplicates") == [401, 402]


def test_scores_contradict_where_they_are_far_apart():
    texts = sentences(60, words=9)
    data = {"one": texts[:30], "two": texts[30:], "score": [row / 29 for row in range(30)]}
    for row, score in ((3, 0.9), (4, 0.2)):
        data["one"].append(data["two"][row])  # in the other order: scores know none
        data["two"].append(data["one"][row])
        data["score"].append(score)
    seen = inspect(data)
    assert found(seen, "contradicting labels") == [3, 30]
    assert found(seen, "exact duplicates") == [31]


def test_the_order_of_a_pair_counts_where_it_means_something(pairs):
    pairs["anchor"].append(pairs["positive"][3])
    pairs["positive"].append(pairs["anchor"][3])
    assert found(inspect(pairs), "exact duplicates") == []


def test_an_anchor_that_is_its_positive_is_found(pairs):
    pairs["positive"][11] = pairs["anchor"][11].upper()
    assert found(inspect(pairs), "anchor equals positive") == [11]


def test_negatives_that_are_positives_are_found(pairs):
    pairs["negative"] = [pairs["positive"][row - 9] for row in range(200)]
    pairs["anchor"][20] = pairs["anchor"][30]
    pairs["negative"][30] = pairs["positive"][20]
    pairs["negative"][40] = pairs["anchor"][40]
    pairs["negative"][50] = pairs["positive"][50]
    seen = inspect(pairs)
    assert found(seen, "negatives that are positives") == [30, 40, 50]
    notes = next(f.notes for f in seen.findings if f.kind == "negatives that are positives")
    assert notes == [
        "'negative' is a positive of the same anchor in row 20",
        "'negative' is the anchor itself",
        "'negative' is the positive itself",
    ]


def test_rows_of_the_test_data_are_found(pairs):
    test = {name: texts[:20] for name, texts in pairs.items()}
    test["anchor"][5] = test["anchor"][5].title()
    test["positive"][6] = "something else entirely"
    seen = inspect(pairs, test=test)
    assert found(seen, "rows of the test data") == [r for r in range(20) if r not in (5, 6)]
    assert found(seen, "near rows of the test data") == [5]
    assert found(seen, "texts of the test data") == [6]
    assert 6 not in seen.reasons()
    with pytest.raises(DatasetError, match="the test data has the text columns anchor, and"):
        inspect(pairs, test={"anchor": ["a b"]})


def test_wrong_classes_are_found(classes):
    planted = [10, 101, 202, 303]
    for row in planted:
        classes["label"][row] = (classes["label"][row] + 2) % 4
    seen = inspect(classes, FakeEncoder())
    assert found(seen, "likely wrong labels") == planted
    assert seen.findings[-1].notes[0] == "looks like 2"


def test_wrong_scores_are_found():
    generator = np.random.default_rng(1)
    shares = generator.integers(0, 11, 600)
    left = [generator.choice(200, 10, replace=False) for _ in shares]
    right = [[*words[:share], *range(300, 310 - share)] for words, share in zip(left, shares)]
    one, two = ([" ".join(f"w{w}" for w in words) for words in side] for side in (left, right))
    scores = np.clip(shares / 10 + generator.normal(0, 0.05, 600), 0, 1)
    planted = [row for row in range(0, 600, 60) if abs(scores[row] - 0.5) > 0.2]
    scores[planted] = 1 - scores[planted]
    assert len(planted) >= 5
    seen = inspect({"a": one, "b": two, "score": scores.tolist()}, FakeEncoder())
    rows = found(seen, "likely wrong labels")
    assert {*planted} <= {*rows}
    assert len(rows) <= len(planted) + 0.02 * 600


def test_positives_that_have_nothing_to_do_with_the_anchor_are_found(pairs):
    for row in (17, 71):
        pairs["positive"][row] = "x1 x2 x3 x4 x5 x6"
    seen = inspect(pairs, FakeEncoder())
    assert {17, 71} <= {*found(seen, "likely wrong labels")}


def test_the_form_the_losses_and_the_start(pairs, classes):
    seen = inspect(pairs)
    assert seen.form == "pair"
    assert seen.losses[0]["name"] == "MultipleNegativesRankingLoss"
    assert 'batch_sampler="no_duplicates"' in seen.commands["python"]
    compile(seen.commands["python"], "start", "exec")
    asked = inspect(pairs, loss="GISTEmbedLoss").commands
    assert "losses.GISTEmbedLoss(model" in asked["python"]
    assert "--loss GISTEmbedLoss" in asked["command"] and "--loss" not in seen.commands["command"]
    other = inspect(pairs, loss="CoSENTLoss").commands  # reads no pairs without a score
    assert other == seen.commands
    seen = inspect(classes)
    assert seen.form == "sentence and class"
    assert seen.labels["different"] == 4
    nothing = inspect({"a": ["x y"], "b": ["y z"], "c": ["z a"], "label": [3]})
    assert nothing.form is None
    assert "no loss reads 3 text columns" in nothing.why
    assert nothing.losses == []


def test_every_loss_that_is_advised_has_a_reason():
    from sentune.data.forms import FORMS, Label

    kinds = ["none", "binary", "class", "score", "matrix"]
    labels = [*map(Label, kinds), *(Label("list", width) for width in range(1, 5))]
    names = {name for label in labels for n in range(1, 6) for name in losses_for(n, label)}
    assert len(names) > 15
    for name in names:
        for form in FORMS:
            assert len(advice.reason(name, form)) > 10


def test_words_as_labels_are_shown_as_words():
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    texts = sentences(6, words=9)
    data = Dataset.from_dict({"text": [*texts, texts[0]], "label": [0, 1, 0, 1, 1, 1, 1]}, features)
    seen = inspect(data)
    assert seen.labels["most"] == [["yes", 5], ["no", 2]]
    finding = next(f for f in seen.findings if f.kind == "contradicting labels")
    assert finding.notes[0] == "labelled 'no', and row 6 'yes'"


def test_the_cells_of_a_row_have_the_name_of_its_class(classes, tmp_path):
    words = ["north", "south", "east", "west"]
    lines = [f"{t},{words[n]}" for t, n in zip(classes["text"], classes["label"], strict=True)]
    lines += [f"{classes['text'][0]},south", "the only one of its kind,lone"]
    (tmp_path / "w.csv").write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    with pytest.warns(SentuneWarning, match="numbered"):
        seen = inspect(tmp_path / "w.csv")
    example = next(f for f in seen.findings if f.kind == "contradicting labels").examples[0]
    assert [example[side]["label"] for side in ("cells", "other")] == ["north", "south"]
    assert any("1 of 5 classes has a single row ('lone')" in one["text"] for one in seen.problems)


def test_what_is_shown_is_plain_and_escaped(classes):
    classes["text"][2] = classes["text"][6] = "<script>alert(1)</script> \x1b[31m and more"
    seen = inspect(classes, FakeEncoder())
    assert json.loads(json.dumps(seen.to_dict())) == seen.to_dict()
    page = seen._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "\x1b" not in str(seen)
    assert "exact duplicates" in str(seen).lower()


@pytest.mark.parametrize("ending", ["csv", "tsv", "json", "jsonl", "parquet"])
def test_harmful_rows_are_written_with_the_reason(ending, classes, tmp_path):
    from sentune.data.read import read

    classes["text"] += [classes["text"][0], ""]
    classes["label"] += [classes["label"][0], 1]
    seen = inspect(classes)
    removed = seen.write_clean(tmp_path / f"clean.{ending}")
    assert removed == tmp_path / f"clean.removed.{ending}"
    kept = read(tmp_path / f"clean.{ending}")
    assert kept.column_names == ["text", "label"]
    assert kept["text"][:] == classes["text"][:400]
    gone = read(removed)
    assert gone["row"][:] == [400, 401]
    assert gone["why"][:] == [
        "exact duplicates: the same as row 0",
        "empty texts: 'text' is empty",
    ]


def test_rows_that_may_be_meant_go_if_that_is_asked_for(classes):
    classes["text"][9] = "Help!"
    seen = inspect(classes)
    assert len(seen.clean()) == 400
    assert len(seen.clean(also=["one-word texts"])) == 399
    assert seen.removed(also=["one-word texts"])["row"][:] == [9]
    with pytest.raises(SettingError, match="no finding 'one word'; did you mean one-word texts"):
        seen.clean(also=["one word"])


def test_cleaned_data_do_not_replace_what_was_read(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("one.csv", "two.csv"):
        rows = [f"{name} question number {row},answer number {row}" for row in range(30)]
        (tmp_path / "in" / name).write_text("\n".join(["question,answer", *rows]))
    one, two = (str(tmp_path / "in" / name) for name in ("one.csv", "two.csv"))
    for seen, path in (
        (inspect(one), one),
        (inspect(str(tmp_path / "in")), tmp_path / "in" / "new.csv"),
        (inspect(str(tmp_path / "in" / "*.csv")), two),
        (inspect(one, test=two), two),
    ):
        with pytest.raises(SettingError, match="is what the rows are read from|would be in the"):
            seen.write_clean(path)


def test_of_test_data_in_parts_the_test_is_looked_at(tmp_path):
    for name, first in (("train", 0), ("test", 50)):
        rows = [f"question number {row},answer number {row}" for row in range(first, first + 60)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["question,answer", *rows]))
    with pytest.warns(SentuneWarning, match="part 'test' is read"):
        seen = inspect(str(tmp_path / "train.csv"), test=str(tmp_path))
    assert found(seen, "rows of the test data") == list(range(50, 60))


def test_labels_alone_and_scores_without_end_are_no_crash():
    with pytest.raises(DatasetError, match="no column of texts, only label"):
        inspect({"label": [0, 1, 1]})
    texts = sentences(40, seed=2)
    scores = [0.1, float("inf")] * 10
    seen = inspect({"a": texts[:20], "b": texts[20:], "score": scores})
    assert any("infinite" in problem["text"] for problem in seen.problems)


def test_texts_that_pandas_has_as_nan_are_missing():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": ["one two", float("nan"), "three four"], "label": [0, 1, 0]})
    assert found(inspect(frame), "empty texts") == [1]


def test_lengths_of_a_sample_are_said_to_be_so(classes, monkeypatch):
    assert "evenly spread" not in str(inspect(classes))
    monkeypatch.setattr("sentune.workbench.inspection.overview._MOST_COUNTED", 100)
    assert "of 100 texts of each column, evenly spread" in str(inspect(classes))


def test_bad_options_are_refused_at_once(classes, tmp_path):
    with pytest.raises(SettingError, match="no loss 'TripletLos'; did you mean TripletLoss"):
        inspect(classes, loss="TripletLos")
    with pytest.raises(SettingError, match=r"must end in \.csv"):
        inspect(classes).write_clean(tmp_path / "clean.xls")
    with pytest.raises(DatasetError, match="no rows"):
        inspect({"text": []})


def test_a_sample_is_looked_at_where_there_are_many(classes):
    seen = inspect(classes, FakeEncoder(), most_rows=100)
    assert seen.notes == ["wrong labels are looked for in 100 rows drawn at random"]


def test_every_check_says_what_it_does_and_what_to_do():
    assert len({check.kind for check in CHECKS}) == len(CHECKS)
    for check in CHECKS:
        assert check.effect.endswith(".")
        assert check.advice.endswith(".")


def test_the_file_does_not_hide_the_function():
    import sentune.workbench.inspect  # noqa: F401

    assert callable(workbench.inspect)


def test_many_equal_texts_with_two_labels_take_no_memory_of_their_square():
    rows = {"text": ["ok"] * 30_000 + ["good", "bad"], "label": [0, 1] * 15_001}
    rows["label"][0] = 1  # most say 1
    found = next(one for one in inspect(rows).findings if one.kind == "contradicting labels")
    assert found.count == 14_999  # a matrix of them all were 7 GB


@pytest.mark.parametrize("scores", [[0.1, 0.4, 0.9], [0, 1, 2]])
def test_a_label_that_is_missing_is_no_label(scores):
    texts = sentences(90, seed=2, words=9)
    rows = {
        "sentence1": [f"{text} one" for text in texts],
        "sentence2": [f"{text} two" for text in texts],
        "label": [scores[n % 3] for n in range(90)],
    }
    rows["label"][4] = rows["label"][50] = None
    for name in ("sentence1", "sentence2"):  # a copy without its label, before the row and after
        rows[name][4], rows[name][70] = rows[name][7], rows[name][50]
    seen = inspect(rows, FakeEncoder())
    assert found(seen, "missing labels") == [4, 50]
    assert found(seen, "contradicting labels") == found(seen, "exact duplicates") == []
    known = [label for label in rows["label"] if label is not None]
    assert (seen.labels["low"], seen.labels["high"]) == (min(scores), max(scores))
    assert seen.labels["mean"] == round(sum(known) / 88, 4)
    assert (seen.labels["missing"], seen.labels["different"], seen.labels["ties"]) == (2, 3, 1.0)
    assert "; 2 rows without one\n" in str(seen)
    assert "When the errors above are mended, start with\n" in str(seen)
    assert len(seen.clean()) == 88
    json.dumps(seen.to_dict(), allow_nan=False)
    assert "Start with" in str(inspect(seen.clean()))


def test_rows_that_train_would_refuse_as_too_few_are_said_to_be_so(pairs):
    from datasets import Dataset

    from sentune.workbench.rows.prepared import parts_of
    from sentune.workbench.settings import Settings

    few = {name: texts[:25] for name, texts in pairs.items()}
    assert "25 rows are too few for sentune train" in str(inspect(few))
    with pytest.raises(DatasetError, match="only 15 of 25 rows are left"):
        parts_of(Dataset.from_dict(few), {}, Settings())
    enough = {name: texts[:26] for name, texts in pairs.items()}
    assert "too few" not in str(inspect(enough))
    assert len(parts_of(Dataset.from_dict(enough), {}, Settings()).rows["train"]) >= 16


def test_what_takes_long_is_said_before(classes):
    said = []
    inspect(classes, FakeEncoder(), on_progress=said.append)
    assert said == []
    many = {"text": [f"text of {row}" for row in range(20_000)], "label": [0, 1] * 10_000}
    inspect(many, FakeEncoder(), most_rows=1_000, on_progress=said.append)
    assert said == [
        "20,000 rows are read; looking for equal and nearly equal texts ...",
        "Encoding 1,000 rows with the model ...",
    ]


def test_all_of_the_test_data_is_read(tmp_path):
    lines = [f"question number {row},answer number {row}" for row in range(60)]
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["question,answer", *lines]))
    seen = inspect(str(path), test=str(path), split="train[50:]")
    assert found(seen, "rows of the test data") == list(range(10))
