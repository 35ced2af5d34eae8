"""State dicts of every generation are read, and ours is the other library's of today."""

from __future__ import annotations

import pytest
import sentence_transformers
import torch
from sentence_transformers.sentence_transformer import modules as theirs

import sentune
from sentune import models as ours
from tests import tiny
from tests.engine.test_classification_heads import classifier
from tests.files.folders import change

MODELS = {
    "plain": lambda m, folder: [m.Transformer(folder), m.Pooling(32), m.Dense(32, 8)],
    "router": lambda m, folder: [
        m.Router.for_query_document(
            [m.Transformer(folder), m.Pooling(32)], [m.Transformer(folder), m.Pooling(32)]
        )
    ],
    "layers": lambda m, folder: [
        m.Transformer(folder),
        m.CNN(32, 8, kernel_sizes=[1, 3]),
        m.LSTM(16, 8),
        m.WordWeights(["cat"], {"cat": 2.0}),
        m.Pooling(16),
        m.LayerNorm(16),
        m.Normalize(),
    ],
    "static": lambda m, folder: [m.StaticEmbedding(tiny.tokenizer(), embedding_dim=8)],
}


def both(name, folder):
    return [
        kind.SentenceTransformer(modules=MODELS[name](m, folder), device="cpu")
        for kind, m in ((sentune, ours), (sentence_transformers, theirs))
    ]


def assert_same(one, other):
    assert list(one) == list(other)
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODELS)
def test_both_ways(name, tiny_bert_folder):
    here, there = both(name, str(tiny_bert_folder))
    for module in there.parameters():
        torch.nn.init.normal_(module)
    here.load_state_dict(there.state_dict())
    assert_same(here.state_dict(), there.state_dict())
    for module in here.parameters():
        torch.nn.init.normal_(module)
    there.load_state_dict(here.state_dict())
    assert_same(there.state_dict(), here.state_dict())
    names = [name for name, _ in there.named_parameters()]
    assert [name for name, _ in here.named_parameters()] == names


def older(state):
    """The names of 2.x to 5.x, with the buffer that encoders had in those days."""
    found = {name.replace(".model.", ".auto_model."): x for name, x in state.items()}
    for name in [name for name in found if name.endswith("position_embeddings.weight")]:
        place = name.removesuffix("position_embeddings.weight")
        found[f"{place}position_ids"] = torch.arange(len(found[name]))[None]
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["plain", "router", "layers"])
def test_names_of_earlier_versions(name, tiny_bert_folder):
    here, there = both(name, str(tiny_bert_folder))
    for module in there.parameters():
        torch.nn.init.normal_(module)
    state = older(there.state_dict())
    assert any("auto_model" in key for key in state)
    assert any("position_ids" in key for key in state)
    here.load_state_dict(state)
    assert_same(here.state_dict(), there.state_dict())


def test_a_model_whose_encoder_is_not_made_yet(tmp_path):
    folder = tiny.make_folder(tmp_path)
    change(folder / "tokenizer_config.json", tokenizer_class="BertTokenizer", do_lower_case=True)
    here = sentune.SentenceTransformer(str(folder), device="cpu")
    assert here[0].is_deferred
    state = {name: torch.randn_like(x) for name, x in here.state_dict().items()}
    other = sentune.SentenceTransformer(str(folder), device="cpu")
    assert other[0].is_deferred
    other.load_state_dict(older(state))
    assert_same(other.state_dict(), state)
    here.load_state_dict(state)
    assert (here.encode(["the cat"]) == other.encode(["the cat"])).all()


def test_wrong_names_are_still_refused(tiny_bert_folder):
    here = sentune.SentenceTransformer(str(tiny_bert_folder), device="cpu")
    state = here.state_dict()
    for wrong in ("0.auto_model.nothing.weight", "0.other.weight", "position_ids"):
        with pytest.raises(RuntimeError, match="Unexpected key"):
            here.load_state_dict({**state, wrong: torch.zeros(1)})
    state.pop("0.model.embeddings.word_embeddings.weight")
    with pytest.raises(RuntimeError, match=r"Missing key.*0\.model\.embeddings"):
        here.load_state_dict(state)


def test_a_cross_encoder(tmp_path):
    classifier(tmp_path, "bert", 1)
    here = sentune.CrossEncoder(str(tmp_path), device="cpu")
    there = sentence_transformers.CrossEncoder(str(tmp_path), device="cpu")
    for module in there.parameters():
        torch.nn.init.normal_(module)
    here.load_state_dict(there.state_dict())
    assert_same(here.state_dict(), there.state_dict())
    other = sentune.CrossEncoder(str(tmp_path), device="cpu")
    other.load_state_dict({k.removeprefix("0."): x for k, x in there.state_dict().items()})
    assert_same(other.state_dict(), there.state_dict())
