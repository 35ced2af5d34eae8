"""The evaluators of the less common tasks: hand-made cases, and what they refuse."""

import json

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from sentune.data.example import InputExample
from sentune.errors import DatasetError, InputError, SettingError
from sentune.evaluation import (
    BinaryClassificationEvaluator,
    LabelAccuracyEvaluator,
    MSEEvaluator,
    MSEEvaluatorFromDataFrame,
    NanoBEIREvaluator,
    ParaphraseMiningEvaluator,
    RerankingEvaluator,
    SequentialEvaluator,
    TranslationEvaluator,
)
from sentune.evaluation.paraphrase_mining import connected
from tests.fake_encoder import FakeEncoder


def texts_encoded(model):
    return [texts for texts, _ in model.calls]


class Numbers(FakeEncoder):
    """A text such as "3 4" is its own embedding."""

    def vector(self, text):
        return np.array([float(number) for number in text.split()])

    encode_query = FakeEncoder.encode


# Binary classification


def test_thresholds_of_distances_are_distances():
    evaluator = BinaryClassificationEvaluator(
        ["0 0"] * 4, ["0 1", "0 2", "0 4", "0 9"], [1, 1, 0, 0], similarity_fn_names=["euclidean"]
    )
    metrics = evaluator(Numbers())
    assert metrics["euclidean_accuracy"] == metrics["euclidean_f1"] == 1
    assert metrics["euclidean_accuracy_threshold"] == metrics["euclidean_f1_threshold"] == 3
    assert metrics["euclidean_ap"] == metrics["euclidean_mcc"] == 1


def test_pairs_are_read_from_examples_and_encoded_once():
    examples = [InputExample(texts=["a", "b"], label=1), InputExample(texts=["b", "c"], label=0)]
    model = FakeEncoder()
    BinaryClassificationEvaluator.from_input_examples(examples)(model)
    assert texts_encoded(model) == [["a", "b", "c"]]


# Reranking


def test_reranking_by_hand():
    # Order by cosine with (1, 0): negative "9 1", positive "2 1", negative "1 1".
    sample = {"query": "1 0", "positive": "2 1", "negative": ["1 1", "9 1"]}
    metrics = RerankingEvaluator([sample])(Numbers())
    assert metrics == {
        "map": 1 / 2,
        "mrr@10": 1 / 2,
        "ndcg@10": pytest.approx(1 / np.log2(3)),
    }


@pytest.mark.parametrize("is_batched", [True, False])
def test_samples_of_one_side_are_left_out_and_the_given_ones_stay(is_batched):
    samples = [
        {"query": "1 0", "positive": "1 1", "negative": "0 1", "note": 1},
        {"query": "1 0", "positive": [], "negative": ["0 1"]},
        {"query": "1 0", "positive": ["1 1"], "negative": []},
    ]
    before = json.dumps(samples)
    evaluator = RerankingEvaluator(samples, use_batched_encoding=is_batched)
    assert evaluator(Numbers())["map"] == 1
    assert len(evaluator.samples) == 1
    assert json.dumps(samples) == before


# Paraphrase mining


def test_groups_are_what_pairs_link_together():
    pairs = [(1, 2), (3, 4), (5, 5), (2, 3), (7, 6), (1, 4)]
    assert sorted(sorted(group) for group in connected(pairs)) == [[1, 2, 3, 4], [5], [6, 7]]


def test_transitive_closure_makes_more_pairs():
    texts = {name: name for name in "abcd"}
    same = [("a", "b"), ("b", "c"), ("b", "a"), ("d", "d"), ("a", "gone")]
    assert ParaphraseMiningEvaluator(texts, same).total_num_duplicates == 2
    closed = ParaphraseMiningEvaluator(texts, same, add_transitive_closure=True)
    assert closed.total_num_duplicates == 3


def test_paraphrases_by_hand():
    # Pairs by cosine: (a, b) 1, then (c, d) 0.8, then those of the others.
    texts = {"a": "1 0 0", "b": "2 0 0", "c": "0 0.8 0.6", "d": "0 0 1", "e": "-1 0 0"}
    evaluator = ParaphraseMiningEvaluator(texts, [("a", "b"), ("c", "d"), ("a", "e")], name="x")
    model = Numbers()
    metrics = evaluator(model)
    assert metrics["x_precision"] == 1
    assert metrics["x_recall"] == pytest.approx(2 / 3)
    assert metrics["x_f1"] == pytest.approx(0.8)
    # the third is last of the ten, together with (b, e)
    assert metrics["x_average_precision"] == pytest.approx((1 + 1 + 3 / 10) / 3)
    assert len(model.calls) == 1


# Translation


def test_translations_by_hand():
    sources = ["1 0", "0 1", "1 1"]
    targets = ["2 0", "3 3", "1 2"]  # nearest to the sources 1, 3, 3; the sources to 1, 3, 2
    metrics = TranslationEvaluator(sources, targets)(Numbers())
    assert metrics["src2trg_accuracy"] == pytest.approx(1 / 3)
    assert metrics["trg2src_accuracy"] == pytest.approx(2 / 3)
    assert metrics["mean_accuracy"] == pytest.approx(1 / 2)


def test_a_translation_that_occurs_twice_is_right_at_either_place():
    metrics = TranslationEvaluator(["1 0", "3 1"], ["1 0", "1 0"])(Numbers())
    assert metrics["src2trg_accuracy"] == 1


def test_wrong_matches_are_printed_on_request(capsys):
    arguments = (["1 0", "0 1"], ["0 2", "0 3"])
    TranslationEvaluator(*arguments)(Numbers())
    assert capsys.readouterr().out == ""
    TranslationEvaluator(*arguments, print_wrong_matches=True)(Numbers())
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["0 1", "  should be 1.0000 0 3", "  1.0000 0 2", "  1.0000 0 3"]


# Mean squared error


def test_the_mean_squared_error_is_a_hundred_times_the_mean():
    evaluator = MSEEvaluator(["0 0", "0 0"], ["1 0", "2 1"], teacher_model=Numbers())
    assert evaluator(Numbers()) == {"negative_mse": -100 * (1 + 4 + 1) / 4}


def test_languages_are_averaged_and_blank_rows_left_out(tmp_path):
    rows = [
        {"en": "0 0", "de": "1 1", "fr": "2 2"},
        {"en": "0 0", "de": "  ", "fr": "0 0"},
    ]
    teacher = Numbers()
    evaluator = MSEEvaluatorFromDataFrame(rows, teacher, [("en", "de"), ("en", "fr")])
    assert texts_encoded(teacher) == [["0 0"]]
    assert evaluator(Numbers(), str(tmp_path)) == {"negative_mse": -(100 + 200) / 2}
    text = (tmp_path / "mse_evaluation_results.csv").read_text()
    assert text.splitlines() == ["epoch,steps,en-de,en-fr", "-1,-1,100.0,200.0"]


def test_widths_of_teacher_and_student_must_agree():
    evaluator = MSEEvaluator(["0 0"], ["1 0 1"], teacher_model=Numbers())
    with pytest.raises(InputError, match=r"\(1, 2\).*\(1, 3\).*truncate_dim"):
        evaluator(Numbers())


# Classes


def test_dropout_is_off_while_classes_are_predicted():
    class Model(torch.nn.Module):
        device = torch.device("cpu")

        def tokenize(self, texts):
            return {"x": torch.tensor([[len(text), 3.0] for text in texts]), "n": len(texts)}

    model = Model().train()

    def classifier(columns, labels):
        assert labels is None
        assert not model.training
        assert not torch.is_grad_enabled()
        return columns, columns[0]["x"]

    examples = [InputExample(texts=["a" * n, "b"], label=int(n < 3)) for n in range(6)]
    examples[0].label = 0
    loader = DataLoader(examples, batch_size=4)
    assert LabelAccuracyEvaluator(loader, "x", classifier)(model) == {"x_accuracy": 5 / 6}
    assert model.training


# Several at once


def test_evaluators_in_sequence_give_all_metrics_and_one_number():
    first = TranslationEvaluator(["1 0"], ["1 0"], name="a")
    second = RerankingEvaluator([{"query": "1 0", "positive": "0 1", "negative": "1 0"}], name="b")
    evaluator = SequentialEvaluator([first, second], main_score_function=max)
    metrics = evaluator(Numbers())
    assert evaluator.primary_metric == "sequential_score"
    assert metrics["sequential_score"] == metrics["a_mean_accuracy"] == 1
    assert metrics["b_map"] == 1 / 2


# NanoBEIR


def nano(folder, part, rows, name="NanoNQ.jsonl"):
    path = folder / part / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def nano_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "nano"
    nano(folder, "corpus", [{"_id": i, "text": text} for i, text in enumerate(["1 0", "0 1", ""])])
    nano(folder, "queries", [{"_id": "q", "text": "1 2"}])
    nano(folder, "qrels", [{"query-id": "q", "corpus-id": [1]}])
    return folder


def test_a_folder_of_nano_collections(nano_folder):
    evaluator = NanoBEIREvaluator(["NQ"], str(nano_folder), aggregate_key="avg")
    model = Numbers()
    metrics = evaluator(model)
    assert metrics["NanoNQ_cosine_mrr@10"] == metrics["NanoBEIR_avg_cosine_mrr@10"] == 1
    assert evaluator.primary_metric == "NanoBEIR_avg_cosine_ndcg@10"
    assert len(model.model_card_data.stored) == 1  # the mean of one is no news
    assert evaluator.evaluators[0].corpus == ["1 0", "0 1"]


def test_a_folder_that_lacks_something(nano_folder):
    with pytest.raises(DatasetError, match=r"one file for NanoSciFact.*it has 0"):
        NanoBEIREvaluator(["scifact"], str(nano_folder))
    nano(nano_folder, "qrels", [{"query": "q", "corpus-id": 1}])
    with pytest.raises(DatasetError, match="query-id missing"):
        NanoBEIREvaluator(["nq"], str(nano_folder))


PAIR = (["a"], ["b"])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: BinaryClassificationEvaluator(*PAIR, [2]), InputError, "0 or 1, got 2"),
        (lambda: BinaryClassificationEvaluator(*PAIR, []), InputError, "1, 1, 0"),
        (lambda: RerankingEvaluator([]), InputError, "none of 0 samples"),
        (lambda: RerankingEvaluator([{"query": "a"}]), InputError, "positive, negative missing"),
        (lambda: RerankingEvaluator([], at_k=0), SettingError, "at_k"),
        (lambda: ParaphraseMiningEvaluator({"a": "b"}), InputError, "no pair among 1"),
        (lambda: TranslationEvaluator(["a"], []), InputError, "1, 0"),
        (lambda: MSEEvaluator(*PAIR), SettingError, "teacher_model"),
        (
            lambda: MSEEvaluatorFromDataFrame([{"en": "a", "de": ""}], Numbers(), [("en", "de")]),
            InputError,
            "none of 1 rows has both 'en' and 'de'",
        ),
        (lambda: MSEEvaluatorFromDataFrame([], Numbers(), []), InputError, "combinations"),
        (lambda: LabelAccuracyEvaluator([]), SettingError, "softmax_model"),
        (lambda: NanoBEIREvaluator(["msmarc"]), SettingError, "msmarc"),
        (lambda: NanoBEIREvaluator([]), SettingError, "got none"),
        (
            lambda: NanoBEIREvaluator(["nq"], query_prompts={"fever": "x"}),
            SettingError,
            "query_prompts has no prompt for nq",
        ),
    ],
)
def test_bad_input_is_named(make, error, message):
    with pytest.raises(error, match=message):
        make()
