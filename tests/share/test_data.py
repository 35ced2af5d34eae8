"""What is set on a card's data shows in the card, and what was recorded is read there."""

import copy
import gc
import pickle
import weakref
from types import SimpleNamespace

import pytest

from sentune import CrossEncoder, SentenceTransformer, losses
from sentune.errors import SettingError
from sentune.evaluation import TripletEvaluator
from sentune.hub import fetch
from sentune.share import card
from sentune.share.data import SentenceTransformerModelCardData, get_losses

ROWS = [{"anchor": f"text {n}", "positive": f"other {n}"} for n in range(5)]


def run_of(model, **settings):
    run = model.model_card_data.begin_run(
        ROWS, losses=losses.CoSENTLoss(model), settings=settings, defaults={"seed": 1}
    )
    run.log = [{"loss": 0.5, "epoch": 1.0, "step": 4}]
    model.model_card_data.end_run(90.0)
    return model.model_card_data


def test_what_is_set_shows_in_the_card(tiny_model):
    data = tiny_model.model_card_data
    data.widget = [{"source_sentence": "mine", "sentences": ["yours"]}]
    data.usage_examples = ["one text", "and another"]
    data.citations["Mine"] = "@misc{me}"
    data.pipeline_tag = "feature-extraction"
    data.all_hyperparameters = {"seed": 7, "rate": 2}
    data.non_default_hyperparameters = {"seed": 7}
    data.training_logs.append({"Epoch": 1.0, "Step": 3, "my loss": 0.125})
    evaluator = TripletEvaluator(["a"], ["b"], ["c"], name="mine", write_csv=False)
    data.eval_results_dict[evaluator] = {"mine_cosine_accuracy": 0.75}
    text = card.text(tiny_model)
    for part in (
        "source_sentence: mine",
        '"one text"',
        "@misc{me}",
        "pipeline_tag: feature-extraction",
        "`my loss`",
        "0.125",
        "0.75",
        "- `seed`: `7`\n",
    ):
        assert part in text, part


def test_what_was_recorded_is_read_there(tiny_model):
    data = run_of(tiny_model, seed=7, rate=2)
    assert data.all_hyperparameters == {"seed": 7, "rate": 2}
    assert data.non_default_hyperparameters == {"seed": 7}
    assert data.training_logs == [{"Epoch": 1.0, "Step": 4, "Training Loss": 0.5}]
    assert data.training_logs is data.training_logs
    assert data.get_training_duration_data()["training_time"] == "1.5 minutes"
    assert {"generated_from_trainer", "dataset_size:5", "loss:CoSENTLoss"} <= set(data.tags)
    assert data.widget[0]["source_sentence"] == "text 0"
    assert "CoSENTLoss" in data.citations
    data.all_hyperparameters["more"] = 3
    data.evaluation_duration += 30.0
    assert data.get_training_duration_data() == {
        "training_time": "1.0 minutes",
        "evaluation_time": "30.0 seconds",
        "total_time": "1.5 minutes",
    }
    assert "`more`" in card.text(tiny_model)


def test_added_rows_of_the_log_stay_when_more_is_recorded(tiny_model):
    data = run_of(tiny_model)
    data.training_logs.append({"Epoch": 2.0, "Step": 9, "x": 1.0})
    data.runs[-1].log.append({"loss": 0.25, "epoch": 1.5, "step": 6})
    assert [row["Step"] for row in data.training_logs] == [4, 6, 9]
    assert data.added_logs == [{"Epoch": 2.0, "Step": 9, "x": 1.0}]


def test_a_second_run_replaces_the_number_of_rows_among_the_tags(tiny_model):
    run_of(tiny_model)
    data = run_of(tiny_model)
    assert [tag for tag in data.tags if "size" in tag] == ["dataset_size:10"]


def test_a_model_from_the_hub_has_its_commit(tmp_path):
    commit = "a" * 40
    folder = tmp_path / "models--me--mine" / "snapshots" / commit
    folder.mkdir(parents=True)
    data = SentenceTransformerModelCardData()
    data.note_source("me/mine", folder, None)
    assert (data.base_model, data.base_model_revision) == ("me/mine", commit)
    data.note_source(tmp_path, tmp_path, None)
    assert (data.base_model, data.base_model_revision) == (None, None)


def test_the_hub_is_asked_when_a_method_is_called_that_says_so(monkeypatch):
    known = SimpleNamespace(id="me/mine", sha="b" * 40, card_data=SimpleNamespace(language="de"))
    monkeypatch.setattr(fetch, "published", lambda name, *_: known if name == "me/mine" else None)
    data = SentenceTransformerModelCardData()
    assert data.set_base_model("me/none") is False and data.base_model is None
    assert data.set_base_model("me/mine") is True
    assert (data.base_model, data.base_model_revision) == ("me/mine", "b" * 40)
    assert data.set_base_model("me/mine", "v1") and data.base_model_revision == "v1"
    found = data.validate_datasets([{"id": "me/mine"}, {"id": "me/none", "name": "n"}])
    assert found == [{"id": "me/mine", "name": "me/mine"}, {"name": "n"}]
    assert data.language == ["de"] and data.datasets == ["me/mine"]
    data.local_files_only = True
    assert data.set_base_model("me/mine") is False


def test_the_card_does_not_keep_its_model_and_comes_along_with_it(tiny_model):
    assert tiny_model.model_card_data.model is tiny_model
    for twin in (copy.deepcopy(tiny_model), pickle.loads(pickle.dumps(tiny_model))):
        assert twin.model_card_data.model is twin
    twin = copy.deepcopy(tiny_model)
    gc.collect()
    gc.disable()
    try:
        gone = weakref.ref(twin)
        del twin
        assert gone() is None
    finally:
        gc.enable()


def test_examples_are_made_of_rows(tiny_model):
    data = tiny_model.model_card_data
    data.set_widget_examples(ROWS)
    assert data.widget[1]["source_sentence"] == "text 1"
    assert data.usage_examples[0] == "text 4"
    data.set_widget_examples(iter(ROWS))  # a stream is left alone
    assert len(data.widget) == 5
    data.set_label_examples([{"text": f"t{n}", "label": n % 2} for n in range(9)])
    assert data.label_example_list[1] == {
        "Label": 1,
        "Examples": "<ul><li>'t1'</li><li>'t3'</li><li>'t5'</li></ul>",
    }
    data.usage_examples = [object()]
    with pytest.raises(SettingError, match="texts"):
        data.save_usage_example_assets()


def test_the_code_of_the_card_is_run_for_its_similarities(tiny_model):
    data = tiny_model.model_card_data
    data.run_usage_snippet()
    assert data.similarities.startswith("# tensor([[")
    assert data.similarities in data.generate_usage_snippet()
    data.ir_model = True
    assert "encode_query" in data.generate_usage_snippet()


@pytest.mark.filterwarnings("ignore:.*random until trained")
def test_each_kind_of_model_has_card_data_of_its_own(tiny_bert_folder):
    scorer = CrossEncoder(str(tiny_bert_folder), num_labels=1, device="cpu")
    assert scorer.model_card_data.tags == ["sentence-transformers", "cross-encoder", "reranker"]
    assert "pipeline_tag: text-ranking" in card.text(scorer)
    plain = SentenceTransformer(str(tiny_bert_folder), device="cpu")
    assert type(plain.model_card_data) is SentenceTransformerModelCardData


def test_losses_inside_losses_are_found(tiny_model):
    inner = losses.CoSENTLoss(tiny_model)
    outer = losses.MatryoshkaLoss(tiny_model, inner, [32, 8])
    assert get_losses({"a": outer, "b": inner}) == [outer, inner]


def test_energy_is_read_from_a_callback_of_codecarbon(tiny_model):
    facts = {"emissions": 0.5, "energy_consumed": 2.0, "on_cloud": "N", "cpu_model": "C"}
    facts |= {"ram_total_size": 8.0, "duration": 36.0, "gpu_model": None}
    tracker = SimpleNamespace(
        _start_time=1.0, _prepare_emissions_data=lambda: SimpleNamespace(**facts)
    )
    data = tiny_model.model_card_data
    assert data.get_codecarbon_data() == {}
    data.code_carbon_callback = SimpleNamespace(tracker=tracker)
    assert data.get_codecarbon_data()["co2_eq_emissions"]["emissions"] == 500.0
    assert "**emissions:** 500" in card.text(tiny_model)


def test_the_data_of_a_card_is_copied_without_its_model(tiny_model):
    data = tiny_model.model_card_data
    assert len(pickle.dumps(data)) < 10_000
    assert copy.deepcopy(data).model is None
    for twin in (copy.deepcopy(tiny_model), pickle.loads(pickle.dumps(tiny_model))):
        assert twin.model_card_data.model is twin
