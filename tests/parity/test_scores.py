"""CrossEncoder against sentence-transformers 6.2.0: scores, rankings, files of every generation."""

import json

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from sentune import CrossEncoder, models
from tests import tiny, uneven
from tests.engine.test_classification_heads import classifier
from tests.files.folders import change

peer = pytest.importorskip("sentence_transformers")
pytestmark = pytest.mark.filterwarnings("ignore")

TEMPLATE = (
    "{% for m in messages %}the {{ m.role }} {{ m.content }} {% endfor %}read it, write yes or no"
)
PARTS = TEMPLATE.replace("m.content", "m['content'][0]['text']")
KINDS = ["bert", "roberta", "distilbert", "modernbert-mean", "eurobert", "mpnet"]


@pytest.fixture
def pairs():
    return list(zip(*uneven.columns(2, 14), strict=True))


def language_model(folder, template=None):
    """A folder with a causal language model of random weights, which knows yes and no."""
    tokenizer = tiny.tokenizer("bert", 200)
    tokenizer.add_tokens(["yes", "no"])
    tokenizer.chat_template = template
    config = AutoConfig.for_model(
        "qwen3",
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        intermediate_size=48,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def both(folder, **options):
    ours = CrossEncoder(str(folder), device="cpu", dtype="float32", **options)
    return ours, peer.CrossEncoder(str(folder), device="cpu", **options)


def assert_same(found, expected, atol=1e-5):
    assert type(found) is type(expected)
    assert found.shape == expected.shape and found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, atol=atol)


@pytest.mark.parametrize("labels", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_equal(tmp_path, kind, labels, pairs):
    classifier(tmp_path, kind, labels)
    ours, theirs = both(tmp_path)
    assert ours.num_labels == theirs.num_labels == labels
    assert ours.is_packed == (kind not in ("mpnet", "eurobert"))
    expected = theirs.predict(pairs)
    assert expected.std() > 1e-3
    assert_same(ours.predict(pairs), expected)
    assert_same(ours.predict(pairs, batch_size=3), expected)


@pytest.mark.parametrize("template", [None, TEMPLATE])
def test_scores_of_language_models_are_equal(tmp_path, template, pairs):
    ours, theirs = both(language_model(tmp_path, template))
    expected = theirs.predict(pairs)
    assert expected.std() > 1e-3
    assert_same(ours.predict(pairs), expected, 2e-5)
    prompt = "find what the query is for"
    assert_same(ours.predict(pairs, prompt=prompt), theirs.predict(pairs, prompt=prompt), 2e-5)


def test_what_a_template_puts_at_the_end_is_not_truncated(tmp_path, pairs):
    ours, theirs = both(language_model(tmp_path, TEMPLATE), max_length=40)
    assert ours.max_seq_length == 40
    assert sum(length == 40 for length in ours.read(pairs)["lengths"]) > 3
    assert_same(ours.predict(pairs), theirs.predict(pairs), 2e-5)


def test_a_template_may_want_the_parts_of_a_message(tmp_path, pairs):
    texts, parts = (
        CrossEncoder(str(language_model(tmp_path / name, template)), device="cpu")
        for name, template in (("texts", TEMPLATE), ("parts", PARTS))
    )
    np.testing.assert_array_equal(texts.predict(pairs), parts.predict(pairs))


def test_a_template_without_the_roles_is_refused(tmp_path):
    folder = language_model(
        tmp_path, "{% for m in messages %}{% if m.role == 'user' %}x{% endif %}"
    )
    tokenizer = tiny.tokenizer("bert", 200)
    del tokenizer
    model = CrossEncoder(str(folder), device="cpu")
    with pytest.raises(ValueError, match="does not render the messages of role query and document"):
        model.predict([("a", "b")])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"prompt": "query: "},
        {"prompt_name": "q"},
        {"activation_fn": nn.Identity()},
        {"activation_fn": nn.Tanh()},
        {"apply_softmax": True},
        {"convert_to_tensor": True},
        {"batch_size": 1},
        {"show_progress_bar": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("labels", [1, 3])
def test_every_option_means_the_same(tmp_path, pairs, options, labels):
    classifier(tmp_path, "bert", labels)
    ours, theirs = both(tmp_path, prompts={"q": "search "})
    assert_same(ours.predict(pairs, **options), theirs.predict(pairs, **options))


def test_neither_numpy_nor_tensor_is_a_list(tmp_path, pairs):
    classifier(tmp_path, "bert", 1)
    ours, theirs = both(tmp_path)
    options = {"convert_to_numpy": False}
    found, expected = ours.predict(pairs, **options), theirs.predict(pairs, **options)
    assert type(found) is type(expected) is list and found[0].shape == expected[0].shape
    torch.testing.assert_close(torch.stack(found), torch.stack(expected), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "inputs",
    [
        ("the cat", "a dog"),
        ["the cat", "a dog"],
        [["the cat", "a dog"]],
        [],
        np.array(["the cat", "a dog"]),
        np.array([["the cat", "a dog"], ["a", "bird"]]),
        "the cat",
    ],
    ids=str,
)
@pytest.mark.parametrize("labels", [1, 3])
def test_one_pair_is_told_from_several(tmp_path, inputs, labels):
    classifier(tmp_path, "bert", labels)
    ours, theirs = both(tmp_path)
    found, expected = ours.predict(inputs), theirs.predict(inputs)
    assert np.shape(found)[:1] == np.shape(expected)[:1]
    np.testing.assert_allclose(found, np.reshape(expected, np.shape(found)), atol=1e-5)


def test_rankings_are_equal(tmp_path):
    classifier(tmp_path, "bert", 1)
    ours, theirs = both(tmp_path)
    query, *documents = dict.fromkeys(uneven.texts(12, 5))
    for options in ({}, {"top_k": 3}, {"return_documents": True}, {"prompt": "search "}):
        found = ours.rank(query, documents, **options)
        expected = theirs.rank(query, documents, **options)
        assert [one.keys() for one in found] == [one.keys() for one in expected]
        assert [one["corpus_id"] for one in found] == [one["corpus_id"] for one in expected]
        assert [one.get("text") for one in found] == [one.get("text") for one in expected]
        for one, other in zip(found, expected, strict=True):
            assert type(one["score"]) is float
            assert one["score"] == pytest.approx(other["score"], abs=1e-5)


def test_an_embedding_and_a_dense_make_scores(tmp_path, pairs):
    classifier(tmp_path / "base", "bert", 1)
    encoder = models.Transformer(tmp_path / "base")
    dense = models.Dense(32, 2, activation_function=None, module_output_name="scores")
    ours = CrossEncoder(modules=[encoder, models.Pooling(32, "cls"), dense], device="cpu")
    assert ours.num_labels == 2
    ours.save(tmp_path / "model")
    ours, theirs = both(tmp_path / "model")
    assert_same(ours.predict(pairs), theirs.predict(pairs))


# Files -------------------------------------------------------------------------------------------


ACTIVATIONS = [nn.Sigmoid(), nn.Identity(), nn.Tanh()]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_saved_by_either_and_loaded_by_either(tmp_path, activation, pairs):
    classifier(tmp_path / "base", "roberta", 1)
    ours, theirs = both(tmp_path / "base", activation_fn=activation)
    expected = theirs.predict(pairs)
    ours.save(tmp_path / "ours")
    theirs.save(str(tmp_path / "theirs"))
    for folder in ("ours", "theirs"):
        for model in both(tmp_path / folder):
            assert type(model.activation_fn) is type(activation)
            assert_same(model.predict(pairs), expected)


@pytest.mark.parametrize("template", [None, TEMPLATE])
def test_language_models_are_saved_and_loaded_by_either(tmp_path, template, pairs):
    ours, theirs = both(language_model(tmp_path / "base", template))
    expected = theirs.predict(pairs)
    ours.save(tmp_path / "ours")
    theirs.save(str(tmp_path / "theirs"))
    for folder in ("ours", "theirs"):
        for model in both(tmp_path / folder):
            assert_same(model.predict(pairs), expected, 2e-5)


def test_every_generation_is_read(tmp_path, pairs):
    classifier(tmp_path, "bert", 1)
    bare = CrossEncoder(str(tmp_path), device="cpu", dtype="float32")
    assert type(bare.activation_fn) is nn.Sigmoid
    logits = bare.predict(pairs, activation_fn=nn.Identity())
    tanh = "torch.nn.modules.activation.Tanh"
    for keys in (
        {"sentence_transformers": {"activation_fn": tanh, "version": "4.1.0"}},
        {"sbert_ce_default_activation_function": tanh},
    ):
        config = json.loads((tmp_path / "config.json").read_text())
        known = {"sentence_transformers", "sbert_ce_default_activation_function"}
        config = {key: value for key, value in config.items() if key not in known}
        (tmp_path / "config.json").write_text(json.dumps({**config, **keys}))
        ours, theirs = both(tmp_path)
        assert_same(ours.predict(pairs), theirs.predict(pairs))
        np.testing.assert_allclose(ours.predict(pairs), np.tanh(logits), atol=1e-5)


def test_the_places_of_all_releases_say_the_activation(tmp_path):
    classifier(tmp_path / "base", "bert", 1)
    change(tmp_path / "base" / "config.json", sbert_ce_default_activation_function="torch.nn.Tanh")
    model = CrossEncoder(str(tmp_path / "base"), device="cpu", activation_fn=nn.Identity())
    model.save(tmp_path / "model")
    identity = "torch.nn.modules.linear.Identity"
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["sentence_transformers"]["activation_fn"] == identity
    assert config["sbert_ce_default_activation_function"] == identity  # the only one that 3.x reads
    settings = json.loads((tmp_path / "model" / "config_sentence_transformers.json").read_text())
    assert settings["activation_fn"] == identity and settings["model_type"] == "CrossEncoder"


def test_layers_in_full_precision_are_saved_under_the_names_of_others(tmp_path, pairs):
    classifier(tmp_path / "base", "bert", 1)
    ours = CrossEncoder(
        str(tmp_path / "base"),
        device="cpu",
        dtype="bfloat16",
        keep_in_fp32_modules=["0.model.classifier"],
    )
    ours.save(tmp_path / "model")
    again = CrossEncoder(str(tmp_path / "model"), device="cpu", dtype="bfloat16")
    theirs = peer.CrossEncoder(
        str(tmp_path / "model"), device="cpu", model_kwargs={"dtype": torch.bfloat16}
    )
    assert theirs.keep_in_fp32_modules == ["0.model.classifier"]
    assert again.keep_in_fp32_modules == ["0.model.classifier"]
    np.testing.assert_allclose(again.predict(pairs), theirs.predict(pairs), atol=0.02)
    assert len(set(again.predict(pairs).tolist())) > 8  # bfloat16 logits would tie
