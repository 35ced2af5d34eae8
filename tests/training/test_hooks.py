"""Methods of a trainer that its subclasses override, as they do with sentence-transformers."""

import pytest
import torch
from datasets import Dataset
from transformers import TrainerCallback

from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.errors import SettingError
from sentune.losses import CosineSimilarityLoss, MultipleNegativesRankingLoss
from sentune.training.arguments import SentenceTransformerTrainingArguments
from sentune.training.collate import SentenceTransformerDataCollator
from sentune.training.run_recorder import ModelCardCallback
from sentune.training.samplers import DefaultBatchSampler
from sentune.training.trainer import SentenceTransformerTrainer as Trainer
from tests.training.tools import (
    LossOfParts,
    arguments,
    assert_equal_weights,
    assert_trained,
    pairs,
    scored,
    weights,
)


def run_of(kind, model, folder, dataset=None, loss=None, **options):
    more = {name: options.pop(name) for name in ("callbacks", "eval_dataset") if name in options}
    args = options.pop("args", None) or arguments(folder, **options)
    loss = MultipleNegativesRankingLoss(model) if loss is None else loss
    return kind(model, args, pairs() if dataset is None else dataset, loss=loss, **more)


# The loss ---------------------------------------------------------------------------------------


class Doubled(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        found = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        return (2 * found[0], found[1]) if return_outputs else 2 * found


class ByHand(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        name = inputs.pop("dataset_name", None)
        features, labels = self.collect_features(inputs)
        loss = self.loss[name] if isinstance(self.loss, dict) else self.loss
        value = 2 * loss(features, labels)
        return (value, {}) if return_outputs else value


class WithModel(Trainer):
    """Without any loss of the library: the model, and the names of the features."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        assert isinstance(model, SentenceTransformer) and model.device.type == "cpu"
        first, second = (
            model(
                {
                    "input_ids": inputs[f"{c}_input_ids"],
                    "attention_mask": inputs[f"{c}_attention_mask"],
                }
            )
            for c in ("anchor", "positive")
        )
        scores = first["sentence_embedding"] @ second["sentence_embedding"].T
        value = 2 * torch.nn.functional.cross_entropy(scores, torch.arange(len(scores)))
        return (value, {}) if return_outputs else value


def doubled(loss):
    class Loss(loss):
        def compute(self, columns, labels=None, **context):
            return 2 * super().compute(columns, labels)

    return Loss


@pytest.mark.parametrize("kind", [Doubled, ByHand])
@pytest.mark.parametrize(
    ("loss", "data"),
    [(MultipleNegativesRankingLoss, pairs), (CosineSimilarityLoss, scored)],
    ids=["no labels", "labels"],
)
def test_a_compute_loss_of_ones_own_trains_what_it_says(kind, loss, data, tiny_model, tmp_path):
    start = weights(tiny_model)
    options = {"optim": "sgd", "num_train_epochs": 2, "eval_dataset": data()}
    whole = run_of(Trainer, tiny_model, tmp_path, data(), doubled(loss)(tiny_model), **options)
    whole.train()
    expected, value = weights(tiny_model), whole.evaluate()["eval_loss"]
    assert_trained(start, expected)
    tiny_model.load_state_dict(start)
    run = run_of(kind, tiny_model, tmp_path, data(), loss(tiny_model), **options)
    run.train()
    for name, tensor in weights(tiny_model).items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-6)
    assert abs(run.evaluate()["eval_loss"] - value) < 1e-4


def test_a_compute_loss_may_use_the_model_and_the_names_of_its_features(tiny_model, tmp_path):
    start = weights(tiny_model)
    options = {"optim": "sgd", "eval_dataset": pairs()}

    class Dot(MultipleNegativesRankingLoss):
        def compute(self, columns, labels=None, **context):
            scores = columns[0] @ columns[1].T
            return 2 * torch.nn.functional.cross_entropy(scores, torch.arange(len(scores)))

    whole = run_of(Trainer, tiny_model, tmp_path, loss=Dot(tiny_model), **options)
    whole.train()
    expected = weights(tiny_model)
    tiny_model.load_state_dict(start)
    run = run_of(WithModel, tiny_model, tmp_path, **options)
    run.train()
    for name, tensor in weights(tiny_model).items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-6)
    assert abs(run.evaluate()["eval_loss"] - whole.evaluate()["eval_loss"]) < 1e-3


def test_several_losses_are_found_by_the_name_in_the_batch(tiny_model, tmp_path):
    losses = {n: MultipleNegativesRankingLoss(tiny_model) for n in ("one", "two")}
    data = {"one": pairs(), "two": pairs()}
    before = weights(tiny_model)
    run = run_of(ByHand, tiny_model, tmp_path, data, losses, eval_dataset=data)
    run.train()
    assert_trained(before, weights(tiny_model))
    assert run.evaluate().keys() >= {"eval_one_loss", "eval_two_loss"}


def test_a_compute_loss_of_ones_own_is_computed_in_the_precision_of_the_arguments(
    tiny_model, tmp_path
):
    seen = []

    class Own(ByHand):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            features, _ = self.collect_features(inputs)
            found = model(features[0])["token_embeddings"]
            seen.append((torch.is_autocast_enabled("cpu"), found.dtype))
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    run_of(Own, tiny_model, tmp_path, bf16=True).train()
    assert {is_on for is_on, _ in seen} == {True}
    seen.clear()
    run_of(Own, tiny_model, tmp_path, bf16=False).train()
    assert set(seen) == {(False, torch.float32)}


def test_compute_loss_may_be_called_with_the_model(tiny_model, tmp_path):
    run = run_of(Trainer, tiny_model, tmp_path)
    batch = run.data_collator([dict(zip(("anchor", "positive"), ("a cat", "a dog"))) for _ in "ab"])
    tiny_model.eval()
    value = run.compute_loss(tiny_model, batch)
    features, labels = run.collect_features(batch)
    assert labels is None
    assert features[0]["input_ids"].shape == features[0]["attention_mask"].shape == (2, 4)
    torch.testing.assert_close(value, run.loss(features, labels))
    assert run.compute_loss(tiny_model, batch, return_outputs=True)[1] == {}


def test_features_may_be_collected_otherwise(tiny_model, tmp_path):
    class Same(Trainer):
        def collect_features(self, inputs):
            features, labels = super().collect_features(inputs)
            assert inputs["anchor_input_ids"].shape == features[0]["input_ids"].shape
            return [features[0], features[0]], labels

    alike = Dataset.from_dict({"anchor": pairs()["anchor"], "positive": pairs()["anchor"]})
    losses = []
    for kind, data in ((Same, pairs()), (Trainer, alike)):
        run = run_of(kind, tiny_model, tmp_path)
        losses.append(run.evaluate(data)["eval_loss"])
    assert abs(losses[0] - losses[1]) < 1e-5


def test_the_parts_of_a_loss_are_told_to_a_method(tiny_model, tmp_path):
    seen = []

    class Told(Trainer):
        def track_loss_components(self, loss):
            seen.append(sorted(loss))
            super().track_loss_components(loss)

    run = run_of(Told, tiny_model, tmp_path, loss=LossOfParts(tiny_model))
    run.train()
    assert seen == [["ranking", "size"]] * 3
    assert "ranking" in run.state.log_history[0]


def test_losses_are_prepared_by_a_method(tiny_model, tmp_path):
    class Scaled(Trainer):
        def prepare_loss(self, loss, model):
            loss = super().prepare_loss(loss, model)
            loss.scale = 7.0
            return loss

    run = run_of(Scaled, tiny_model, tmp_path, loss=MultipleNegativesRankingLoss)
    assert run.loss.scale == 7.0
    run.loss = MultipleNegativesRankingLoss(tiny_model)
    assert run.loss.scale == 7.0
    losses = {"one": MultipleNegativesRankingLoss}
    assert run_of(Scaled, tiny_model, tmp_path, {"one": pairs()}, losses).loss["one"].scale == 7.0


def test_a_loss_follows_the_models_of_a_search(tiny_bert_folder, tmp_path):
    made = []

    def model_init(trial=None):
        made.append(SentenceTransformer(str(tiny_bert_folder), device="cpu"))
        return made[-1]

    loss = MultipleNegativesRankingLoss(model_init())
    run = Trainer(None, arguments(tmp_path), pairs(), loss=loss, model_init=model_init)
    before = weights(run.model)
    run.train()
    assert run.model is made[-1] and run.loss is loss and loss.model is made[-1]
    assert_trained(before, weights(run.model))


# Data -------------------------------------------------------------------------------------------


def test_classes_of_a_trainers_own_are_used(tiny_model, tmp_path, monkeypatch):
    class Collator(SentenceTransformerDataCollator):
        def maybe_warn_about_column_order(self, column_names):
            seen.append(column_names)

    class Arguments(SentenceTransformerTrainingArguments):
        pass

    class Own(Trainer):
        data_collator_class = Collator
        training_args_class = Arguments

    seen = []
    monkeypatch.chdir(tmp_path)
    assert type(Own(tiny_model, train_dataset=scored()).args) is Arguments
    with pytest.raises(SettingError, match="args must be Arguments, got SentenceTransformerTr"):
        run_of(Own, tiny_model, tmp_path)
    settings = arguments(tmp_path).to_dict()
    run = run_of(
        Own,
        tiny_model,
        tmp_path,
        args=Arguments(str(tmp_path), use_cpu=True, report_to="none", max_steps=1),
    )
    assert type(run.data_collator) is Collator and settings["use_cpu"]
    run.train()
    assert seen == [["anchor", "positive"]]


def test_the_collator_is_made_by_a_method_with_the_arguments(tiny_model, tmp_path):
    class Own(Trainer):
        def get_data_collator(self, model, args, processing_class=None):
            seen.append((model, args, processing_class))
            return super().get_data_collator(model, args, processing_class)

    seen = []
    run = run_of(Own, tiny_model, tmp_path)
    assert seen == [(tiny_model, run.args, run.processing_class)]


def test_samplers_are_made_by_methods(tiny_model, tmp_path):
    class Own(Trainer):
        def get_batch_sampler(
            self, dataset, batch_size, drop_last, valid_label_columns=None, generator=None, seed=0
        ):
            seen.append((batch_size, drop_last, valid_label_columns[0], seed))
            return DefaultBatchSampler(range(4), batch_size, drop_last)

        def get_multi_dataset_batch_sampler(self, dataset, batch_samplers, generator=None, seed=0):
            seen.append(len(batch_samplers))
            return batch_samplers[0]

    seen = []
    run = run_of(Own, tiny_model, tmp_path, {"one": pairs(), "two": pairs()})
    assert len(list(run.get_train_dataloader())) == 1
    assert seen == [(4, False, "label", 7)] * 2 + [2]


def test_datasets_are_prepared_by_a_method(tiny_model, tmp_path):
    class Own(Trainer):
        def preprocess_dataset(self, dataset=None, dataset_name=None):
            seen.append(dataset_name)
            dataset = super().preprocess_dataset(dataset, dataset_name)
            return None if dataset is None else dataset.select(range(8))

        def validate_column_names(self, dataset, dataset_name=None):
            seen.append((dataset_name, dataset.column_names))
            super().validate_column_names(dataset, dataset_name)

    seen = []
    run = run_of(Own, tiny_model, tmp_path, eval_dataset=pairs())
    names = ["anchor", "positive"]
    assert seen == ["train", ("train", names), "eval", ("eval", names)]
    assert len(run.train_dataset) == len(run.eval_dataset) == 8
    run.evaluate(pairs())
    assert seen[4:] == ["eval", ("eval", names)]


def test_names_of_datasets_may_be_added_by_a_method(tiny_model, tmp_path):
    class Own(Trainer):
        def add_dataset_name_column(self, dataset, dataset_name=None):
            return super().add_dataset_name_column(dataset, dataset_name)

    data = {"one": pairs(), "two": pairs()}
    run = run_of(Own, tiny_model, tmp_path, data, prompts={"one": "a: "})
    assert run.train_dataset["two"][0]["dataset_name"] == "two"
    run.train()
    plain = run_of(Trainer, tiny_model, tmp_path, data, prompts={"one": "a: "})
    assert "dataset_name" not in plain.train_dataset["one"][0]
    assert plain.should_dataset_name_column_be_added(data, plain.args, plain.loss)
    assert not plain.should_dataset_name_column_be_added(pairs(), plain.args, plain.loss)
    named = plain.add_dataset_name_column(data)
    assert named["one"][0]["dataset_name"] == "one" and "dataset_name" not in data["one"][0]


def test_a_name_is_added_behind_a_transform():
    batch = {"a": ["x", "y"]}
    named = Trainer.add_dataset_name_transform(
        batch, "one", lambda rows: {"a": [text.upper() for text in rows["a"]]}, columns=None
    )
    assert named == {"a": ["X", "Y"], "dataset_name": ["one", "one"]}
    assert Trainer.add_dataset_name_transform({"a": []}, "one") == {"a": []}
    assert Trainer.add_dataset_name_transform(batch) == batch


# The card ---------------------------------------------------------------------------------------


def test_the_callback_of_the_card_comes_first_and_may_be_another(tiny_model, tmp_path):
    class Own(ModelCardCallback):
        def on_init_end(self, args, state, control, model=None, trainer=None, **kwargs):
            super().on_init_end(args, state, control, model=model, trainer=trainer, **kwargs)
            seen.append((model, type(trainer), self.default_args_dict["learning_rate"]))

    class Kind(Trainer):
        model_card_callback_class = Own

    seen = []
    run = run_of(Kind, tiny_model, tmp_path, callbacks=[TrainerCallback()])
    assert seen == [(tiny_model, Kind, 5e-5)]
    assert isinstance(run.callback_handler.callbacks[0], Own)
    run.train()
    assert run.run_record.steps == 3 and tiny_model.model_card_data.runs == [run.run_record]


@pytest.mark.parametrize("how", ["removed", "never added"])
def test_without_the_callback_of_the_card_a_run_is_not_recorded(how, tiny_model, tmp_path):
    class Never(Trainer):
        def add_model_card_callback(self, default_args_dict):
            assert default_args_dict["learning_rate"] == 5e-5

    run = run_of(Trainer if how == "removed" else Never, tiny_model, tmp_path)
    run.remove_callback(ModelCardCallback)
    before = weights(tiny_model)
    run.train()
    assert_trained(before, weights(tiny_model))
    assert run.run_record is None and tiny_model.model_card_data.runs == []


def test_fields_of_the_card_may_be_given_and_unknown_ones_are_named(tiny_model, tmp_path):
    run = run_of(Trainer, tiny_model, tmp_path)
    run.create_model_card(language="en", task_name="finding mushrooms")
    assert tiny_model.model_card_data.task_name == "finding mushrooms"
    assert "language:\n- en" in (tmp_path / "README.md").read_text()
    with pytest.raises(SettingError, match=r"the card has no \['colour'\]"):
        run.create_model_card(colour="red")


def test_a_plain_trainer_is_left_as_it_was(tiny_model, tmp_path):
    """Without methods of its own a subclass trains the same weights to the last bit."""
    start, found = weights(tiny_model), []
    for kind in (Trainer, type("Plain", (Trainer,), {})):
        tiny_model.load_state_dict(start)
        run_of(kind, tiny_model, tmp_path).train()
        found.append(weights(tiny_model))
    assert_equal_weights(*found)


def test_arguments_may_have_a_length(tiny_model, tmp_path):
    args = arguments(tmp_path)
    args.max_length = 3
    run = run_of(Trainer, tiny_model, tmp_path, args=args)
    batch = next(iter(run.get_train_dataloader()))
    assert set(batch["columns"]["anchor"]["lengths"]) == {3}


def test_the_evaluator_may_be_set(tiny_model, tmp_path):
    run = run_of(Trainer, tiny_model, tmp_path)
    assert run.evaluator is None
    run.evaluator = lambda model, **kwargs: 0.5
    assert run.evaluate()["eval_evaluator"] == 0.5
    run.evaluator = [run.evaluator, run.evaluator]
    assert run.evaluators == [run.evaluator]


def test_datasets_that_stay_are_not_prepared_again(tiny_model, tmp_path):
    class Counting(Trainer):
        prepared: list = []

        def preprocess_dataset(self, dataset=None, dataset_name=None):
            self.prepared.append(dataset_name)
            return super().preprocess_dataset(dataset, dataset_name)

    run = run_of(Counting, tiny_model, tmp_path, max_steps=1)
    run.train()
    run.loss = MultipleNegativesRankingLoss(tiny_model)
    run.train()
    assert run.prepared == ["train", "eval"]
    run.train_dataset = pairs()
    run.train()
    assert run.prepared == ["train", "eval", "train"]
