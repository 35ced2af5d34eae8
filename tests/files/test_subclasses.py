"""Subclasses of the classes of the table come back equal, or a save says why they would not."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from sentune import SentenceTransformer, models
from sentune.errors import ModelFileError, SettingError, UntrustedCodeError
from sentune.files.layout import MODULES
from tests import uneven
from tests.files.folders import WIDTH, change, read, write
from tests.tiny import tokenizer

TEXTS = uneven.texts(7, seed=11, longest=40)
WORDS = ["first", "second", "text", "one"]


def _plain(base):
    return type(f"My{base.__name__}", (base,), {"__module__": __name__})


def _with_more(base):
    def __init__(self, *args, note="none", **kwargs):
        base.__init__(self, *args, **kwargs)
        self.note = note

    def settings(self):
        return {**base.settings(self), "note": self.note}

    name = f"More{base.__name__}"
    said = {"__init__": __init__, "settings": settings, "__module__": __name__}
    return type(name, (base,), said)


# Row -> a subclass that adds nothing, and one with a parameter.
PLAIN = {name: _plain(row.load_class()) for name, row in MODULES.items()}
MORE = {name: _with_more(row.load_class()) for name, row in MODULES.items()}
globals().update({kind.__name__: kind for kind in (*PLAIN.values(), *MORE.values())})


def core():
    return Tokenizer.from_str(tokenizer()._tokenizer.to_str())


def modules_with(name, kind, folder, **more):
    """The modules of a model that has one of this class; and that one."""
    encoder = [] if name in ("Transformer", "StaticEmbedding", "WordEmbeddings", "BoW") else [None]
    make = {
        "Transformer": lambda: kind(folder, max_seq_length=20, **more),
        "Pooling": lambda: kind(WIDTH, "max", **more),
        "Normalize": lambda: kind(**more),
        "Dense": lambda: kind(WIDTH, 8, activation_function=torch.nn.GELU(), **more),
        "LogitScore": lambda: kind(3, 4, **more),
        "LayerNorm": lambda: kind(WIDTH, **more),
        "Dropout": lambda: kind(0.3, **more),
        "CNN": lambda: kind(WIDTH, 8, [1, 3], **more),
        "LSTM": lambda: kind(WIDTH, 8, **more),
        "WeightedLayerPooling": lambda: kind(WIDTH, num_hidden_layers=2, layer_start=1, **more),
        "WordWeights": lambda: kind([str(i) for i in range(300)], {"7": 0.5}, **more),
        "BoW": lambda: kind(WORDS, **more),
        "WordEmbeddings": lambda: kind(
            models.WhitespaceTokenizer(WORDS), torch.rand(4, 8).tolist(), **more
        ),
        "StaticEmbedding": lambda: kind(core(), embedding_dim=8, **more),
        "Router": lambda: kind({"query": [models.Normalize()]}, "query", **more),
    }
    torch.manual_seed(2)
    own = make[name]()
    if encoder:
        encoder = [models.Transformer(folder)]
    if name in ("Normalize", "Dense", "LayerNorm", "Dropout", "Router"):
        encoder.append(models.Pooling(WIDTH))
    width = {"CNN": 16, "LSTM": 16, "WordEmbeddings": 8}.get(name, WIDTH)
    is_last = name in ("StaticEmbedding", "BoW", "Pooling") or len(encoder) == 2
    return [*encoder, own, *([] if is_last else [models.Pooling(width)])], own


def saved(name, kind, folder, path, **more):
    modules, own = modules_with(name, kind, folder, **more)
    model = SentenceTransformer(modules=modules, device="cpu", dtype="float32")
    model.save(path)
    return model, own


@pytest.mark.filterwarnings("ignore:.*were truncated")
@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("has_more", [False, True])
def test_a_subclass_comes_back_when_trusted(name, has_more, tiny_bert_folder, tmp_path):
    kind, more = (MORE[name], {"note": "kept"}) if has_more else (PLAIN[name], {})
    model, own = saved(name, kind, tiny_bert_folder, tmp_path / "model", **more)
    again = SentenceTransformer(
        str(tmp_path / "model"), trust_remote_code=True, device="cpu", dtype="float32"
    )
    (found,) = [module for module in again if type(module) is kind]
    assert found.settings() == own.settings()
    if has_more:
        assert found.note == "kept"
    if name not in ("LogitScore", "WeightedLayerPooling"):  # which are for other models
        np.testing.assert_allclose(again.encode(TEXTS), model.encode(TEXTS), atol=1e-6)
    expected = own.state_dict()
    assert found.state_dict().keys() == expected.keys()
    assert all(torch.equal(expected[key], value) for key, value in found.state_dict().items())


@pytest.mark.parametrize("name", MODULES)
def test_a_subclass_is_refused_without_trust(name, tiny_bert_folder, tmp_path):
    saved(name, PLAIN[name], tiny_bert_folder, tmp_path / "model")
    says = f"{__name__}.My{name}.*Look at that code; if you trust it, pass trust_remote_code=True"
    with pytest.raises(UntrustedCodeError, match=says):
        SentenceTransformer(str(tmp_path / "model"), device="cpu")


@pytest.mark.parametrize("name", MODULES)
def test_a_class_inside_a_function_is_refused_before_anything_is_written(
    name, tiny_bert_folder, tmp_path
):
    kind = type("Local", (MODULES[name].load_class(),), {"__module__": __name__})
    kind.__qualname__ = "some_function.<locals>.Local"
    with pytest.raises(SettingError, match="Local.*defined inside of a function.*at the top of"):
        saved(name, kind, tiny_bert_folder, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_class_of_the_program_is_saved_with_one_warning(tmp_path):
    program = f"""
import warnings
from sentune import SentenceTransformer, models
class Mine(models.BoW):
    pass
model = SentenceTransformer(modules=[Mine({WORDS}), models.Normalize()], device="cpu")
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    model.save({str(tmp_path / "model")!r})
    again = SentenceTransformer({str(tmp_path / "model")!r}, device="cpu", trust_remote_code=True)
assert type(again[0]) is Mine
print([str(one.message)[:49] for one in seen])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "['the module class Mine is defined in the program i']", done


class Fixed(models.Pooling):
    """Whose constructor decides the settings."""

    def __init__(self, width):
        super().__init__(width, "max")


class Older(models.Pooling):
    """With the names of earlier releases."""

    def __init__(self, word_embedding_dimension, pooling_mode="mean"):
        super().__init__(word_embedding_dimension, pooling_mode)


class Itself(Fixed):
    """That writes and reads itself."""

    def save(self, output_path, **kwargs):
        write(Path(output_path) / "width.json", self.embedding_dimension)

    @classmethod
    def load(cls, input_path):
        return cls(read(Path(input_path) / "width.json"))


class Unsaid(models.Dense):
    """With a setting that json has no form for."""

    def __init__(self, *args, note=None, **kwargs):
        super().__init__(*args, **kwargs)

    def settings(self):
        return {**super().settings(), "note": {1, 2}}


def save_pooling(kind, folder, path):
    modules = [models.Transformer(folder), kind(WIDTH)]
    model = SentenceTransformer(modules=modules, device="cpu", dtype="float32")
    model.save(path)
    return model


def test_a_constructor_that_takes_other_arguments_is_refused(tiny_bert_folder, tmp_path):
    says = "Fixed could not be loaded again.*does not take.*models.Pooling.*`save` and a `load`"
    with pytest.raises(SettingError, match=says):
        save_pooling(Fixed, tiny_bert_folder, tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.filterwarnings("ignore:.*were truncated")
@pytest.mark.parametrize("kind", [Itself, Older])
def test_it_comes_back_where_it_can_be_made(kind, tiny_bert_folder, tmp_path):
    model = save_pooling(kind, tiny_bert_folder, tmp_path / "model")
    again = SentenceTransformer(
        str(tmp_path / "model"), trust_remote_code=True, device="cpu", dtype="float32"
    )
    assert type(again[1]) is kind
    np.testing.assert_allclose(again.encode(TEXTS), model.encode(TEXTS), atol=1e-6)


def test_a_setting_that_json_cannot_hold_is_refused(tiny_bert_folder, tmp_path):
    modules = [models.Transformer(tiny_bert_folder), models.Pooling(WIDTH), Unsaid(WIDTH, 8)]
    model = SentenceTransformer(modules=modules, device="cpu")
    with pytest.raises(SettingError, match="Unsaid.*numbers, strings, lists"):
        model.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_key_that_the_class_does_not_take_is_still_an_error(tiny_bert_folder, tmp_path):
    saved("Dense", MORE["Dense"], tiny_bert_folder, tmp_path / "model", note="kept")
    config = tmp_path / "model/2_MoreDense/config.json"
    assert read(config)["note"] == "kept"
    change(config, colour="red")
    with pytest.raises(ModelFileError, match="2_MoreDense/config.json.*colour"):
        SentenceTransformer(str(tmp_path / "model"), trust_remote_code=True, device="cpu")
