"""A model with a LoRA adapter, saved by either library and loaded by the other."""

import json

import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file

from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.losses import MultipleNegativesRankingLoss
from sentune.training.arguments import SentenceTransformerTrainingArguments
from sentune.training.trainer import SentenceTransformerTrainer
from tests.training.tools import PAIRS, assert_trained

peer = pytest.importorskip("sentence_transformers")
peft = pytest.importorskip("peft")
peer_losses = pytest.importorskip("sentence_transformers.losses")
pytestmark = pytest.mark.filterwarnings("ignore")

TEXTS = ["a dog", "the cat sat on the mat over it", "", "open the file, quick zebra"]
METHODS = (
    "add_adapter load_adapter set_adapter enable_adapters disable_adapters active_adapters "
    "get_adapter_state_dict delete_adapter"
).split()


def lora(**options):
    return peft.LoraConfig(r=4, target_modules=["query", "value"], **options)


def with_lora(library, folder):
    model = library.SentenceTransformer(str(folder), device="cpu")
    model.add_adapter(lora())
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return model


class Own:
    SentenceTransformer = SentenceTransformer


def assert_same_vectors(one, other):
    found = [torch.as_tensor(model.encode(TEXTS)) for model in (one, other)]
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-5)


def test_the_methods_have_the_same_names():
    for name in METHODS:
        assert callable(getattr(SentenceTransformer, name))
        assert callable(getattr(peer.SentenceTransformer, name))


@pytest.mark.parametrize(("writer", "reader"), [(Own, peer), (peer, Own)])
@pytest.mark.parametrize("is_in_place", [False, True])
def test_saved_by_one_and_loaded_by_the_other(
    tiny_bert_folder, tmp_path, writer, reader, is_in_place
):
    base = tiny_bert_folder
    if is_in_place:
        base = tmp_path
        writer.SentenceTransformer(str(tiny_bert_folder), device="cpu").save(str(base))
    model = with_lora(writer, base)
    model.save(str(tmp_path))
    assert (tmp_path / "adapter_config.json").exists()
    found = reader.SentenceTransformer(str(tmp_path), device="cpu")
    assert_same_vectors(found, model)
    assert list(found.active_adapters()) == ["default"]


def test_the_files_of_the_adapter_are_the_same(tiny_bert_folder, tmp_path):
    for name, library in (("own", Own), ("peer", peer)):
        with_lora(library, tiny_bert_folder).save(str(tmp_path / name))
    own, theirs = tmp_path / "own", tmp_path / "peer"
    names = [{path.name for path in folder.iterdir()} for folder in (own, theirs)]
    assert names[0] == names[1]
    tensors = [load_file(folder / "adapter_model.safetensors") for folder in (own, theirs)]
    assert tensors[0].keys() == tensors[1].keys()
    assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])
    configs = [json.loads((f / "adapter_config.json").read_text()) for f in (own, theirs)]
    for config in configs:
        config["target_modules"] = sorted(config["target_modules"])  # from a set
    assert configs[0] == configs[1]


def test_training_moves_the_adapter_alike(tiny_bert_folder, tmp_path):
    own, theirs = with_lora(Own, tiny_bert_folder), with_lora(peer, tiny_bert_folder)
    before = {name: x.clone() for name, x in own.get_adapter_state_dict().items()}
    settings = {
        "output_dir": str(tmp_path),
        "per_device_train_batch_size": 4,
        "num_train_epochs": 2,
        "learning_rate": 1e-3,
        "adam_epsilon": 1e-4,  # see test_training.py
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
    }
    data = Dataset.from_dict(PAIRS)
    SentenceTransformerTrainer(
        own,
        SentenceTransformerTrainingArguments(**settings),
        data,
        loss=MultipleNegativesRankingLoss(own),
    ).train()
    peer.SentenceTransformerTrainer(
        theirs,
        peer.SentenceTransformerTrainingArguments(**settings),
        data,
        loss=peer_losses.MultipleNegativesRankingLoss(theirs),
    ).train()
    after, expected = own.get_adapter_state_dict(), theirs.get_adapter_state_dict()
    assert_trained(before, after)
    assert after.keys() == expected.keys()
    for name, tensor in after.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-5, msg=name)
