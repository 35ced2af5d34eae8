"""Models that compute the same have one hash, others have others."""

import torch

from sentune import SentenceTransformer, models
from sentune.encoder.identity import identity
from tests import tiny


def static(seed=0):
    torch.manual_seed(seed)
    words = tiny.tokenizer()
    return SentenceTransformer(
        modules=[models.StaticEmbedding(words, embedding_weights=torch.randn(len(words), 8))],
        device="cpu",
    )


def test_a_saved_model_is_the_same_wherever_it_is(tiny_model, tmp_path):
    for model in (tiny_model, static()):
        before = identity(model)
        model.encode(["a cat", "a dog"])
        assert identity(model) == before and len(before) == 32
        for name in ("one", "two"):
            model.save(str(tmp_path / name))
            assert identity(SentenceTransformer(str(tmp_path / name), device="cpu")) == before


def test_what_changes_the_vectors_changes_the_hash(tiny_model):
    found = {identity(tiny_model), identity(static(0)), identity(static(1))}
    tiny_model.max_seq_length = 7
    found.add(identity(tiny_model))
    tiny_model[1].pooling_mode = "cls"
    found.add(identity(tiny_model))
    with torch.no_grad():
        next(tiny_model.parameters())[0, 0] += 1e-3
    found.add(identity(tiny_model))
    tiny_model.to(torch.bfloat16)
    found.add(identity(tiny_model))
    assert len(found) == 7
