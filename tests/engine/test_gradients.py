"""Gradients of whole encoders on texts of 1 to 200 tokens are those of transformers, padded."""

from __future__ import annotations

import pytest
import torch

from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.engine import packing
from sentune.engine.tree import engine_off
from sentune.losses.embed import embed
from sentune.machine.device import multiplying_in
from sentune.models.pooling import Pooling
from sentune.models.transformer import Transformer
from tests import uneven
from tests.by_transformers import ByTransformers, assert_close, gradients, norm
from tests.tiny import PACKED_KINDS

WIDTH, ROWS = 32, 24
BF16 = torch.bfloat16


class Packed(torch.nn.Module):
    """The encoder as a model runs it: packed, mean pooling."""

    def __init__(self, transformer, *, include_prompt=True):
        super().__init__()
        self.transformer = transformer
        self.pooling = Pooling(WIDTH, include_prompt=include_prompt)

    def forward(self, features):
        return self.pooling(self.transformer(packing.pack(features)))

    @property
    def encoder(self):
        return self.transformer.auto_model


def pair(folder, **options):
    transformer = Transformer(folder)
    assert transformer.reads_packed and transformer.max_seq_length == 256
    return Packed(transformer, **options), ByTransformers(folder, transformer, **options)


@pytest.fixture(params=PACKED_KINDS)
def models(request, tiny_folders):
    return pair(tiny_folders(request.param, 256))


@pytest.fixture
def berts(tiny_folders):
    return pair(tiny_folders("bert", 256))


def backward(model, features, dtype=None, mini_batch_size=None):
    """Embeddings, and the gradients of a loss that tells rows and dimensions apart."""
    model.zero_grad()
    with multiplying_in(dtype, "cpu"):
        (rows,) = embed(model, [features], mini_batch_size)
    target = torch.randn(rows.shape, generator=torch.Generator().manual_seed(1))
    (rows.float() * target).sum().backward()
    return rows.detach(), gradients(model.encoder)


def compare(models, features, **options):
    own, wanted = (backward(model, features, **options) for model in models)
    torch.testing.assert_close(own[0], wanted[0], atol=1e-5, rtol=1e-5)
    assert_close(own[1], wanted[1])


@pytest.mark.parametrize("seed", [0, 1])
def test_each_family_in_float32(models, seed):
    features = models[0].transformer.read(uneven.texts(ROWS, seed))
    assert min(features["lengths"]) <= 3 and max(features["lengths"]) == 200
    compare(models, features)


def test_each_family_in_bfloat16(models):
    """Not further from float32 than transformers itself is in bfloat16, padded."""
    features = models[0].transformer.read(uneven.texts(ROWS, seed=2))
    exact = backward(models[1], features)[1]
    own, theirs = (backward(model, features, dtype=BF16)[1] for model in models)
    errors = [
        norm(found[name] - exact[name] for name in exact) / norm(exact.values())
        for found in (own, theirs)
    ]
    assert 0 < errors[0] < 1.3 * errors[1] + 0.005, errors


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_pairs_with_token_types(kind, tiny_folders):
    models = pair(tiny_folders(kind, 256))
    first, second = uneven.columns(2, ROWS, longest=90)
    features = models[0].transformer.read(list(zip(first, second, strict=True)))
    assert ("token_type_ids" in features) == (kind == "bert")
    compare(models, features)


def test_prompts_left_out_of_pooling(tiny_folders):
    models = pair(tiny_folders("bert", 256), include_prompt=False)
    texts = uneven.texts(ROWS, seed=3, longest=180)
    features = models[0].transformer.read(texts, prompt="search for the document ")
    assert min(features["prompt_lengths"]) > 3
    compare(models, features)


@pytest.mark.parametrize("texts", [[""], [""] * 3, ["", "cat " * 190], ["cat " * 40, "dog " * 61]])
def test_empty_texts_and_few(berts, texts):
    compare(berts, berts[0].transformer.read(texts))


@pytest.mark.parametrize("mini_batch_size", [1, 3, 10])
def test_mini_batches(berts, mini_batch_size):
    """Those of ours against one whole batch of transformers."""
    features = berts[0].transformer.read(uneven.texts(ROWS, seed=4))
    own = backward(berts[0], features, mini_batch_size=mini_batch_size)
    wanted = backward(berts[1], features)
    torch.testing.assert_close(own[0], wanted[0], atol=1e-5, rtol=1e-5)
    assert_close(own[1], wanted[1])


def test_no_text_changes_the_gradient_of_another(models):
    """Of the input embeddings, which each text has for itself."""
    transformer = models[0].transformer
    texts = uneven.texts(ROWS, seed=5)
    found = []
    for replaced in (False, True):
        features = transformer.read(texts)
        table = transformer.auto_model.get_input_embeddings()
        if replaced:
            start, size = sum(features["lengths"][:9]), features["lengths"][9]
            ids = features["input_ids"][start : start + size]
            ids[1:-1] = ids[1:-1].flip(0) * 0 + 7
        seen = []
        handle = table.register_forward_hook(lambda *a, seen=seen: seen.append(a[2]))
        packed = packing.pack(features)
        rows = models[0].pooling(transformer(packed))["sentence_embedding"]
        handle.remove()
        seen[0].retain_grad()
        rows[[row for row in range(ROWS) if row != 9]].sum().backward()
        parts = seen[0].grad[0, : sum(features["lengths"])].split(packed["lengths"])
        places = packed["order"].tolist()
        found.append([parts[places.index(row)] for row in range(ROWS)])
        assert not found[-1][9].any()
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("kind", ["electra", "albert"])
def test_norms_behind_a_projection_of_the_embeddings(kind, tiny_folders):
    """What the projection gives is rounded, and the gradient of a norm is a sum over all tokens."""
    models = pair(tiny_folders(kind, 256))
    features = models[0].transformer.read(uneven.texts(80, seed=6))
    assert sum(features["lengths"]) > 1_500
    exact = backward(models[1], features)[1]
    own = backward(models[0], features, dtype=BF16)[1]
    for name in exact:
        if "norm" in name.lower():
            assert norm([own[name] - exact[name]]) < 0.03 * norm([exact[name]]), name


@pytest.mark.parametrize("is_off", [True, False])
def test_what_is_run_again_runs_as_at_first(is_off, berts):
    """Autograd calls it in a thread of the device, outside of blocks around the first run."""
    features = berts[0].transformer.read(uneven.texts(ROWS, seed=7))
    model = SentenceTransformer(modules=[berts[0].transformer, Pooling(WIDTH)], device="cpu")
    expected = backward_of(model, features, None)
    with engine_off(is_off):
        (rows,) = embed(model, [features], 5)
    found = backward_of(model, features, rows)
    assert_close(found, expected)


def backward_of(model, features, rows):
    model.zero_grad()
    if rows is None:
        (rows,) = embed(model, [features])
    with engine_off(False):
        (rows * torch.linspace(-1, 1, rows.numel()).view_as(rows)).sum().backward()
    return gradients(model)
