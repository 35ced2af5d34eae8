"""Every public name of the other library's model, and what it gives, on ours."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import sentence_transformers
import torch
from sentence_transformers.sentence_transformer import modules as theirs

import sentune
from sentune import models as ours
from sentune.errors import InputTypeError, SentuneError, SettingError

pytestmark = pytest.mark.filterwarnings("ignore")


def made(library, m, folder):
    modules = [m.Transformer(folder), m.Pooling(32), m.Normalize()]
    return library.SentenceTransformer(modules=modules, device="cpu", prompts={"query": "q: "})


@pytest.fixture
def models(tiny_bert_folder):
    folder = str(tiny_bert_folder)
    return made(sentune, ours, folder), made(sentence_transformers, theirs, folder)


@pytest.fixture
def loaded(models, tmp_path):
    models[1].save(str(tmp_path / "there"))
    folder = str(tmp_path / "there")
    return [
        one.SentenceTransformer(folder, device="cpu") for one in (sentune, sentence_transformers)
    ]


# Names of torch whose values differ from release to release.
OTHERWISE = {"training", "T_destination", "call_super_init"}
PLAIN = (str, int, float, bool, list, tuple, dict, set, frozenset, torch.dtype, torch.device)


def public(thing):
    return [name for name in dir(thing) if not name.startswith("_") and name not in OTHERWISE]


def test_every_name_is_there_with_its_value(loaded):
    here, there = loaded
    for name in public(there):
        assert hasattr(here, name), name
        value, wanted = getattr(here, name), getattr(there, name)
        assert callable(value) == callable(wanted), name
        if wanted is None or isinstance(wanted, PLAIN):
            assert value == wanted, name


OUR_DEFAULTS = {"batch_size"}  # chosen for speed


@pytest.mark.parametrize("kind", ["SentenceTransformer"])
def test_every_argument_is_there_in_its_place(kind):
    here, there = getattr(sentune, kind), getattr(sentence_transformers, kind)
    for name in public(there):
        if not inspect.isfunction(wanted := inspect.getattr_static(there, name)):
            continue
        if name in ("fit", "old_fit", "smart_batching_collate", "preprocess", "forward"):
            continue
        if name in vars(torch.nn.Module) or name in vars(torch.nn.Sequential):
            continue
        given = inspect.signature(getattr(here, name)).parameters
        wanted = inspect.signature(wanted).parameters
        assert has(given, "VAR_KEYWORD") >= has(wanted, "VAR_KEYWORD"), name
        places = [one for one in wanted if wanted[one].kind.name == "POSITIONAL_OR_KEYWORD"]
        assert list(given)[: len(places)] == places, name
        for one in wanted.values():
            if one.kind.name in ("POSITIONAL_OR_KEYWORD", "KEYWORD_ONLY"):
                assert one.name in given, (name, one.name)
                if one.name not in OUR_DEFAULTS and one.default is not one.empty:
                    assert given[one.name].default == one.default, (name, one.name)


def has(parameters, kind):
    return any(one.kind.name == kind for one in parameters.values())


INPUTS = [
    *("a text", ["a"], ("a", "b"), np.array(["a"]), np.array("a"), {"query": "a"}, np.zeros(3)),
    *([], [{"role": "user", "content": "a"}], [["a", "b"]], torch.zeros(2), 3, None),
]


@pytest.mark.parametrize("given", INPUTS, ids=map(repr, INPUTS))
def test_what_is_one_input(models, given):
    here, there = models
    assert here.is_singular_input(given) == there.is_singular_input(given)


@pytest.mark.parametrize("modality", ["text", "image", ("text", "image"), ("text",), "message"])
def test_what_is_supported(models, modality):
    here, there = models
    assert here.supports(modality) is there.supports(modality)


def test_methods_of_older_versions(models):
    here, there = models
    texts = ["the cat", "a dog sat"]
    with here.start_multi_process_pool(["cpu"]) as pool:
        found = here.encode_multi_process(texts, pool, prompt_name="query", chunk_size=1)
    np.testing.assert_allclose(found, there.encode(texts, prompt_name="query"), atol=1e-5)
    vectors = here.encode(texts)
    for name in ("similarity", "similarity_pairwise"):
        for kind in here.SUPPORTED_SIMILARITY_FN_NAMES:
            here.similarity_fn_name = there.similarity_fn_name = kind
            value, wanted = (getattr(m, name)(vectors, vectors[::-1].copy()) for m in (here, there))
            torch.testing.assert_close(value, wanted, atol=1e-5, rtol=1e-5)


def test_sentence_features_are_those_of_the_first_module(models):
    models[0][0].get_sentence_features = lambda *features: {"given": features}
    assert models[0].get_sentence_features([1, 2], 3) == {"given": ([1, 2], 3)}


def test_load_is_the_constructor(tmp_path, tiny_model):
    tiny_model.save(str(tmp_path))
    again = sentune.SentenceTransformer.load(str(tmp_path))
    assert (again.encode(["a"]) == tiny_model.encode(["a"])).all()


def test_use_auth_token_is_token(tmp_path, monkeypatch, tiny_model):
    tiny_model.save(str(tmp_path))
    with pytest.raises(SettingError, match="one of the two"):
        sentune.SentenceTransformer(str(tmp_path), token="a", use_auth_token="b")
    seen = []
    from sentune.encoder import sentence_transformers as module

    real = module.Access
    monkeypatch.setattr(module, "Access", lambda token, *a: seen.append(token) or real(token, *a))
    sentune.SentenceTransformer(str(tmp_path), use_auth_token="mine")
    assert seen == ["mine"]


def test_configuration_and_processor_can_be_set(models, tiny_bert_folder):
    here, _ = models
    other = ours.Transformer(str(tiny_bert_folder))
    here.config = other.config
    assert here.config is other.config is here[0].auto_model.config
    here.processor = other.tokenizer
    assert here.processor is other.tokenizer is here.tokenizer
    static = sentune.SentenceTransformer(
        modules=[ours.StaticEmbedding(other.tokenizer, embedding_dim=4)], device="cpu"
    )
    static.config = other.config  # no encoder: without effect, as there
    assert static.config is None


def test_another_backend_is_refused(tiny_bert_folder):
    for kind in (sentune.SentenceTransformer, sentune.CrossEncoder):
        with pytest.raises(SettingError, match=r"'onnx'.*optimum"):
            kind(str(tiny_bert_folder), backend="onnx")


def test_adapters_of_a_model_without_an_encoder(models, tiny_bert_folder):
    here, there = models
    assert here.has_peft_compatible_model() is there.has_peft_compatible_model() is True
    here.check_peft_compatible_model()
    bow = sentune.SentenceTransformer(modules=[ours.BoW(["cat"])], device="cpu")
    assert not bow.has_peft_compatible_model()
    with pytest.raises(SettingError, match="adapters need a Transformer"):
        bow.check_peft_compatible_model()
    with pytest.raises(SentuneError):
        bow.active_adapter()


def test_merging(models, tiny_bert_folder, tmp_path):
    pytest.importorskip("mergekit")
    here, there = models
    others = [made(sentune, ours, str(tiny_bert_folder)) for _ in range(2)]
    peers = [made(sentence_transformers, theirs, str(tiny_bert_folder)) for _ in range(2)]
    for one, peer in zip(others, peers, strict=True):
        for weight in one.parameters():
            torch.nn.init.normal_(weight)
        peer.load_state_dict(one.state_dict())
    before = [dict(one.state_dict()) for one in others]
    for options in ({"parameters": {"weight": [0.7, 0.3]}}, {"method": "slerp"}):
        merged = sentune.SentenceTransformer.merge(others, **options)
        wanted = sentence_transformers.SentenceTransformer.merge(peers, **options)
        for name, tensor in wanted.state_dict().items():
            torch.testing.assert_close(merged.state_dict()[name], tensor)
        assert merged.prompts == others[0].prompts
    mean = sentune.SentenceTransformer.merge(others).state_dict()
    for name, tensor in mean.items():
        torch.testing.assert_close(tensor, (before[0][name] + before[1][name]) / 2)
    for one, state in zip(others, before, strict=True):
        assert all(torch.equal(x, state[name]) for name, x in one.state_dict().items())
    with pytest.raises(InputTypeError, match="SentenceTransformer"):
        sentune.SentenceTransformer.merge([others[0], torch.nn.Linear(1, 1)])
    others[1][1].modes = ("cls",)
    with pytest.raises(SettingError, match="model 1 differs .*pooling_mode"):
        sentune.SentenceTransformer.merge(others)
    with pytest.raises(SettingError, match="no merge method 'nothing'"):
        sentune.SentenceTransformer.merge(others, "nothing")


def test_merging_needs_mergekit(models, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "mergekit.merge_methods", None)
    with pytest.raises(ImportError, match=r'pip install "sentune\[merge\]"'):
        sentune.SentenceTransformer.merge([models[0], models[0]])
