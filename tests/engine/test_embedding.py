"""Tables keep the memory of their gradient: the same numbers, and nobody's gradient changes."""

import copy

import pytest
import torch
from torch import nn

from sentune import SentenceTransformerTrainer, losses
from sentune.engine.embedding import Table, keeping_gradients, with_own_tables
from sentune.training.arguments import SentenceTransformerTrainingArguments

NUMBERS = torch.tensor([[1, 4, 4], [0, 2, 1]])


def tables(**options):
    """A plain table, and ours of the same weight."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Embedding(6, 3, **options))
    return plain, with_own_tables(copy.deepcopy(plain))


def step(model, weight=1.0):
    model.zero_grad()
    (model(NUMBERS).pow(2) * weight).sum().backward()
    return model[0].weight.grad


@pytest.mark.parametrize(
    "options", [{}, {"padding_idx": 1}, {"max_norm": 1.0}, {"scale_grad_by_freq": True}]
)
def test_values_and_gradients_are_those_of_torch(options):
    plain, own = tables(**options)
    assert type(own[0]) is Table and repr(own[0])[5:] == repr(plain[0])[9:]
    with keeping_gradients(own):
        for weight in (1.0, -2.0, 0.5):
            torch.testing.assert_close(own(NUMBERS), plain(NUMBERS))
            torch.testing.assert_close(step(own, weight), step(plain, weight))


def test_steps_share_the_memory_and_the_end_gives_it_back():
    _, own = tables()
    with keeping_gradients(own):
        places = {step(own).data_ptr() for _ in range(3)}
        assert len(places) == 1
        kept = own[0]._room
    assert own[0]._room is None and kept is not None
    step(own)


@pytest.mark.parametrize("hold", [lambda g: g, lambda g: g[2:], lambda g: g.numpy()])
def test_a_gradient_that_somebody_holds_is_left_alone(hold):
    _, own = tables()
    with keeping_gradients(own):
        held = hold(step(own))
        before = copy.deepcopy(held)
        step(own, 3.0)
        step(own, 5.0)
        assert (torch.as_tensor(held) == torch.as_tensor(before)).all()


def test_gradients_add_up_over_uses_and_batches():
    plain, own = tables()
    with keeping_gradients(own):
        for model in (plain, own):
            for _ in range(2):
                rows = model(NUMBERS)
                (rows * model(NUMBERS.flip(0))).sum().backward()
        torch.testing.assert_close(own[0].weight.grad, plain[0].weight.grad)
        (found,) = torch.autograd.grad(own(NUMBERS).sum(), own[0].weight)
        assert found.sum() == NUMBERS.numel() * 3


def test_the_trainer_keeps_them_while_it_trains(tiny_model, tmp_path):
    seen = set()

    class Spy(losses.MultipleNegativesRankingLoss):
        def forward(self, *args):
            table = self.model[0].auto_model.embeddings.word_embeddings
            seen.add(table._room)
            return super().forward(*args)

    rows = [{"a": f"the {w} sat", "b": f"a {w}"} for w in ("cat", "dog", "bird", "fish")]
    args = SentenceTransformerTrainingArguments(
        tmp_path, max_steps=2, per_device_train_batch_size=2, report_to="none", use_cpu=True
    )
    SentenceTransformerTrainer(tiny_model, args, rows, loss=Spy(tiny_model)).train()
    (room,) = seen
    assert room is not None
    assert tiny_model[0].auto_model.embeddings.word_embeddings._room is None
