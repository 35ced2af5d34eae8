"""Small data, a quick model and short runs for the tests of training."""

from __future__ import annotations

import torch
from datasets import Dataset

from sentune.losses import CosineSimilarityLoss, MultipleNegativesRankingLoss
from sentune.training.arguments import SentenceTransformerTrainingArguments
from sentune.training.trainer import SentenceTransformerTrainer

ANCHORS = [
    "the cat sat",
    "a dog ran",
    "birds sing slow songs",
    "red fish eats bread",
    "open the file",
    "close the list",
    "light in the dark",
    "morning water",
    "quick river",
    "small house",
]
PAIRS = {"anchor": ANCHORS, "positive": [f"{text} over it" for text in ANCHORS]}
SCORED = {**PAIRS, "score": [place / 10 for place in range(10)]}


def pairs() -> Dataset:
    return Dataset.from_dict(PAIRS)


def scored() -> Dataset:
    return Dataset.from_dict(SCORED)


def arguments(folder, **options) -> SentenceTransformerTrainingArguments:
    settings = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 4,
        "num_train_epochs": 1,
        "learning_rate": 1e-3,
        "logging_steps": 1,
        "save_strategy": "no",
        "disable_tqdm": True,
        "use_cpu": True,
        "seed": 7,
    }
    return SentenceTransformerTrainingArguments(**{**settings, **options})


def trainer(model, folder, dataset=None, loss=None, callbacks=None, evaluator=None, **options):
    eval_dataset = options.pop("eval_dataset", None)
    return SentenceTransformerTrainer(
        model=model,
        args=arguments(folder, **options),
        train_dataset=pairs() if dataset is None else dataset,
        eval_dataset=eval_dataset,
        loss=MultipleNegativesRankingLoss(model) if loss is None else loss,
        callbacks=callbacks,
        evaluator=evaluator,
    )


def weights(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def assert_equal_weights(one, other) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def assert_trained(before, after) -> None:
    changed = [name for name, tensor in after.items() if not torch.equal(tensor, before[name])]
    assert changed, "nothing was trained"


class LossWithHead(CosineSimilarityLoss):
    """A loss with weights of its own, a buffer among them."""

    def __init__(self, model) -> None:
        super().__init__(model)
        self.head = torch.nn.Linear(32, 32)
        self.register_buffer("seen", torch.zeros(()))

    def compute(self, columns, labels=None, **context):
        self.seen += 1
        return super().compute([self.head(column) for column in columns], labels)


class LossOfParts(MultipleNegativesRankingLoss):
    """A loss that gives two named parts."""

    def compute(self, columns, labels=None, **context):
        return {
            "ranking": super().compute(columns, labels),
            "size": 0.1 * columns[0].square().mean(),
        }
