"""The names of `sentune.util` and the few functions that live there."""

import logging

import pytest
import torch
from tqdm import tqdm

from sentune import search, util
from sentune.vectors import similarity


def test_every_name_exists_and_lives_where_it_should():
    assert len(util.__all__) > 20
    for name in util.__all__:
        assert callable(getattr(util, name)) or name == "ORIGINAL_TRANSFORMER_MODELS", name
    assert util.cos_sim is util.pytorch_cos_sim is similarity.cos_sim
    assert util.semantic_search is util.information_retrieval is search.semantic_search


def test_names_agree_with_the_peer():
    peer = pytest.importorskip("sentence_transformers.util")
    own = {"most_similar_pairs"}
    for name in set(util.__all__) - own:
        assert hasattr(peer, name), name


def test_a_batch_goes_to_a_device_and_the_given_one_stays():
    batch = {"input_ids": torch.ones(2, 3), "lengths": [3, 3]}
    moved = util.batch_to_device(batch, "meta")
    assert moved["input_ids"].device.type == "meta"
    assert moved["lengths"] == [3, 3]
    assert batch["input_ids"].device.type == "cpu"


def test_the_device_is_one_that_torch_knows():
    assert torch.empty(1, device=util.get_device_name()) is not None


def test_full_names():
    assert util.fullname(torch.nn.Linear(1, 1)) == "torch.nn.modules.linear.Linear"
    assert util.fullname(util.LoggingHandler) == "sentune.util.logs.LoggingHandler"
    assert util.fullname(3) == "int"


def test_log_lines_pass_by_the_progress_bar(monkeypatch):
    lines = []
    monkeypatch.setattr(tqdm, "write", lines.append)
    logger = logging.getLogger("sentune.test")
    handler = util.LoggingHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger.addHandler(handler)
    try:
        logger.warning("careful")
    finally:
        logger.removeHandler(handler)
    assert lines == ["WARNING careful"]
