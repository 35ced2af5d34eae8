"""The table of module types: names both ways, keys that the classes really have."""

import inspect

import pytest
import torch

from sentune import models
from sentune.files import layout, settings
from sentune.files.settings import of as settings_of
from sentune.folders.folder import ModelFolder
from sentune.models.tokenizer import WhitespaceTokenizer
from tests import tiny
from tests.files.folders import write

OLD = "sentence_transformers.models."
BASE = "sentence_transformers.base.modules."
FRONT = "sentence_transformers.sentence_transformer.modules."

MADE = {
    "Pooling": lambda: models.Pooling(4, ("mean", "cls"), include_prompt=False),
    "Normalize": lambda: models.Normalize("token_embeddings", "out"),
    "Dense": lambda: models.Dense(4, 2, module_output_name="out", use_residual=True),
    "LayerNorm": lambda: models.LayerNorm(4),
    "Dropout": lambda: models.Dropout(0.1),
    "CNN": lambda: models.CNN(4, 2),
    "LSTM": lambda: models.LSTM(4, 2, num_layers=2),
    "WeightedLayerPooling": lambda: models.WeightedLayerPooling(4, 3, 1),
    "WordWeights": lambda: models.WordWeights(["a", "b"], {"a": 2.0}),
    "BoW": lambda: models.BoW(["a", "b"], {"a": 2.0}),
    "WordEmbeddings": lambda: models.WordEmbeddings(
        WhitespaceTokenizer(["a", "b"]), torch.randn(2, 3)
    ),
    "StaticEmbedding": lambda: models.StaticEmbedding(tiny.tokenizer(), embedding_dim=4),
    "LogitScore": lambda: models.LogitScore(3, 4),
    "Router": lambda: models.Router({"query": [models.Dense(4, 2)]}),
}


@pytest.mark.parametrize(
    ("written", "name"),
    [
        (OLD + "Transformer", "Transformer"),
        (OLD + "Transformer.Transformer", "Transformer"),
        (BASE + "transformer.Transformer", "Transformer"),
        (OLD + "BERT", "Transformer"),
        (OLD + "XLNet", "Transformer"),
        (OLD + "Pooling", "Pooling"),
        (FRONT + "pooling.Pooling", "Pooling"),
        (OLD + "Normalize", "Normalize"),
        (FRONT + "normalize.Normalize", "Normalize"),
        (BASE + "normalize.Normalize", "Normalize"),
        (BASE + "dense.Dense", "Dense"),
        (OLD + "Asym", "Router"),
        (OLD + "Asym.Asym", "Router"),
        (BASE + "router.Router", "Router"),
        (FRONT + "static_embedding.StaticEmbedding", "StaticEmbedding"),
        (FRONT + "word_embeddings.WordEmbeddings", "WordEmbeddings"),
        ("sentune.models.pooling.Pooling", "Pooling"),
        ("sentune.models.Router", "Router"),
    ],
)
def test_names_of_every_generation_are_known(written, name):
    row = layout.type_named(written)
    assert row is not None and row.name == name
    assert row.load_class() is getattr(models, name)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "Pooling",
        "os.system",
        "builtins.eval",
        "models.Pooling",
        "sentence_transformers.util.Pooling",
        "sentence_transformers.models.Nothing",
        "sentence_transformers.sparse_encoder.modules.splade_pooling.SpladePooling",
        "xsentence_transformers.models.Pooling",
    ],
)
def test_other_names_are_not(written):
    assert layout.type_named(written) is None


@pytest.mark.parametrize("name", layout.MODULES)
def test_the_written_name_is_the_one_that_all_readers_know(name):
    row = layout.MODULES[name]
    home = "cross_encoder.modules.logit_score" if name == "LogitScore" else "models"
    assert row.written_name == f"sentence_transformers.{home}.{name}"
    assert layout.type_named(row.written_name) is row


@pytest.mark.parametrize("name", MADE)
def test_a_module_finds_its_row_and_its_settings_are_in_it(name):
    module = MADE[name]()
    row = layout.type_of(module)
    assert row is layout.MODULES[name]
    assert set(module.settings()) <= set(row.keys)
    assert set(row.keys) - {"tokenizer_class"} <= set(inspect.signature(type(module)).parameters)
    assert set(row.needs) <= set(row.keys)
    if row.weights == "yes" and name != "Router":
        assert module.state_dict()


def test_every_class_of_the_models_package_has_a_row():
    kinds = {getattr(models, name) for name in models.__all__}
    modules = {k.__name__ for k in kinds if isinstance(k, type) and issubclass(k, models.Module)}
    assert modules - {"Module", "InputModule", "CLIPModel"} == set(layout.MODULES)


def test_a_class_derived_from_one_of_ours_is_not_taken_for_it():
    class Mine(models.Normalize):
        pass

    assert layout.type_of(Mine()) is None


@pytest.mark.parametrize(
    "mode",
    [
        *settings.POOLING_FLAGS.values(),
        ("cls", "mean"),
        ("max", "lasttoken"),
        ("mean", "cls"),
        ("mean", "mean"),
        ("lasttoken", "max", "cls"),
    ],
)
def test_pooling_modes_survive_the_old_flags(mode, tmp_path):
    pooling = models.Pooling(4, mode)
    row = layout.MODULES["Pooling"]
    config = row.config_of(pooling.settings())
    write(tmp_path / "config.json", config)
    settings, _ = settings_of(row, ModelFolder(tmp_path))
    assert models.Pooling(**settings).settings() == pooling.settings()


def test_only_an_order_that_the_flags_cannot_say_is_written_as_a_list():
    row = layout.MODULES["Pooling"]
    for mode, has_list in ((("cls", "mean"), False), (("mean", "cls"), True), ("max", False)):
        config = row.config_of(models.Pooling(4, mode).settings())
        assert ("pooling_mode" in config) is has_list
        assert "embedding_dimension" not in config  # readers up to 5.3 refuse it
        assert {*settings.POOLING_FLAGS, "word_embedding_dimension", "include_prompt"} <= {*config}
