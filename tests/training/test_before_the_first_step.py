"""What would end in a raw error, or in nothing trained, is refused before the first step."""

from functools import partial

import numpy as np
import pytest
import torch
from datasets import Dataset, IterableDataset, IterableDatasetDict
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.data import IterableDataset as TorchStream

from sentune.data.example import InputExample
from sentune.datasets import (
    DenoisingAutoEncoderDataset,
    NoDuplicatesDataLoader,
    ParallelSentencesDataset,
    SentenceLabelDataset,
    SentencesDataset,
)
from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.errors import DatasetError, SentuneWarning, SettingError, TrainingError
from sentune.losses import CoSENTLoss, CosineSimilarityLoss, MultipleNegativesRankingLoss
from sentune.models import BoW
from sentune.training.fit import fit
from sentune.training.trainer import SentenceTransformerTrainer
from tests.training.tools import (
    PAIRS,
    LossWithHead,
    arguments,
    assert_equal_weights,
    assert_trained,
    pairs,
    scored,
    trainer,
    weights,
)

EXAMPLES = [InputExample(texts=list(row)) for row in zip(*PAIRS.values(), strict=True)]
QUIET = {"show_progress_bar": False, "warmup_steps": 0}


def fit_of(model, loader=None, loss=None, **options):
    loader = DataLoader(EXAMPLES, batch_size=5) if loader is None else loader
    loss = MultipleNegativesRankingLoss(model) if loss is None else loss
    fit(model, [(loader, loss)], **{**QUIET, **options})


def stream(rows=10):
    def generate():
        for row in list(zip(*PAIRS.values(), strict=True))[:rows]:
            yield dict(zip(PAIRS, row, strict=True))

    return IterableDataset.from_generator(generate, features=pairs().features)


# Nothing to train -------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["trainer", "fit"])
def test_a_frozen_model_is_refused(how, tiny_model, tmp_path):
    tiny_model.requires_grad_(False)
    message = "nothing to train: all parameters of the model and of MultipleNegativesRankingLoss"
    with pytest.raises(TrainingError, match=message):
        trainer(tiny_model, tmp_path).train() if how == "trainer" else fit_of(tiny_model)


def test_a_model_without_parameters_is_refused(tmp_path):
    model = SentenceTransformer(modules=[BoW(["cat", "dog"])], device="cpu")
    with pytest.raises(TrainingError, match="and of MultipleNegativesRankingLoss are none"):
        trainer(model, tmp_path).train()


def test_a_head_alone_may_be_trained_and_each_loss_needs_something(tiny_model, tmp_path):
    tiny_model.requires_grad_(False)
    loss = LossWithHead(tiny_model)
    before = weights(loss.head)
    trainer(tiny_model, tmp_path, scored(), loss).train()
    assert_trained(before, weights(loss.head))
    losses = {"one": loss, "two": CosineSimilarityLoss(tiny_model)}
    data = {"one": scored(), "two": scored()}
    with pytest.raises(TrainingError, match="of the model and of CosineSimilarityLoss are frozen"):
        trainer(tiny_model, tmp_path, data, losses).train()


def test_a_loss_that_is_cut_off_from_the_model_is_refused(tiny_model, tmp_path):
    class Detached(MultipleNegativesRankingLoss):
        def compute(self, columns, labels=None, **context):
            return super().compute([column.detach() for column in columns], labels)

    before = weights(tiny_model)
    run = trainer(tiny_model, tmp_path, loss=Detached(tiny_model), eval_dataset=pairs())
    with pytest.raises(
        TrainingError, match=r"does not depend on any parameter .* with \.detach\(\)"
    ):
        run.train()
    assert_equal_weights(weights(tiny_model), before)
    assert run.evaluate()["eval_loss"] > 0  # which needs no gradient


def test_an_optimizer_of_another_model_is_refused(tiny_model, tmp_path):
    other = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    options = {"args": arguments(tmp_path), "train_dataset": pairs()}
    options["loss"] = MultipleNegativesRankingLoss(tiny_model)
    run = SentenceTransformerTrainer(tiny_model, optimizers=(other, None), **options)
    with pytest.raises(SettingError, match="has none of the parameters that are to be trained"):
        run.train()
    own = torch.optim.SGD(tiny_model[0].parameters(), lr=0.1)
    before = weights(tiny_model)
    SentenceTransformerTrainer(tiny_model, optimizers=(own, None), **options).train()
    assert_trained(before, weights(tiny_model))


# No step ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"max_steps": 0}, {"num_train_epochs": 0}])
def test_a_run_of_no_steps_is_refused(options, tiny_model, tmp_path):
    with pytest.raises(SettingError, match=r"make a run of 0 steps; set num_train_epochs above 0"):
        trainer(tiny_model, tmp_path, **options).train()


def test_fit_for_no_epochs_is_refused(tiny_model):
    with pytest.raises(SettingError, match="epochs must be a number above 0, got 0"):
        fit_of(tiny_model, epochs=0)


def test_rows_that_fill_no_batch_are_refused(tiny_model, tmp_path):
    options = {"per_device_train_batch_size": 16, "dataloader_drop_last": True}
    with pytest.warns(SentuneWarning, match="fewer than one batch"):
        run = trainer(tiny_model, tmp_path, **options)
    with pytest.raises(DatasetError, match="dataloader_drop_last=True leaves smaller ones out"):
        run.train()
    loader = DataLoader(EXAMPLES, batch_size=16, drop_last=True)
    with pytest.raises(DatasetError, match="a DataLoader gives no batch"):
        fit_of(tiny_model, loader)


@pytest.mark.parametrize("rows", [0, 3])
def test_a_stream_that_fills_no_batch_ends_in_an_error(rows, tiny_model, tmp_path):
    options = {"max_steps": 2, "dataloader_drop_last": True}
    short = stream(rows) if rows else stream().filter(lambda row: False)
    run = trainer(tiny_model, tmp_path, stream(), **options)
    run.train_dataset, run._checked = short, (short, None, run._loss_given)
    before = weights(tiny_model)
    with pytest.raises((TrainingError, DatasetError), match="gave no batch|no batch"):
        run.train()
    assert_equal_weights(weights(tiny_model), before)


def test_a_run_that_goes_on_at_its_end_is_fine(tiny_model, tmp_path):
    run = trainer(tiny_model, tmp_path, save_strategy="epoch")
    run.train()
    assert run.train(resume_from_checkpoint=True).global_step == 3


# Datasets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["train_dataset", "eval_dataset"])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m: SentenceLabelDataset([InputExample(texts=["a"], label=i % 2) for i in range(8)]),
         "SentenceLabelDataset, .* batch_sampler='group_by_label'"),
        (lambda m: DenoisingAutoEncoderDataset(["a cat", "a dog"]),
         "DenoisingAutoEncoderDataset, .*set_transform"),
        (lambda m: ParallelSentencesDataset(m, m), "ParallelSentencesDataset, .*for MSELoss"),
        (lambda m: NoDuplicatesDataLoader(EXAMPLES, 4),
         "NoDuplicatesDataLoader, .*batch_sampler='no_duplicates'"),
        (lambda m: SentencesDataset(EXAMPLES), "SentencesDataset, .*list of examples"),
        (lambda m: DataLoader(EXAMPLES, batch_size=4), "DataLoader, .*list of examples"),
    ],
)  # fmt: skip
def test_what_is_made_for_fit_is_refused_by_the_trainer(make, message, what, tiny_model, tmp_path):
    given = {"dataset": pairs(), "eval_dataset": None}
    given["dataset" if what == "train_dataset" else what] = make(tiny_model)
    with pytest.raises(DatasetError, match=f"^{what} is a {message}"):
        trainer(tiny_model, tmp_path, **given)


def test_a_dataset_of_examples_of_ones_own_is_refused(tiny_model, tmp_path):
    class Own(torch.utils.data.Dataset):
        def __len__(self):
            return len(EXAMPLES)

        def __getitem__(self, number):
            return EXAMPLES[number]

    with pytest.raises(DatasetError, match="is a Own, which is made for model.fit; give the tr"):
        trainer(tiny_model, tmp_path, Own())


@pytest.mark.parametrize("form", ["arrow", "pandas", "numpy", "torch", None])
@pytest.mark.parametrize("columns", [None, ["anchor", "positive"]])
def test_the_format_of_a_dataset_has_no_effect(form, columns, tiny_model, tmp_path):
    start = weights(tiny_model)
    data = scored()
    loss = CoSENTLoss if columns is None else MultipleNegativesRankingLoss
    plain = data if columns is None else data.select_columns(columns)
    found = []
    for one in (plain, data.with_format(form, columns=columns)):
        tiny_model.load_state_dict(start)
        run = trainer(tiny_model, tmp_path, one, loss(tiny_model), eval_dataset=one)
        run.train()
        run.evaluate()
        found.append(weights(tiny_model))
    assert_trained(start, found[0])
    for name, tensor in found[0].items():
        torch.testing.assert_close(tensor, found[1][name], rtol=1e-5, atol=1e-6)


def test_the_format_of_a_stream_has_no_effect(tiny_model, tmp_path):
    before = weights(tiny_model)
    trainer(tiny_model, tmp_path, stream().with_format("arrow"), max_steps=2).train()
    assert_trained(before, weights(tiny_model))


@pytest.mark.parametrize("kind", [dict, IterableDatasetDict])
def test_several_streams_may_be_evaluated_on(kind, tiny_model, tmp_path):
    streams = kind({"one": stream(), "two": stream(6)})
    options = {"prompts": {"one": "a "}, "per_device_eval_batch_size": 16}
    run = trainer(tiny_model, tmp_path, eval_dataset=streams, **options)
    whole = {"one": pairs(), "two": pairs().select(range(6))}
    whole = trainer(tiny_model, tmp_path, eval_dataset=whole, **options)
    found, expected = run.evaluate(), whole.evaluate()
    for name in ("eval_one_loss", "eval_two_loss"):
        assert abs(found[name] - expected[name]) < 1e-5
    assert found["eval_one_loss"] != found["eval_two_loss"]
    with pytest.raises(
        DatasetError, match=r"^train_dataset is a dict and \['one', 'two'\] can onl"
    ):
        trainer(tiny_model, tmp_path, streams)


@pytest.mark.parametrize("what", ["train_dataset", "eval_dataset"])
def test_an_error_says_which_dataset_it_is_about(what, tiny_model, tmp_path):
    place = "dataset" if what == "train_dataset" else what
    empty = Dataset.from_dict({**PAIRS, "anchor": [None, *PAIRS["anchor"][1:]]})
    for bad in (empty, pairs().remove_columns("positive")):
        with pytest.raises(DatasetError, match=rf"^{what} does not fit|^{what}: "):
            trainer(tiny_model, tmp_path, **{place: bad})
        several = {"one": pairs(), "two": bad}
        with pytest.raises(DatasetError, match=rf"^{what}\['two'\]"):
            trainer(tiny_model, tmp_path, **{place: several})


@pytest.mark.parametrize("what", ["train_dataset", "eval_dataset"])
def test_a_batch_says_which_dataset_it_is_of(what, tiny_model, tmp_path):
    broken = pairs().with_transform(
        lambda rows: {n: [None if t == PAIRS[n][7] else t for t in rows[n]] for n in rows}
    )
    seen = {"one": pairs(), "two": broken}
    place = "dataset" if what == "train_dataset" else what
    run = trainer(tiny_model, tmp_path, **{place: {"one": pairs(), "two": pairs()}})
    setattr(run, what, seen)
    run._checked = (run.train_dataset, run.eval_dataset, run._loss_given)
    with pytest.raises(DatasetError, match=rf"column 'anchor' of row 7 of {what}\['two'\]: is "):
        run.train() if what == "train_dataset" else run.evaluate()


# The arguments of fit ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer_class": "AdamW"}, "must be a class of optimizers, got 'AdamW'; pass the"),
        ({"optimizer_class": torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1)},
         "must be a class of optimizers, got SGD"),
        ({"optimizer_params": {"learning_rate": 1.0}}, "cannot be made with .*learning_rate"),
        ({"optimizer_params": 2e-5}, "optimizer_params must be a dict"),
        ({"scheduler": None}, "scheduler must be one of"),
        ({"scheduler": "linear"}, "scheduler must be one of .*'warmuplinear'"),
        ({"epochs": "1"}, "epochs must be a number above 0, got '1'"),
        ({"warmup_steps": None}, "warmup_steps must be a number from 0, got None"),
        ({"steps_per_epoch": -1}, "steps_per_epoch must be a whole number from 0, got -1"),
        ({"evaluation_steps": 0.5}, "evaluation_steps must be a whole number, got 0.5"),
        ({"max_grad_norm": -1}, "max_grad_norm must be a number from 0, got -1"),
    ],
)  # fmt: skip
def test_arguments_of_fit_are_checked(options, message, tiny_model):
    before = weights(tiny_model)
    with pytest.raises(SettingError, match=message):
        fit_of(tiny_model, **options)
    assert_equal_weights(weights(tiny_model), before)


@pytest.mark.parametrize(
    "options",
    [
        {
            "optimizer_class": partial(torch.optim.SGD, momentum=0.5),
            "optimizer_params": {"lr": 0.1},
        },
        {"warmup_steps": np.float64(0.2), "epochs": np.int64(1)},
        {"evaluation_steps": None, "steps_per_epoch": np.int64(1)},
        {"evaluation_steps": -1},
    ],
)
def test_numbers_of_numpy_and_functions_that_make_optimizers_are_fine(options, tiny_model):
    before = weights(tiny_model)
    fit_of(tiny_model, **options)
    assert_trained(before, weights(tiny_model))


def test_a_loader_without_batches_is_refused(tiny_model):
    class Single(TorchStream):
        def __iter__(self):
            return iter(EXAMPLES)

    for loader in (DataLoader(EXAMPLES, batch_size=None), DataLoader(Single(), batch_size=None)):
        before = weights(tiny_model)
        with pytest.raises(SettingError, match="batch_size=None passes on .* set batch_size"):
            fit_of(tiny_model, loader, steps_per_epoch=1)
        assert_equal_weights(weights(tiny_model), before)


def test_a_dataset_may_give_whole_batches(tiny_model):
    class Batches(TorchStream):
        def __iter__(self):
            return iter([EXAMPLES[:5], EXAMPLES[5:]])

    start, found = weights(tiny_model), []
    for loader in (DataLoader(Batches(), batch_size=None), DataLoader(EXAMPLES, batch_size=5)):
        tiny_model.load_state_dict(start)
        fit_of(tiny_model, loader, steps_per_epoch=2)
        found.append(weights(tiny_model))
    assert_trained(start, found[0])
    for name, tensor in found[0].items():
        torch.testing.assert_close(tensor, found[1][name], rtol=1e-5, atol=1e-6)
