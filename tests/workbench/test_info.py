"""What `info` reads of a folder is what the loaded model says of itself."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from sentune import CrossEncoder, SentenceTransformer, load, models
from sentune.cli import main
from sentune.errors import HubError, MissingModelError, ModelFileError, SettingError
from sentune.workbench import info
from tests import tiny
from tests.engine.test_classification_heads import classifier
from tests.files.folders import read, write
from tests.share.test_push import NAME, TOKEN, hub  # noqa: F401  (a fixture)


def change(path, edit):
    write(path, edit(read(path)))


def agree(folder, model):
    """Figures of the files and of the model that is loaded from them."""
    found = info(folder)
    loaded = [(name, type(module).__name__) for name, module in model.named_children()]
    assert [(module.name, module.type) for module in found.modules] == loaded
    assert found.is_packed == model.is_packed, found.why_not_packed
    assert bool(found.why_not_packed) == (not found.is_packed)
    assert found.max_tokens == model.max_seq_length
    prompts = [{k: v for k, v in one.items() if v} for one in (found.prompts, model.prompts)]
    assert prompts[0] == prompts[1]
    return found


@pytest.mark.parametrize("kind", ["bert", "roberta", "modernbert", "mpnet", "distilbert"])
def test_it_agrees_with_the_loaded_model(kind, tiny_folders, tmp_path):
    transformer = models.Transformer(tiny_folders(kind))
    width = transformer.get_embedding_dimension()
    model = SentenceTransformer(
        modules=[transformer, models.Pooling(width, "cls"), models.Dense(width, 12)],
        prompts={"query": "query: "},
        similarity_fn_name="dot",
        device="cpu",
    )
    model.save(str(tmp_path))
    found = agree(tmp_path, model)
    assert (found.kind, found.width, found.similarity) == ("SentenceTransformer", 12, "dot")
    assert found.parameters == sum(part.numel() for part in model.parameters())
    assert dict(found.precision) == {"float32": found.parameters}
    assert found.modules[2].parameters == 12 * width + 12
    assert 4 * found.parameters < found.weight_bytes < found.all_bytes
    assert found.history.written_by["sentune"]
    assert "sentence-transformers" not in found.history.written_by  # its files only say so
    if kind == "mpnet":
        assert "'mpnet' run padded" in found.why_not_packed


def test_a_plain_checkpoint_gets_the_pooling_that_a_loader_adds(tiny_bert_folder):
    found = agree(tiny_bert_folder, SentenceTransformer(str(tiny_bert_folder), device="cpu"))
    assert found.width == 32 and found.is_packed
    assert "without modules.json" in found.history.format


@pytest.mark.parametrize("labels", [1, 3])
def test_a_cross_encoder(labels, tiny_bert_folder, tmp_path, recwarn):
    CrossEncoder(str(tiny_bert_folder), num_labels=labels, device="cpu").save(str(tmp_path))
    found = agree(tmp_path, CrossEncoder(str(tmp_path), device="cpu"))
    assert (found.kind, found.labels, found.width) == ("CrossEncoder", labels, None)
    assert f"{labels} score{'s' if labels > 1 else ''} a pair" in str(found)


def test_routes_and_static_embeddings(tiny_bert_folder, tmp_path):
    document = models.Transformer(tiny_bert_folder)
    query = models.StaticEmbedding(document.tokenizer.backend_tokenizer, embedding_dim=32)
    router = models.Router.for_query_document([query], [document, models.Pooling(32)])
    model = SentenceTransformer(modules=[router, models.Normalize()], device="cpu")
    model.save(str(tmp_path))
    found = agree(tmp_path, model)
    assert found.modules[0].details == "query: StaticEmbedding; document: Transformer, Pooling"
    assert found.width == 32
    assert found.parameters == sum(part.numel() for part in model.parameters())


def test_weights_of_any_type_are_counted_and_not_loaded(tiny_model, tmp_path, monkeypatch):
    tiny_model.save(str(tmp_path / "half"))
    path = tmp_path / "half" / "model.safetensors"
    tensors = load_file(path)
    tensors["position_ids"] = torch.arange(64)
    save_file({name: one.bfloat16() if one.is_floating_point() else one
               for name, one in tensors.items()}, path)  # fmt: skip
    tiny_model.save(str(tmp_path / "pickle"), safe_serialization=False)
    for name in ("safetensors.torch.load_file", "sentune.folders.weights.load_file"):
        monkeypatch.setattr(name, lambda *_: pytest.fail("weights were loaded"))
    count = sum(part.numel() for part in tiny_model.parameters())
    assert dict(info(tmp_path / "half").precision) == {"bfloat16": count}
    assert dict(info(tmp_path / "pickle").precision) == {"float32": count}


def test_truncated_dimensions_and_an_engine_that_is_off(tiny_model, tmp_path, monkeypatch):
    tiny_model.truncate_dim = 8
    tiny_model.save(str(tmp_path))
    assert info(tmp_path).width == 8
    monkeypatch.setenv("SENTUNE_ENGINE", "off")
    found = info(tmp_path)
    assert not found.is_packed and "SENTUNE_ENGINE" in found.why_not_packed


@pytest.mark.parametrize(
    ("types", "says"),
    [
        ("sentence_transformers.models.", "2.x to 5.3"),
        ("sentence_transformers.base.modules.", "5.4 and later"),
        ("sentence_transformers.sentence_transformer.modules.", "5.4 and later"),
    ],
)
def test_the_generation_of_the_format(types, says, tiny_model, tmp_path):
    tiny_model.save(str(tmp_path))
    names = {0: "Transformer", 1: "Pooling"}
    change(
        tmp_path / "modules.json",
        lambda entries: [{**one, "type": types + names[one["idx"]]} for one in entries],
    )
    assert says in info(tmp_path).history.format


CARD = """---
language: [en, de]
license: mit
base_model: someone/base
datasets:
- one
- {other}
model-index:
- name: x
  results: [{{task: 1}}
---
text
"""


def test_where_it_comes_from(tiny_model, tmp_path):
    """The front of the card is read without its results, which need not even be YAML."""
    tiny_model.save(str(tmp_path))
    (tmp_path / "README.md").write_text(CARD.format(other="two"), encoding="utf-8")
    history = info(tmp_path).history
    assert history.base_model == "someone/base" and history.datasets == ("one", "two")
    assert (history.license, history.languages) == ("mit", ("en", "de"))
    (tmp_path / "README.md").write_text("---\n: [\n---\n", encoding="utf-8")
    assert info(tmp_path).history.datasets == ()


def test_runs_that_are_recorded(tiny_model, tmp_path):
    from datasets import Dataset

    from sentune import SentenceTransformerTrainer, SentenceTransformerTrainingArguments, losses

    data = Dataset.from_dict({"anchor": ["a dog", "a cat"] * 4, "positive": ["red", "blue"] * 4})
    args = SentenceTransformerTrainingArguments(
        str(tmp_path / "run"), max_steps=2, report_to="none", save_strategy="no", use_cpu=True
    )
    loss = losses.MultipleNegativesRankingLoss(tiny_model)
    trainer = SentenceTransformerTrainer(tiny_model, args, data, loss=loss)
    trainer.train()
    trainer.save_model(str(tmp_path / "model"))
    (run,) = info(tmp_path / "model").history.runs
    assert run == "MultipleNegativesRankingLoss on 8 rows, 2 steps"

    record = {
        "version": 1,
        "kind": "train",
        "data": {"source": [{"name": "q.csv"}], "rows": {"train": 1200}},
        "decision": {"kept": "trained", "candidate": "CoSENTLoss", "reason": "It is better."},
    }
    write(tmp_path / "model" / "run.json", record)
    history = info(tmp_path / "model").history
    assert history.runs == ("sentune train on 1,200 rows kept CoSENTLoss: It is better.",)
    assert "q.csv" in history.datasets
    record["decision"] = {"kept": "start", "reason": "Nothing is better."}
    write(tmp_path / "model" / "run.json", record)
    history = info(tmp_path / "model").history
    assert history.runs == ("sentune train on 1,200 rows kept the start: Nothing is better.",)
    assert "q.csv" not in history.datasets
    write(tmp_path / "model" / "run.json", "{")
    assert "cannot be read" in info(tmp_path / "model").history.runs[0]


def test_code_of_the_models_own_is_named_and_not_run(tiny_model, tmp_path):
    tiny_model.save(str(tmp_path))
    (tmp_path / "own.py").write_text("raise RuntimeError('it ran')\n", encoding="utf-8")
    change(
        tmp_path / "modules.json", lambda entries: [entries[0], {**entries[1], "type": "own.Head"}]
    )
    found = info(tmp_path)
    assert found.modules[1].type == "own.Head" and "not run here" in found.modules[1].details
    assert not found.is_packed and found.width is None
    change(tmp_path / "config.json", lambda config: {
        **config, "model_type": "new", "auto_map": {"AutoConfig": "own.Config"}})  # fmt: skip
    assert "not run here" in info(tmp_path).modules[0].details


def test_the_command_prints_it_for_a_person_and_as_json(tiny_model, tmp_path, capsys):
    tiny_model.save(str(tmp_path))
    assert main(["info", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "0. Transformer: BertModel, 2 layers, 4 heads, 32 wide" in said.out
    assert "embeddings     32 numbers a text, 128 bytes in float32; compared by cosine" in said.out
    assert "reads at most  64 tokens" in said.out and "runs packed    yes" in said.out
    assert main(["info", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["width"], found["is_packed"], found["kind"]) == (32, True, "SentenceTransformer")
    assert found["modules"][1]["type"] == "Pooling"


def test_what_is_no_model_is_an_error(tmp_path, capsys):
    with pytest.raises(MissingModelError):
        info(tmp_path / "nowhere")
    with pytest.raises(HubError):
        info("nobody/nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelFileError, match="is no model"):
        info(tmp_path / "empty")
    assert main(["info", str(tmp_path / "empty")]) == 2
    assert capsys.readouterr().err.startswith("sentune info: ")


def test_an_adapter_is_said_with_its_base(tiny_bert_folder, tmp_path):
    peft = pytest.importorskip("peft")
    model = SentenceTransformer(str(tiny_bert_folder), device="cpu")
    whole = sum(part.numel() for part in model.parameters())
    model.add_adapter(peft.LoraConfig(r=4, target_modules=["query", "value"]))
    model.save(str(tmp_path / "model"))
    found = info(tmp_path / "model")
    assert found.adapter_of == str(tiny_bert_folder) and found.base_parameters == whole
    assert 0 < found.parameters < whole
    assert f"{tiny_bert_folder}: {found.parameters:,} + {whole:,} weights" in " ".join(
        str(found).split()
    )


def test_a_checkpoint_that_classifies_is_a_cross_encoder(tmp_path):
    classifier(tmp_path, "bert", 3)
    found = agree(tmp_path, CrossEncoder(str(tmp_path), device="cpu"))
    assert (found.kind, found.labels) == ("CrossEncoder", 3)
    assert isinstance(load(str(tmp_path), device="cpu"), CrossEncoder)
    SentenceTransformer(str(tmp_path), device="cpu")  # who wants its encoder gets it


def test_a_folder_without_weights_is_an_error(tiny_model, tmp_path, capsys):
    tiny_model.save(str(tmp_path))
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(MissingModelError, match="no weights for the module Transformer"):
        info(tmp_path)
    assert main(["info", str(tmp_path)]) == 2


def test_a_setting_of_the_wrong_type_is_an_error(tiny_model, tmp_path):
    tiny_model.save(str(tmp_path))
    change(tmp_path / "config.json", lambda config: {**config, "num_hidden_layers": "two"})
    with pytest.raises(ModelFileError, match="num_hidden_layers"):
        info(tmp_path)


def test_a_folder_has_no_revisions(tiny_model, tmp_path):
    tiny_model.save(str(tmp_path))
    with pytest.raises(SettingError, match="has no revisions"):
        info(tmp_path, revision="main")


def test_a_model_that_reads_all_of_a_text(tmp_path):
    SentenceTransformer(modules=[models.BoW(["a", "b"])], device="cpu").save(str(tmp_path))
    assert "reads all of a text" in " ".join(str(info(tmp_path)).split())


def test_sizes_in_words():
    from sentune.workbench.models.sizes import in_words

    sizes = (0, 999, 1000, 90_900_000, 123_400_000, 2_000_000_000_000_000)
    words = ["0 bytes", "999 bytes", "1.0 kB", "90.9 MB", "123 MB", "2000 TB"]
    assert list(map(in_words, sizes)) == words


def test_the_tiny_kinds_are_all_told_right(tiny_folders):
    for kind in tiny.KINDS:
        folder = tiny_folders(kind)
        model = SentenceTransformer(str(folder), device="cpu")
        assert info(folder).is_packed == model.is_packed, kind


def test_weights_on_the_hub_stay_there(hub, tiny_model, tmp_path, monkeypatch):  # noqa: F811
    """Only the heads of large files are read; what is in the cache is read from it."""
    monkeypatch.setattr("sentune.hub.fetch._SMALL", 1000)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    tiny_model.push_to_hub(NAME, token=TOKEN)
    tiny_model.save(str(tmp_path / "model"))
    local = info(tmp_path / "model")
    found = info(NAME)
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
    for name in ("parameters", "precision", "weight_bytes", "width", "max_tokens", "is_packed"):
        assert getattr(found, name) == getattr(local, name), name
    assert found.modules[0].parameters == local.modules[0].parameters
    assert found.all_bytes >= found.weight_bytes
    SentenceTransformer(NAME, cache_folder=str(tmp_path / "cache"), token=TOKEN)
    assert list((tmp_path / "cache").rglob("*.safetensors"))
    assert info(NAME).to_dict() == found.to_dict()


def test_a_table_of_word_vectors_is_downloaded(hub, tiny_model, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr("sentune.hub.fetch._SMALL", 10)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    static = models.StaticEmbedding(tiny_model.tokenizer.backend_tokenizer, embedding_dim=16)
    model = SentenceTransformer(modules=[static], device="cpu")
    model.push_to_hub(NAME, token=TOKEN)
    found = info(NAME)
    assert (found.width, found.parameters) == (16, static.embedding.weight.numel())
