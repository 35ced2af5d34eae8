"""What people do to models, on CUDA: the result is that of the library's padded run."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from sentune import losses
from sentune.engine.tree import engine_off
from tests.by_transformers import assert_close, gradients
from tests.cuda.tools import DEVICE, error, load, padded, texts
from tests.engine import test_surgery as surgeries


@pytest.fixture(params=["bert", "distilbert"])
def model(request, tiny_folders):
    return load(tiny_folders(request.param, 512))


def features_of(model):
    read = [model.read(texts(16, seed=seed)) for seed in (1, 2)]
    return [
        {k: v.to(DEVICE) if isinstance(v, torch.Tensor) else v for k, v in column.items()}
        for column in read
    ]


NAMES = ["lora", "lora_around", "hook", "pre_hook", "weight_norm", "data_parallel", "frozen"]


@pytest.mark.parametrize("name", [n for n in NAMES if hasattr(surgeries, n)])
def test_surgeries(name, model):
    if name == "data_parallel" and DEVICE == "cpu":
        pytest.skip("wraps nothing there")
    before = model.encode(texts())
    getattr(surgeries, name)(model)
    model.to(DEVICE)
    found = model.encode(texts())
    assert np.abs(found - padded(model, texts())).max() < 1e-5
    if name not in ("frozen", "data_parallel"):
        assert error(found, before) > 1e-3
    loss, columns = losses.MultipleNegativesRankingLoss(model), features_of(model)
    grads = []
    for is_padded in (False, True):
        model.zero_grad()
        if is_padded:
            with engine_off():
                loss([dict(x) for x in columns]).backward()
        else:
            loss([dict(x) for x in columns]).backward()
        grads.append(gradients(model))
    assert_close(*grads, least=2)


def test_half(model):
    first = model.encode(texts())
    model.half()
    found = model.encode(texts(), convert_to_tensor=True)
    assert found.dtype == torch.float16 and error(found, first) < 5e-3


def test_copies(model):
    first = model.encode(texts())
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert other.device.type == DEVICE and np.array_equal(other.encode(texts()), first)
        with torch.no_grad():
            next(x for x in other.modules() if isinstance(x, nn.Linear)).weight.mul_(2)
        assert np.array_equal(model.encode(texts()), first)
        assert error(other.encode(texts()), first) > 1e-4


def test_there_and_back(model):
    first = model.encode(texts())
    model.to("cpu")
    assert np.abs(model.encode(texts()) - first).max() < 1e-5
    model.to(DEVICE)
    assert np.array_equal(model.encode(texts()), first)


def test_a_pool_of_processes(model):
    first = model.encode(texts())
    where = model.device
    pool = model.start_multi_process_pool([DEVICE])
    try:
        found = model.encode(texts(), pool=pool)
    finally:
        model.stop_multi_process_pool(pool)
    assert np.abs(found - first).max() < 1e-5
    assert np.abs(model.to(where).encode(texts()) - first).max() < 1e-5


def test_dropout_alone_changes_with_the_seed_of_the_device(model):
    model.train()
    (column, _) = features_of(model)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.3

    def rows(seed):
        torch.manual_seed(seed)
        return model(dict(column))["sentence_embedding"].detach()

    assert torch.equal(rows(1), rows(1)) and not torch.equal(rows(1), rows(2))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_compiled(model):
    first = model.encode(texts())
    model[0].auto_model = torch.compile(model[0].auto_model)
    assert np.abs(model.encode(texts()) - first).max() < 2e-5
