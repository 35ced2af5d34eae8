"""Models saved by sentence-transformers 6.2.0 are loaded here, and those saved here there."""

import pytest
import torch

from sentune import models
from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.files.save import save
from sentune.models.tokenizer import WhitespaceTokenizer
from tests import tiny
from tests.files.folders import load, same_tensors

peer = pytest.importorskip("sentence_transformers")
theirs = pytest.importorskip("sentence_transformers.models")
their_tokenizers = pytest.importorskip("sentence_transformers.models.tokenizer")

TEXTS = ["the cat sat on the mat", "a small dog and the cat", "birds fly over the river " * 5]
WORDS = ["PADDING", "cat", "dog", "bird", "the", "river"]
SETTINGS = {
    "prompts": {"query": "search query: ", "document": "passage: "},
    "default_prompt_name": "document",
    "similarity_fn_name": "dot",
    "truncate_dim": 5,
}
pytestmark = pytest.mark.filterwarnings("ignore:.*max_seq_length")


def transformer_with(*more):
    def make(m, folder):
        encoder = m.Transformer(str(folder), max_seq_length=17)
        return [encoder, *(module(m) for module in more)]

    return make


def words_with(tokenizer):
    def make(m, _folder):
        words = {
            "whitespace": (their_tokenizers.WhitespaceTokenizer, WhitespaceTokenizer),
            "wrapped": (lambda *_: tiny.tokenizer(),) * 2,
        }[tokenizer][m is models](WORDS, ["of"])
        torch.manual_seed(2)
        vectors = torch.randn(128, 8)
        weights = m.WordWeights([*WORDS, *map(str, range(122))], {"cat": 0.5, "the": 0.1}, 2)
        return [m.WordEmbeddings(words, vectors, True, 30), weights, m.Pooling(8)]

    return make


def router(m, folder):
    encoder = m.Transformer(str(folder), max_seq_length=17)
    torch.manual_seed(3)
    routes = {
        "query": [encoder, m.Pooling(32), m.Dense(32, 8)],
        "document": [encoder, m.Pooling(32), m.Dense(32, 8)],
    }
    return [m.Router(routes, "query"), m.Normalize()]


def cases():
    modes = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
    for mode in (*modes, ("cls", "mean"), ("mean", "cls", "max")):
        yield (
            f"pooling-{mode}",
            transformer_with(lambda m, mode=mode: m.Pooling(32, mode, include_prompt=False)),
        )
    yield (
        "heads",
        transformer_with(
            lambda m: m.Pooling(32),
            lambda m: m.Dense(32, 8, bias=False, activation_function=torch.nn.GELU()),
            lambda m: m.Dense(8, 6, use_residual=True),
            lambda m: m.LayerNorm(6),
            lambda m: m.Dropout(0.3),
            lambda m: m.Normalize(),
        ),
    )
    yield (
        "tokens",
        transformer_with(
            lambda m: m.Dense(
                32, 16, module_input_name="token_embeddings", activation_function=None
            ),
            lambda m: m.CNN(16, 4, [1, 3]),
            lambda m: m.Normalize("token_embeddings"),
            lambda m: m.Pooling(8, "max"),
        ),
    )
    yield "words", words_with("whitespace")
    yield "wrapped", words_with("wrapped")
    yield (
        "lstm",
        lambda m, folder: [
            *words_with("whitespace")(m, folder)[:1],
            m.LSTM(8, 5, 2, 0.0, True),
            m.Pooling(10),
        ],
    )
    yield "bow", lambda m, _: [m.BoW(WORDS, {"cat": 3.0}, 0.5, False), m.Dense(6, 3)]
    yield (
        "static",
        lambda m, _: [m.StaticEmbedding(tiny.tokenizer(), embedding_dim=8), m.Normalize()],
    )
    yield "router", router


CASES = dict(cases())


def options(name, prompt):
    task = {"task": "document"} if name == "router" else {}
    return {"prompt_name": prompt, "convert_to_tensor": True, **task}


def assert_same_embeddings(one, other, name):
    for prompt in (None, "query"):
        a = one.encode(TEXTS, **options(name, prompt))
        b = other.encode(TEXTS, **options(name, prompt))
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def assert_same_tensors(one, other):
    a, b = one.state_dict(), other.state_dict()
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_a_model_saved_there_is_loaded_here(name, safe, tiny_bert_folder, tmp_path):
    torch.manual_seed(0)
    there = peer.SentenceTransformer(
        modules=CASES[name](theirs, tiny_bert_folder), device="cpu", **SETTINGS
    )
    there.save(str(tmp_path / "model"), create_model_card=False, safe_serialization=safe)
    here = SentenceTransformer(tmp_path / "model", device="cpu")
    assert load(tmp_path / "model").settings == SETTINGS
    assert_same_tensors(here, there)
    assert_same_embeddings(here, there, name)


@pytest.mark.parametrize("safe", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_a_model_saved_here_is_loaded_there(name, safe, tiny_bert_folder, tmp_path):
    torch.manual_seed(0)
    modules = CASES[name](models, tiny_bert_folder)
    here = SentenceTransformer(modules=modules, device="cpu", **SETTINGS)
    folder = tmp_path / "model"
    save(dict(here.named_children()), SETTINGS, folder, safe_serialization=safe)
    there = peer.SentenceTransformer(str(folder), device="cpu")
    assert there.prompts == SETTINGS["prompts"]
    assert there.default_prompt_name == "document"
    assert there.similarity_fn_name == "dot"
    assert there.truncate_dim == 5
    assert_same_tensors(here, there)
    assert_same_embeddings(here, there, name)


def test_loading_there_warns_of_nothing(tiny_bert_folder, tmp_path, caplog, recwarn):
    modules = CASES["heads"](models, tiny_bert_folder)
    save({str(i): module for i, module in enumerate(modules)}, SETTINGS, tmp_path / "model")
    with caplog.at_level("WARNING"):
        peer.SentenceTransformer(str(tmp_path / "model"), device="cpu")
    assert not [record for record in caplog.records if record.name.startswith("sentence_tr")]
    assert not [warning for warning in recwarn if "sentence_tr" in str(warning.filename)]


def test_what_was_loaded_there_and_saved_again_is_loaded_here(tiny_bert_folder, tmp_path):
    modules = CASES["heads"](models, tiny_bert_folder)
    here = {str(i): module for i, module in enumerate(modules)}
    save(here, SETTINGS, tmp_path / "here")
    there = peer.SentenceTransformer(str(tmp_path / "here"), device="cpu")
    there.save(str(tmp_path / "there"), create_model_card=False)
    again = load(tmp_path / "there")
    assert again.settings == SETTINGS
    for name, module in here.items():
        assert same_tensors(again.modules[name], module)
        assert again.modules[name].settings() == module.settings()


@pytest.mark.slow
def test_the_real_minilm_goes_both_ways(minilm_folder, tmp_path):
    texts = ["A sentence.", "Another one, somewhat longer than the first: 12,345 words?"]
    here = SentenceTransformer(minilm_folder, device="cpu")
    here.save(tmp_path / "here")
    there = peer.SentenceTransformer(str(tmp_path / "here"), device="cpu")
    there.save(str(tmp_path / "there"), create_model_card=False)
    again = SentenceTransformer(tmp_path / "there", device="cpu")
    assert there.max_seq_length == again.max_seq_length == 256
    expected = here.encode(texts, convert_to_tensor=True)
    for model in (there, again):
        torch.testing.assert_close(
            model.encode(texts, convert_to_tensor=True), expected, atol=1e-5, rtol=1e-5
        )
