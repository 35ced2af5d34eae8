"""Every module gives the peer's values and gradients for the same weights and features."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from torch import nn

from sentune.engine import packing
from sentune.models.heads import Dense, Dropout, LayerNorm, Normalize
from sentune.models.pooling import Pooling
from sentune.models.router import Router
from sentune.models.sequence import CNN, LSTM, WeightedLayerPooling
from sentune.models.static import StaticEmbedding, fold
from sentune.models.tokenizer import PhraseTokenizer, WhitespaceTokenizer
from sentune.models.words import BoW, WordEmbeddings, WordWeights
from tests import tiny

pytest.importorskip("sentence_transformers")
peer = pytest.importorskip("sentence_transformers.sentence_transformer.modules")
peer_words = pytest.importorskip("sentence_transformers.sentence_transformer.modules.tokenizer")

D = 6
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0], [1, 1, 1, 1, 0]])
LENGTHS = [5, 2, 1, 4]
VOCAB = ["PADDING_TOKEN", *tiny.WORDS]
STOP_WORDS = ["the", "a", "!"]
TEXTS = [
    "The cat sat on the mat!",
    "",
    "zebra",
    "dog (dog) Dog's dog",
    "a quick bird flew over the river; fish!",
]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def features(*, padding_is_zero=False):
    """Everything a padded batch may hold between two modules."""
    tokens = torch.randn(*MASK.shape, D)
    if padding_is_zero:
        tokens = tokens * MASK[:, :, None]
    return {
        "input_ids": torch.randint(1, len(VOCAB), MASK.shape) * MASK,
        "attention_mask": MASK,
        "sentence_lengths": torch.tensor(LENGTHS),
        "token_embeddings": tokens.requires_grad_(),
        "sentence_embedding": torch.randn(4, D, requires_grad=True),
        "all_layer_embeddings": tuple(torch.randn(*MASK.shape, D) for _ in range(4)),
    }


def weighted(values):
    """A number to which every entry adds with another weight."""
    return (values * torch.linspace(-1, 1, values.numel()).view_as(values)).sum()


def assert_equal(ours, theirs, given, key, *, real=False, atol=1e-6):
    """Values of a key, and gradients of weights and inputs.

    Args:
        ours: A module.
        theirs: The peer's, which gets our weights, under the same names.
        given: Features.
        key: What to compare.
        real: Whether to compare at the real tokens only.
        atol: Largest difference allowed.
    """
    theirs.load_state_dict(ours.state_dict(), strict=True)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    found = []
    for module in (ours, theirs):
        inputs = {
            k: v.detach().clone().requires_grad_(v.requires_grad) if torch.is_tensor(v) else v
            for k, v in given.items()
        }
        leaves = {k: v for k, v in inputs.items() if torch.is_tensor(v) and v.requires_grad}
        values = module(dict(inputs))[key]
        values = values[MASK.bool()] if real else values
        assert values.numel()
        weighted(values).backward()
        # What flows into padding is nobody's business, and the peer's CNN lets some.
        real_tokens = MASK.bool() if "token_embeddings" in leaves else None
        gradients = {
            f"input {k}": v.grad[real_tokens] if k == "token_embeddings" else v.grad
            for k, v in leaves.items()
            if v.grad is not None
        }
        gradients |= {name: p.grad for name, p in module.named_parameters()}
        found.append((values, {name: g for name, g in gradients.items() if g is not None}))
    torch.testing.assert_close(found[0][0], found[1][0], atol=atol, rtol=1e-6)
    assert found[0][1]
    assert any(gradient.abs().sum() > 0 for gradient in found[0][1].values())
    torch.testing.assert_close(found[0][1], found[1][1], atol=10 * atol, rtol=1e-5)


# Heads --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias": False, "activation_function": None},
        {"activation_function": nn.GELU()},
        {"use_residual": True},
        {"use_residual": True, "out_features": D},
        {"module_output_name": "other"},
    ],
)
def test_dense(options):
    options = {"in_features": D, "out_features": 3, **options}
    key = options.get("module_output_name", "sentence_embedding")
    assert_equal(Dense(**options), peer.Dense(**options), features(), key)


def test_dense_of_tokens():
    options = {"module_input_name": "token_embeddings"}
    ours, theirs = Dense(D, 3, **options), peer.Dense(D, 3, **options)
    assert_equal(ours, theirs, features(), "token_embeddings")


@pytest.mark.parametrize("key", ["sentence_embedding", "token_embeddings"])
def test_normalize(key):
    assert_equal(Normalize(key), peer.Normalize(key), features(), key)


def test_layer_norm_and_dropout():
    ours = LayerNorm(D)
    nn.init.normal_(ours.norm.weight)
    assert_equal(ours, peer.LayerNorm(D), features(), "sentence_embedding")
    ours, theirs = Dropout(0.5).eval(), peer.Dropout(0.5).eval()
    assert_equal(ours, theirs, features(), "sentence_embedding")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Dense(D, 3), peer.Dense),
        (Dense(D, 3, False, nn.ReLU(), module_input_name="x", use_residual=True), peer.Dense),
        (Normalize("x", "y"), peer.Normalize),
        (LayerNorm(D), peer.LayerNorm),
        (Dropout(0.3), peer.Dropout),
        (CNN(D, 3, [1, 2], [1, 2]), peer.CNN),
        (LSTM(D, 3, 2, 0.1, False), peer.LSTM),
        (WeightedLayerPooling(D, 5, 2), peer.WeightedLayerPooling),
        (WordWeights(VOCAB, {"cat": 2.0}, 0.5), peer.WordWeights),
        (BoW(VOCAB, {"cat": 2.0}, 0.5, False), peer.BoW),
    ],
    ids=lambda value: type(value).__name__,
)
def test_settings_are_the_peers_and_go_both_ways(ours, theirs):
    settings = ours.settings()
    arguments = dict(settings)
    if "activation_function" in arguments:
        arguments["activation_function"] = ours.activation_function
    twin = theirs(**arguments)
    config = twin.get_config_dict()
    assert {name: config[name] for name in settings} == settings
    assert type(ours)(**config).settings() == settings
    assert twin.state_dict().keys() == ours.state_dict().keys()


# Sequence -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"kernel_sizes": [3], "stride_sizes": [2]}])
def test_cnn(options):
    # The peer lets what an encoder leaves at the padding into the result; here it is zero, as the
    # vectors of the padding word are.
    options = {"out_channels": 3, **options}
    ours, theirs = CNN(D, **options), peer.CNN(D, **options)
    assert_equal(ours, theirs, features(padding_is_zero=True), "token_embeddings")


def test_cnn_gives_what_the_peer_gives_for_a_text_alone():
    ours, theirs = CNN(D, 3), peer.CNN(D, 3)
    theirs.load_state_dict(ours.state_dict())
    given = features()
    out = ours(given)["token_embeddings"]
    for row, length in enumerate(LENGTHS):
        alone = {"token_embeddings": given["token_embeddings"][row : row + 1, :length]}
        expected = theirs(alone)["token_embeddings"][0]
        torch.testing.assert_close(out[row, :length], expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": False}])
def test_lstm(options):
    ours, theirs = LSTM(D, 3, **options), peer.LSTM(D, 3, **options)
    assert_equal(ours, theirs, features(), "token_embeddings", real=True)


@pytest.mark.parametrize("layer_start", [0, 2])
def test_weighted_layer_pooling(layer_start):
    ours = WeightedLayerPooling(D, 3, layer_start)
    nn.init.uniform_(ours.layer_weights)
    theirs = peer.WeightedLayerPooling(D, 3, layer_start)
    assert_equal(ours, theirs, features(), "token_embeddings")


# Static -------------------------------------------------------------------------------------------


def static_pair(tokenizer, weights):
    return StaticEmbedding(tokenizer, weights), peer.StaticEmbedding(
        copy.deepcopy(tokenizer), weights
    )


@pytest.mark.parametrize("kind", ["tokenizers", "transformers", "padding", "truncating"])
def test_static_embedding(kind):
    tokenizer = tiny.tokenizer()
    weights = torch.randn(len(tokenizer), D)
    if kind != "transformers":
        tokenizer = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    if kind == "padding":
        tokenizer.enable_padding()
    if kind == "truncating":
        tokenizer.enable_truncation(4)
    ours, theirs = static_pair(tokenizer, weights)
    expected = theirs.preprocess(TEXTS, prompt="night ")
    given = ours.tokenize(TEXTS, prompt="night ")
    assert given.keys() == expected.keys()
    assert all(torch.equal(given[key], expected[key]) for key in given)
    assert_equal(ours, theirs, given, "sentence_embedding")
    packed = packing.pack(ours.read(TEXTS, prompt="night "))
    out = ours(packed)["sentence_embedding"]
    torch.testing.assert_close(out, theirs(expected)["sentence_embedding"], atol=1e-6, rtol=1e-6)


def test_model2vec_weights_of_half_precision():
    table, mapping = torch.randn(7, D).half(), torch.tensor([3, 1, 1, 6, 0])
    factors = torch.rand(5, dtype=torch.float64)
    theirs = peer.StaticEmbedding._fold_model2vec_weights(table, mapping, factors)
    ours = fold(table, mapping, factors)
    assert ours.dtype == theirs.dtype == torch.float32
    assert torch.equal(ours, theirs)


def test_static_embedding_of_numpy_weights():
    tokenizer = tiny.tokenizer()
    ours, theirs = static_pair(tokenizer, np.random.default_rng(0).normal(size=(len(tokenizer), D)))
    assert_equal(ours, theirs, ours.tokenize(TEXTS), "sentence_embedding")


# Words --------------------------------------------------------------------------------------------

TEXTS_OF_WORDS = [*TEXTS, "CAT cat. 'cat' ca.t !! !", "dark-light; (Dark) LIGHT,night"]


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("vocab", [VOCAB, ["Cat", "cat", "cat.", "Dog", "!!", "dark-light"]])
def test_whitespace_tokenizer(vocab, lower):
    ours = WhitespaceTokenizer(vocab, STOP_WORDS, lower)
    theirs = peer_words.WhitespaceTokenizer(vocab, STOP_WORDS, lower)
    found = [ours.tokenize(text) for text in TEXTS_OF_WORDS]
    assert found == [theirs.tokenize(text) for text in TEXTS_OF_WORDS]
    assert any(found)


def test_phrase_tokenizer():
    pytest.importorskip("nltk")
    vocab = ["new_york", "New_York_City", "cat", "a__b", "Dog", "york_city_hall", "hall", "city"]
    texts = [*TEXTS_OF_WORDS, "new york city hall", "New York City's (hall)", "a b NEW YORK, Dog"]
    ours = PhraseTokenizer(vocab, STOP_WORDS)
    theirs = peer_words.PhraseTokenizer(vocab, STOP_WORDS)
    found = [ours.tokenize(text) for text in texts]
    assert found == [theirs.tokenize(text) for text in texts]
    assert any(found)


@pytest.fixture
def word_pair():
    vectors = torch.randn(len(VOCAB), D)
    vectors[0] = 0
    ours = WordEmbeddings(WhitespaceTokenizer(VOCAB, STOP_WORDS), vectors, True, 4)
    theirs = peer.WordEmbeddings(
        peer_words.WhitespaceTokenizer(VOCAB, STOP_WORDS), vectors, True, 4
    )
    return ours, theirs


def test_word_embeddings(word_pair):
    ours, theirs = word_pair
    given, expected = ours.tokenize(TEXTS, prompt="red "), theirs.preprocess(TEXTS, prompt="red ")
    for key in given:
        assert torch.equal(given[key], expected[key])
    assert_equal(ours, theirs, given, "token_embeddings")


def test_word_embeddings_of_a_file(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_text("3 2\ncat 1 2\ndog 3 4 5\nthe 6 7\nDog 8 9\nred 1 1\n")
    for size in (None, 2):
        ours = WordEmbeddings.from_text_file(path, max_vocab_size=size)
        theirs = peer.WordEmbeddings.from_text_file(str(path), max_vocab_size=size)
        assert ours.tokenizer.get_vocab() == theirs.tokenizer.get_vocab()
        assert torch.equal(ours.emb_layer.weight, theirs.emb_layer.weight)


def test_word_weights():
    given = {**features(), "input_ids": torch.randint(1, len(VOCAB), MASK.shape)}
    weights = {"cat": 3.0, "dog": 0.5, "the": 0.0}
    ours, theirs = (kind(VOCAB, weights, 0.7) for kind in (WordWeights, peer.WordWeights))
    assert_equal(ours, theirs, given, "token_embeddings")
    assert_equal(ours, theirs, given, "token_weights_sum")


def test_a_whole_model_of_words_packed(word_pair):
    weights = {"vocab": VOCAB, "word_weights": {"cat": 3.0, "dog": 0.5}}
    ours = nn.Sequential(word_pair[0], WordWeights(**weights), LSTM(D, 3), CNN(6, 2), Pooling(6))
    theirs = nn.Sequential(
        word_pair[1], peer.WordWeights(**weights), peer.LSTM(D, 3), peer.CNN(6, 2), peer.Pooling(6)
    )
    theirs.load_state_dict(ours.state_dict(), strict=True)
    texts = [text for text in TEXTS_OF_WORDS if word_pair[0].read([text])["lengths"] != [0]]
    assert len(texts) > 3
    found = []
    for model, given in (
        (ours, packing.pack(word_pair[0].read(texts))),
        (theirs, word_pair[1].preprocess(texts)),
    ):
        values = model(given)["sentence_embedding"]
        weighted(values).backward()
        gradients = {name: p.grad for name, p in model.named_parameters()}
        # The peer trains the vector of the padding too, through the convolutions.
        gradients["0.emb_layer.weight"] = gradients["0.emb_layer.weight"][1:]
        gradients["1.emb_layer.weight"] = gradients["1.emb_layer.weight"][1:]
        found.append((values, gradients))
    torch.testing.assert_close(found[0], found[1], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("cumulative", [True, False])
def test_bow(cumulative):
    options = {
        "vocab": ["cat", "Dog", "the", "sat", "cat"],
        "word_weights": {"cat": 3.0, "dog": -0.5},
        "unknown_word_weight": 0.7,
        "cumulative_term_frequency": cumulative,
    }
    ours, theirs = BoW(**options), peer.BoW(**options)
    expected = theirs.preprocess(TEXTS, prompt="sat ")["sentence_embedding"]
    out = ours(packing.pack(ours.read(TEXTS, prompt="sat ")))["sentence_embedding"]
    torch.testing.assert_close(out, expected)


# Router -------------------------------------------------------------------------------------------


def router_pair(**options):
    tokenizer = tiny.tokenizer()
    weights = torch.randn(len(tokenizer), D)
    ours = Router(
        {"query": [StaticEmbedding(tokenizer, weights)], "document": [Dense(D, D), Normalize()]},
        **options,
    )
    theirs = peer.Router(
        {
            "query": [peer.StaticEmbedding(tiny.tokenizer(), weights)],
            "document": [peer.Dense(D, D), peer.Normalize()],
        },
        **options,
    )
    theirs.load_state_dict(ours.state_dict(), strict=True)
    return ours, theirs


def test_router():
    ours, theirs = router_pair()
    for texts, options in ((TEXTS, {"task": "query"}), ([{"query": t} for t in TEXTS], {})):
        given, expected = ours.tokenize(texts, **options), theirs.preprocess(texts, **options)
        assert given.keys() == expected.keys()
        assert given["task"] == expected["task"] == "query"
        assert_equal(ours, theirs, given, "sentence_embedding")
    given = {"sentence_embedding": torch.randn(3, D, requires_grad=True), "task": "document"}
    assert_equal(ours, theirs, given, "sentence_embedding")


@pytest.mark.parametrize("default", [None, "document"])
@pytest.mark.parametrize("allow", [True, False])
@pytest.mark.parametrize(
    "mappings",
    [
        None,
        {("query", "text"): "document", (None, ("text", "image")): "query"},
        {("other", None): "query", (None, "text"): "document"},
        {(None, None): "query"},
    ],
)
def test_router_takes_the_peers_route(default, allow, mappings):
    ours, theirs = router_pair(
        default_route=default, allow_empty_key=allow, route_mappings=mappings
    )
    for task in (None, "query", "document", "other"):
        for modality in (None, "text", "image", ("image", "text"), "query"):
            outcomes = []
            for resolve in (ours.route_for, theirs._resolve_route):
                try:
                    outcomes.append(resolve(task, modality))
                except ValueError:
                    outcomes.append("error")
            assert outcomes[0] == outcomes[1], (task, modality)


# Other names --------------------------------------------------------------------------------------


def test_widths_have_the_peers_names():
    for ours, theirs in (
        (CNN(D, 4, [1, 3]), peer.CNN(D, 4, [1, 3])),
        (LSTM(D, 5), peer.LSTM(D, 5)),
        (LSTM(D, 5, bidirectional=False), peer.LSTM(D, 5, bidirectional=False)),
    ):
        assert ours.embeddings_dimension == theirs.embeddings_dimension
    words = WordEmbeddings(WhitespaceTokenizer(VOCAB), torch.randn(len(VOCAB), D))
    assert words.embeddings_dimension == D


def test_the_weights_of_a_bag_can_be_set():
    results = []
    for library in (BoW, peer.BoW):
        bag = library(["cat", "dog", "Bird"], {"cat": 2.0, "bird": 3.0})
        assert bag.weights == [2.0, 1, 3.0]
        assert bag.sentence_embedding_dimension == 3
        bag.weights = [4.0, 5.0, 6.0]
        found = bag.get_sentence_features([[0, 1, 0], [], [2]])
        assert found.keys() == {"sentence_embedding"}
        results.append(found["sentence_embedding"])
    assert torch.equal(*results)
    assert torch.equal(results[0], torch.tensor([[8.0, 5, 0], [0, 0, 0], [0, 0, 6]]))
