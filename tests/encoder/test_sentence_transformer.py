"""The model's own surface: construction, forward in any layout, what others reach for."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.errors import InputError, ModelFileError, SentuneWarning, SettingError
from sentune.models.base import Module
from sentune.models.heads import Dense, LayerNorm, Normalize
from sentune.models.pooling import Pooling
from sentune.models.transformer import Transformer
from tests.precision import tolerance

WIDTH = 32


class Doubler(Module):
    """A custom module that knows nothing of packing."""

    forward_kwargs = frozenset({"factor"})

    def forward(self, features, factor=2.0):
        return {**features, "sentence_embedding": features["sentence_embedding"] * factor}


def test_forward_takes_every_layout(tiny_model, texts):
    ragged = tiny_model.read(texts)
    padded = tiny_model.tokenize(texts)
    expected = tiny_model.encode(texts, convert_to_tensor=True)
    for features in (ragged, padded):
        torch.testing.assert_close(
            tiny_model(features)["sentence_embedding"],
            expected,
            atol=tolerance(1e-5),
            rtol=tolerance(1e-5),
        )
    assert tiny_model(padded)["token_embeddings"].shape[:2] == padded["input_ids"].shape


def test_a_module_that_needs_padding_makes_the_model_run_in_buckets(tiny_bert_folder, texts):
    plain = SentenceTransformer(modules=[Transformer(tiny_bert_folder), Pooling(WIDTH)])
    doubled = SentenceTransformer(modules=[*plain, Doubler()])
    assert plain.is_packed and not doubled.is_packed
    ragged = doubled.read(texts)
    result = doubled(ragged)["sentence_embedding"]
    torch.testing.assert_close(
        result, 2 * plain(ragged)["sentence_embedding"], atol=tolerance(1e-5), rtol=tolerance(1e-5)
    )
    result.sum().backward()
    assert plain[0].auto_model.embeddings.word_embeddings.weight.grad.abs().sum() > 0
    np.testing.assert_allclose(
        doubled.encode(texts, factor=3.0), 3 * plain.encode(texts), atol=tolerance(1e-5)
    )


def test_gradients_of_a_whole_model_equal_one_by_one(tiny_model, texts):
    together = copy.deepcopy(tiny_model)
    together(together.read(texts))["sentence_embedding"].pow(2).sum().backward()
    for text in texts:
        tiny_model(tiny_model.read([text]))["sentence_embedding"].pow(2).sum().backward()
    pairs = list(zip(together.named_parameters(), tiny_model.parameters()))
    seen = [(name, a.grad, b.grad) for (name, a), b in pairs if a.grad is not None]
    assert len(seen) > 20
    for _, a, b in seen:
        torch.testing.assert_close(a, b, atol=1e-5 * max(1, b.abs().max().item()), rtol=1e-4)


def test_what_other_libraries_reach_for(tiny_model):
    assert tiny_model[0].auto_model is tiny_model._first_module().auto_model
    assert tiny_model.tokenizer is tiny_model[0].tokenizer
    assert tiny_model.max_seq_length == tiny_model.get_max_seq_length() == 64
    assert tiny_model.device.type == "cpu" and tiny_model.dtype == torch.float32
    assert tiny_model._target_device == tiny_model.device
    assert isinstance(tiny_model, nn.Sequential) and len(tiny_model) == 2
    assert tiny_model.get_sentence_embedding_dimension() == WIDTH
    assert tiny_model[0].get_word_embedding_dimension() == WIDTH
    assert tiny_model._last_module() is tiny_model[1]
    tokens = tiny_model.tokenize(["a dog", "the cat sat"])
    assert {"input_ids", "attention_mask", "token_type_ids"} == tokens.keys()
    assert tokens["input_ids"].shape == (2, 5)
    states = tiny_model[0].auto_model(**tokens).last_hidden_state
    assert states.shape == (2, 5, WIDTH)


def test_similarity(tiny_model, texts):
    vectors = tiny_model.encode(texts)
    assert tiny_model.similarity_fn_name == "cosine"
    matrix = tiny_model.similarity(vectors, vectors)
    assert matrix.shape == (len(texts), len(texts))
    torch.testing.assert_close(matrix.diagonal(), torch.ones(len(texts)))
    torch.testing.assert_close(
        tiny_model.similarity_pairwise(vectors, vectors[::-1].copy()), matrix.flip(1).diagonal()
    )
    tiny_model.similarity_fn_name = "dot"
    expected = torch.from_numpy(vectors @ vectors.T)
    torch.testing.assert_close(tiny_model.similarity(vectors, vectors), expected)
    with pytest.raises((SettingError, ValueError), match="cosine"):
        tiny_model.similarity_fn_name = "hamming"


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"modules": []},
        {"modules": ["no module"]},
        {"modules": Doubler()},
        {"modules": [Doubler()], "backend": "onnx"},
        {"modules": [Doubler()], "dtype": "float31"},
        {"modules": [Doubler()], "truncate_dim": 0},
        {"modules": [Doubler()], "truncate_dim": "8"},
        {"modules": [Doubler()], "prompts": ["query: "]},
        {"modules": [Doubler()], "prompts": {"query": 3}},
    ],
    ids=str,
)
def test_what_cannot_be_built(arguments):
    with pytest.raises(SettingError):
        SentenceTransformer(**arguments)


def test_a_prompt_that_is_none_is_no_prompt(tiny_model):
    model = SentenceTransformer(modules=[*tiny_model], prompts={"query": None, "document": "the "})
    assert model.prompts == {"query": "", "document": "the "}
    np.testing.assert_array_equal(model.encode_query("a dog"), model.encode("a dog"))


def test_a_name_and_modules_at_once():
    with pytest.raises(SettingError, match="one of the two"):
        SentenceTransformer("name", modules=[Doubler()])


def test_a_default_prompt_must_exist(tiny_model):
    with pytest.raises(SettingError, match="passage.*not among the prompts"):
        SentenceTransformer(modules=[*tiny_model], default_prompt_name="passage")


def test_modules_that_do_not_fit_say_so(tiny_bert_folder):
    model = SentenceTransformer(modules=[Transformer(tiny_bert_folder), Pooling(16)])
    with pytest.raises(InputError, match="embedding_dimension=16.*width 32"):
        model.encode("a")


def test_dtype_in_the_constructor(tiny_model):
    half = SentenceTransformer(modules=[*copy.deepcopy(tiny_model)], dtype="bfloat16")
    assert half.dtype == torch.bfloat16
    vectors = half.encode(["a dog", "the cat"])
    assert vectors.dtype == np.float32
    cosine = np.sum(vectors * tiny_model.encode(["a dog", "the cat"]), axis=1)
    assert np.isfinite(cosine).all()


def test_a_type_that_torch_has_not_is_named_before_loading(tiny_bert_folder):
    with pytest.raises(SettingError, match="dtype must be .*'bfloat16'.*got 'float31'"):
        SentenceTransformer(tiny_bert_folder, dtype="float31")


@pytest.mark.parametrize("options", [{"dtype": "bfloat16"}, {"model_kwargs": {"dtype": "float16"}}])
@pytest.mark.parametrize("kind", ["bert", "mpnet"])
def test_what_stands_behind_an_encoder_follows_its_type(
    kind, options, tiny_folders, tmp_path, texts
):
    from sentune.models.router import Router

    behind = [Dense(WIDTH, 8), LayerNorm(8), Normalize()]
    query = [Transformer(tiny_folders(kind)), Pooling(WIDTH), *behind]
    document = [Transformer(tiny_folders(kind)), Pooling(WIDTH), Dense(WIDTH, 8)]
    for modules in (query, [Router.for_query_document(query, document)]):
        SentenceTransformer(modules=modules).save(tmp_path / str(len(modules)))
        exact = SentenceTransformer(tmp_path / str(len(modules)))
        half = SentenceTransformer(tmp_path / str(len(modules)), **options)
        assert {p.dtype for p in exact.parameters()} == {torch.float32}
        assert {p.dtype for p in half.parameters()} == {half.dtype} != {torch.float32}
        for method in ("encode_query", "encode_document"):
            np.testing.assert_allclose(
                getattr(half, method)(texts), getattr(exact, method)(texts), atol=0.1
            )


def test_evaluate_calls_the_evaluator(tiny_model, tmp_path):
    folder = tmp_path / "new"
    result = tiny_model.evaluate(lambda model, path: (model, path), str(folder))
    assert result == (tiny_model, str(folder)) and folder.is_dir()


def test_a_copy_is_independent(tiny_model, texts):
    before = tiny_model.encode(texts)
    other = copy.deepcopy(tiny_model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    np.testing.assert_array_equal(tiny_model.encode(texts), before)


def test_weights_that_are_nan_are_named(tiny_model):
    with torch.no_grad():
        tiny_model[0].auto_model.encoder.layer[1].output.dense.bias[3] = float("nan")
    with pytest.raises(ModelFileError, match=r"1 tensors.*layer\.1\.output\.dense\.bias"):
        tiny_model.encode(["a dog"])


def test_embeddings_that_overflow_are_reported(tiny_model):
    class Overflow(Doubler):
        def forward(self, features, factor=2.0):
            return super().forward(features, float("inf"))

    model = SentenceTransformer(modules=[*tiny_model, Overflow()])
    with pytest.warns(SentuneWarning, match="1 embeddings are not finite, the first in row 0"):
        model.encode(["a dog"])


def test_a_router_behind_the_encoder_takes_the_route_of_the_call(tiny_model, texts):
    from sentune.models.router import Router

    dense = {route: Dense(WIDTH, 8) for route in ("query", "document")}
    router = Router({route: [module] for route, module in dense.items()}, "document")
    model = SentenceTransformer(modules=[*tiny_model, router])
    plain = tiny_model.encode(texts, convert_to_tensor=True)
    for route, encode in (("query", model.encode_query), ("document", model.encode_document)):
        expected = dense[route]({"sentence_embedding": plain})["sentence_embedding"]
        np.testing.assert_allclose(encode(texts), expected.detach(), atol=tolerance(1e-5))
