"""Modules of classes outside the table: run only when trusted, and saved with their code."""

import pytest
import torch

from sentune import models
from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.errors import (
    MissingDependencyError,
    ModelFileError,
    SentuneWarning,
    SettingError,
    UntrustedCodeError,
)
from sentune.files.save import save
from sentune.models.base import Module
from tests.files import folders
from tests.files.folders import MODELS, listed, load, read, same_tensors, write


class Scale(Module):
    """A class of a package, with settings and weights, that says nothing of files."""

    def __init__(self, start=1.0):
        super().__init__()
        self.start = start
        self.factor = torch.nn.Parameter(torch.tensor([start]))

    def settings(self):
        return {"start": self.start}


class Plain(torch.nn.Module):
    """A torch module with a save and a load of its own, as up to 4.x."""

    def __init__(self, note="new"):
        super().__init__()
        self.note = note

    def save(self, output_path):
        write(folders.Path(output_path) / "note.json", {"note": self.note})

    @classmethod
    def load(cls, input_path):
        return cls(read(folders.Path(input_path) / "note.json")["note"])


class Modern(Plain):
    """As since 5.0: told where it is from and what may run."""

    def save(self, output_path, *args, safe_serialization=True, **kwargs):
        write(folders.Path(output_path) / "note.json", {"note": str(safe_serialization)})

    @classmethod
    def load(cls, model_name_or_path, subfolder="", token=None, trust_remote_code=False, **kwargs):
        path = folders.Path(model_name_or_path) / subfolder / "note.json"
        return cls(f"{read(path)['note']} {subfolder} {trust_remote_code}")


CODE = """
import torch
from .helper import NOTE

class Shift(torch.nn.Module):
    note = NOTE

    def __init__(self, by=0):
        super().__init__()
        self.by = by

    def settings(self):
        return {"by": self.by}

    def forward(self, features, **kwargs):
        return {**features, "sentence_embedding": features["sentence_embedding"] + self.by}
"""


def test_a_module_of_a_package_comes_back_when_trusted(tmp_path):
    scale = Scale(3.0)
    scale.factor.data += 1
    save({"0": models.BoW(["a"]), "1": scale}, {}, tmp_path / "model")
    assert read(tmp_path / "model/modules.json")[1]["type"] == f"{__name__}.Scale"
    with pytest.raises(UntrustedCodeError, match="Scale"):
        load(tmp_path / "model")
    again = load(tmp_path / "model", trust_remote_code=True).modules["1"]
    assert type(again) is Scale and again.start == 3.0
    assert same_tensors(again, scale)


def test_a_modules_own_save_and_load_are_used(tmp_path):
    save({"0": models.BoW(["a"]), "1": Plain("old"), "2": Modern()}, {}, tmp_path / "model")
    loaded = load(tmp_path / "model", trust_remote_code=True)
    assert loaded.modules["1"].note == "old"
    assert loaded.modules["2"].note == "True 2_Modern True"


@pytest.fixture
def with_code(tmp_path):
    folder = tmp_path / "shifted"
    write(folder / "shifting.py", CODE)
    write(folder / "helper.py", "NOTE = 'from the helper'")
    write(folder / "0_BoW/config.json", {"vocab": ["a", "b"]})
    write(folder / "1_Shift/config.json", {"by": 5})
    entries = listed((MODELS + "BoW", "0_BoW"), ("shifting.Shift", "1_Shift"))
    write(folder / "modules.json", entries)
    return folder


def test_code_of_a_model_runs_only_when_trusted(with_code):
    with pytest.raises(UntrustedCodeError, match="shifting.Shift.*trust_remote_code=True"):
        load(with_code)
    with pytest.warns(SentuneWarning, match="running the code of .*shifting.py"):
        shift = load(with_code, trust_remote_code=True).modules["1"]
    assert (shift.by, shift.note) == (5, "from the helper")


@pytest.mark.filterwarnings("ignore:running the code")
def test_code_of_a_model_is_saved_with_it(with_code, tmp_path):
    loaded = load(with_code, trust_remote_code=True)
    save(loaded.modules, {}, tmp_path / "again")
    assert (tmp_path / "again/shifting.py").read_text() == CODE
    assert (tmp_path / "again/helper.py").exists()
    assert read(tmp_path / "again/modules.json")[1]["type"] == "shifting.Shift"
    assert load(tmp_path / "again", trust_remote_code=True).modules["1"].by == 5


@pytest.mark.filterwarnings("ignore:running the code")
@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("shifting.Nothing", ModelFileError),
        ("no_such_package.Module", MissingDependencyError),
        ("nodots", ModelFileError),
    ],
)
def test_trusted_code_that_is_not_there_says_so(kind, error, with_code):
    entries = read(with_code / "modules.json")
    entries[1]["type"] = kind
    write(with_code / "modules.json", entries)
    with pytest.raises(error, match=f"modules.json.*{kind}"):
        load(with_code, trust_remote_code=True)


@pytest.mark.filterwarnings("ignore:running the code")
def test_trusted_code_that_fails_is_named(with_code):
    write(with_code / "1_Shift/config.json", {"nonsense": 1})
    with pytest.raises(ModelFileError, match="1_Shift.*shifting.Shift.*nonsense"):
        load(with_code, trust_remote_code=True)


def test_an_encoders_own_code_runs_when_trusted(tiny_bert_folder, tmp_path):
    folder = tmp_path / "own"
    folders.shutil.copytree(tiny_bert_folder, folder)
    code = "from transformers import BertConfig, BertModel\n\n\n"
    code += "class Own(BertModel):\n    config_class = BertConfig\n"
    write(folder / "modeling_own.py", code)
    folders.change(folder / "config.json", auto_map={"AutoModel": "modeling_own.Own"})
    assert type(load(folder).modules["0"].auto_model).__name__ == "BertModel"
    with pytest.warns(SentuneWarning, match="running the code of .*own, as allowed by"):
        loaded = load(folder, trust_remote_code=True)
    assert type(loaded.modules["0"].auto_model).__name__ == "Own"


@pytest.mark.filterwarnings("ignore:running the code")
def test_code_of_an_encoder_that_cannot_be_pinned_is_refused(tiny_bert_folder, tmp_path):
    folder = folders.shutil.copytree(tiny_bert_folder, tmp_path / "own")
    own = {"AutoConfig": "a/b--file.Config", "AutoModel": "c/d--file.Model"}
    folders.change(folder / "config.json", auto_map=own)
    assert load(folder).modules["0"].auto_model
    says = "config.json names code in 'a/b', 'c/d'.*code_revision"
    with pytest.raises(UntrustedCodeError, match=says):
        load(folder, trust_remote_code=True)


@pytest.mark.filterwarnings("ignore:running the code")
def test_forward_arguments_that_a_model_names_reach_its_code_and_are_saved(with_code, tmp_path):
    code = CODE.replace("features, **kwargs", "features, task=None, scale=1.0")
    write(with_code / "shifting.py", code.replace("+ self.by}", "* scale, 'seen': task}"))
    entries = read(with_code / "modules.json")
    entries[1]["kwargs"] = ["task", "scale"]
    write(with_code / "modules.json", entries)
    model = SentenceTransformer(str(with_code), trust_remote_code=True)
    plain, scaled = model.encode(["a"]), model.encode(["a"], scale=3.0)
    assert plain.any() and (scaled == 3 * plain).all()
    (output,) = model.encode(["a"], output_value=None, task="retrieval")
    assert output["seen"] == "retrieval"
    with pytest.raises(SettingError, match="unknown arguments.*'scale', 'task'"):
        model.encode(["a"], nonsense=1)
    model.save(tmp_path / "again")
    assert read(tmp_path / "again/modules.json")[1]["kwargs"] == ["task", "scale"]
