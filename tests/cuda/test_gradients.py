"""Gradients of whole encoders on texts of up to 400 tokens are those of the padded run."""

from __future__ import annotations

import pytest
import torch

from sentune import losses
from sentune.engine.tree import engine_off
from sentune.machine.device import multiplying_in
from tests import uneven
from tests.by_transformers import assert_close, gradients, norm
from tests.cuda.tools import DEVICE, HALF, KINDS, load

ROWS = 24


@pytest.fixture(params=KINDS)
def model(request, tiny_folders):
    return load(tiny_folders(request.param, 512)).train()


@pytest.fixture
def bert(tiny_folders):
    return load(tiny_folders("bert", 512)).train()


def features_of(model, columns=2, longest=400):
    read = [model.read(texts) for texts in uneven.columns(columns, ROWS, longest=longest)]
    for column in read:
        column["input_ids"] = column["input_ids"].to(DEVICE)
        if "token_type_ids" in column:
            column["token_type_ids"] = column["token_type_ids"].to(DEVICE)
    return read


def backward(model, loss, columns, labels=None, dtype=None, scale=1.0):
    model.zero_grad()
    with multiplying_in(dtype, DEVICE):
        value = loss([dict(column) for column in columns], labels)
    (value * scale).backward()
    return value.detach(), {name: x / scale for name, x in gradients(model).items()}


def both(model, loss, columns, labels=None, **options):
    own = backward(model, loss, columns, labels, **options)
    with engine_off():
        theirs = backward(model, loss, columns, labels, **options)
    return own, theirs


def compare(own, theirs):
    torch.testing.assert_close(own[0], theirs[0], rtol=1e-5, atol=1e-6)
    assert_close(own[1], theirs[1])


LOSSES = {
    "MultipleNegativesRankingLoss": (2, None),
    "CosineSimilarityLoss": (2, torch.linspace(0, 1, ROWS)),
    "TripletLoss": (3, None),
    "CachedMultipleNegativesRankingLoss": (2, None),
}


@pytest.mark.parametrize("name", LOSSES)
def test_each_loss_in_float32(name, bert):
    columns, labels = LOSSES[name]
    options = {"mini_batch_size": 5} if name.startswith("Cached") else {}
    loss = getattr(losses, name)(bert, **options)
    labels = None if labels is None else labels.to(DEVICE)
    compare(*both(bert, loss, features_of(bert, columns), labels))


def test_each_family_in_float32(model):
    loss = losses.MultipleNegativesRankingLoss(model)
    compare(*both(model, loss, features_of(model)))


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_each_family_in_half_precision(model, dtype):
    """Not further from float32 than the padded run is in half precision."""
    loss, columns = losses.MultipleNegativesRankingLoss(model), features_of(model)
    with engine_off():
        exact = backward(model, loss, columns)[1]
    options = {"dtype": dtype, "scale": 1.0 if dtype == torch.bfloat16 else 64.0}
    errors = [
        norm(found[name] - exact[name] for name in exact) / norm(exact.values())
        for _, found in both(model, loss, columns, **options)
    ]
    assert 0 < errors[0] < 1.3 * errors[1] + 0.005, errors


@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=str)
def test_gradient_checkpointing(bert, dtype):
    loss, columns = losses.MultipleNegativesRankingLoss(bert), features_of(bert)
    first = backward(bert, loss, columns, dtype=dtype)
    bert.gradient_checkpointing_enable()
    again = backward(bert, loss, columns, dtype=dtype)
    compare(again, first) if dtype is None else torch.testing.assert_close(first[0], again[0])


@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=str)
@pytest.mark.parametrize("way", ["checkpointing", "mini-batches"])
def test_what_is_run_again_draws_the_same_dropout(dtype, way, tmp_path):
    """So a step along the gradient, with the same seed, changes the loss as the gradient says."""
    from tests.tiny import make_folder

    model = load(make_folder(tmp_path / "m", dropout=0.2, longest=512)).train()
    columns = features_of(model, longest=100)
    options = {"mini_batch_size": 5} if way == "mini-batches" else {}
    loss = losses.MultipleNegativesRankingLoss(model, **options)
    if way == "checkpointing":
        model.gradient_checkpointing_enable()

    def value():
        torch.manual_seed(5)
        return backward(model, loss, columns, dtype=dtype)

    (first, slope), (again, _) = value(), value()
    assert torch.equal(first, again)
    if dtype is not None:
        return
    size, step = norm(slope.values()), 3e-4
    found = []
    for way in (1, -1):
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if name in slope:
                    weight.add_(slope[name], alpha=way * step / size)
        found.append(float(value()[0]))
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if name in slope:
                    weight.sub_(slope[name], alpha=way * step / size)
    assert (found[0] - found[1]) / (2 * step) == pytest.approx(size, rel=5e-2)


@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float16], ids=str)
def test_the_mean_of_the_loss_with_dropout(dtype, tmp_path):
    from tests.tiny import make_folder

    model = load(make_folder(tmp_path / "m", dropout=0.1, longest=512)).train()
    columns = features_of(model, longest=100)
    loss = losses.CosineSimilarityLoss(model)
    labels = torch.linspace(0, 1, ROWS, device=DEVICE)

    def draws(seed):
        torch.manual_seed(seed)
        found = []
        with multiplying_in(dtype, DEVICE):
            for _ in range(150):
                found.append(loss([dict(column) for column in columns], labels).detach())
        return torch.stack(found).double()

    own = draws(0)
    with engine_off():
        theirs = draws(1)
    assert own.std() > 0
    spread = ((own.var() + theirs.var()) / len(own)) ** 0.5
    assert abs(own.mean() - theirs.mean()) < 4 * spread
    assert 0.7 < own.std() / theirs.std() < 1.4
