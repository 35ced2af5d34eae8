"""Texts in each batch that are to stay where they are."""

import random

import pytest
import torch
from datasets import Dataset

from sentune import SentenceTransformer
from sentune.data.forms import PAIR, PAIR_AND_SCORE
from sentune.losses import (
    CosineSimilarityLoss,
    MatryoshkaLoss,
    MultipleNegativesRankingLoss,
    SoftmaxLoss,
)
from sentune.training.arguments import SentenceTransformerTrainingArguments
from sentune.training.trainer import SentenceTransformerTrainer
from sentune.workbench import train
from sentune.workbench.racing.anchors import (
    WEIGHT,
    AnchoredLoss,
    Anchors,
    sentences,
    vocabulary,
)
from sentune.workbench.racing.candidates import candidates
from tests import tiny
from tests.workbench import topics


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(tiny.make_folder(tmp_path_factory.mktemp("anchors") / "bert"))


@pytest.fixture
def model(folder):
    return SentenceTransformer(folder, dtype="float32").eval()


def columns(model, *texts):
    return [model.read(list(one)) for one in texts]


def test_words_are_of_the_vocabulary_and_always_the_same(model):
    words = vocabulary(model)
    assert words == sorted(words) and all(word.isalpha() for word in words)
    assert sentences(model, 5) == sentences(model, 5)
    assert len(set(sentences(model, 50))) > 25


def test_a_model_without_a_vocabulary_has_plain_sentences():
    assert vocabulary(object()) == []
    assert all(len(text.split()) > 5 for text in sentences(object(), 20))


@pytest.mark.parametrize("wrapped", [False, True])
def test_the_price_is_nothing_before_and_as_large_as_the_task_after(model, wrapped):
    anchors = Anchors.of(model, 4, 100)
    plain = MultipleNegativesRankingLoss(model)
    plain = MatryoshkaLoss(model, plain, [model.get_embedding_dimension(), 8]) if wrapped else plain
    loss = AnchoredLoss(model, plain, anchors, weight=2.0)
    batch = columns(
        model,
        ["a cat sat", "dogs run far"],
        [
            "the cat sits",
            "a dog ran",
        ][:2],
    )
    before = loss(batch)
    torch.testing.assert_close(before["task"], plain(batch), atol=1e-6, rtol=1e-5)
    assert before["other_texts"].abs() < 1e-5 * before["task"].abs()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(
                0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
            )
    random.seed(5)
    after = loss(batch)
    random.seed(5)
    drawn = random.sample(range(len(anchors.texts)), 4)
    now = model.encode([anchors.texts[row] for row in drawn], normalize_embeddings=True)
    moved = 1 - (torch.tensor(now) * anchors.targets[drawn]).sum(dim=1).mean()
    expected = 2.0 * moved * plain(batch).detach().abs()
    torch.testing.assert_close(after["other_texts"], expected, atol=1e-5, rtol=1e-4)


def test_other_texts_move_less_with_them(folder, tmp_path):
    start = SentenceTransformer(folder, dtype="float32").eval()
    asked = sentences(start, 300)[-60:]
    before = torch.tensor(start.encode(asked, normalize_embeddings=True))
    moved = {}
    for count in (0, 8):
        model = SentenceTransformer(folder, dtype="float32")
        loss = MultipleNegativesRankingLoss(model)
        if count:
            loss = AnchoredLoss(model, loss, Anchors.of(start, count, 200))
        _train(model, loss, topics.pairs(64), tmp_path)
        now = torch.tensor(model.eval().encode(asked, normalize_embeddings=True))
        moved[count] = float((1 - (now * before).sum(dim=1)).mean())
    assert moved[8] < 0.5 * moved[0]


def _train(model, loss, data, folder):
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        max_steps=20,
        learning_rate=1e-2,
        per_device_train_batch_size=8,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        logging_steps=5,
    )
    trainer = SentenceTransformerTrainer(
        model=model, args=arguments, train_dataset=Dataset.from_dict(data), loss=loss
    )
    trainer.train()
    return trainer


def test_both_parts_are_logged(folder, tmp_path):
    model = SentenceTransformer(folder, dtype="float32")
    loss = AnchoredLoss(model, CosineSimilarityLoss(model), Anchors.of(model, 4, 64))
    trainer = _train(model, loss, topics.scored(64), tmp_path)
    entry = next(one for one in trainer.state.log_history if "loss" in one)
    parts = entry["task"] + entry["other_texts"]
    assert entry["loss"] == pytest.approx(parts, abs=2e-3)


def test_a_loss_with_a_head_is_wrapped(model):
    head = SoftmaxLoss(model, embedding_dimension=model.get_embedding_dimension(), num_labels=2)
    loss = AnchoredLoss(model, head, Anchors.of(model, 4, 64))
    batch = columns(model, ["a cat sat", "dogs run far"], ["the cat sits", "a dog ran"])
    value = loss(batch, torch.tensor([0, 1]))
    sum(value.values()).backward()
    assert all(weight.grad is not None for weight in head.classifier.parameters())


def test_the_weight_of_the_anchors_is_that_of_the_candidate(folder, tmp_path):
    weights_by_price = {}
    for price in (0.0, 50.0):
        options = {"loss": "MultipleNegativesRankingLoss", "steps": 12, "learning_rate": 1e-2}
        options |= {"data_as": "the rows as they are", "batch_size": 16}
        result = train(
            topics.pairs(160), folder, tmp_path / str(price), **options, test_share=0, alpha=1,
            folds=1, dtype="float32", anchor_weight=price,
        )  # fmt: skip
        assert result.record["leaderboard"][1]["settings"]["anchor_weight"] == price
        settings = (result.model_path / "run.yaml").read_text()
        assert f"anchor_weight: {price}" in settings
        weights_by_price[price] = SentenceTransformer(str(result.model_path), dtype="float32")
    start = SentenceTransformer(folder, dtype="float32").eval()
    asked = sentences(start, 300)[-60:]
    before = start.encode(asked, normalize_embeddings=True)
    moved = {
        price: float((1 - (model.encode(asked, normalize_embeddings=True) * before).sum(1)).mean())
        for price, model in weights_by_price.items()
    }
    assert moved[50.0] < 0.5 * moved[0.0]


def test_pairs_have_a_higher_price_by_themselves():
    prices = {form.name: candidates(form, {})[0].anchor_weight for form in (PAIR, PAIR_AND_SCORE)}
    assert prices[PAIR.name] > prices[PAIR_AND_SCORE.name] == WEIGHT
    assert candidates(PAIR, {"anchor_weight": 2.0})[0].anchor_weight == 2.0
