"""`fit` as a method with its arguments by position, and its callbacks in a trainer of one's own."""

import inspect

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from transformers import TrainerCallback

from sentune.data.example import InputExample
from sentune.encoder.fit_mixin import FitMixin
from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.losses import CosineSimilarityLoss
from sentune.training.fit import fit
from sentune.training.fit_callbacks import EvaluatorCallback, OriginalCallback, SaveModelCallback
from tests.training.tools import PAIRS, assert_trained, trainer, weights

EXAMPLES = [
    InputExample(texts=list(row), label=float(number % 2))
    for number, row in enumerate(zip(*PAIRS.values(), strict=True))
]


class Scores:
    """An evaluator that gives one number after the other."""

    primary_metric = "score"

    def __init__(self, *scores):
        self.scores = list(scores)
        self.asked = []

    def __call__(self, model, output_path=None, epoch=-1, steps=-1):
        self.asked.append((output_path, epoch, steps))
        return {"score": self.scores.pop(0)}


def test_the_method_has_the_arguments_of_the_function():
    names = list(inspect.signature(fit).parameters)[1:]
    assert list(inspect.signature(SentenceTransformer.fit).parameters)[1:] == names
    assert list(inspect.signature(SentenceTransformer.old_fit).parameters)[1:] == names[:-1]
    assert issubclass(SentenceTransformer, FitMixin)


@pytest.mark.parametrize("name", ["fit", "old_fit"])
def test_arguments_may_be_given_by_position(name, tiny_model, tmp_path):
    start, found, evaluator = weights(tiny_model), [], Scores(0.1, 0.2)
    told = []
    given = ([(DataLoader(EXAMPLES, batch_size=5), CosineSimilarityLoss(tiny_model))], evaluator)
    given += (2, 1, "constantlr", 0, torch.optim.SGD, {"lr": 0.1}, 0.0, 0, str(tmp_path / "out"))
    given += (True, 1, False, lambda *values: told.append(values), False)
    getattr(tiny_model, name)(*given)
    found.append(weights(tiny_model))
    tiny_model.load_state_dict(start)
    fit(
        tiny_model,
        given[0],
        epochs=2,
        steps_per_epoch=1,
        scheduler="constantlr",
        warmup_steps=0,
        optimizer_class=torch.optim.SGD,
        optimizer_params={"lr": 0.1},
        weight_decay=0.0,
        use_amp=False,
        show_progress_bar=False,
    )
    assert_trained(start, found[0])
    for key, tensor in weights(tiny_model).items():
        assert torch.equal(tensor, found[0][key]), key
    assert [(score, step) for score, _, step in told] == [(0.1, 1), (0.2, 2)]
    assert (tmp_path / "out" / "modules.json").exists()


def test_a_batch_of_examples_becomes_features_and_labels(tiny_model):
    features, labels = tiny_model.smart_batching_collate(EXAMPLES[:4])
    assert labels.tolist() == [0.0, 1.0, 0.0, 1.0]
    expected = tiny_model.preprocess(PAIRS["positive"][:4])
    assert torch.equal(features[1]["input_ids"], expected["input_ids"])
    assert torch.equal(features[1]["attention_mask"], expected["attention_mask"])
    arrays = [
        InputExample(texts=["a"], label=np.ones(3)),
        InputExample(texts=["b"], label=np.ones(3)),
    ]
    assert tiny_model.smart_batching_collate(arrays)[1].shape == (2, 3)


def test_an_evaluator_runs_after_each_epoch_of_a_trainer(tiny_model, tmp_path):
    evaluator, told, seen = Scores(0.1, 0.2), [], []

    class Told(TrainerCallback):
        def on_evaluate(self, args, state, control, metrics=None, **kwargs):
            told.append(metrics)

    callback = EvaluatorCallback(evaluator, str(tmp_path / "out"))
    own = OriginalCallback(lambda *values: seen.append(values), evaluator)
    run = trainer(tiny_model, tmp_path, callbacks=[callback, own, Told()], num_train_epochs=2)
    callback.trainer = run
    run.train()
    folder = str(tmp_path / "out" / "eval")
    assert evaluator.asked == [(folder, 1.0, 3), (folder, 2.0, 6)]
    assert told == [{"eval_score": 0.1}, {"eval_score": 0.2}]
    assert seen == [(0.1, 1.0, 3), (0.2, 2.0, 6)]


@pytest.mark.parametrize(
    ("scores", "is_best", "kept"),
    [
        ((0.3, 0.1), True, 0),
        ((0.1, 0.3), True, 1),
        ((float("nan"), 0.1), True, 1),
        ((0.1, float("nan")), True, 0),
        ((0.3, 0.1), False, 1),
        ((), True, 1),
    ],
)
def test_the_best_model_of_a_trainer_is_saved_or_the_last(
    scores, is_best, kept, tiny_model, tmp_path
):
    after = []

    class Keep(TrainerCallback):
        def on_epoch_end(self, args, state, control, model=None, **kwargs):
            after.append(weights(model))

    evaluator = Scores(*scores) if scores else None
    folder = str(tmp_path / "best")
    callbacks = [Keep(), SaveModelCallback(folder, evaluator, is_best)]
    if evaluator is not None:
        callbacks.append(EvaluatorCallback(evaluator))
    run = trainer(tiny_model, tmp_path, callbacks=callbacks, num_train_epochs=2)
    for one in callbacks:
        one.trainer = run
    run.train()
    found = weights(SentenceTransformer(folder, device="cpu"))
    assert all(torch.equal(tensor, after[kept][name]) for name, tensor in found.items())
