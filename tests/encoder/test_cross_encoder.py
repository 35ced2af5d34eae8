"""CrossEncoder: what its users meet, without the peer."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from sentune import CrossEncoder, SentenceTransformer, models
from sentune.errors import InputTypeError, ModelFileError, SettingError, UntrustedCodeError
from tests import uneven
from tests.engine.test_classification_heads import classifier
from tests.files.folders import change

pytestmark = pytest.mark.filterwarnings("ignore:.*max_seq_length")


@pytest.fixture
def folder(tmp_path):
    classifier(tmp_path / "base", "bert", 1)
    return tmp_path / "base"


@pytest.fixture
def model(folder):
    return CrossEncoder(str(folder), device="cpu", dtype="float32")


@pytest.fixture
def pairs():
    return list(zip(*uneven.columns(2, 14), strict=True))


def test_a_pair_does_not_depend_on_the_others(model, pairs):
    together = model.predict(pairs)
    alone = np.array([model.predict(pair) for pair in pairs])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_tables_are_read_and_what_holds_no_documents_is_refused(model):
    pairs = [("the cat", "a dog"), ("a dog", "the sun")]
    table = pd.DataFrame(pairs, columns=["query", "document"], index=[3, 2])
    np.testing.assert_array_equal(model.predict(table), model.predict(pairs))
    documents = pd.Series(["the cat", "a dog"], index=[1, 0])
    assert model.rank("the cat", documents, return_documents=True) == model.rank(
        "the cat", ["the cat", "a dog"], return_documents=True
    )
    with pytest.raises(InputTypeError, match="inputs is a table"):
        model.predict(table.assign(label=1))
    for wrong in ("a dog", {"id": "a dog"}, table):
        with pytest.raises(InputTypeError, match="documents"):
            model.rank("the cat", wrong)


def test_pairs_that_come_twice_are_computed_once(model, pairs, monkeypatch):
    items, original = [], CrossEncoder.read

    def read(self, some, **options):
        items.extend(some)
        return original(self, some, **options)

    monkeypatch.setattr(CrossEncoder, "read", read)
    found = model.predict([*pairs, *pairs])
    assert len(items) == len(set(pairs))
    np.testing.assert_array_equal(found[: len(pairs)], found[len(pairs) :])


def test_nothing_is_no_scores(model):
    assert model.predict([]).shape == (0,)
    assert model.rank("a query", []) == []


@pytest.mark.parametrize("inputs", [5, [("a", 3)], [("a", "b"), None], b"ab"])
def test_what_is_no_pair_is_refused(model, inputs):
    with pytest.raises(InputTypeError, match="a pair of str"):
        model.predict(inputs)


def test_equal_scores_keep_the_order_of_the_documents(model):
    documents = ["a dog", "a bird", "a fish"] * 40  # sorts that do not keep it do so for a few
    places = [one["corpus_id"] for one in model.rank("the cat", documents)]
    for text in range(3):
        assert [place for place in places if place % 3 == text] == list(range(text, 120, 3))


def test_several_scores_cannot_be_ranked(tmp_path):
    classifier(tmp_path, "bert", 3)
    with pytest.raises(SettingError, match="this model gives 3; use predict"):
        CrossEncoder(str(tmp_path), device="cpu").rank("a", ["b"])


def test_older_arguments_are_taken(folder, pairs):
    tanh = nn.Tanh()
    older = CrossEncoder(str(folder), 1, 32, device="cpu", default_activation_function=tanh)
    assert older.max_length == older.max_seq_length == 32
    assert older.default_activation_function is tanh
    found = older.predict(pairs, activation_fct=nn.Sigmoid(), num_workers=2)
    np.testing.assert_array_equal(found, older.predict(pairs, activation_fn=nn.Sigmoid()))
    np.testing.assert_array_equal(older.predict(sentences=pairs), older.predict(pairs))


def test_an_unknown_argument_is_an_error(model):
    with pytest.raises(TypeError, match="colour"):
        CrossEncoder("x", colour="red")
    with pytest.raises(SettingError, match="unknown arguments .*colour"):
        model.predict([("a", "b")], colour="red")


def test_a_new_head_is_random_and_says_so(tiny_bert_folder):
    with pytest.warns(UserWarning, match="no weights for .*classifier.*random until trained"):
        model = CrossEncoder(str(tiny_bert_folder), num_labels=2, device="cpu")
    assert model.num_labels == 2
    assert model.predict([("a", "b")] * 3).shape == (3, 2)


def test_an_activation_of_another_package_needs_trust(folder):
    name = f"{__name__}.Times"
    change(folder / "config.json", sentence_transformers={"activation_fn": name})
    with pytest.raises(UntrustedCodeError, match="Times.*trust_remote_code=True"):
        CrossEncoder(str(folder), device="cpu")
    trusting = CrossEncoder(str(folder), device="cpu", trust_remote_code=True)
    assert type(trusting.activation_fn) is Times
    assert type(CrossEncoder(str(folder), activation_fn=nn.Tanh()).activation_fn) is nn.Tanh


class Times(nn.Module):
    def __init__(self, by: float = 2.0) -> None:
        super().__init__()
        self.by = by

    def forward(self, x):
        return self.by * x


def test_an_activation_keeps_its_arguments(folder, tmp_path, pairs):
    model = CrossEncoder(str(folder), device="cpu", activation_fn=nn.LeakyReLU(0.3))
    model.save(tmp_path / "model")
    again = CrossEncoder(str(tmp_path / "model"), device="cpu")
    assert again.activation_fn.negative_slope == 0.3
    np.testing.assert_array_equal(again.predict(pairs), model.predict(pairs))


def test_one_that_cannot_be_made_again_is_not_saved(folder, tmp_path):
    model = CrossEncoder(str(folder), device="cpu", activation_fn=lambda x: x)
    with pytest.raises(SettingError, match="cannot be saved"):
        model.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_it_is_no_sentence_transformer(folder, tmp_path):
    CrossEncoder(str(folder), device="cpu").save(tmp_path / "model")
    for source in (tmp_path / "model",):
        with pytest.raises(ModelFileError, match=r"is a CrossEncoder .* sentune\.CrossEncoder"):
            SentenceTransformer(str(source))
    (tmp_path / "model" / "modules.json").unlink()  # as releases up to 5.3 wrote it
    (tmp_path / "model" / "config_sentence_transformers.json").unlink()
    with pytest.raises(ModelFileError, match=r"is a CrossEncoder .* sentune\.CrossEncoder"):
        SentenceTransformer(str(tmp_path / "model"))


def test_it_is_not_trained_yet(model):
    from sentune import SentenceTransformerTrainer

    with pytest.raises(SettingError, match="got a CrossEncoder, which it can only run"):
        SentenceTransformerTrainer(model)


def test_the_card_says_what_it_is(model, tmp_path):
    model.save(tmp_path / "model")
    text = (tmp_path / "model" / "README.md").read_text()
    assert "pipeline_tag: text-ranking" in text
    assert "from sentune import CrossEncoder" in text and "model.rank(query, documents)" in text
    assert "This model gives pairs of texts one score each" in text


def test_layers_in_full_precision_must_be_linear(model):
    with pytest.raises(SettingError, match="'0.model.dropout' is Dropout"):
        model.set_keep_in_fp32_modules(["0.model.dropout"])
    with pytest.raises(SettingError, match="'0.nothing' is none of its modules"):
        model.set_keep_in_fp32_modules(["0.nothing"])
    model.set_keep_in_fp32_modules(["0.model.classifier"])
    assert model.is_packed
    model.set_keep_in_fp32_modules([])
    assert not model.transformers_model.classifier._forward_hooks


def test_copies_and_pickles_score_alike(model, pairs):
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(pairs), model.predict(pairs))


def test_half_precision_gives_scores_in_full(folder, pairs):
    half = CrossEncoder(str(folder), device="cpu", dtype="bfloat16")
    found = half.predict(pairs, convert_to_tensor=True)
    assert found.dtype == torch.float32


@pytest.mark.slow
def test_several_processes_score_alike(model, pairs):
    with model.start_multi_process_pool(["cpu", "cpu"]) as pool:
        np.testing.assert_allclose(model.predict(pairs, pool=pool), model.predict(pairs), atol=1e-6)


def test_modules_of_ones_own_make_scores(tiny_bert_folder):
    encoder = models.Transformer(tiny_bert_folder)
    head = models.Dense(32, 1, activation_function=None, module_output_name="scores")
    model = CrossEncoder(modules=[encoder, models.Pooling(32, "cls"), head], device="cpu")
    assert model.num_labels == 1 and model.is_packed
    assert model.predict([("a cat", "a dog")] * 2).shape == (2,)
