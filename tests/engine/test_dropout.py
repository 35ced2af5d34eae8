"""Dropout: its statistics, its gradient, and that it can be repeated."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from sentune.engine.dropout import Dropout, dropout, with_own_dropout


@pytest.mark.parametrize("p", [0.05, 0.1, 0.5, 0.9])
def test_the_rate_and_the_mean_are_right(p):
    torch.manual_seed(0)
    result = dropout(torch.ones(1_000_000), p)
    share = (result == 0).float().mean().item()
    assert abs(share - p) < 4 * (p * (1 - p) / 1e6) ** 0.5 + 1 / 65536
    assert result.mean().item() == pytest.approx(1, abs=5 * (p / (1 - p) / 1e6) ** 0.5)
    assert result.max().item() == pytest.approx(1 / (1 - p), rel=1e-3)


def test_neighbours_are_dropped_independently():
    torch.manual_seed(0)
    zero = (dropout(torch.ones(1_000_000), 0.3) == 0).float() - 0.3
    for step in (1, 2, 7, 64, 384):
        assert abs((zero[:-step] * zero[step:]).mean().item()) < 5 * 0.21 / 1000


def test_the_gradient_is_dropped_where_the_value_is():
    torch.manual_seed(0)
    x = torch.randn(50, 8, dtype=torch.float64, requires_grad=True)
    result = dropout(x, 0.25)
    gradient = torch.randn_like(result)
    result.backward(gradient)
    scale = torch.where(result == 0, 0.0, 4 / 3)
    torch.testing.assert_close(result, x.detach() * scale)
    torch.testing.assert_close(x.grad, gradient * scale)


def test_torchs_seed_repeats_it_and_it_changes_from_call_to_call():
    x = torch.ones(1000)
    torch.manual_seed(3)
    first, second = dropout(x, 0.5), dropout(x, 0.5)
    torch.manual_seed(3)
    assert torch.equal(dropout(x, 0.5), first)
    assert not torch.equal(first, second)


def test_checkpointing_replays_it():
    layer = nn.Sequential(nn.Linear(8, 8), Dropout(0.5), nn.Linear(8, 1))
    x = torch.randn(16, 8)
    gradients = []
    for run in (layer, lambda x: checkpoint(layer, x, use_reentrant=False)):
        layer.zero_grad()
        torch.manual_seed(1)
        run(x).sum().backward()
        gradients.append([p.grad.clone() for p in layer.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients))


def test_half_precision_stays_half():
    assert dropout(torch.ones(10, dtype=torch.bfloat16), 0.5).dtype == torch.bfloat16


@pytest.mark.parametrize(("p", "value"), [(0.0, 1.0), (1.0, 0.0)])
def test_nothing_or_everything(p, value):
    assert (dropout(torch.ones(10), p) == value).all()


def test_evaluation_leaves_the_input_alone():
    x = torch.randn(10)
    assert Dropout(0.5).eval()(x) is x


def test_an_encoders_layers_are_exchanged_and_its_weights_are_not():
    class Own(nn.Dropout):
        pass

    encoder = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.3), nn.Sequential(Own(0.1)))
    encoder[1].eval()
    before = copy.deepcopy(encoder.state_dict())
    assert with_own_dropout(encoder) is encoder
    assert type(encoder[1]) is Dropout and encoder[1].p == 0.3 and not encoder[1].training
    assert type(encoder[2][0]) is Own
    assert encoder.state_dict().keys() == before.keys()
