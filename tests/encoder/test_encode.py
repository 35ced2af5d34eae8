"""encode: every option, in the caller's order, from any thread."""

import logging
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from tokenizers.processors import TemplateProcessing
from torch import nn

from sentune.encoder.runner import TorchRunner
from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.errors import InputError, InputTypeError, SentuneWarning, SettingError
from sentune.flow import loop
from sentune.models.pooling import Pooling
from sentune.models.transformer import Transformer
from tests.tiny import KINDS

WIDTH = 32


@pytest.fixture(params=["bert", "mpnet"])
def model(request, tiny_folders):
    """One model that runs packed, and one that runs padded."""
    return SentenceTransformer(modules=[Transformer(tiny_folders(request.param)), Pooling(WIDTH)])


@pytest.fixture
def one_by_one(model, texts):
    return np.stack([model.encode(text) for text in texts])


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_rows_come_in_the_callers_order_whatever_the_batch(model, texts, one_by_one, batch_size):
    vectors = model.encode(texts, batch_size=batch_size)
    assert vectors.shape == (len(texts), WIDTH) and vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, one_by_one, atol=1e-5)


def test_the_batch_size_does_not_change_the_numbers(model):
    """Whole runs of one length, rows that share a width, rows alone, whatever comes together."""
    words = "cat dog bird sat ran flew on over under mat".split()
    texts = [" ".join(words[k % 10 : k % 10 + n]) for n in range(1, 9) for k in range(20 * n)]
    texts += [" ".join(words * n) for n in (2, 3, 5)]
    expected = model.encode(texts)
    for batch_size in (1, 7, 100, 5000):
        different = model.encode(texts, batch_size=batch_size) - expected
        scale = abs(expected).max(axis=1, keepdims=True)
        assert (abs(different) / scale).max() < 1e-6


def test_more_texts_than_one_window(model, texts, one_by_one, monkeypatch):
    monkeypatch.setattr(loop, "WINDOW", 3)
    monkeypatch.setattr(loop, "FIRST_WINDOW", 2)
    np.testing.assert_allclose(model.encode(texts, batch_size=2), one_by_one, atol=1e-5)


def test_a_text_that_is_there_several_times_is_computed_once(model, monkeypatch):
    rows = []
    compute = TorchRunner.compute
    monkeypatch.setattr(
        TorchRunner, "compute", lambda self, x: rows.append(len(x["lengths"])) or compute(self, x)
    )
    several = ["a dog", "red", "a dog", ["red", "cat"], ("red", "cat"), "red", "a dog"]
    vectors = model.encode(several)
    assert sum(rows) == 3
    for same in ([0, 2, 6], [1, 5], [3, 4]):
        assert all((vectors[row] == vectors[same[0]]).all() for row in same)
    alone = np.stack([model.encode([item])[0] for item in several])
    np.testing.assert_allclose(vectors, alone, atol=1e-5)


def test_one_text_gives_one_vector_and_none_gives_none(model):
    assert model.encode("a dog").shape == (WIDTH,)
    assert model.encode([]).shape == (0, WIDTH)
    assert model.encode([], convert_to_tensor=True).shape == (0, WIDTH)
    assert model.encode([], truncate_dim=8).shape == (0, 8)
    assert model.encode([], convert_to_numpy=False) == []


def test_the_form_of_the_result(model, texts):
    array = model.encode(texts)
    tensor = model.encode(texts, convert_to_tensor=True)
    rows = model.encode(texts, convert_to_numpy=False)
    assert isinstance(array, np.ndarray) and isinstance(tensor, torch.Tensor)
    assert isinstance(rows, list) and rows[0].shape == (WIDTH,)
    np.testing.assert_array_equal(array, tensor.numpy())
    np.testing.assert_array_equal(array, torch.stack(rows).numpy())
    assert not tensor.requires_grad
    (tensor.requires_grad_() * 2).sum().backward()  # usable in training afterwards


def test_truncation_comes_before_normalisation(model, texts):
    full = torch.from_numpy(model.encode(texts))
    expected = torch.nn.functional.normalize(full[:, :10], dim=1)
    result = model.encode(texts, truncate_dim=10, normalize_embeddings=True)
    np.testing.assert_allclose(result, expected, atol=1e-6)
    with model.truncate_sentence_embeddings(10):
        assert model.encode("a").shape == (10,) and model.get_embedding_dimension() == 10
    assert model.encode("a").shape == (WIDTH,)


def test_token_embeddings_are_cut_to_each_text(model, texts):
    tokens = model.encode(texts, output_value="token_embeddings", batch_size=3)
    lengths = model.read(texts)["lengths"]
    assert [len(rows) for rows in tokens] == lengths
    means = torch.stack([rows.mean(0) for rows in tokens])
    np.testing.assert_allclose(means, model.encode(texts), atol=1e-5)
    assert model.encode("a dog", output_value="token_embeddings").shape == (4, WIDTH)


def test_everything_the_modules_gave_out(model, texts):
    outputs = model.encode(texts, output_value=None)
    stacked = torch.stack([output["sentence_embedding"] for output in outputs])
    np.testing.assert_allclose(stacked, model.encode(texts), atol=1e-5)
    assert {"input_ids", "attention_mask", "token_embeddings"} <= outputs[0].keys()


def test_everything_has_the_length_of_the_prompt_and_nothing_of_the_layout(model):
    texts = ["a dog", "cat"]
    row = model.encode(texts, prompt="the ", output_value=None)[0]
    known = {"input_ids", "attention_mask", "token_embeddings", "sentence_embedding"}
    assert row.keys() - {"token_type_ids"} == known | {"prompt_length"}
    assert (
        row["prompt_length"] == model.preprocess(["a dog", "cat"], prompt="the ")["prompt_length"]
    )
    assert row["prompt_length"] == 2  # the first special token and a word


def test_prompts(model, texts):
    model.prompts = {"query": "query ", "passage": "passage: "}
    by_hand = model.encode(["query " + text for text in texts])
    np.testing.assert_array_equal(model.encode(texts, prompt="query "), by_hand)
    np.testing.assert_array_equal(model.encode(texts, prompt_name="query"), by_hand)
    np.testing.assert_array_equal(model.encode_query(texts), by_hand)
    passages = model.encode(texts, prompt="passage: ")
    np.testing.assert_array_equal(model.encode_document(texts), passages)
    model.default_prompt_name = "passage"
    np.testing.assert_array_equal(model.encode(texts), passages)
    with pytest.raises(SettingError, match="quarry"):
        model.encode(texts, prompt_name="quarry")


def test_prompts_left_out_of_pooling(model):
    included = model.encode("cat sat", prompt="the ")
    model.set_pooling_include_prompt(False)
    tokens = model.encode("cat sat", prompt="the ", output_value="token_embeddings")
    np.testing.assert_allclose(
        model.encode("cat sat", prompt="the "), tokens[2:].mean(0), atol=1e-6
    )
    assert not np.allclose(included, model.encode("cat sat", prompt="the "))


def test_eight_threads_give_the_same_as_one(model, texts):
    expected = model.encode(texts)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: model.encode(texts, batch_size=3), range(40)))
    for result in results:
        np.testing.assert_allclose(result, expected, atol=1e-6)


def test_a_model_in_training_encodes_without_dropout_and_stays_in_training(tmp_path, texts):
    from tests.tiny import make_folder

    folder = make_folder(tmp_path / "dropout", dropout=0.5)
    model = SentenceTransformer(modules=[Transformer(folder), Pooling(WIDTH)])
    model.train()
    model[1].eval()
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: model.encode(texts), range(8)))
    for result in results:
        np.testing.assert_array_equal(result, results[0])
    assert model.training and model[0].auto_model.training and not model[1].training


def test_texts_that_are_cut_are_counted_once(model, texts):
    long = ["cat " * 100, "a dog", "dog " * 100]
    with pytest.warns(SentuneWarning, match=r"2 of 3 texts.*max_seq_length=64.*Raise") as caught:
        vectors = model.encode(long)
    assert caught[0].filename == __file__  # at the user's line
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.encode(long)
    shorter = model.encode("cat " * 62)
    np.testing.assert_allclose(vectors[0], shorter, atol=1e-6)
    model.max_seq_length = 10
    with pytest.warns(SentuneWarning, match="max_seq_length=10"):
        model.encode(long)


@pytest.mark.filterwarnings("ignore::sentune.errors.SentuneWarning")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "\n\t",
        "😀🎉 👩‍👩‍👧",
        "שלום עולם",
        "مرحبا بالعالم",
        "\x00\x01",
        "a" * 5000,
        "word " * 100_000,
    ],
    ids=["empty", "blank", "breaks", "emoji", "hebrew", "arabic", "control", "long word", "long"],
)
def test_strange_texts_give_finite_vectors(model, text):
    vector = model.encode(text)
    assert vector.shape == (WIDTH,) and np.isfinite(vector).all()


def test_queries_and_documents_take_what_encode_takes(model, texts):
    expected = model.encode(texts, None, "the ", 2, False, "sentence_embedding", "ubinary")
    for method in (model.encode_query, model.encode_document):
        given = method(texts, None, "the ", 2, False, "sentence_embedding", "ubinary")
        np.testing.assert_array_equal(given, expected)
        np.testing.assert_array_equal(method(sentences=texts), model.encode(texts))


def test_numbers_of_numpy_count_as_numbers(model, texts):
    vectors = model.encode(texts, batch_size=np.int64(3), truncate_dim=np.int32(4))
    np.testing.assert_array_equal(vectors, model.encode(texts, batch_size=3, truncate_dim=4))
    model.max_seq_length = np.int64(5)
    assert model.read(texts)["lengths"] == [min(5, n) for n in _lengths(model, texts)]


def _lengths(model, texts):
    return [len(model.tokenizer(text)["input_ids"]) for text in texts]


@pytest.mark.parametrize("given", [{"query": "a dog"}, ["a dog", {"query": "a dog"}]])
def test_a_route_for_a_model_without_routes(model, given):
    for read in (model.encode, lambda texts: model.tokenize(np.atleast_1d(texts).tolist())):
        with pytest.raises(InputError, match="names the route 'query'.*Transformer has no routes"):
            read(given)


def test_a_model_without_pooling(model, texts):
    bare = SentenceTransformer(modules=[model[0]])
    with pytest.raises(SettingError, match=r"\['Transformer'\] give no 'sentence_embedding'.*Poo"):
        bare.encode(texts)
    tokens = bare.encode(texts, output_value="token_embeddings")
    for mine, theirs in zip(tokens, model.encode(texts, output_value="token_embeddings")):
        torch.testing.assert_close(mine, theirs)
    assert bare.encode("a dog", output_value=None).keys() >= {"token_embeddings", "input_ids"}


def test_a_model_that_begins_with_pooling(model):
    with pytest.raises(SettingError, match="Pooling does not read texts.*models.Transformer"):
        SentenceTransformer(modules=[model[1], model[0]]).encode("a dog")


def test_what_is_no_text(model):
    for bad in (None, 7, ["fine", None], [["a", "b", "c"]], b"bytes"):
        with pytest.raises(InputTypeError, match="a text must be a str"):
            model.encode(bad)
    with pytest.raises(InputTypeError, match="row 1 is None"):
        model.tokenize(["fine", None])
    with pytest.raises(InputError, match="row 3 has a lone surrogate"):
        model.encode(["fine", "fine", "fine", "\ud800"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be a positive int or None, got 0"),
        ({"truncate_dim": -1}, "truncate_dim must be a positive int or None, got -1"),
        ({"output_value": "words"}, "output_value must be one of"),
        ({"precision": "int4"}, "precision must be one of"),
        ({"colour": "red"}, "unknown arguments \\['colour'\\]"),
        ({"prompt": 3}, "prompt must be a text, got 3"),
    ],
)
def test_options_out_of_range(model, options, message):
    with pytest.raises(SettingError, match=message):
        model.encode("a", **options)


@pytest.mark.parametrize("precision", ["int8", "uint8", "binary", "ubinary"])
def test_quantised_vectors(model, texts, precision):
    vectors = model.encode(texts, precision=precision)
    width = WIDTH // 8 if "binary" in precision else WIDTH
    assert vectors.shape == (len(texts), width)
    assert vectors.dtype == (np.uint8 if precision.startswith("u") else np.int8)


def test_several_processes_give_the_same(model, texts, capfd):
    expected = model.encode(texts)
    with model.start_multi_process_pool(["cpu", "cpu"]) as pool:
        np.testing.assert_allclose(
            model.encode(texts, pool=pool, chunk_size=3), expected, atol=1e-5
        )
        assert model.encode("a dog", pool=pool).shape == (WIDTH,)
        assert model.encode([], pool=pool).shape == (0, WIDTH)
        for value in ("token_embeddings", None):
            options = {"output_value": value, "batch_size": 4}
            pairs = zip(
                model.encode(texts, pool=pool, chunk_size=4, **options),
                model.encode(texts, **options),
                strict=True,
            )
            for one, other in pairs:
                parts = ("sentence_embedding", "token_embeddings", "input_ids")
                for found, wanted in (
                    [(one, other)] if value else [(one[key], other[key]) for key in parts]
                ):
                    size = min(len(found), len(wanted))  # chunks are padded to other lengths
                    torch.testing.assert_close(found[:size], wanted[:size], atol=1e-5, rtol=1e-5)
        with pytest.raises(SettingError, match="chunk_size must be a whole number.*got 0"):
            model.encode(texts, pool=pool, chunk_size=0)
        capfd.readouterr()
        model.encode(texts, pool=pool, chunk_size=3, show_progress_bar=True)
        assert f"{len(texts)}/{len(texts)}" in capfd.readouterr().err  # one bar, of all rows
    with pytest.raises(SettingError, match="was stopped"):
        model.encode(texts, pool=pool)
    np.testing.assert_allclose(model.encode(texts, device=["cpu"]), expected, atol=1e-5)


def test_the_progress_bar_is_off_unless_logging_is_on(model, capsys):
    model.encode(["a"])
    assert capsys.readouterr().err == ""
    model.encode(["a"], show_progress_bar=True)
    assert "1/1" in capsys.readouterr().err
    logger = logging.getLogger("sentune")
    logger.setLevel(logging.INFO)
    try:
        model.encode(["a"])
    finally:
        logger.setLevel(logging.NOTSET)
    assert "1/1" in capsys.readouterr().err


@pytest.mark.parametrize("kind", KINDS)
def test_pairs(kind, tiny_folders):
    model = SentenceTransformer(modules=[Transformer(tiny_folders(kind)), Pooling(WIDTH)])
    both = model.encode([("the cat", "a dog"), ("red", "green tree")])
    assert both.shape == (2, WIDTH)
    np.testing.assert_allclose(model.encode([["the cat", "a dog"]])[0], both[0], atol=1e-5)


def test_embeddings_have_the_type_of_the_weights_whatever_that_of_buffers(tiny_folders):
    """ModernBERT keeps its rotations in float32."""
    transformer = Transformer(tiny_folders("modernbert"), model_kwargs={"dtype": "bfloat16"})
    assert any(x.dtype == torch.float32 for x in transformer.buffers())
    model = SentenceTransformer(modules=[transformer, Pooling(32)], device="cpu")
    assert model.dtype == torch.bfloat16
    assert model.encode(["a dog", "the cat"], convert_to_tensor=True).dtype == torch.bfloat16


def test_texts_without_a_single_token(tiny_bert_folder):
    transformer = Transformer(tiny_bert_folder)
    core = transformer.tokenizer.backend_tokenizer
    core.post_processor = TemplateProcessing(single="$A", pair="$A $B", special_tokens=[])
    model = SentenceTransformer(modules=[transformer, Pooling(32)], device="cpu")
    assert not model.encode(["", ""]).any()
    assert model.train()(model.read(["", ""]))["sentence_embedding"].shape == (2, 32)


def test_activations_are_saved_with_older_releases_of_transformers(tiny_model):
    """They call the method by its older name, with arguments, and know no other one."""
    encoder, seen = tiny_model[0].auto_model, []

    class Older(nn.Module):
        config = encoder.config

        def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs=None, **options):
            seen.append((gradient_checkpointing_kwargs, options))

    tiny_model[0].auto_model = Older()
    tiny_model.gradient_checkpointing_enable({"use_reentrant": False}, every_n_layers=2)
    assert seen == [({"use_reentrant": False}, {"every_n_layers": 2})]


@pytest.mark.parametrize("task", ["query", "document"])
def test_an_encode_of_a_subclass_gets_its_arguments_by_name(model, task):
    class Own(type(model)):
        def encode(self, inputs, *, batch_size=7, **kwargs):  # in an order of its own
            return {"inputs": inputs, "batch_size": batch_size, **kwargs}

    model.__class__ = Own
    model.prompts = {"query": "q: ", "passage": "p: "}
    name = {"query": "query", "document": "passage"}[task]
    found = getattr(model, f"encode_{task}")(["a"], None, None, 3, False, custom=1)
    assert found == {
        **{"inputs": ["a"], "batch_size": 3, "show_progress_bar": False, "custom": 1},
        **{"prompt_name": name, "prompt": None, "task": task},
    }
    found = getattr(model, f"encode_{task}")(sentences="a", prompt="x")
    assert (found["inputs"], found["prompt_name"]) == ("a", None)
    assert "sentences" not in found
    with pytest.raises(TypeError, match="'batch_size'"):
        getattr(model, f"encode_{task}")("a", None, None, 3, batch_size=3)
