"""What all evaluators share, and the first three of them."""

import logging
import subprocess
import sys

import pytest

from sentune import evaluation
from sentune.data.example import InputExample
from sentune.errors import InputError, SettingError
from sentune.evaluation import (
    EmbeddingSimilarityEvaluator,
    InformationRetrievalEvaluator,
    SentenceEvaluator,
    TripletEvaluator,
)
from tests.fake_encoder import FakeEncoder

QUERIES = {"a": "red fish", "b": "blue bird"}
CORPUS = {"1": "red fish", "2": "blue bird", "3": "green tree"}
RELEVANT = {"a": {"1"}, "b": {"2"}}


class Constant(SentenceEvaluator):
    """An evaluator as a user writes one."""

    def __init__(self, name="", value=0.5):
        super().__init__()
        self.name = name
        self.value = value
        self.primary_metric = "value"

    def __call__(self, model, output_path=None, epoch=-1, steps=-1):
        return self.prefix_name_to_metrics({"value": self.value}, self.name)


def test_an_evaluator_of_your_own_names_its_metrics():
    evaluator = Constant("dev")
    assert evaluator(None) == evaluator(None) == {"dev_value": 0.5}
    assert evaluator.primary_metric == "dev_value"
    assert evaluator.greater_is_better
    assert evaluator.description == "Constant"


def test_the_base_says_what_is_missing():
    with pytest.raises(NotImplementedError, match="__call__"):
        SentenceEvaluator()(None)


def test_importing_the_package_does_not_load_torch():
    code = (
        "import sys, sentune.evaluation, sentune.search, sentune.util, sentune.quantization;"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_every_name_of_the_package_exists():
    assert len(evaluation.__all__) > 5
    for name in evaluation.__all__:
        assert getattr(evaluation, name) is not None


def test_a_model_without_a_card_can_be_evaluated():
    model = FakeEncoder()
    del model.model_card_data
    evaluator = TripletEvaluator(["red fish"], ["red fish now"], ["green tree"])
    assert evaluator(model) == {"cosine_accuracy": 1.0}


def test_the_card_gets_the_metrics_and_the_moment():
    model = FakeEncoder()
    evaluator = TripletEvaluator(["red fish"], ["red fish now"], ["green tree"], name="x")
    metrics = evaluator(model, epoch=2, steps=7)
    assert model.model_card_data.stored == [(evaluator, metrics, 2, 7)]


def test_the_log_says_what_was_measured(caplog):
    with caplog.at_level(logging.INFO, logger="sentune"):
        TripletEvaluator(["a"], ["a b"], ["c"], name="dev")(FakeEncoder(), epoch=1, steps=5)
    assert "Triplet in epoch 1 after 5 steps dev: cosine_accuracy 1.0000" in caplog.text


def test_a_csv_file_grows_by_a_row_a_call(tmp_path):
    evaluator = TripletEvaluator(["a"], ["a b"], ["c"], name="dev")
    evaluator(FakeEncoder(), str(tmp_path / "new" / "folder"), epoch=1, steps=5)
    evaluator(FakeEncoder(), str(tmp_path / "new" / "folder"))
    text = (tmp_path / "new/folder/triplet_evaluation_dev_results.csv").read_text()
    assert text.splitlines() == ["epoch,steps,accuracy_cosine", "1,5,1.0", "-1,-1,1.0"]


def test_no_csv_file_where_none_is_wanted(tmp_path):
    TripletEvaluator(["a"], ["a b"], ["c"], write_csv=False)(FakeEncoder(), str(tmp_path))
    TripletEvaluator(["a"], ["a b"], ["c"])(FakeEncoder())
    assert list(tmp_path.iterdir()) == []


def texts_encoded(model):
    return [texts for texts, _ in model.calls]


def test_no_text_is_encoded_twice():
    model = FakeEncoder()
    EmbeddingSimilarityEvaluator(["a", "b", "a"], ["b", "c", "a"], [1, 2, 3])(model)
    assert texts_encoded(model) == [["a", "b", "c"]]
    model = FakeEncoder()
    TripletEvaluator(["a", "a"], ["b", "c"], ["c", "d"])(model)
    assert texts_encoded(model) == [["a"], ["b", "c", "d"]]
    model = FakeEncoder()
    corpus = {i: text for i, text in enumerate(["x", "y", "x", "z", "y"])}
    InformationRetrievalEvaluator({0: "x", 1: "x"}, corpus, {0: [0], 1: [1]})(model)
    assert texts_encoded(model) == [["x"], ["x", "y", "z"]]


def test_inputs_that_are_no_texts_are_encoded_as_they_are():
    class Images(FakeEncoder):
        def vector(self, text):
            return super().vector(text if isinstance(text, str) else str(text))

    evaluator = EmbeddingSimilarityEvaluator([["a"], ["b"]], [["c"], ["b"]], [1, 2])
    model = Images()
    assert evaluator(model)["spearman_cosine"] == pytest.approx(1)
    assert texts_encoded(model) == [[["a"], ["b"], ["c"], ["b"]]]


def test_the_settings_of_encoding_arrive():
    model = FakeEncoder()
    EmbeddingSimilarityEvaluator(
        ["a", "b"], ["b", "c"], [1, 2], batch_size=7, show_progress_bar=None, truncate_dim=4
    )(model)
    ((_, options),) = model.calls
    assert options["batch_size"] == 7
    assert options["show_progress_bar"] is None
    assert options["truncate_dim"] == 4


def test_an_evaluator_follows_the_similarity_of_each_model():
    for evaluator in (
        EmbeddingSimilarityEvaluator(["a", "b"], ["b", "c"], [1, 2]),
        TripletEvaluator(["a"], ["b"], ["c"]),
        InformationRetrievalEvaluator(QUERIES, CORPUS, RELEVANT),
    ):
        for name in ("cosine", "dot"):
            metrics = evaluator(FakeEncoder(similarity_fn_name=name))
            assert all(name in key for key in metrics)
            assert evaluator.primary_metric in metrics


def test_input_examples_are_read():
    pairs = [InputExample(texts=["a", "a b"], label=0.9), InputExample(texts=["a", "c"], label=0.1)]
    evaluator = EmbeddingSimilarityEvaluator.from_input_examples(pairs, name="dev")
    assert evaluator(FakeEncoder())["dev_spearman_cosine"] == pytest.approx(1)
    triplets = [InputExample(texts=["a", "a b", "c"])]
    evaluator = TripletEvaluator.from_input_examples(triplets, margin=0.1)
    assert evaluator(FakeEncoder()) == {"cosine_accuracy": 1.0}


def test_a_tie_is_no_success_and_a_margin_asks_for_more():
    model = FakeEncoder(is_coarse=True)
    assert TripletEvaluator(["a"], ["b"], ["b"])(model)["cosine_accuracy"] == 0
    assert TripletEvaluator(["a"], ["b"], ["b"], margin=-0.1)(model)["cosine_accuracy"] == 1


def test_a_search_that_finds_all_at_once_has_the_best_figures():
    class Plain(FakeEncoder):
        encode_query = FakeEncoder.encode

    metrics = InformationRetrievalEvaluator(QUERIES, CORPUS, RELEVANT, name="dev")(Plain())
    assert metrics["dev_cosine_ndcg@10"] == metrics["dev_cosine_mrr@10"] == 1
    assert metrics["dev_cosine_precision@10"] == pytest.approx(0.1)


def test_queries_without_relevant_documents_are_left_out():
    queries = {**QUERIES, "c": "no answer", "d": "none"}
    evaluator = InformationRetrievalEvaluator(queries, CORPUS, {**RELEVANT, "c": set()})
    assert evaluator.queries == list(QUERIES.values())


def test_ids_of_several_kinds_are_ordered_as_text():
    corpus = {1: "x", "b": "x", "a": "x"}
    evaluator = InformationRetrievalEvaluator({"q": "x"}, corpus, {"q": ["b"]}, mrr_at_k=[3])
    assert evaluator(FakeEncoder())["cosine_mrr@3"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: EmbeddingSimilarityEvaluator(["a"], ["b"], [1, 2]), InputError, "1, 1, 2"),
        (lambda: EmbeddingSimilarityEvaluator([], [], []), InputError, "at least one"),
        (
            lambda: EmbeddingSimilarityEvaluator(["a"], ["b"], [1], precision="int4"),
            SettingError,
            "'int4'.*ubinary",
        ),
        (
            lambda: EmbeddingSimilarityEvaluator(["a"], ["b"], [1], similarity_fn_names=["cos"]),
            SettingError,
            "'cos'.*cosine",
        ),
        (lambda: TripletEvaluator(["a"], ["b"], []), InputError, "1, 1, 0"),
        (lambda: TripletEvaluator(["a"], ["b"], ["c"], margin="x"), SettingError, "margin"),
        (lambda: TripletEvaluator(["a"], ["b"], ["c"], margin={"x": 1}), SettingError, "margin"),
        (lambda: InformationRetrievalEvaluator({}, CORPUS, {}), InputError, "0 of 0 queries"),
        (
            lambda: InformationRetrievalEvaluator({"q": "x"}, CORPUS, {"q": "doc1"}),
            InputError,
            r"relevant_docs\['q'\] must be a set or list of document ids, got 'doc1'",
        ),
        (lambda: InformationRetrievalEvaluator(QUERIES, {}, RELEVANT), InputError, "0 documents"),
        (
            lambda: InformationRetrievalEvaluator(QUERIES, CORPUS, {"z": {"1"}}),
            InputError,
            "0 of 2 queries",
        ),
        (
            lambda: InformationRetrievalEvaluator(QUERIES, CORPUS, RELEVANT, map_at_k=[]),
            SettingError,
            "map_at_k",
        ),
        (
            lambda: InformationRetrievalEvaluator(QUERIES, CORPUS, RELEVANT, corpus_chunk_size=0),
            SettingError,
            "corpus_chunk_size",
        ),
    ],
)
def test_bad_input_is_named(make, error, message):
    with pytest.raises(error, match=message):
        make()
