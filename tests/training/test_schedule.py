"""The schedule of the learning rate counts on as many steps as are taken."""

from __future__ import annotations

import pytest
from datasets import Dataset
from torch.utils.data import DataLoader

from sentune.data.example import InputExample
from sentune.datasets import NoDuplicatesDataLoader
from sentune.errors import DatasetError
from sentune.losses import MultipleNegativesRankingLoss
from sentune.training.trainer import SentenceTransformerTrainer
from tests.training.test_samplers import crowded
from tests.training.tools import trainer

WITHOUT_REPEATS = {
    "batch_sampler": "no_duplicates",
    "dataloader_drop_last": True,
    "num_train_epochs": 3,
    "per_device_train_batch_size": 5,
}


def rows(number, seed=0):
    return Dataset.from_list(crowded(number, seed, 5, 5))


@pytest.mark.parametrize("order", [None, "round_robin", "proportional"])
@pytest.mark.parametrize("sampler", ["no_duplicates", "no_duplicates_hashed"])
def test_the_learning_rate_ends_at_zero_where_rows_cannot_fill_batches(
    order, sampler, tiny_model, tmp_path
):
    data = rows(30) if order is None else {"x": rows(30, 1), "y": rows(41, 2)}
    options = {**WITHOUT_REPEATS, "batch_sampler": sampler}
    if order:
        options["multi_dataset_batch_sampler"] = order
    run = trainer(tiny_model, tmp_path, data, **options)
    batches = len(run.get_train_dataloader())
    total = 30 if order is None else 71
    assert 0 < batches < total // 5
    run.train()
    assert run.state.global_step == run.state.max_steps == 3 * batches
    assert run.lr_scheduler.get_last_lr() == [0.0] * len(run.optimizer.param_groups)


def test_no_full_batch_is_an_error(tiny_model, tmp_path):
    data = Dataset.from_dict(
        {"a": [f"a{k % 2}" for k in range(12)], "b": [f"b{k}" for k in range(12)]}
    )
    with pytest.raises(DatasetError, match=r"makes no batch of 5.*drop_last=True"):
        trainer(tiny_model, tmp_path, data, **WITHOUT_REPEATS).train()
    examples = [InputExample(texts=[f"a{k % 2}", f"b{k}"]) for k in range(12)]
    loader = NoDuplicatesDataLoader(examples, batch_size=5)
    loss = MultipleNegativesRankingLoss(tiny_model)
    with pytest.raises(DatasetError, match="a DataLoader gives no batch"):
        tiny_model.fit([(loader, loss)], output_path=None, show_progress_bar=False)


def test_fit_takes_as_many_steps_as_its_schedule_counts_on(tiny_model, monkeypatch):
    runs = []
    train = SentenceTransformerTrainer.train

    def train_and_tell(self, *args, **kwargs):
        runs.append(self)
        return train(self, *args, **kwargs)

    monkeypatch.setattr(SentenceTransformerTrainer, "train", train_and_tell)
    loss = MultipleNegativesRankingLoss(tiny_model)
    examples = [InputExample(texts=list(row.values())) for row in crowded(30, 0, 5, 5)]
    loader = NoDuplicatesDataLoader(examples, batch_size=5)
    more = DataLoader(examples, batch_size=3)
    assert 0 < len(loader) < 6
    for loaders in ([loader], [loader, more]):
        objectives = [(one, loss) for one in loaders]
        tiny_model.fit(objectives, epochs=3, warmup_steps=0, show_progress_bar=False)
        run = runs.pop()
        steps = 3 * len(loader) * len(loaders)
        assert run.state.global_step == run.state.max_steps == steps
        assert set(run.lr_scheduler.get_last_lr()) == {0.0}
