"""The trainer with models and losses of other kinds."""

import pytest
import torch
from datasets import Dataset

from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.errors import TrainingError
from sentune.losses import (
    BatchHardTripletLoss,
    CachedMultipleNegativesRankingLoss,
    CoSENTLoss,
    MatryoshkaLoss,
    MultipleNegativesRankingLoss,
    SoftmaxLoss,
)
from sentune.models import BoW, Dense, Router, StaticEmbedding, Transformer
from sentune.models.pooling import Pooling
from sentune.training.fit import fit
from sentune.training.trainer import SentenceTransformerTrainer
from tests import tiny
from tests.training.tools import (
    ANCHORS,
    PAIRS,
    arguments,
    assert_equal_weights,
    assert_trained,
    scored,
    trainer,
    weights,
)

WORDS = sorted({word for texts in PAIRS.values() for text in texts for word in text.split()})


def static():
    return StaticEmbedding(tiny.tokenizer().backend_tokenizer, embedding_dim=16)


@pytest.mark.parametrize(
    "modules",
    [
        lambda: [static()],
        lambda: [BoW(WORDS), Dense(len(WORDS), 16)],
    ],
    ids=["static", "bag of words"],
)
def test_models_without_an_encoder_are_trained_and_resumed(modules, tmp_path):
    def model():
        torch.manual_seed(2)
        return SentenceTransformer(modules=modules(), device="cpu")

    options = {"save_strategy": "steps", "save_steps": 1, "num_train_epochs": 2}
    whole = trainer(model(), tmp_path, **options)
    before = weights(whole.model)
    whole.train()
    assert_trained(before, weights(whole.model))
    again = trainer(model(), tmp_path, **options)
    again.train(str(tmp_path / "checkpoint-2"))
    assert_equal_weights(weights(again.model), weights(whole.model))


def test_an_encoder_that_is_padded_is_trained(tiny_folders, tmp_path):
    transformer = Transformer(tiny_folders("mpnet"))
    model = SentenceTransformer(modules=[transformer, Pooling(32)], device="cpu")
    assert not model.is_packed
    before = weights(model)
    trainer(model, tmp_path).train()
    assert_trained(before, weights(model))


def test_columns_go_through_the_routes_they_are_mapped_to(tiny_bert_folder, tmp_path):
    def route():
        return [Transformer(tiny_bert_folder), Pooling(32)]

    router = Router.for_query_document(route(), route())
    model = SentenceTransformer(modules=[router], device="cpu")
    mapping = {"anchor": "query", "positive": "document"}
    options = {"router_mapping": mapping, "save_strategy": "steps", "save_steps": 1}
    run = trainer(model, tmp_path, **options)
    before = weights(model)
    run.train()
    after = weights(model)
    for route_name in ("query", "document"):
        part = {name: t for name, t in after.items() if f"sub_modules.{route_name}." in name}
        assert_trained({name: before[name] for name in part}, part)

    fresh = SentenceTransformer(str(tmp_path / "checkpoint-2"), device="cpu")
    run = trainer(fresh, tmp_path, **options)
    run.train(str(tmp_path / "checkpoint-2"))
    assert_equal_weights(weights(fresh), after)


def test_classes_come_in_groups_for_losses_that_mine_triplets(tiny_model, tmp_path):
    data = Dataset.from_dict({"sentence": ANCHORS, "label": [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]})
    seen = []

    class Loss(BatchHardTripletLoss):
        def compute(self, columns, labels=None, **context):
            seen.append(sorted(labels.tolist()))
            return super().compute(columns, labels)

    trainer(tiny_model, tmp_path, data, Loss(tiny_model), batch_sampler="group_by_label").train()
    assert len(seen) == 2
    for labels in seen:
        assert len(labels) == 4
        assert labels[0] == labels[1] != labels[2] == labels[3]


def test_the_loss_by_default_is_cosent(tiny_model, tmp_path):
    run = SentenceTransformerTrainer(tiny_model, arguments(tmp_path), scored())
    assert isinstance(run.loss, CoSENTLoss)
    before = weights(tiny_model)
    run.train()
    assert_trained(before, weights(tiny_model))


def test_bounded_memory_and_nested_losses_train_the_same_weights(tiny_model, tmp_path):
    start = weights(tiny_model)
    results = []
    for inner in (
        MultipleNegativesRankingLoss(tiny_model),
        CachedMultipleNegativesRankingLoss(tiny_model, mini_batch_size=2),
    ):
        tiny_model.load_state_dict(start)
        loss = MatryoshkaLoss(tiny_model, inner, matryoshka_dims=[32, 8])
        trainer(tiny_model, tmp_path, loss=loss, optim="sgd").train()
        results.append(weights(tiny_model))
    assert_trained(start, results[0])
    for name, tensor in results[0].items():
        torch.testing.assert_close(results[1][name], tensor, rtol=1e-4, atol=1e-6)


def test_a_frozen_part_stays_as_it_is(tiny_model, tmp_path):
    for parameter in tiny_model[0].auto_model.embeddings.parameters():
        parameter.requires_grad_(False)
    before = weights(tiny_model)
    trainer(tiny_model, tmp_path).train()
    after = weights(tiny_model)
    frozen = {name: t for name, t in after.items() if ".embeddings." in name}
    assert frozen
    assert_equal_weights(frozen, {name: before[name] for name in frozen})
    assert_trained(before, after)


def test_the_head_of_softmax_is_in_the_checkpoint(tiny_model, tmp_path):
    data = Dataset.from_dict({**PAIRS, "label": [0, 1, 2, 1, 0, 1, 2, 0, 1, 2]})

    def loss():
        return SoftmaxLoss(tiny_model, 32, num_labels=3)

    run = trainer(tiny_model, tmp_path, data, loss(), save_strategy="steps", save_steps=3)
    run.train()
    trained = weights(run.loss.classifier)
    other = trainer(tiny_model, tmp_path, data, loss())
    assert not torch.equal(other.loss.classifier.weight, trained["weight"])
    other.train(str(tmp_path / "checkpoint-3"))
    assert_equal_weights(weights(other.loss.classifier), trained)


def test_weights_that_are_no_numbers_are_told_at_the_first_step(tiny_model, tmp_path):
    with torch.no_grad():
        tiny_model[0].auto_model.encoder.layer[0].output.dense.weight[0, 0] = float("nan")
    with pytest.raises(TrainingError, match="NaN in step 1, on a batch of rows"):
        trainer(tiny_model, tmp_path).train()


def test_fit_trains_a_static_model(tmp_path):
    from torch.utils.data import DataLoader

    from sentune.data.example import InputExample

    torch.manual_seed(1)
    model = SentenceTransformer(modules=[static()], device="cpu")
    before = weights(model)
    rows = [InputExample(texts=list(texts)) for texts in zip(*PAIRS.values(), strict=True)]
    loader = DataLoader(rows, batch_size=5, shuffle=True)
    fit(
        model,
        [(loader, MultipleNegativesRankingLoss(model))],
        warmup_steps=0,
        show_progress_bar=False,
    )
    assert_trained(before, weights(model))
