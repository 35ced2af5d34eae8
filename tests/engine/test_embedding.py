"""Tables keep the memory of their gradient: the same numbers, and nobody's gradient changes."""

import copy

import pytest
import torch
from torch.nn import functional as F

from sentune import SentenceTransformerTrainer, losses
from sentune.engine.embedding import Buffers, look_up
from sentune.training.arguments import SentenceTransformerTrainingArguments

NUMBERS = torch.tensor([[1, 4, 4], [0, 2, 1]])


@pytest.fixture
def weight():
    return torch.randn(6, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()


def step(weight, buffers, factor=1.0, padding=None):
    weight.grad = None
    (look_up(NUMBERS, weight, padding, buffers).pow(2) * factor).sum().backward()
    return weight.grad


@pytest.mark.parametrize("padding", [None, 1])
def test_values_and_gradients_are_those_of_torch(weight, padding):
    buffers = Buffers()
    for factor in (1.0, -2.0, 0.5):
        own = look_up(NUMBERS, weight, padding, buffers)
        torch.testing.assert_close(own, F.embedding(NUMBERS, weight, padding))
        mine = step(weight, buffers, factor, padding).clone()
        torch.testing.assert_close(mine, step(weight, None, factor, padding))


def test_steps_share_the_memory(weight):
    buffers = Buffers()
    assert len({step(weight, buffers).data_ptr() for _ in range(3)}) == 1


@pytest.mark.parametrize("hold", [lambda g: g, lambda g: g[2:], lambda g: g.numpy()])
def test_a_gradient_that_somebody_holds_is_left_alone(weight, hold):
    buffers = Buffers()
    held = hold(step(weight, buffers))
    before = copy.deepcopy(held)
    step(weight, buffers, 3.0)
    step(weight, buffers, 5.0)
    assert (torch.as_tensor(held) == torch.as_tensor(before)).all()


def test_gradients_add_up_over_uses_and_batches(weight):
    found = []
    for buffers in (Buffers(), None):
        weight.grad = None
        for _ in range(2):
            rows = look_up(NUMBERS, weight, None, buffers)
            (rows * look_up(NUMBERS.flip(0), weight, None, buffers)).sum().backward()
        found.append(weight.grad)
    torch.testing.assert_close(*found)
    (whole,) = torch.autograd.grad(look_up(NUMBERS, weight, None, Buffers()).sum(), weight)
    assert whole.sum() == NUMBERS.numel() * 3


def test_the_trainer_keeps_them_while_it_trains(tiny_model, tmp_path):
    seen = set()

    class Spy(losses.MultipleNegativesRankingLoss):
        def forward(self, *args):
            seen.add(self.model[0]._engine.buffers)
            return super().forward(*args)

    rows = [{"a": f"the {w} sat", "b": f"a {w}"} for w in ("cat", "dog", "bird", "fish")]
    args = SentenceTransformerTrainingArguments(
        tmp_path, max_steps=2, per_device_train_batch_size=2, report_to="none", use_cpu=True
    )
    SentenceTransformerTrainer(tiny_model, args, rows, loss=Spy(tiny_model)).train()
    (buffers,) = seen
    table = tiny_model[0].auto_model.embeddings.word_embeddings.weight
    assert buffers is not None and buffers.of(table)._held.shape == table.shape
    assert tiny_model[0]._engine.buffers is None
