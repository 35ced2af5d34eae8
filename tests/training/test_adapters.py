"""LoRA through peft: only the adapter is trained, and it is saved, resumed and loaded as one."""

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import DataLoader

from sentune.data.example import InputExample
from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.errors import (
    InputTypeError,
    MissingDependencyError,
    ModelFileError,
    SettingError,
    TrainingError,
)
from sentune.files.modules.adapters import base_tensors, tensors
from sentune.losses import MultipleNegativesRankingLoss
from sentune.models.pooling import Pooling
from sentune.models.static import StaticEmbedding
from sentune.training.fit import fit
from tests import tiny
from tests.training.tools import PAIRS, assert_equal_weights, assert_trained, trainer, weights

peft = pytest.importorskip("peft")
SEVERAL = pytest.mark.filterwarnings("ignore:Already found a `peft_config`")
TEXTS = ["a dog", "the cat sat on the mat over it", "", "red", "open the file, quick zebra"]


def lora(**options):
    return peft.LoraConfig(**{"r": 4, "target_modules": "all-linear", **options})


def inside(model, config):
    """An adapter in the encoder, as transformers adds it."""
    model.add_adapter(config)


def around(model, config):
    """An adapter around the encoder, as peft adds it."""
    model[0].auto_model = peft.get_peft_model(model[0].auto_model, config)


WAYS = pytest.mark.parametrize("add", [inside, around])


def shaken(model):
    """The model with random numbers in its adapters, which start as nothing."""
    torch.manual_seed(3)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.fixture
def new_model(tiny_bert_folder):
    return lambda: SentenceTransformer(str(tiny_bert_folder), device="cpu")


@pytest.fixture
def with_lora(new_model):
    """Function of a way to add it to a fresh model with an adapter that matters."""

    def make(add=inside, **options):
        model = new_model()
        add(model, lora(**options))
        return shaken(model)

    return make


def vectors(model):
    return torch.as_tensor(model.encode(TEXTS))


def assert_same_vectors(one, other):
    torch.testing.assert_close(vectors(one), vectors(other), rtol=0, atol=0)


def parts(model):
    encoder = model[0].auto_model
    return [{n: x.clone() for n, x in read(encoder).items()} for read in (base_tensors, tensors)]


# What runs ----------------------------------------------------------------------------------------


@WAYS
@pytest.mark.parametrize("kind", tiny.PACKED_KINDS)
def test_packed_equals_padded(tiny_folders, kind, add):
    plain = SentenceTransformer(str(tiny_folders(kind)), device="cpu")
    model = SentenceTransformer(str(tiny_folders(kind)), device="cpu")
    add(model, lora())
    shaken(model)
    assert model.is_packed
    padded = model(model.tokenize(TEXTS))["sentence_embedding"]
    torch.testing.assert_close(vectors(model), padded.detach(), rtol=1e-5, atol=1e-5)
    assert (vectors(model) - vectors(plain)).abs().max() > 0.01
    assert model.max_seq_length == plain.max_seq_length


def test_both_ways_are_one_model(with_lora):
    assert_same_vectors(with_lora(inside), with_lora(around))


@WAYS
def test_pairs_keep_their_token_types(tiny_bert_folder, add):
    """peft's class for features has no argument of that name."""
    model = SentenceTransformer(str(tiny_bert_folder), device="cpu")
    pair = [["a dog", "the cat"]]
    before = model(model.tokenize(pair))["sentence_embedding"]
    add(model, lora(task_type="FEATURE_EXTRACTION"))
    after = model(model.tokenize(pair))["sentence_embedding"]
    torch.testing.assert_close(before, after, rtol=0, atol=0)


def test_an_adapter_of_virtual_tokens_is_refused(new_model):
    model = new_model()
    around(model, peft.PromptTuningConfig(task_type="FEATURE_EXTRACTION", num_virtual_tokens=2))
    with pytest.raises(SettingError, match="LoraConfig"):
        model.encode(TEXTS)


@SEVERAL
def test_the_methods_of_adapters(with_lora, new_model):
    model, plain = with_lora(), new_model()
    assert model.active_adapters() == ["default"]
    first = vectors(model)
    model.add_adapter(lora(), "second")
    assert model.active_adapters() == ["second"]
    assert_same_vectors(model, plain)  # it starts as nothing
    model.set_adapter("default")
    assert torch.equal(vectors(model), first)
    model.disable_adapters()
    assert_same_vectors(model, plain)
    model.enable_adapters()
    assert torch.equal(vectors(model), first)
    state = model.get_adapter_state_dict("default")
    assert state and all("lora_" in name for name in state)
    model.delete_adapter("second")
    with pytest.raises(SettingError, match="'second'"):
        model.set_adapter("second")
    model.delete_adapter("default")
    assert_same_vectors(model, plain)
    for method in ("active_adapters", "disable_adapters", "enable_adapters"):
        with pytest.raises(SettingError, match="add_adapter"):
            getattr(model, method)()


def test_an_adapter_is_loaded_into_a_model(with_lora, new_model, tmp_path):
    model, other = with_lora(), new_model()
    model.save(str(tmp_path))
    other.load_adapter(str(tmp_path), adapter_name="read", is_trainable=True)
    assert_same_vectors(other, model)
    assert any(p.requires_grad for n, p in other.named_parameters() if "lora_" in n)


def test_what_cannot_have_an_adapter_says_so(new_model, with_lora):
    with pytest.raises(InputTypeError, match="LoraConfig"):
        new_model().add_adapter({"r": 8})
    with pytest.raises(SettingError, match="already"):
        with_lora().add_adapter(lora())
    with pytest.raises(SettingError, match="get_peft_model"):
        with_lora(around).active_adapters()
    static = SentenceTransformer(
        modules=[StaticEmbedding(tiny.tokenizer(), embedding_dim=8)], device="cpu"
    )
    with pytest.raises(SettingError, match="StaticEmbedding"):
        static.add_adapter(lora())


def test_without_peft_the_extra_is_named(with_lora, new_model, tmp_path, monkeypatch):
    with_lora().save(str(tmp_path))
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "sentune\[peft\]"'):
        new_model().add_adapter(SimpleNamespace())
    with pytest.raises(MissingDependencyError, match=r'pip install "sentune\[peft\]"'):
        SentenceTransformer(str(tmp_path), device="cpu")


def test_a_peft_too_old_for_transformers_is_named(with_lora, new_model, tmp_path, monkeypatch):
    """As peft 0.21 with transformers 5.24, the newest of both at one time."""
    with_lora().save(str(tmp_path))
    loaded = SentenceTransformer(str(tmp_path), device="cpu")
    monkeypatch.setattr("transformers.integrations.peft.MIN_PEFT_VERSION", "99.1")
    message = re.escape(f"peft 99.1 and newer, and peft {peft.__version__} is installed")
    for use in (
        lambda: new_model().add_adapter(lora()),
        lambda: new_model().load_adapter(str(tmp_path)),
        lambda: SentenceTransformer(str(tmp_path), device="cpu"),
        loaded.disable_adapters,
        lambda: loaded.set_adapter("default"),
    ):
        with pytest.raises(MissingDependencyError, match=message):
            use()


# Training -----------------------------------------------------------------------------------------


def by_trainer(model, folder):
    trainer(model, folder, num_train_epochs=2).train()


def by_fit(model, folder):
    rows = [InputExample(texts=list(row)) for row in zip(*PAIRS.values(), strict=True)]
    loader = DataLoader(rows, batch_size=4)
    fit(
        model,
        [(loader, MultipleNegativesRankingLoss(model))],
        epochs=2,
        warmup_steps=0,
        optimizer_params={"lr": 1e-3},
        show_progress_bar=False,
    )


def by_checkpointed_trainer(model, folder):
    trainer(model, folder, gradient_checkpointing=True).train()


@WAYS
@pytest.mark.parametrize("train", [by_trainer, by_fit, by_checkpointed_trainer])
def test_only_the_adapter_is_trained(with_lora, tmp_path, add, train):
    model = with_lora(add)
    base, adapter = parts(model)
    train(model, tmp_path)
    base_after, adapter_after = parts(model)
    assert_equal_weights(base, base_after)
    assert_trained(adapter, adapter_after)
    moved = [name for name in adapter if not torch.equal(adapter[name], adapter_after[name])]
    # All but the pooler's, which the embedding does not see.
    assert sorted(moved) == sorted(name for name in adapter if "pooler" not in name)


@pytest.fixture(scope="module")
def dropout_folder(tmp_path_factory):
    return tiny.make_folder(tmp_path_factory.mktemp("dropout") / "bert", dropout=0.1)


@WAYS
def test_a_resumed_run_ends_with_the_same_bits(dropout_folder, tmp_path, add):
    def run(place):
        model = SentenceTransformer(str(dropout_folder), device="cpu")
        torch.manual_seed(1)
        add(model, lora(lora_dropout=0.1))
        options = {"save_strategy": "steps", "save_steps": 1, "weight_decay": 0.01}
        return trainer(model, place, num_train_epochs=3, warmup_steps=2, **options)

    whole, broken = run(tmp_path / "whole"), run(tmp_path / "broken")
    whole.train()
    checkpoint = tmp_path / "whole" / "checkpoint-4"
    names = {path.name for path in checkpoint.iterdir()}
    assert "adapter_model.safetensors" in names and "model.safetensors" not in names
    broken.train(resume_from_checkpoint=str(checkpoint))
    assert broken.state.global_step == whole.state.global_step == 9
    assert_equal_weights(weights(whole.model), weights(broken.model))
    found = SentenceTransformer(str(tmp_path / "broken" / "checkpoint-9"), device="cpu")
    assert_same_vectors(found, whole.model.eval())


def test_the_best_adapter_comes_back(with_lora, tmp_path):
    seen = []

    def score(model, output_path=None, epoch=-1, steps=-1):
        seen.append(parts(model)[1])
        return {"score": -float(len(seen))}  # the first is the best

    score.primary_metric = "score"
    model = with_lora()
    options = {"eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1}
    best = {"load_best_model_at_end": True, "metric_for_best_model": "eval_score"}
    trainer(model, tmp_path, evaluator=score, **options, **best).train()
    assert len(seen) == 3
    assert_trained(seen[0], seen[-1])
    assert_equal_weights(seen[0], parts(model)[1])


def test_a_checkpoint_without_an_adapter_is_no_checkpoint_of_this_model(
    with_lora, new_model, tmp_path
):
    new_model().save(str(tmp_path / "plain"))
    (tmp_path / "plain" / "trainer_state.json").write_text("{}")
    with pytest.raises(TrainingError, match="holds no adapter"):
        trainer(with_lora(), tmp_path)._load_from_checkpoint(str(tmp_path / "plain"))


# Files --------------------------------------------------------------------------------------------


@WAYS
@pytest.mark.parametrize("safe", [True, False])
def test_an_adapter_is_saved_without_its_encoder(with_lora, tiny_bert_folder, tmp_path, add, safe):
    model = with_lora(add)
    model.save(str(tmp_path), safe_serialization=safe)
    names = {path.name for path in tmp_path.iterdir()}
    own = {"adapter_config.json", "adapter_model.safetensors", "modules.json", "README.md"}
    assert own <= names
    assert not {"config.json", "model.safetensors", "pytorch_model.bin"} & names
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tiny_bert_folder)
    assert config["target_modules"] == sorted(config["target_modules"])
    found = SentenceTransformer(str(tmp_path), device="cpu")
    assert_same_vectors(found, model)
    assert found.is_packed and found.active_adapters() == ["default"]
    assert found.max_seq_length == model.max_seq_length


@SEVERAL
def test_only_the_active_adapter_is_saved(with_lora, new_model, tmp_path, caplog):
    model = with_lora()
    model.add_adapter(lora(), "second")
    model.save(str(tmp_path))
    assert "not ['default']" in caplog.text
    assert_same_vectors(SentenceTransformer(str(tmp_path), device="cpu"), new_model())
    model.set_adapter(["default", "second"])
    with pytest.raises(SettingError, match="set_adapter"):
        model.save(str(tmp_path))


def test_a_merged_adapter_is_not_saved_twice(with_lora, tmp_path):
    model = with_lora(around)
    before = vectors(model)
    model[0].auto_model.merge_adapter()
    with pytest.raises(SettingError, match="unmerge"):
        model.save(str(tmp_path / "merged"))
    model[0].auto_model = model[0].auto_model.unload()
    model.save(str(tmp_path / "unloaded"))
    found = SentenceTransformer(str(tmp_path / "unloaded"), device="cpu")
    torch.testing.assert_close(vectors(found), before, rtol=1e-5, atol=1e-5)
    assert not (tmp_path / "unloaded" / "adapter_config.json").exists()


@WAYS
@pytest.mark.parametrize("safe", [True, False])
def test_a_model_is_saved_where_its_encoder_is(new_model, tmp_path, add, safe):
    """The encoder's weights stay: the adapter alone would be worth nothing."""
    new_model().save(str(tmp_path))
    model = SentenceTransformer(str(tmp_path), device="cpu")
    add(model, lora())
    shaken(model).save(str(tmp_path), safe_serialization=safe)
    found = SentenceTransformer(str(tmp_path), device="cpu")
    assert_same_vectors(found, model)
    found.save(str(tmp_path / "copy"))  # of an encoder and an adapter in one folder
    assert_same_vectors(SentenceTransformer(str(tmp_path / "copy"), device="cpu"), model)


@WAYS
def test_an_encoder_that_was_trained_before_is_saved_too(new_model, tmp_path, add):
    """Its weights are no longer those that the adapter's file would name."""
    model = new_model()
    trainer(model, tmp_path / "run").train()
    add(model, lora(modules_to_save=["word_embeddings"]))
    shaken(model).eval().save(str(tmp_path / "model"))
    assert (tmp_path / "model" / "model.safetensors").exists()
    assert_same_vectors(SentenceTransformer(str(tmp_path / "model"), device="cpu"), model)


def test_an_encoder_that_came_from_nowhere_is_saved_too(with_lora, tmp_path):
    model = with_lora()
    model[0].auto_model.name_or_path = ""
    model.save(str(tmp_path))
    assert_same_vectors(SentenceTransformer(str(tmp_path), device="cpu"), model)


def test_an_adapter_as_peft_saves_it_becomes_a_model(with_lora, tmp_path):
    model = with_lora(around)
    model[0].auto_model.save_pretrained(str(tmp_path))
    assert not (tmp_path / "modules.json").exists()
    found = SentenceTransformer(str(tmp_path), device="cpu")
    assert isinstance(found[1], Pooling)
    assert_same_vectors(found, model)


# Where the encoder may be -------------------------------------------------------------------------


def renamed(folder, base):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "base_model_name_or_path": base}))


@pytest.mark.parametrize("base", ["other", "owner/of-no-such-model", None])
def test_a_folder_with_its_own_encoder_leads_nowhere_else(new_model, tiny_folders, tmp_path, base):
    new_model().save(str(tmp_path))
    model = SentenceTransformer(str(tmp_path), device="cpu")
    model.add_adapter(lora())
    shaken(model).save(str(tmp_path))
    renamed(
        tmp_path, str(tiny.make_folder(tmp_path / "other", seed=9)) if base == "other" else base
    )
    assert_same_vectors(SentenceTransformer(str(tmp_path), device="cpu"), model)


def test_an_adapter_from_the_hub_reads_no_folder_of_this_machine(with_lora, tmp_path):
    snapshot = tmp_path / "models--a--b" / "snapshots" / ("0" * 40)
    (tmp_path / "models--a--b" / "blobs").mkdir(parents=True)
    with_lora().save(str(snapshot))
    with pytest.raises(ModelFileError, match="neither a folder here nor on the Hub"):
        SentenceTransformer(str(snapshot), device="cpu")


def test_an_adapter_for_a_model_of_the_hub_names_it(new_model, tmp_path, tiny_folders):
    snapshot = tmp_path / "models--owner--base" / "snapshots" / ("0" * 40)
    new_model().save(str(snapshot))
    model = SentenceTransformer(str(snapshot), device="cpu")
    model.add_adapter(lora())
    model.save(str(tmp_path / "model"))
    config = json.loads((tmp_path / "model" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "owner/base"
    assert not (tmp_path / "model" / "model.safetensors").exists()


@pytest.mark.parametrize("base", ["/no/such/folder", "../base", 7, None])
def test_an_encoder_that_is_not_there_is_named(with_lora, tmp_path, base):
    with_lora().save(str(tmp_path))
    renamed(tmp_path, base)
    with pytest.raises(ModelFileError, match=r"adapter_config\.json.*base_model_name_or_path"):
        SentenceTransformer(str(tmp_path), device="cpu")


def test_an_adapter_of_an_adapter_is_refused(with_lora, tmp_path):
    for name in ("one", "two"):
        with_lora().save(str(tmp_path / name))
    renamed(tmp_path / "two", str(tmp_path / "one"))
    with pytest.raises(ModelFileError, match="no plain encoder"):
        SentenceTransformer(str(tmp_path / "two"), device="cpu")


def test_an_older_adapter_is_a_pickle_of_plain_tensors(with_lora, tmp_path):
    from safetensors.torch import load_file

    model = with_lora()
    model.save(str(tmp_path))
    path = tmp_path / "adapter_model.safetensors"
    torch.save(load_file(path), tmp_path / "adapter_model.bin")
    path.unlink()
    assert_same_vectors(SentenceTransformer(str(tmp_path), device="cpu"), model)
    torch.save({"x": Path("a")}, tmp_path / "adapter_model.bin")
    with pytest.raises(ModelFileError, match="could not be read as plain tensors"):
        SentenceTransformer(str(tmp_path), device="cpu")
    (tmp_path / "adapter_model.bin").unlink()
    with pytest.raises(ModelFileError, match="adapter_model.safetensors is missing"):
        SentenceTransformer(str(tmp_path), device="cpu")


def test_a_missing_tensor_is_named(with_lora, tmp_path):
    from safetensors.torch import load_file, save_file

    with_lora().save(str(tmp_path))
    path = tmp_path / "adapter_model.safetensors"
    found = load_file(path)
    found.pop(sorted(found)[0])
    save_file(found, path, metadata={"format": "pt"})
    with pytest.raises(ModelFileError, match="lacks the tensors"):
        SentenceTransformer(str(tmp_path), device="cpu")
