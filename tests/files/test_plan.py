"""What a folder says of a model; a row of the table is all that a module needs."""

import json
import subprocess
import sys
import time

import pytest
import torch

from sentune import CrossEncoder, SentenceTransformer
from sentune.errors import ModelFileError
from sentune.files import layout
from sentune.files.kinds import CROSS_ENCODER, KINDS, SENTENCE_TRANSFORMER
from sentune.files.plan import plan
from sentune.files.save import save
from sentune.folders import keys
from sentune.folders.source import local_folder
from sentune.models import Dense, Module, Normalize, Pooling, Router, Transformer
from sentune.vectors.similarity import OF_VECTORS
from tests.files.folders import change, load


class Shift(Module):
    """A module that no table knows: adds a vector, times a number."""

    def __init__(self, width: int, times: float = 1.0) -> None:
        super().__init__()
        self.times = times
        self.by = torch.nn.Parameter(torch.zeros(width))

    def forward(self, features, **kwargs):
        vector = features["sentence_embedding"] + self.times * self.by
        return {**features, "sentence_embedding": vector}

    def settings(self):
        return {"width": len(self.by), "times": self.times}


ROW = layout.ModuleType(
    "Shift",
    {"width": keys.SIZE, "times": keys.NUMBER},
    needs=("width",),
    weights="yes",
    home=__name__,
    written_home=__name__,
)


@pytest.fixture
def shifted(tiny_bert_folder, tmp_path, monkeypatch):
    """A saved model with the module, which is in the table by one row and nothing else."""
    monkeypatch.setitem(layout.MODULES, "Shift", ROW)
    encoder = Transformer(tiny_bert_folder)
    shift = Shift(encoder.get_embedding_dimension(), times=0.5)
    torch.nn.init.normal_(shift.by)
    model = SentenceTransformer(modules=[encoder, Pooling(32), shift], device="cpu")
    model.save(tmp_path / "model")
    return model, tmp_path / "model"


def test_one_row_is_all_that_a_module_needs(shifted):
    model, folder = shifted
    planned = plan(local_folder(folder)).modules["2"]
    assert planned.row is ROW
    assert planned.settings == {"width": 32, "times": 0.5}
    assert planned.weights == folder / "2_Shift" / "model.safetensors"
    again = SentenceTransformer(str(folder), device="cpu")
    assert type(again[2]) is Shift
    texts = ["the cat", "a dog sat on the mat"]
    torch.testing.assert_close(
        again.encode(texts, convert_to_tensor=True), model.encode(texts, convert_to_tensor=True)
    )


@pytest.mark.parametrize(
    ("changes", "key"),
    [({"width": 0}, "width"), ({"times": "twice"}, "times"), ({"colour": "red"}, "colour")],
)
def test_a_corrupt_config_is_refused_by_file_and_key(shifted, changes, key):
    _, folder = shifted
    change(folder / "2_Shift" / "config.json", **changes)
    with pytest.raises(ModelFileError, match=f"2_Shift/config.json.*{key}"):
        plan(local_folder(folder))
    with pytest.raises(ModelFileError, match=f"2_Shift/config.json.*{key}"):
        load(folder)


def test_weights_that_are_missing_are_named(shifted):
    _, folder = shifted
    (folder / "2_Shift" / "model.safetensors").unlink()
    with pytest.raises(ModelFileError, match="2_Shift/model.safetensors is missing"):
        plan(local_folder(folder))


def test_a_subclass_of_a_row_needs_trust_and_comes_back(shifted):
    _, folder = shifted
    change_type = json.loads((folder / "modules.json").read_text())
    change_type[2]["type"] = f"{__name__}.Unlisted"
    (folder / "modules.json").write_text(json.dumps(change_type))
    with pytest.raises(ModelFileError, match="trust_remote_code=True"):
        plan(local_folder(folder))
    again = load(folder, trust_remote_code=True).modules["2"]
    assert type(again) is Unlisted and again.times == 0.5


class Unlisted(Shift):
    """No row of its own."""


def test_a_plan_has_all_that_a_runner_needs(tiny_bert_folder, tmp_path):
    encoder = Transformer(tiny_bert_folder, max_seq_length=20)
    routes = {"query": [Dense(32, 8)], "document": [Dense(32, 8), Normalize()]}
    model = SentenceTransformer(
        modules=[encoder, Pooling(32, "cls"), Router(routes, "query")],
        prompts={"query": "ask: "},
        default_prompt_name="query",
        similarity_fn_name="dot",
        truncate_dim=4,
        device="cpu",
    )
    model.save(tmp_path / "model")
    found = plan(local_folder(tmp_path / "model"))
    assert found.kind is SENTENCE_TRANSFORMER and not found.is_plain
    assert [one.row.name for one in found.modules.values()] == ["Transformer", "Pooling", "Router"]
    assert found.modules["0"].settings["max_seq_length"] == 20
    assert found.modules["1"].settings["pooling_mode"] == "cls"
    router = found.modules["2"]
    assert [part.row.name for part in router.parts.values()] == ["Dense", "Dense", "Normalize"]
    assert all(part.weights for part in router.parts.values() if part.row.name == "Dense")
    expected = {"default_prompt_name": "query", "similarity_fn_name": "dot", "truncate_dim": 4}
    assert expected.items() <= found.settings.items()
    assert found.settings["prompts"]["query"] == "ask: "
    assert found.card.startswith("---")


def test_a_plan_is_made_without_torch(tiny_bert_folder, tmp_path):
    save({"0": Transformer(tiny_bert_folder), "1": Pooling(32)}, {}, tmp_path / "model")
    code = f"""
import sys
class Blocked:
    def find_spec(self, name, *args):
        if name.partition(".")[0] in ("torch", "transformers"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
from sentune.files.plan import plan
from sentune.folders.source import local_folder
from pathlib import Path
print(list(plan(local_folder(Path({str(tmp_path / "model")!r}))).modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "['0', '1']", done.stderr


@pytest.mark.slow
def test_a_plan_of_a_real_model_takes_milliseconds(minilm_folder):
    plan(local_folder(minilm_folder))
    times = []
    for _ in range(5):
        start = time.perf_counter()
        plan(local_folder(minilm_folder))
        times.append(time.perf_counter() - start)
    assert min(times) < 0.05


# Kinds of models ----------------------------------------------------------------------------------


def test_similarities_are_those_that_there_are():
    assert tuple(SENTENCE_TRANSFORMER.similarities) == tuple(OF_VECTORS)


def test_a_kind_is_named_as_its_class():
    assert SentenceTransformer.kind is KINDS["SentenceTransformer"]
    assert CrossEncoder.kind is KINDS["CrossEncoder"] is CROSS_ENCODER
    assert all(name == kind.name for name, kind in KINDS.items())


def test_a_sentence_transformer_is_no_cross_encoder(tiny_bert_folder, tmp_path):
    save({"0": Transformer(tiny_bert_folder), "1": Pooling(32)}, {}, tmp_path / "model")
    change(tmp_path / "model" / "config_sentence_transformers.json", model_type=None)
    with pytest.raises(ModelFileError, match="load it with sentune.SentenceTransformer"):
        CrossEncoder(str(tmp_path / "model"))
