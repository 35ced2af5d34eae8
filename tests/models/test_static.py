"""StaticEmbedding: the mean of its tokens' vectors, in any layout, from any thread."""

from __future__ import annotations

import copy
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.engine import packing
from sentune.errors import (
    HubError,
    InputError,
    InputTypeError,
    MissingDependencyError,
    ModelFileError,
    SettingError,
)
from sentune.models.static import StaticEmbedding, fold
from tests import tiny
from tests.models.layouts import assert_leaves_its_input_alone

WORDS = ["[UNK]", "the", "cat", "sat", "dog", "[CLS]"]
TEXTS = ["the cat sat", "dog", "", "the the zebra cat", "cat dog"]


def word_tokenizer():
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A", None, [("[CLS]", 5)])
    return tokenizer


@pytest.fixture
def weights():
    return torch.randn(len(WORDS), 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def static(weights):
    return StaticEmbedding(word_tokenizer(), weights)


def embed(static, texts, layout=packing.pack):
    return static(layout(static.read(texts)))["sentence_embedding"]


def test_a_text_is_the_mean_of_its_words_without_special_tokens(static, weights):
    expected = [
        (weights[1] + weights[2] + weights[3]) / 3,
        weights[4],
        torch.zeros(3),
        (2 * weights[1] + weights[0] + weights[2]) / 4,
        (weights[2] + weights[4]) / 2,
    ]
    torch.testing.assert_close(embed(static, TEXTS), torch.stack(expected))


@pytest.mark.parametrize("layout", [packing.pad, lambda features: features])
def test_every_layout_gives_the_same_values_and_gradients(static, layout):
    grid = torch.linspace(-1, 1, 15).view(5, 3)
    packed = embed(static, TEXTS)
    (packed * grid).sum().backward()
    gradient = static.embedding.weight.grad.clone()
    static.zero_grad()
    other = embed(static, TEXTS, layout)
    (other * grid).sum().backward()
    torch.testing.assert_close(other, packed)
    torch.testing.assert_close(static.embedding.weight.grad, gradient)
    assert gradient.abs().sum() > 0


def test_tokenize_gives_ids_and_where_each_text_begins(static):
    features = static.tokenize(TEXTS)
    assert features.keys() == {"input_ids", "offsets"}
    assert features["input_ids"].tolist() == [1, 2, 3, 4, 1, 1, 0, 2, 2, 4]
    assert features["offsets"].tolist() == [0, 3, 4, 4, 8]
    torch.testing.assert_close(static(features)["sentence_embedding"], embed(static, TEXTS))


def test_texts_without_tokens_and_no_texts_at_all(static):
    assert embed(static, ["", " "]).eq(0).all()
    assert embed(static, []).shape == (0, 3)


def test_a_prompt_stands_before_each_text(static):
    prompted = static.read(["cat", "dog"], prompt="the ")
    assert prompted["input_ids"].tolist() == [1, 2, 1, 4]


def test_a_pair_is_read_as_one_text(static):
    torch.testing.assert_close(embed(static, [("the", "cat sat")]), embed(static, ["the cat sat"]))


def test_the_whole_text_is_read_unless_a_limit_is_set(static):
    long = " ".join(["cat"] * 5000)
    assert static.max_seq_length is None
    assert static.read([long])["lengths"] == [5000]
    static.max_seq_length = 7
    features = static.read([long, "cat", "the cat"])
    assert features["lengths"] == [7, 1, 2]
    assert features["truncated"] == 1
    assert static.max_seq_length == 7
    static.max_seq_length = None
    assert static.read([long])["lengths"] == [5000]


def test_a_limit_of_the_tokenizer_itself_counts(weights):
    tokenizer = word_tokenizer()
    tokenizer.enable_truncation(2)
    static = StaticEmbedding(tokenizer, weights)
    assert static.max_seq_length == 2
    assert static.read(["the cat sat"])["lengths"] == [2]


def test_the_users_tokenizer_stays_as_it_is(weights):
    tokenizer = word_tokenizer()
    tokenizer.enable_padding(length=9)
    static = StaticEmbedding(tokenizer, weights)
    static.max_seq_length = 2
    assert static.read(["cat"])["lengths"] == [1]
    assert tokenizer.padding["length"] == 9
    assert tokenizer.truncation is None


def test_a_transformers_tokenizer_is_copied():
    tokenizer = tiny.tokenizer()
    static = StaticEmbedding(tokenizer, embedding_dim=4)
    tokenizer(["the cat"], padding="max_length", max_length=20, truncation=True)
    assert static.read(["the cat"])["lengths"] == [2]
    assert static.num_embeddings == len(tokenizer)
    assert static.get_embedding_dimension() == static.embedding_dim == 4


def test_eight_threads_give_what_one_gives(static):
    texts = [" ".join(["cat", "the", "dog"] * n) for n in range(20)]
    expected = embed(static, texts)
    with ThreadPoolExecutor(8) as threads:
        for result in threads.map(lambda _: embed(static, texts), range(40)):
            assert torch.equal(result, expected)


def test_it_can_be_copied_and_its_weights_have_the_usual_name(static):
    twin = copy.deepcopy(static)
    assert list(static.state_dict()) == ["embedding.weight"]
    assert torch.equal(embed(twin, TEXTS), embed(static, TEXTS))


def test_inputs_are_left_alone(static):
    for layout in (packing.pack, packing.pad):
        assert_leaves_its_input_alone(static, layout(static.read(TEXTS)))
    assert static.reads_packed


def test_numpy_weights_will_do(weights):
    static = StaticEmbedding(word_tokenizer(), weights.numpy())
    assert static.embedding.weight.requires_grad
    torch.testing.assert_close(static.embedding.weight.detach(), weights)


@pytest.mark.parametrize("text", [None, 3, b"cat", ("a", "b", "c"), float("nan")])
def test_what_is_no_text_is_named_with_its_row(static, text):
    with pytest.raises(InputTypeError, match="row 1 is"):
        static.read(["cat", text])


def test_a_lone_surrogate_is_named_with_its_row(static):
    with pytest.raises(InputError, match="row 1 has a lone surrogate"):
        static.read(["cat", "a\ud800b"])


def test_unusable_arguments_are_named(weights):
    with pytest.raises(InputTypeError, match="tokenizer must be.*got str"):
        StaticEmbedding("bert", weights)
    with pytest.raises(SettingError, match="neither embedding_weights nor embedding_dim"):
        StaticEmbedding(word_tokenizer())
    with pytest.raises(SettingError, match="5 rows for a tokenizer of 6 tokens"):
        StaticEmbedding(word_tokenizer(), weights[:5])
    with pytest.raises(SettingError, match=r"shape \(vocabulary, width\)"):
        StaticEmbedding(word_tokenizer(), weights[0])
    with pytest.raises(SettingError, match=r"torch.int64 of shape"):
        StaticEmbedding(word_tokenizer(), weights.long())
    with pytest.raises(SettingError, match="max_seq_length must be"):
        StaticEmbedding(word_tokenizer(), weights).max_seq_length = 0


# model2vec ----------------------------------------------------------------------------------------


def test_fold_gives_each_token_its_row_times_its_factor():
    embeddings = np.array([[1.0, 2.0], [3.0, 4.0]], dtype=np.float32)
    folded = fold(embeddings, np.array([1, 0, 1]), np.array([1.0, 10.0, 100.0]))
    assert folded.tolist() == [[3, 4], [10, 20], [300, 400]]
    assert fold(embeddings).tolist() == embeddings.tolist()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_fold_multiplies_half_precision_in_full(dtype):
    table = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).to(dtype)
    factors = torch.tensor([0.1, 0.3, 1.7, 3.3, 7.1], dtype=torch.float64)
    folded = fold(table, None, factors)
    assert folded.dtype == torch.float32
    assert torch.equal(folded, (table.double() * factors[:, None]).float())
    assert fold(table).dtype == dtype  # nothing is multiplied
    static = StaticEmbedding(
        word_tokenizer(), fold(table, torch.tensor([0, 1, 2, 3, 4, 0]), factors.repeat(2)[:6])
    )
    embed(static, ["the cat sat"]).sum().backward()
    assert static.embedding.weight.grad.dtype == torch.float32


def test_a_model2vec_folder_is_read(tmp_path, weights):
    word_tokenizer().save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "config.json").write_text(json.dumps({"normalize": True}))
    mapping, factors = torch.tensor([0, 1, 1, 2, 3, 0]), torch.arange(6.0)
    tensors = {"embeddings": weights[:4].clone(), "mapping": mapping, "weights": factors}
    save_file(tensors, tmp_path / "model.safetensors")
    static = StaticEmbedding.from_model2vec(tmp_path)
    # "dog" is token 4: row 3, times 4.
    torch.testing.assert_close(embed(static, ["dog"])[0], weights[3] * 4)
    assert static.base_model == str(tmp_path)
    save_file({"embedding.weight": weights}, tmp_path / "model.safetensors")
    torch.testing.assert_close(
        embed(StaticEmbedding.from_model2vec(tmp_path), ["dog"])[0], weights[4]
    )


def test_a_folder_that_is_no_model2vec_model_is_named(tmp_path, weights):
    with pytest.raises(ModelFileError, match="has no tokenizer.json"):
        StaticEmbedding.from_model2vec(tmp_path)
    word_tokenizer().save(str(tmp_path / "tokenizer.json"))
    save_file({"linear.weight": weights}, tmp_path / "model.safetensors")
    with pytest.raises(ModelFileError, match=r"model.safetensors holds \['linear.weight'\]"):
        StaticEmbedding.from_model2vec(tmp_path)


def test_a_model_that_is_not_to_be_had_is_named(monkeypatch):
    def offline(repo, name):
        raise OSError("no network")

    monkeypatch.setattr("sentune.models.static.hf_hub_download", offline)
    with pytest.raises(HubError, match="'some/model' is no folder here, and tokenizer.json"):
        StaticEmbedding.from_model2vec("some/model")


def test_distillation_hands_model2vec_what_it_takes(monkeypatch, weights):
    seen = {}

    def distill(model_name, vocabulary=None, pca_dims=256, sif_coefficient=None, extra=None):
        seen.update(locals())
        return SimpleNamespace(
            tokenizer=word_tokenizer(), embedding=weights.numpy(), weights=np.full(6, 2.0)
        )

    monkeypatch.setitem(sys.modules, "model2vec", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "model2vec.distill", SimpleNamespace(distill=distill))
    static = StaticEmbedding.from_distillation("some/model", pca_dims=3, extra=1)
    assert (seen["model_name"], seen["pca_dims"], seen["extra"]) == ("some/model", 3, 1)
    assert seen["sif_coefficient"] == 1e-4
    torch.testing.assert_close(embed(static, ["dog"])[0], weights[4] * 2)


def test_distillation_without_model2vec_names_the_pip_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "model2vec.distill", None)
    with pytest.raises(MissingDependencyError, match=r"pip install \"sentune\[static\]\""):
        StaticEmbedding.from_distillation("some/model")


def test_it_is_saved_in_a_folder_of_its_own(tmp_path):
    """Releases 3.2 to 4.1 cannot read it from the model's own folder."""
    module = StaticEmbedding(word_tokenizer(), embedding_dim=4)
    model = SentenceTransformer(modules=[module], device="cpu")
    model.save(str(tmp_path))
    (entry,) = json.loads((tmp_path / "modules.json").read_text(encoding="utf-8"))
    assert entry["path"] == "0_StaticEmbedding"
    for again in (
        SentenceTransformer(str(tmp_path), device="cpu"),
        SentenceTransformer(modules=[StaticEmbedding.from_model2vec(tmp_path)], device="cpu"),
    ):
        assert np.array_equal(again.encode(["a dog"]), model.encode(["a dog"]))


def test_a_folder_of_its_own_is_found_on_the_hub(tmp_path, weights, monkeypatch):
    inner = tmp_path / "0_StaticEmbedding"
    inner.mkdir()
    word_tokenizer().save(str(inner / "tokenizer.json"))
    save_file({"embedding.weight": weights}, inner / "model.safetensors")

    def download(repo, name):
        if not (tmp_path / name).exists():
            raise LocalEntryNotFoundError(f"no {name} in {repo}")
        return str(tmp_path / name)

    monkeypatch.setattr("sentune.models.static.hf_hub_download", download)
    torch.testing.assert_close(
        embed(StaticEmbedding.from_model2vec("some/model"), ["dog"])[0], weights[4]
    )
