"""What trainer and fit say of data before the first step, with the loss as it was set up."""

import warnings

import pytest
import torch
from datasets import Dataset
from torch import nn
from torch.utils.data import DataLoader

from sentune.data.example import InputExample
from sentune.datasets import SentenceLabelDataset
from sentune.errors import DatasetError, SentuneWarning, SettingError
from sentune.losses import (
    BatchHardTripletLoss,
    CosineSimilarityLoss,
    DistillKLDivLoss,
    MatryoshkaLoss,
    MSELoss,
    MultipleNegativesRankingLoss,
    SoftmaxLoss,
    TripletLoss,
)
from sentune.training.fit import fit
from tests.training.tools import PAIRS, assert_trained, pairs, trainer, weights

QUIET = {"epochs": 1, "show_progress_bar": False, "warmup_steps": 0}
CLASSES = {"text": PAIRS["anchor"], "label": [0, 1, 2, 3, 4] * 2}


def of_pairs(labels) -> Dataset:
    return Dataset.from_dict({**PAIRS, "label": labels})


def examples(columns, labels=None) -> list[InputExample]:
    rows = list(zip(*columns))
    labels = [0] * len(rows) if labels is None else labels
    return [InputExample(texts=list(row), label=label) for row, label in zip(rows, labels)]


def warned(run) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run()
    return [str(one.message) for one in caught if issubclass(one.category, SentuneWarning)]


@pytest.mark.parametrize("labels", [[0, 1, 2, 3, 0] * 2, [0, 1, 2, -1, 0] * 2])
def test_a_class_the_classifier_has_no_place_for_is_found_before_the_first_step(
    labels, tiny_model, tmp_path
):
    loss = SoftmaxLoss(tiny_model, num_labels=3)
    with pytest.raises(DatasetError, match="num_labels=3 wants 0 to 2"):
        trainer(tiny_model, tmp_path, of_pairs(labels), loss)
    loader = DataLoader(examples(PAIRS.values(), labels), batch_size=4)
    before = weights(tiny_model)
    with pytest.raises(DatasetError, match="num_labels=3 wants 0 to 2"):
        fit(tiny_model, [(loader, loss)], **QUIET)
    assert all(torch.equal(before[name], tensor) for name, tensor in weights(tiny_model).items())


def test_a_class_that_the_classifier_passes_over_is_no_fault(tiny_model, tmp_path):
    loss_fct = nn.CrossEntropyLoss(ignore_index=-1)
    loss = SoftmaxLoss(tiny_model, num_labels=3, loss_fct=loss_fct)
    before = weights(tiny_model)
    trainer(tiny_model, tmp_path, of_pairs([0, 1, 2, -1, 0] * 2), loss).train()
    assert_trained(before, weights(tiny_model))


def test_embeddings_of_another_width_are_found_unless_there_is_a_projection(tiny_model, tmp_path):
    data = Dataset.from_dict({"text": PAIRS["anchor"], "label": [[0.1] * 7, [0.2] * 7] * 5})
    with pytest.raises(DatasetError, match="wants embeddings of 32 numbers, 'label' has 7"):
        trainer(tiny_model, tmp_path, data, MSELoss(tiny_model))
    trainer(tiny_model, tmp_path, data, MSELoss(tiny_model, projection_dim=7))


def test_a_wrapper_is_looked_through(tiny_model, tmp_path):
    loss = MatryoshkaLoss(tiny_model, SoftmaxLoss(tiny_model, num_labels=2), [32])
    with pytest.raises(DatasetError, match="num_labels=2 wants 0 to 1"):
        trainer(tiny_model, tmp_path, of_pairs([0, 1, 2, 1, 0] * 2), loss)


def test_a_score_that_is_no_cosine_any_more_has_no_range(tiny_model, tmp_path):
    data = of_pairs([float(n) for n in range(10)])
    with pytest.raises(DatasetError, match="divide by 9"):
        trainer(tiny_model, tmp_path, data, CosineSimilarityLoss(tiny_model))
    times_nine = nn.Linear(1, 1)
    loss = CosineSimilarityLoss(tiny_model, cos_score_transformation=times_nine)
    trainer(tiny_model, tmp_path, data, loss)


def test_a_loss_of_ones_own_may_hold_another_one(tiny_model, tmp_path):
    class Own(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model, self.loss = model, nn.MSELoss()  # not sentune's, which wants embeddings

        def forward(self, columns, labels):
            first, second = (self.model(column)["sentence_embedding"] for column in columns)
            return self.loss((first * second).sum(dim=1), labels)

    before = weights(tiny_model)
    data = of_pairs([n / 10 for n in range(10)])
    trainer(tiny_model, tmp_path, data, Own(tiny_model)).train()
    assert_trained(before, weights(tiny_model))


def test_examples_without_labels_are_told_as_such(tiny_model):
    loader = DataLoader(examples([PAIRS["anchor"]]), batch_size=4)
    with pytest.raises(DatasetError) as error:
        fit(tiny_model, [(loader, DistillKLDivLoss(tiny_model))], **QUIET)
    assert "1 text column ('sentence_0') and no label" in str(error.value)
    assert "ContrastiveTensionLossInBatchNegatives" in str(error.value)


def test_classes_in_random_batches_are_odd_and_in_groups_they_are_not(tiny_model, tmp_path):
    data, loss = Dataset.from_dict(CLASSES), BatchHardTripletLoss(tiny_model)
    (text,) = warned(lambda: trainer(tiny_model, tmp_path, data, loss))
    assert "only one of their class; set batch_sampler='group_by_label'" in text
    grouped = {"batch_sampler": "group_by_label"}
    assert not warned(lambda: trainer(tiny_model, tmp_path, data, loss, **grouped))


def test_classes_in_a_shuffled_loader_are_odd_and_in_groups_they_are_not(tiny_model):
    rows = examples([CLASSES["text"]], CLASSES["label"])
    loss = BatchHardTripletLoss(tiny_model)
    shuffled = DataLoader(rows, batch_size=4, shuffle=True)
    (text,) = warned(lambda: fit(tiny_model, [(shuffled, loss)], **QUIET))
    assert "for fit a DataLoader over sentune.datasets.SentenceLabelDataset" in text
    grouped = DataLoader(SentenceLabelDataset(rows), batch_size=4)
    assert not warned(lambda: fit(tiny_model, [(grouped, loss)], **QUIET))


def test_rows_to_evaluate_on_may_be_fewer_than_a_batch(tiny_model, tmp_path):
    few = pairs().select(range(2))
    (text,) = warned(lambda: trainer(tiny_model, tmp_path, few))
    assert "2 rows, fewer than one batch of 4" in text
    assert not warned(lambda: trainer(tiny_model, tmp_path, eval_dataset=few))


def test_rows_to_evaluate_on_may_all_have_one_label(tiny_model, tmp_path):
    alike, loss = of_pairs([1] * 10), CosineSimilarityLoss(tiny_model)
    with pytest.raises(DatasetError, match="nothing to learn from"):
        trainer(tiny_model, tmp_path, alike, loss)
    run = trainer(tiny_model, tmp_path, of_pairs([0, 1] * 5), loss, eval_dataset=alike)
    assert run.evaluate()["eval_loss"] > 0


def test_splits_in_place_of_datasets_are_odd(tiny_model, tmp_path):
    splits = {"train": pairs(), "validation": pairs()}
    (text,) = warned(lambda: trainer(tiny_model, tmp_path, splits))
    assert "all of them are trained on; if these are splits, pass dataset['train']" in text
    assert not warned(lambda: trainer(tiny_model, tmp_path, {"train": pairs(), "more": pairs()}))
    assert not warned(lambda: trainer(tiny_model, tmp_path, eval_dataset=splits))


@pytest.mark.parametrize("rows", [[("a", "b")] * 4, [{"a": "a", "b": "b"}] * 4, ["a"] * 4])
def test_a_loader_over_something_else_than_examples_is_refused(rows, tiny_model):
    loader = DataLoader(rows, batch_size=2)
    with pytest.raises(DatasetError, match=r"make each row an InputExample\(texts="):
        fit(tiny_model, [(loader, MultipleNegativesRankingLoss(tiny_model))], **QUIET)


@pytest.mark.parametrize("data", [examples(PAIRS.values()), pairs()], ids=["list", "Dataset"])
def test_data_in_place_of_a_loader_are_refused(data, tiny_model):
    with pytest.raises(SettingError, match=r"make it with DataLoader\(examples"):
        fit(tiny_model, [(data, TripletLoss(tiny_model))], **QUIET)


@pytest.mark.parametrize("sampler", ["batch_sampler", "no_duplicates"])
def test_a_run_without_a_batch_is_refused(sampler, tiny_model, tmp_path):
    options = {"per_device_train_batch_size": 16, "dataloader_drop_last": True}
    with pytest.warns(SentuneWarning, match="fewer than one batch"):
        run = trainer(tiny_model, tmp_path, pairs(), batch_sampler=sampler, **options)
    with pytest.raises(DatasetError, match="of 10 rows, .* no batch of 16, and dataloader_drop_la"):
        run.train()


@pytest.mark.parametrize(
    ("setting", "unknown"),
    [({"query": "q: "}, "'query'"), ({"one": {"anchor": "q: ", "doc": "d: "}}, "'doc'")],
)
def test_prompts_of_no_column_are_odd(setting, unknown, tiny_model, tmp_path):
    data = {"one": pairs(), "two": pairs()}
    (text,) = warned(lambda: trainer(tiny_model, tmp_path, data, prompts=setting))
    assert f"prompts names {unknown}, which is no column and no dataset" in text
    assert "['anchor', 'one', 'positive', 'two']" in text
    fine = {"one": {"anchor": "q: "}, "positive": "d: "}
    assert not warned(lambda: trainer(tiny_model, tmp_path, data, prompts=fine))
