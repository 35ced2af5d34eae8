"""The card's data against that of sentence-transformers: values, tables, tags and templates."""

from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict

peer = pytest.importorskip("sentence_transformers")

import sentence_transformers.base.model_card as theirs  # noqa: E402
from sentence_transformers.sentence_transformer import evaluation as their_evaluation  # noqa: E402
from sentence_transformers.sentence_transformer import losses as their_losses  # noqa: E402

from sentune import SentenceTransformer, losses  # noqa: E402
from sentune.base import model_card as ours  # noqa: E402
from sentune.evaluation import EmbeddingSimilarityEvaluator, TripletEvaluator  # noqa: E402
from sentune.share.data import SentenceTransformerModelCardData  # noqa: E402

ROWS = {
    "anchor": ["the cat", "a dog sat", "birds", "a", "b c"],
    "positive": ["cats", "dogs | sit", "a bird flies over the house", "d", "e"],
    "score": [0.25, 0.5, 1.0, 0.75, 0.125],
    "label": [1, 0, 2, 1, 1],
    "flag": [True, False, True, True, True],
    "scores": [[1.0], [1.0, 2.0], [3.0], [1.0] * 7, [2.0]],
    "same": [[1, 2]] * 5,
}
PLACE = Path(theirs.__file__).parents[1] / "sentence_transformer" / "model_card_template.md"


@pytest.fixture
def pair(tiny_bert_folder):
    """The same model here and there."""
    mine = SentenceTransformer(str(tiny_bert_folder), device="cpu")
    other = peer.SentenceTransformer(str(tiny_bert_folder), device="cpu", local_files_only=True)
    return mine, other


def datas(pair):
    return [model.model_card_data for model in pair]


def test_a_dataset_is_described_with_the_same_values(pair):
    data = Dataset.from_dict(ROWS)
    found = []
    for model, package in zip(pair, (losses, their_losses), strict=True):
        loss = package.MultipleNegativesRankingLoss(model)
        info = {"name": "x", "id": "a/b"}
        found.append(model.model_card_data.compute_dataset_metrics(data, info, loss))
    mine, other = found
    assert mine["size"] == other["size"] == 5
    assert mine["columns"] == other["columns"]
    for name, there in other["stats"].items():
        assert mine["stats"][name] == there, name
    for key in ("stats_table", "examples_table", "name", "id"):
        assert mine[key] == other[key], key
    assert mine["loss"]["fullname"].rpartition(".")[2] == "MultipleNegativesRankingLoss"


def test_the_loss_is_shown_with_the_losses_inside_it(pair):
    shown = []
    for model, package in zip(pair, (losses, their_losses), strict=True):
        inner = package.CoSENTLoss(model)
        loss = package.MatryoshkaLoss(model, inner, [32, 8])
        data = model.model_card_data
        info = data.compute_dataset_metrics(Dataset.from_dict({"a": ["b"]}), {}, loss)
        shown.append('"loss": "CoSENTLoss' in info["loss"]["config_code"])
        package_losses = (ours if package is losses else theirs).get_losses(loss)
        assert package_losses == [loss, inner]
    assert shown == [True, True] or not shown[1]


def test_metadata_of_datasets_is_extracted_alike(pair):
    both = DatasetDict(
        {"one": Dataset.from_dict({"query": ["a"]}), "two": Dataset.from_dict({"b": ["c", "d"]})}
    )
    for card in datas(pair):
        told = card.extract_dataset_metadata(both, [{"name": "x"}], None, "train")
        assert [(one["name"], one["size"]) for one in told] == [("one", 1), ("two", 2)]
        assert "dataset_size:3" in card.tags
        assert card.ir_model is True
        assert card.infer_datasets(both["two"]) == [{"name": None, "split": "None"}]
        own = card.extract_dataset_metadata(both["two"], [{"name": "mine"}], None, "eval")
        assert (own[0]["name"], own[0]["size"]) == ("mine", 2)


def test_constructors_have_the_same_defaults(pair):
    mine, other = datas(pair)
    for name in vars(other):
        if name.startswith("_") or name in {"template_path", "version", "model", "task_name"}:
            continue
        if name == "local_files_only":
            continue
        assert getattr(mine, name) == getattr(other, name), name
    one = SentenceTransformerModelCardData("en", train_datasets=[{"id": "a/b"}], model_id="alone")
    there = peer.SentenceTransformerModelCardData(
        "en", train_datasets=[{"id": "a/b"}], model_id="alone", local_files_only=True
    )
    for name in ("language", "train_datasets", "model_id", "tags"):
        assert getattr(one, name) == getattr(there, name), name


def test_setters_do_the_same(pair):
    for card in datas(pair):
        card.set_language("de")
        card.set_license("mit")
        card.set_model_id("a/b")
        card.add_tags("x")
        card.add_tags(["x", "y"])
        card.set_best_model_step(3)
        card.local_files_only = True
        assert card.set_base_model("a/b") is False
    mine, other = datas(pair)
    for name in ("language", "license", "model_id", "tags", "best_model_step", "base_model"):
        assert getattr(mine, name) == getattr(other, name), name


@pytest.mark.parametrize("prompts", [{}, {"query": "q: "}, {"passage": "p: "}, {"other": "o: "}])
def test_a_model_that_searches_is_known_alike(tiny_bert_folder, prompts):
    found = []
    for kind in (SentenceTransformer, peer.SentenceTransformer):
        model = kind(str(tiny_bert_folder), device="cpu", prompts=dict(prompts))
        found.append(model.model_card_data.ir_model)
    assert found[0] == found[1]


def test_results_and_logs_are_formatted_alike(pair):
    for model, package in zip(pair, (None, their_evaluation), strict=True):
        card = model.model_card_data
        similar = package.EmbeddingSimilarityEvaluator if package else EmbeddingSimilarityEvaluator
        triplet = package.TripletEvaluator if package else TripletEvaluator
        texts = (["the cat", "a dog", "x"], ["cats", "dogs", "y z"], [0.2, 0.9, 0.5])
        for name in ("dev", "test"):
            similar(*texts, name=name, write_csv=False)(model)
        triplet(["a cat"], ["cats"], ["red"], write_csv=False)(model)
        card.model_name = "m"
    mine, other = (card.format_eval_metrics() for card in datas(pair))
    assert mine["metrics"] == other["metrics"]
    for here, there in zip(mine["eval_metrics"], other["eval_metrics"], strict=True):
        for key in ("description", "dataset_name", "table"):
            assert here[key] == there[key]
        assert here["class_name"].rpartition(".")[2] == there["class_name"].rpartition(".")[2]
    logs = [card.training_logs for card in datas(pair)]
    assert logs[0] == [pytest.approx(row, abs=1e-5) for row in logs[1]]


def test_the_log_of_a_run_is_the_same_table(pair):
    mine, other = datas(pair)
    run = mine.begin_run([{"a": "b"}])
    run.log = [
        {"loss": 0.5, "epoch": 0.5, "step": 1, "learning_rate": 0.1},
        {"eval_loss": 0.25, "eval_runtime": 2.0, "epoch": 0.5, "step": 1},
        {"loss": 0.123456, "epoch": 1.0, "step": 2},
        {"eval_nli_loss": 0.125, "eval_runtime": 1.5, "epoch": 1.0, "step": 2},
        {"train_loss": 0.4, "epoch": 1.0, "step": 2},
    ]
    other.training_logs = [
        {"Epoch": 0.5, "Step": 1, "Training Loss": 0.5, "Validation Loss": 0.25},
        {"Epoch": 1.0, "Step": 2, "Training Loss": 0.123456, "nli loss": 0.125},
    ]
    assert mine.training_logs == other.training_logs
    assert mine.evaluation_duration == 3.5
    for card in (mine, other):
        card.training_logs.append({"Epoch": 2.0, "Step": 3, "x_map": 0.5, "late loss": 1.0})
        card.set_best_model_step(2)
    assert mine.format_training_logs() == other.format_training_logs()
    assert run.saved_step == 2


def test_durations_and_figures_are_written_alike():
    for seconds in (0, 0.04, 59.9, 60, 3599, 3600, 86399, 86400, 1e6):
        assert ours.format_duration(seconds) == theirs.format_duration(seconds)
    for value in (1.23456789, 3, "x", float("nan")):
        assert repr(ours.format_log(value)) == repr(theirs.format_log(value))
    mine, other = ours.get_versions(), theirs.get_versions()
    assert set(mine) == set(other)
    assert all(mine[key] == other[key] for key in other if key != "sentence_transformers")


def test_metadata_of_the_model_is_the_same(pair):
    for model in pair:
        model.similarity_fn_name = "dot"
    mine, other = (card.get_model_specific_metadata() for card in datas(pair))
    assert set(mine) == set(other)
    assert {k: v for k, v in mine.items() if k != "model_string"} == {
        k: v for k, v in other.items() if k != "model_string"
    }
    names = [card.get_default_model_name() for card in datas(pair)]
    assert names[0] == names[1] == "SentenceTransformer"


def test_a_template_made_for_the_other_library_is_filled_alike(pair, tmp_path):
    """A class with a template of its own is what libraries derive."""
    mine, other = pair
    data = Dataset.from_dict({name: ROWS[name] for name in ("anchor", "positive", "score")})
    for model, package in zip(pair, (losses, their_losses), strict=True):
        card = model.model_card_data
        card.template_path, card.generate_widget_examples = PLACE, False
        card.model_name, card.license, card.task_name = "My model", "mit", "search"
        card.set_language(["en"])
        loss = package.CoSENTLoss(model)
        card.train_datasets = card.extract_dataset_metadata(data, [{"name": "n"}], loss, "train")
        card.set_losses([loss])
        card.training_logs.append({"Epoch": 1.0, "Step": 3, "Training Loss": 0.5})
        card.all_hyperparameters = {"seed": 1, "epochs": 2}
        card.non_default_hyperparameters = {"epochs": 2}
    mine.save(str(tmp_path))
    here = (tmp_path / "README.md").read_text(encoding="utf-8")
    there = theirs.generate_model_card(other)
    same = [line for line in there.splitlines() if line and line in here.splitlines()]
    lines = [line for line in there.splitlines() if line]
    assert len(same) > 0.75 * len(lines)
    for line in ("# My model", "- `epochs`: 2", "- **License:** mit", "- **Language:** en"):
        assert line in here and line in there
    for start in ("* Size:", "* Columns:", "  | details", "| 1.0   | 3", "- loss:CoSENTLoss"):
        assert [x for x in here.splitlines() if x.startswith(start)] == [
            x for x in there.splitlines() if x.startswith(start)
        ]
        assert any(x.startswith(start) for x in here.splitlines()), start
