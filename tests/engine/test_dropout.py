"""Dropout: its statistics, its gradient, and that it can be repeated."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from sentune.engine.dropout import dropout


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
    parts = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 1))

    def layer(x):
        return parts[1](dropout(parts[0](x), 0.5))

    x = torch.randn(16, 8)
    gradients = []
    for run in (layer, lambda x: checkpoint(layer, x, use_reentrant=False)):
        parts.zero_grad()
        torch.manual_seed(1)
        run(x).sum().backward()
        gradients.append([p.grad.clone() for p in parts.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients))


def test_half_precision_stays_half():
    assert dropout(torch.ones(10, dtype=torch.bfloat16), 0.5).dtype == torch.bfloat16


@pytest.mark.parametrize(("p", "value"), [(0.0, 1.0), (1.0, 0.0)])
def test_nothing_or_everything(p, value):
    assert (dropout(torch.ones(10), p) == value).all()
