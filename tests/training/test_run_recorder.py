"""What is recorded of a run, and which cards and records the trainer and `fit` write."""

import dataclasses
import inspect
import json
import re
import sys
import types

import pytest
import yaml
from torch.utils.data import DataLoader, Dataset
from transformers.integrations import CodeCarbonCallback

from sentune.data.example import InputExample
from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.errors import SettingError, TrainingError
from sentune.evaluation import EmbeddingSimilarityEvaluator
from sentune.losses import CosineSimilarityLoss, MultipleNegativesRankingLoss
from sentune.record.run import Run
from sentune.training.fit import fit
from sentune.training.fit_settings import FitSettings
from tests.card_rules import BLOCK, card_faults
from tests.training.tools import LossOfParts, pairs, scored, trainer


def card_in(folder):
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert card_faults(text) == []
    return text


def front(text):
    return yaml.safe_load(BLOCK.match(text)[2])


def section(text, title):
    return re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", text, re.M | re.S)[1]


def evaluator():
    texts = (["the cat", "a dog", "birds"], ["cats", "dogs", "red"], [0.2, 0.9, 0.1])
    return EmbeddingSimilarityEvaluator(*texts, name="dev", write_csv=False)


class Falling:
    """Finds the first model the best."""

    name, primary_metric, greater_is_better = "", "score", True

    def __call__(self, model, output_path=None, epoch=-1, steps=-1):
        model.model_card_data.set_evaluation_metrics(self, {"score": -steps}, epoch, steps)
        return {"score": -steps}


def test_a_run_tells_the_card_of_its_data_loss_settings_log_and_time(tiny_model, tmp_path):
    run = trainer(
        tiny_model,
        tmp_path / "run",
        scored(),
        CosineSimilarityLoss(tiny_model),
        eval_dataset=scored(),
        evaluator=evaluator(),
        eval_strategy="steps",
        eval_steps=2,
        num_train_epochs=2,
        include_num_input_tokens_seen="all",
    )
    run.train()
    tiny_model.save(tmp_path / "model")
    text = card_in(tmp_path / "model")
    facts = front(text)
    assert {"generated_from_trainer", "dataset_size:10", "loss:CosineSimilarityLoss"} <= set(
        facts["tags"]
    )
    (index,) = facts["model-index"]
    assert index["results"][0]["dataset"]["name"] == "dev"
    assert facts["widget"][0]["source_sentence"] == "the cat sat"
    data = section(text, "Data")
    assert ", 10 rows" in data
    assert re.search(r"\| `anchor` \| text \| \d+ to \d+, on average \S+ tokens \|", data)
    assert "| the cat sat | the cat sat over it | 0.0 |" in data
    assert "`CosineSimilarityLoss`" in section(text, "Loss")
    assert ", 10 rows" in section(text, "Data for the loss on held-out rows")
    changed = section(text, "Settings").partition("<details>")[0]
    assert "- `learning_rate`: `0.001`" in changed and "- `num_train_epochs`: `2`" in changed
    assert "adam_beta1" not in changed and "`adam_beta1`: `0.9`" in text
    log = section(text, "Log")
    assert "| Epoch | Step | `loss` | `eval_loss` | `eval_dev_pearson_cosine` |" in log
    steps = re.findall(r"^\| \S+ \| (\d+) \|", log, re.M)
    assert steps == [str(step) for step in range(1, run.state.global_step + 1)]
    effort = section(text, "Time and hardware")
    assert "**Time:** 0 min" in effort and "**Hardware:**" in effort
    assert f"**Tokens read:** {run.state.num_input_tokens_seen:,}" in effort
    assert "Sentence-{BERT}" in text


def test_the_names_of_several_datasets_and_their_losses_are_told(tiny_model, tmp_path):
    losses = {"a": MultipleNegativesRankingLoss(tiny_model), "b": CosineSimilarityLoss(tiny_model)}
    trainer(tiny_model, tmp_path, {"a": pairs(), "b": scored()}, losses).train()
    tiny_model.save(tmp_path / "model")
    text = card_in(tmp_path / "model")
    assert "**a**, 10 rows" in text and "**b**, 10 rows" in text
    assert {"loss:MultipleNegativesRankingLoss", "loss:CosineSimilarityLoss"} <= set(
        front(text)["tags"]
    )


def test_checkpoints_have_cards_and_only_the_last_is_written_with_an_encoded_example(
    tiny_model, tmp_path, monkeypatch
):
    """The text in between is never encoded; the one for the end is, once."""
    encoded = []
    whole = SentenceTransformer.encode

    def encode(model, texts, *args, **kwargs):
        encoded.append(texts)
        return whole(model, texts, *args, **kwargs)

    monkeypatch.setattr(SentenceTransformer, "encode", encode)
    run = trainer(tiny_model, tmp_path, save_strategy="steps", save_steps=1)
    run.train()
    last = run.state.global_step
    assert last == 3 and len(encoded) == 1
    for step in range(1, last + 1):
        text = card_in(tmp_path / f"checkpoint-{step}")
        assert f"| {step} |" in section(text, "Log")
        assert f"| {step + 1} |" not in section(text, "Log")
        assert ("tensor(" in text) == ("**Time:**" in text) == (step == last)


KEEPS_THE_BEST = {
    "eval_strategy": "steps",
    "eval_steps": 1,
    "save_strategy": "steps",
    "save_steps": 1,
    "load_best_model_at_end": True,
    "metric_for_best_model": "score",
}


def test_the_card_of_the_best_checkpoint_is_that_of_the_model_that_is_kept(tiny_model, tmp_path):
    run = trainer(tiny_model, tmp_path, evaluator=Falling(), **KEEPS_THE_BEST)
    run.train()
    tiny_model.save(tmp_path / "model")
    for folder in (tmp_path / "model", tmp_path / "checkpoint-1"):
        text = card_in(folder)
        assert re.search(r"^\| \*\*\S+\*\* \| \*\*1\*\* \|", section(text, "Log"), re.M)
        assert front(text)["model-index"][0]["results"][0]["metrics"][0]["value"] == -1
        assert "tensor(" in text
    assert "tensor(" not in card_in(tmp_path / "checkpoint-3")


def test_a_run_that_breaks_leaves_a_card_that_can_be_finished(tiny_model, tmp_path):
    tiny_model[0].auto_model.embeddings.word_embeddings.weight.data.fill_(float("nan"))
    with pytest.raises(TrainingError):
        trainer(tiny_model, tmp_path).train()
    assert not tiny_model.model_card_data.is_running


def test_a_resumed_run_has_the_log_from_its_beginning(tiny_model, tmp_path):
    run = trainer(tiny_model, tmp_path, save_strategy="steps", save_steps=1)
    run.train()
    again = SentenceTransformer(str(tmp_path / "checkpoint-1"))
    trainer(again, tmp_path, save_strategy="no").train(str(tmp_path / "checkpoint-1"))
    again.save(tmp_path / "model")
    steps = re.findall(r"^\| \S+ \| (\d+) \|", section(card_in(tmp_path / "model"), "Log"), re.M)
    assert steps == ["1", "2", "3"]


def test_a_card_that_cannot_be_told_does_not_stop_a_run(tiny_model, tmp_path, caplog):
    class Silent(LossOfParts):
        def settings(self):
            raise RuntimeError("no")

    trainer(tiny_model, tmp_path, loss=Silent(tiny_model)).train()
    assert "the card will not tell of this run" in caplog.text


def test_reading_rows_for_the_card_draws_no_random_numbers(tiny_model, tmp_path):
    import random

    class Drawn(Dataset):
        def __len__(self):
            return 8

        def __getitem__(self, number):
            return {"anchor": f"{random.random()}", "positive": "a dog"}

    run = trainer(tiny_model, tmp_path, Drawn())
    random.seed(1)
    wanted = random.random()
    random.seed(1)
    run._recorder.on_train_begin(run.args, run.state, run.control, model=tiny_model)
    assert tiny_model.model_card_data.runs[0].train[0].rows
    assert random.random() == wanted


@pytest.mark.parametrize("given", [False, True])
def test_what_codecarbon_measured_is_told(given, tiny_model, tmp_path, monkeypatch):
    class Tracker:
        def __init__(self, output_dir):
            self.output_dir = output_dir

        def start(self):
            pass

        def stop(self):
            self.final_emissions_data = types.SimpleNamespace(
                emissions=0.001,
                energy_consumed=0.5,
                on_cloud="N",
                cpu_model="CPU",
                gpu_model=None,
                ram_total_size=8.0,
                duration=60.0,
            )

    module = types.ModuleType("codecarbon")
    module.EmissionsTracker = Tracker
    monkeypatch.setitem(sys.modules, "codecarbon", module)
    monkeypatch.setattr(
        "transformers.integrations.integration_utils.is_codecarbon_available", lambda: True
    )
    options = {"callbacks": [CodeCarbonCallback()]} if given else {"report_to": ["codecarbon"]}
    trainer(tiny_model, tmp_path, **options).train()
    tiny_model.save(tmp_path / "model")
    facts = front(card_in(tmp_path / "model"))
    assert facts["co2_eq_emissions"]["emissions"] == 1.0


def test_the_trainer_writes_a_card_where_it_is_asked_to(tiny_model, tmp_path):
    run = trainer(tiny_model, tmp_path / "run")
    run.train()
    run.create_model_card(
        model_name="Mine", language="en", license="mit", tags="own", dataset="owner/data"
    )
    text = card_in(tmp_path / "run")
    facts = front(text)
    assert "# Mine\n" in text
    assert (facts["language"], facts["license"]) == (["en"], "mit")
    assert facts["datasets"] == ["owner/data"] and "own" in facts["tags"]


# run.json -----------------------------------------------------------------------------------------


def record_in(folder):
    return Run.from_json((folder / "run.json").read_text(encoding="utf-8"))


def records_below(folder):
    return sorted(path.parent.name for path in folder.rglob("run.json"))


def test_without_checkpoints_the_record_is_in_the_output_folder(tiny_model, tmp_path):
    run = trainer(
        tiny_model,
        tmp_path / "run",
        {"a": pairs(), "b": scored()},
        {"a": MultipleNegativesRankingLoss(tiny_model), "b": CosineSimilarityLoss(tiny_model)},
        evaluator=evaluator(),
        eval_strategy="steps",
        eval_steps=2,
        include_num_input_tokens_seen="all",
    )
    assert run.run_record is None
    run.train()
    assert records_below(tmp_path) == ["run"]
    found = record_in(tmp_path / "run")
    assert found == run.run_record == tiny_model.model_card_data.runs[-1]
    assert [data.name for data in found.train] == ["a", "b"]
    assert [loss.name for loss in found.losses] == [
        "MultipleNegativesRankingLoss",
        "CosineSimilarityLoss",
    ]
    assert found.steps == run.state.global_step == 6
    assert found.tokens == run.state.num_input_tokens_seen > 0
    assert len(found.logged("loss")) == 6 and len(found.logged("eval_dev_spearman_cosine")) == 3
    assert {result.name for result in found.results} == {"dev"}
    assert [result.step for result in found.results] == [2, 4, 6]
    assert 0 < found.seconds < 60
    assert "learning_rate" in found.changed and found.settings["learning_rate"] == 1e-3
    assert found.versions["torch"] and found.hardware["cores"]


def test_every_checkpoint_has_the_record_up_to_it_and_the_last_one_the_whole(tiny_model, tmp_path):
    run = trainer(tiny_model, tmp_path, save_strategy="steps", save_steps=1)
    run.train()
    checkpoints = ["checkpoint-1", "checkpoint-2", "checkpoint-3"]
    assert records_below(tmp_path) == [*checkpoints, tmp_path.name]
    found = [record_in(tmp_path / f"checkpoint-{step}") for step in (1, 2, 3)]
    assert [one.steps for one in found] == [len(one.logged("loss")) for one in found] == [1, 2, 3]
    assert [one.seconds is None for one in found] == [True, True, False]
    assert found[-1] == run.run_record == record_in(tmp_path)


def test_the_record_beside_the_best_model_is_whole_and_names_its_step(tiny_model, tmp_path):
    run = trainer(tiny_model, tmp_path, evaluator=Falling(), **KEEPS_THE_BEST)
    run.train()
    found = record_in(tmp_path / "checkpoint-1")
    assert (found.saved_step, found.steps, len(found.logged("loss"))) == (1, 3, 3)
    assert found == run.run_record == record_in(tmp_path)


def test_a_model_that_the_trainer_saves_has_the_record_of_its_run(tiny_model, tmp_path):
    run = trainer(tiny_model, tmp_path / "run")
    run.save_model(str(tmp_path / "before"))
    run.train()
    run.save_model(str(tmp_path / "after"))
    assert not (tmp_path / "before" / "run.json").exists()
    assert record_in(tmp_path / "after") == run.run_record


def test_a_record_holds_no_path_of_this_machine_and_no_token(tiny_model, tmp_path):
    trainer(tiny_model, tmp_path / "run", hub_token="hf_secret", run_name="mine").train()
    text = (tmp_path / "run" / "run.json").read_text(encoding="utf-8")
    assert "hf_secret" not in text and str(tmp_path) not in text and "mine" not in text
    assert json.loads(text)["settings"]["seed"] == 7


def test_a_resumed_run_is_recorded_from_its_beginning(tiny_model, tmp_path):
    trainer(tiny_model, tmp_path, save_strategy="steps", save_steps=1).train()
    again = SentenceTransformer(str(tmp_path / "checkpoint-1"))
    run = trainer(again, tmp_path / "again")
    run.train(str(tmp_path / "checkpoint-1"))
    assert len(record_in(tmp_path / "again").logged("loss")) == 3


def test_a_run_that_cannot_be_recorded_leaves_no_record(tiny_model, tmp_path):
    class Silent(LossOfParts):
        def settings(self):
            raise RuntimeError("no")

    run = trainer(tiny_model, tmp_path, loss=Silent(tiny_model))
    run.train()
    assert run.run_record is None and records_below(tmp_path) == []


def test_a_record_that_cannot_be_written_does_not_stop_a_run(
    tiny_model, tmp_path, monkeypatch, caplog
):
    def full_disk(run, folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Run, "write", full_disk)
    run = trainer(tiny_model, tmp_path, save_strategy="steps", save_steps=2)
    run.train()
    assert run.state.global_step == 3
    assert "the record of the run was not written" in caplog.text


def test_only_the_main_process_writes(tiny_model, tmp_path, monkeypatch):
    run = trainer(tiny_model, tmp_path)
    monkeypatch.setattr(type(run.args), "should_save", False)
    run.train()
    assert records_below(tmp_path) == [] and run.run_record.steps == 3


# model.fit ----------------------------------------------------------------------------------------


def loader():
    examples = [InputExample(texts=[f"the cat {n}", f"cats {n}"], label=n / 8) for n in range(8)]
    return DataLoader(examples, batch_size=4)


def test_fit_tells_its_own_settings(tiny_model, tmp_path):
    objective = (loader(), CosineSimilarityLoss(tiny_model))
    fit(tiny_model, [objective], epochs=2, warmup_steps=1, show_progress_bar=False)
    tiny_model.save(tmp_path)
    text = card_in(tmp_path)
    changed, _, rest = section(text, "Settings").partition("<details>")
    assert "- `epochs`: `2`" in changed and "- `warmup_steps`: `1`" in changed
    assert '`optimizer_params`: `{ "lr": 2e-05 }`' in rest and "`optimizer_class`: `" in rest
    assert "- `batch_size`: `4`" in changed
    assert "learning_rate" not in text and "lambda" not in text
    assert ", 8 rows" in section(text, "Data")
    assert "| the cat 0 | cats 0 | 0.0 |" in section(text, "Data")


@pytest.mark.parametrize("best", [True, False])
def test_card_and_record_of_what_fit_keeps_are_finished_at_the_end(best, tiny_model, tmp_path):
    fit(
        tiny_model,
        [(loader(), CosineSimilarityLoss(tiny_model))],
        Falling(),
        epochs=3,
        warmup_steps=0,
        output_path=str(tmp_path / "kept"),
        save_best_model=best,
        show_progress_bar=False,
    )
    text = card_in(tmp_path / "kept")
    assert "**Time:**" in text
    value = front(text)["model-index"][0]["results"][0]["metrics"][0]["value"]
    assert value == (-2 if best else -6)
    # The figures under the code are those of the model in the folder, or none.
    assert ("tensor(" in text) == (not best)
    assert tiny_model.model_card_data.runs[0].saved_step is None
    found = record_in(tmp_path / "kept")
    assert records_below(tmp_path) == ["kept"]
    assert (found.saved_step, found.steps) == (2 if best else None, 6)
    assert [result.step for result in found.results] == [2, 4, 6]
    assert found.seconds > 0 and found.settings["epochs"] == 3
    others = [] if best else ["save_best_model"]
    assert found.changed == ["epochs", "warmup_steps", *others, "batch_size"]


def test_the_settings_of_fit_are_its_arguments():
    arguments = inspect.signature(fit).parameters
    for one in dataclasses.fields(FitSettings):
        if one.name != "batch_size":
            assert arguments[one.name].default == one.default, one.name


@pytest.mark.parametrize("name", ["epochs", "steps_per_epoch"])
def test_fit_wants_no_negative_numbers_of_steps(name, tiny_model):
    objective = (loader(), CosineSimilarityLoss(tiny_model))
    with pytest.raises(SettingError, match=f"{name} must be a .*number .*, got -1"):
        fit(tiny_model, [objective], **{name: -1})
