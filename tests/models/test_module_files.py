"""A module's own methods for its files, as code written for sentence-transformers calls them."""

import numpy as np
import pytest
import sentence_transformers.sentence_transformer.modules as peer
import torch
from torch import nn

from sentune import SentenceTransformer, models
from sentune.errors import ModelFileError
from sentune.files.layout import MODULES
from tests import uneven
from tests.files.folders import WIDTH, read
from tests.files.test_subclasses import modules_with

TEXTS = uneven.texts(7, seed=3, longest=15)


@pytest.mark.parametrize("name", MODULES)
def test_each_module_of_the_table_saves_and_loads_itself(name, tiny_bert_folder, tmp_path):
    kind = MODULES[name].load_class()
    modules, own = modules_with(name, kind, tiny_bert_folder)
    own.save(str(tmp_path / "part"))
    again = kind.load(str(tmp_path), "part")
    assert type(again) is kind and again.settings() == own.settings()
    for key, value in own.state_dict().items():
        torch.testing.assert_close(again.state_dict()[key], value, rtol=0, atol=0)
    if name != "LogitScore":
        before = SentenceTransformer(modules=modules, device="cpu")
        after = SentenceTransformer(
            modules=[again if module is own else module for module in modules], device="cpu"
        )
        np.testing.assert_allclose(after.encode(TEXTS), before.encode(TEXTS), atol=1e-6)


SHARED = ["Dense", "Dropout", "LayerNorm", "Normalize", "Pooling", "CNN", "LSTM"]


@pytest.mark.parametrize("name", SHARED)
def test_a_folder_that_the_peer_wrote_alone_loads(name, tiny_bert_folder, tmp_path):
    arguments = {"Dense": (WIDTH, 8), "Dropout": (0.3,), "Normalize": (), "LSTM": (WIDTH, 8)}
    arguments |= {"Pooling": (WIDTH, "max"), "CNN": (WIDTH, 8, [1, 3]), "LayerNorm": (WIDTH,)}
    theirs = getattr(peer, name)(*arguments[name])
    (tmp_path / "part").mkdir()
    theirs.save(str(tmp_path / "part"))
    ours = getattr(models, name).load(str(tmp_path / "part"))
    for key, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[key], value, rtol=0, atol=0)
    ours.save(str(tmp_path / "again"))
    back = getattr(peer, name).load(str(tmp_path / "again"))
    assert back.get_config_dict() == theirs.get_config_dict()


class Scaled(models.Module):
    """As the documentation of sentence-transformers has it: keys, and the inherited methods."""

    config_keys = ["width", "name"]
    config_key_renames = {"size": "width"}
    config_file_name = "scaled.json"

    def __init__(self, width, name="plain"):
        super().__init__()
        self.width, self.name, self.ready = width, name, []
        self.weight = nn.Parameter(torch.rand(width))

    def forward(self, features, **kwargs):
        return {**features, "sentence_embedding": features["sentence_embedding"] * self.weight}

    def on_model_ready(self, model):
        self.ready.append(model)


def test_a_module_with_config_keys_comes_back(tiny_bert_folder, tmp_path):
    own = Scaled(WIDTH, "other")
    parts = [models.Transformer(tiny_bert_folder), models.Pooling(WIDTH), own]
    model = SentenceTransformer(modules=parts, device="cpu")
    assert own.ready == [model]
    model.save(str(tmp_path / "model"))
    assert read(tmp_path / "model" / "2_Scaled" / "scaled.json") == {
        "width": WIDTH,
        "name": "other",
    }
    again = SentenceTransformer(str(tmp_path / "model"), trust_remote_code=True, device="cpu")
    assert type(again[2]) is Scaled and again[2].name == "other" and again[2].ready == [again]
    np.testing.assert_array_equal(again.encode(TEXTS), model.encode(TEXTS))


def test_older_names_of_keys_are_read_and_missing_weights_are_named(tmp_path):
    Scaled(3).save(str(tmp_path))
    (tmp_path / "scaled.json").write_text('{"size": 3}')
    assert Scaled.load(str(tmp_path)).width == 3
    assert set(Scaled.load_torch_weights(str(tmp_path))) == {"weight"}
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModelFileError, match=r"model.safetensors"):
        Scaled.load(str(tmp_path))


class OnlyTokenize(models.InputModule):
    """Tokens by one of the two names, and no `read`; it knows of no prompts."""

    def tokenize(self, texts, **kwargs):
        assert not kwargs
        return {"input_ids": torch.tensor([[len(text)] for text in texts])}

    def forward(self, features, **kwargs):
        return {**features, "sentence_embedding": features["input_ids"].float()}


class OnlyPreprocess(OnlyTokenize):
    tokenize = models.InputModule.tokenize

    def preprocess(self, inputs, prompt=None, **kwargs):
        return OnlyTokenize.tokenize(self, [(prompt or "") + text for text in inputs])


@pytest.mark.parametrize("kind", [OnlyTokenize, OnlyPreprocess])
def test_modules_that_read_by_one_name_are_called_by_all(kind):
    model = SentenceTransformer(modules=[kind()], device="cpu")
    for read_texts in (model.preprocess, model[0].preprocess):
        assert read_texts(["ab", ""], "xyz")["input_ids"].tolist() == [[5], [3]]
    assert model[0].tokenize(["ab", ""])["input_ids"].tolist() == [[2], [0]]
    assert model.encode(["ab", ""], prompt="xyz").tolist() == [[5], [3]]


def test_a_module_that_cannot_read_says_so():
    with pytest.raises(NotImplementedError, match="must define preprocess or tokenize"):
        models.InputModule().tokenize(["a"])


def test_both_names_in_a_transformer(tiny_bert_folder):
    module = models.Transformer(tiny_bert_folder)
    assert module.model is module.auto_model and module.processor is module.tokenizer
    other = models.Transformer(tiny_bert_folder)
    module.model, module.processor = other.auto_model, other.tokenizer
    assert module.auto_model is other.auto_model and module.tokenizer is other.tokenizer
    assert [name for name, _ in module.named_children()] == ["model"]
