"""The same model, data, seed and batches: after some steps, the weights are the peer's."""

import pytest
import torch
from datasets import Dataset
from torch.utils.data import DataLoader

from sentune import losses
from sentune.data.example import InputExample
from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.training.arguments import SentenceTransformerTrainingArguments
from sentune.training.fit import fit
from sentune.training.samplers import GroupByLabelBatchSampler, NoDuplicatesBatchSampler
from sentune.training.trainer import SentenceTransformerTrainer
from tests import uneven
from tests.training.tools import assert_trained, weights

peer = pytest.importorskip("sentence_transformers")
peer_losses = pytest.importorskip("sentence_transformers.losses")
pytestmark = pytest.mark.filterwarnings("ignore")

# Adam divides a gradient by its size. That of the keys' biases is 0, so what is left of it in
# float32 is chance; Adam's usual epsilon of 1e-8 would make whole steps of it.
EPSILON = 1e-4
ANCHORS, POSITIVES, NEGATIVES = uneven.columns(3, 10)
PAIRS = {"anchor": ANCHORS, "positive": POSITIVES}
SCORED = {**PAIRS, "score": [place / 10 for place in range(10)]}
TRIPLETS = {**PAIRS, "negative": NEGATIVES}
BINARY = {**PAIRS, "label": [0, 1] * 5}
FORMS = {
    "MultipleNegativesRankingLoss": PAIRS,
    "CosineSimilarityLoss": SCORED,
    "CoSENTLoss": SCORED,
    "TripletLoss": TRIPLETS,
    "ContrastiveLoss": BINARY,
}


def order(base):
    """A batch sampler that keeps the order of the rows, for either library."""

    class InOrder(base):
        def __iter__(self):
            n = self.rows
            for start in range(0, n, self.batch_size):
                yield list(range(start, min(start + self.batch_size, n)))

        def __len__(self):
            return -(-self.rows // self.batch_size)

    def make(dataset, **options):
        sampler = InOrder(dataset, **options)
        sampler.rows = len(dataset)
        return sampler

    return make


@pytest.fixture
def both(tiny_folders):
    """The same fresh model in each library."""
    folder = str(tiny_folders("bert", 256))
    own = SentenceTransformer(folder, device="cpu")
    theirs = peer.SentenceTransformer(folder, device="cpu")
    return own, theirs


def compare(own, theirs, before):
    after = weights(own[0].auto_model)
    assert_trained(before, after)
    expected = dict(theirs[0].auto_model.state_dict())
    assert after.keys() == expected.keys()
    for name, tensor in after.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-5, msg=name)


def train_both(both, tmp_path, data, name, own_data=None, **options):
    own, theirs = both
    before = weights(own[0].auto_model)
    settings = {
        "output_dir": str(tmp_path),
        "per_device_train_batch_size": 4,
        "num_train_epochs": 1,
        "learning_rate": 1e-3,
        "weight_decay": 0.01,
        "adam_epsilon": EPSILON,
        "warmup_steps": 2,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        **options,
    }
    ours = SentenceTransformerTrainer(
        own,
        SentenceTransformerTrainingArguments(**settings),
        Dataset.from_dict(data),
        loss=getattr(losses, name)(own),
    )
    ours.train()
    if "batch_sampler" in settings:
        settings["batch_sampler"] = order(peer.DefaultBatchSampler)
    other = peer.SentenceTransformerTrainer(
        theirs,
        peer.SentenceTransformerTrainingArguments(**settings),
        Dataset.from_dict(data),
        loss=getattr(peer_losses, name)(theirs),
    )
    other.train()
    assert ours.state.global_step == other.state.global_step > 0
    compare(own, theirs, before)
    return ours, other


@pytest.mark.parametrize("name", FORMS)
def test_the_trainer_in_the_order_of_the_rows(both, tmp_path, name):
    from sentune.training.samplers import DefaultBatchSampler

    sampler = order(DefaultBatchSampler)
    train_both(both, tmp_path, FORMS[name], name, batch_sampler=sampler, num_train_epochs=3)


def test_the_trainer_in_the_default_random_order(both, tmp_path):
    train_both(both, tmp_path, PAIRS, "MultipleNegativesRankingLoss", seed=11)


def test_gradient_accumulation(both, tmp_path):
    options = {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 2}
    ours, other = train_both(both, tmp_path, SCORED, "CosineSimilarityLoss", **options)
    assert ours.state.global_step == 3


def test_prompts(both, tmp_path):
    options = {"prompts": {"anchor": "query: ", "positive": "passage: "}}
    train_both(both, tmp_path, PAIRS, "MultipleNegativesRankingLoss", **options)


def test_the_logged_losses(both, tmp_path):
    runs = train_both(both, tmp_path, SCORED, "CoSENTLoss", logging_steps=1)
    logged = [[e["loss"] for e in run.state.log_history if "loss" in e] for run in runs]
    assert logged[0] == pytest.approx(logged[1], abs=1e-4)  # the peer rounds what it logs


@pytest.mark.parametrize("scheduler", ["WarmupLinear", "constantlr", "WarmupCosine"])
@pytest.mark.parametrize("name", ["MultipleNegativesRankingLoss", "CosineSimilarityLoss"])
def test_fit_against_the_loop_of_earlier_versions(both, name, scheduler):
    """`old_fit` trains on the loader's own batches, as `fit` does here."""
    own, theirs = both
    before = weights(own[0].auto_model)
    rows = list(zip(*FORMS[name].values(), strict=True))
    options = {
        "epochs": 3,
        "warmup_steps": 2,
        "scheduler": scheduler,
        "optimizer_params": {"lr": 1e-3, "eps": EPSILON},
        "show_progress_bar": False,
    }
    examples = [_example(InputExample, row) for row in rows]
    fit(own, [(DataLoader(examples, batch_size=4), getattr(losses, name)(own))], **options)
    theirs_examples = [_example(peer.InputExample, row) for row in rows]
    loader = DataLoader(theirs_examples, batch_size=4)
    theirs.old_fit([(loader, getattr(peer_losses, name)(theirs))], **options)
    compare(own, theirs, before)


def _example(kind, row):
    texts = [cell for cell in row if isinstance(cell, str)]
    return kind(texts=texts, label=row[-1]) if len(texts) < len(row) else kind(texts=texts)


@pytest.mark.parametrize("sizes", [(10, 10, 10), (30, 4, 3), (2, 2), (9, 8, 7, 1)])
@pytest.mark.parametrize("drop_last", [True, False])
def test_as_many_batches_of_classes(sizes, drop_last):
    from sentence_transformers.base import sampler as theirs

    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    data = Dataset.from_dict({"text": ["t"] * len(labels), "label": labels})
    options = {"batch_size": 4, "drop_last": drop_last, "valid_label_columns": ["label"]}
    own = GroupByLabelBatchSampler(data, **options)
    other = theirs.GroupByLabelBatchSampler(data, **options, generator=torch.Generator())
    assert len(own) == len(other) == len(list(own)) == len(list(other))


@pytest.mark.parametrize("drop_last", [True, False])
def test_as_many_batches_without_duplicates(drop_last):
    from sentence_transformers.base import sampler as theirs

    data = Dataset.from_dict(
        {"a": [f"a{k % 40}" for k in range(100)], "b": [f"b{k}" for k in range(100)]}
    )
    options = {"batch_size": 8, "drop_last": drop_last}
    own = NoDuplicatesBatchSampler(data, **options)
    other = theirs.NoDuplicatesBatchSampler(data, **options, generator=torch.Generator())
    sizes = [sorted(map(len, sampler)) for sampler in (own, other)]
    assert len(own) == len(other)
    assert sizes[0] == sizes[1]
