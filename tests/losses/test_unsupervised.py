import random

import pytest
import torch

from sentune import losses
from sentune.engine import packing
from sentune.errors import InputError, SettingError
from sentune.losses import ContrastiveTensionDataLoader, ContrastiveTensionLoss
from sentune.losses import ContrastiveTensionLossInBatchNegatives as InBatch
from sentune.text import layouts
from tests.losses import loops
from tests.losses.tools import TableModel, column, value_and_gradient

PAIR = [column(5, 0), column(5, 1)]
LABELS = torch.tensor([1, 0, 0, 1, 0])


def apart(loss):
    """The same loss with a first copy that has moved away."""
    with torch.no_grad():
        loss.model1.table += torch.randn(30, 6, generator=torch.Generator().manual_seed(3))
    return loss


@pytest.mark.parametrize("size", [None, 2])
def test_contrastive_tension_is_what_its_definition_says(size):
    loss = apart(ContrastiveTensionLoss(TableModel(), mini_batch_size=size))
    value, gradient = value_and_gradient(loss, PAIR, LABELS)
    first = loss.model1(PAIR[0])["sentence_embedding"]
    second = loss.model(PAIR[1])["sentence_embedding"]
    expected = 0
    for u, v, y in zip(first, second, LABELS, strict=True):
        p = 1 / (1 + (-(u @ v)).exp())
        expected = expected - (p.log() if y else (1 - p).log())
    torch.testing.assert_close(value, expected.detach())
    weights = [loss.model.table, loss.model1.table]
    wanted = torch.autograd.grad(expected, weights)
    torch.testing.assert_close((gradient, loss.model1.table.grad), wanted)


def test_only_the_copy_is_new():
    model = TableModel()
    for loss in (ContrastiveTensionLoss(model), InBatch(model)):
        assert loss.model2 is loss.model is model and loss.model1 is not model
        torch.testing.assert_close(loss.model1.table, model.table)


@pytest.mark.parametrize("is_padded", [False, True])
def test_without_labels_the_same_tokens_are_the_same_sentence(is_padded):
    first = layouts.ragged(torch.tensor([1, 2, 3, 4, 5]), [2, 1, 2])
    second = layouts.ragged(torch.tensor([1, 2, 9, 3, 4, 5, 6]), [2, 2, 3])
    features = [packing.pad(x, 9) if is_padded else x for x in (first, second)]
    loss = ContrastiveTensionLoss(TableModel())
    torch.testing.assert_close(loss(features), loss(features, torch.tensor([1, 0, 0])))


def test_without_labels_and_tokens_it_says_what_it_wants():
    loss = ContrastiveTensionLoss(lambda x: {"sentence_embedding": x["pixels"]})
    with pytest.raises(InputError, match="ContrastiveTensionLoss wants labels 0 and 1"):
        loss([{"pixels": torch.randn(3, 2)}] * 2)
    with pytest.raises(InputError, match="got 3 columns"):
        ContrastiveTensionLoss(TableModel())([*PAIR, PAIR[0]], LABELS)


@pytest.mark.parametrize("size", [None, 2])
def test_in_batch_negatives_are_what_their_definition_says(size):
    loss = apart(InBatch(TableModel(), scale=4.0, mini_batch_size=size))
    value, gradient = value_and_gradient(loss, PAIR[:1])
    columns = [copy(PAIR[0])["sentence_embedding"] for copy in (loss.model1, loss.model)]
    scale = loss.logit_scale.exp()
    expected = (
        loops.info_nce(columns, scale) + loops.info_nce(columns[::-1], scale)
    ) / 2  # once for each copy
    torch.testing.assert_close(value, expected.detach())
    weights = [loss.model.table, loss.model1.table, loss.logit_scale]
    wanted = torch.autograd.grad(expected, weights)
    found = (gradient, loss.model1.table.grad, loss.logit_scale.grad)
    torch.testing.assert_close(found, wanted)
    assert loss.settings()["scale"] == pytest.approx(4.0)


@pytest.mark.parametrize("is_padded", [False, True])
def test_in_batch_negatives_take_one_column_or_the_same_twice(is_padded):
    column = packing.pad(PAIR[0], 0) if is_padded else PAIR[0]
    loss = InBatch(TableModel())
    torch.testing.assert_close(loss([column, dict(column)]), loss(PAIR[:1]))
    with pytest.raises(
        InputError, match=r"wants 1 column \(sentence\), or the same one twice, got"
    ):
        loss(PAIR)
    with pytest.raises(InputError, match="got 3"):
        loss([PAIR[0]] * 3)
    with pytest.raises(SettingError, match="scale must be > 0"):
        InBatch(TableModel(), scale=0)


def test_the_loader_pairs_sentences():
    sentences = [f"sentence {i}" for i in range(100)]
    given = list(sentences)
    loader = ContrastiveTensionDataLoader(sentences, batch_size=8, pos_neg_ratio=4)
    batches = list(loader)
    assert sentences == given  # the caller's list is left alone
    assert len(batches) == len(loader) == 100 // 14
    used = []
    for batch in batches:
        assert [example.label for example in batch] == [1, 0, 0, 0, 1, 0, 0, 0]
        for example in batch:
            first, second = example.texts
            assert (first == second) == bool(example.label)
            used += [first] if example.label else [first, second]
    assert len(used) == len(set(used))


def test_the_loader_draws_anew_each_time_and_by_pythons_seed():
    def texts(seed):
        random.seed(seed)
        loader = ContrastiveTensionDataLoader(list("abcdefghijklmnop"), 2, 2)
        return [[example.texts for batch in loader for example in batch] for _ in range(2)]

    assert texts(0) == texts(0) != texts(1)
    assert texts(0)[0] != texts(0)[1]


def test_the_loader_collates_and_refuses_odd_sizes():
    loader = ContrastiveTensionDataLoader(list("abcdef"), 2, 2)
    loader.collate_fn = len
    assert list(loader) == [2, 2]
    with pytest.raises(SettingError, match="batch_size=9 must be a multiple of pos_neg_ratio=8"):
        losses.ContrastiveTensionDataLoader(["a"], 9)
