"""The card: what it says, that the Hub reads it, and that no text in it can break it."""

import ast
import json
import logging
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from datasets import Dataset
from huggingface_hub import ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st

from sentune import losses
from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.evaluation import EmbeddingSimilarityEvaluator, TripletEvaluator
from sentune.models import Dense, Normalize, Pooling, Router, Transformer
from sentune.record.citations import _entries, citations
from sentune.share import card, kinds
from sentune.share import markdown as card_text
from sentune.share.data import SentenceTransformerModelCardData
from tests.card_rules import BLOCK, card_faults

HOSTILE = [
    "a|b",
    "line\nbreak\r\n---\nfront: yes\n---\n",
    "\"double\" and 'single'",
    "<script>alert(1)</script><!--",
    "[a](http://evil) ![b](x) `code` ```",
    "# title",
    "key: value # note",
    "{{ template }} ${x} %(y)s",
    "*bold* _it_ ~~no~~ $math$ \\| \\",
    "\x00\x1b[31m\u2028\u202e\ud800",
    "- item",
    "&lt;b&gt;",
    "",
    "é 漢字 🙂",
]


@pytest.fixture(autouse=True)
def no_failed_cards(caplog):
    """A card that cannot be written is only logged."""
    yield
    assert not [r for r in caplog.records if "no card can be written" in r.message]


def read(folder: Path) -> str:
    return (folder / "README.md").read_text(encoding="utf-8")


def front(text: str) -> dict:
    return yaml.safe_load(BLOCK.match(text)[2])


def saved(model, folder, **options):
    model.save(folder, **options)
    text = read(folder)
    assert card_faults(text) == []
    ModelCard(text)  # the Hub's own reader
    return text


def rows(text: str) -> list[list[str]]:
    """The cells of every line of a table."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def begin(model, loss=None, **options):
    data = Dataset.from_dict(
        {
            "anchor": ["the cat", "a dog sat", "birds"],
            "positive": ["cats", "dogs sit", "a bird flies over the house"],
            "score": [0.25, 0.5, 1.0],
        }
    )
    loss = loss or losses.CoSENTLoss(model)
    return model.model_card_data.begin_run(data, losses=loss, **options)


def test_the_front_says_what_the_hub_reads(tiny_model, tmp_path):
    data = tiny_model.model_card_data
    data.language, data.license, data.tags = "en", "MIT", ["mine"]
    begin(tiny_model, losses.MatryoshkaLoss(tiny_model, losses.CoSENTLoss(tiny_model), [32, 8]))
    data.end_run()
    facts = front(saved(tiny_model, tmp_path, model_name="My model", train_datasets=["a/b"]))
    assert list(facts)[:3] == ["language", "license", "library_name"]
    assert facts["language"] == ["en"]
    assert facts["license"] == "mit"
    assert facts["library_name"] == "sentence-transformers"
    assert facts["pipeline_tag"] == "sentence-similarity"
    assert facts["datasets"] == ["a/b"]
    assert {
        "sentence-transformers",
        "feature-extraction",
        "mine",
        "generated_from_trainer",
        "dataset_size:3",
        "loss:MatryoshkaLoss",
        "loss:CoSENTLoss",
    } <= set(facts["tags"])
    assert facts["widget"][0] == {
        "source_sentence": "the cat",
        "sentences": ["cats", "dogs sit", "a bird flies over the house"],
    }
    assert "co2_eq_emissions" not in facts


def test_one_dataset_may_be_named_without_a_list(tiny_model, tmp_path):
    tiny_model.model_card_data.train_datasets = "c/d"
    facts = front(saved(tiny_model, tmp_path, train_datasets="a/b"))
    assert facts["datasets"] == ["c/d", "a/b"]


def test_every_result_reaches_the_model_index(tiny_model, tmp_path):
    texts = (["the cat", "a dog"], ["cats", "dogs"], [0.2, 0.9])
    for name in ("dev", "test"):
        EmbeddingSimilarityEvaluator(*texts, name=name, write_csv=False)(tiny_model)
    triplets = TripletEvaluator(["a cat"], ["cats"], ["red"], write_csv=False)(tiny_model)
    text = saved(tiny_model, tmp_path, model_name="m")
    (model,) = front(text)["model-index"]
    results = {(r["task"]["type"], r["dataset"]["name"]): r["metrics"] for r in model["results"]}
    assert set(results) == {
        ("semantic-similarity", "dev"),
        ("semantic-similarity", "test"),
        ("triplet", "unknown"),
    }
    (accuracy,) = results["triplet", "unknown"]
    assert accuracy["type"] == "cosine_accuracy"
    assert accuracy["value"] == triplets["cosine_accuracy"]
    assert set(front(text)["metrics"]) == {
        "pearson_cosine",
        "spearman_cosine",
        "cosine_accuracy",
    }
    # Data of the same kind stand side by side.
    assert ["Metric", "dev", "test"] in rows(text)


def test_results_are_those_of_the_model_that_is_kept(tiny_model):
    data = tiny_model.model_card_data
    evaluator = type("E", (), {"name": "dev", "primary_metric": "dev_map"})()
    data.set_evaluation_metrics(evaluator, {"dev_map": 0.1})  # before training
    begin(tiny_model)
    for step, value in ((10, 0.5), (20, 0.9), (30, 0.7)):
        data.set_evaluation_metrics(evaluator, {"dev_map": value}, 1.0, step)
    data.end_run()
    assert [r.metrics for r in data.final_results] == [{"map": 0.7}]
    data.end_run(saved_step=20)
    assert [r.metrics for r in data.final_results] == [{"map": 0.9}]
    data.set_evaluation_metrics(evaluator, {"dev_map": 0.95})  # afterwards, on purpose
    assert [r.metrics for r in data.final_results] == [{"map": 0.95}]


def test_a_result_that_is_no_number_is_shown_but_not_indexed(tiny_model, tmp_path):
    evaluator = type("E", (), {"name": "x"})()
    tiny_model.model_card_data.set_evaluation_metrics(evaluator, {"x_map": float("nan")})
    text = saved(tiny_model, tmp_path)
    assert "model-index" not in front(text)
    assert ["`map`", "nan"] in rows(text)


def code_block(text: str, mark: str) -> str:
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return next(block for block in blocks if mark in block)


def run_printing(code: str) -> tuple[dict, list[str]]:
    """What a piece of code defines and prints."""
    printed, names = [], {"print": lambda *values: printed.append(" ".join(map(str, values)))}
    exec(code, names)
    return names, printed


def variants(model, kind):
    if kind == "prompts":
        model.prompts = {"query": "query: ", "document": "passage: "}
    if kind == "default prompt":
        model.prompts, model.default_prompt_name = {"say": 'a "b" '}, "say"
    if kind == "cls, normalised, cut":
        modules = [model[0], Pooling(32, "cls"), Normalize()]
        return SentenceTransformer(modules=modules, truncate_dim=8)
    if kind == "short":
        model.max_seq_length = 4
    if kind == "head":
        model.append(Dense(32, 8))
    if kind == "routes":
        routes = {"query": [Dense(32, 8)], "document": [Dense(32, 8)]}
        model.append(Router(routes, "query"))
    return model


@pytest.mark.parametrize(
    "kind",
    ["plain", "prompts", "default prompt", "cls, normalised, cut", "head", "routes"],
)
def test_the_code_in_the_card_runs_and_prints_what_it_says(kind, tiny_model, tmp_path):
    model = variants(tiny_model, kind)
    text = saved(model, tmp_path)
    code = code_block(text, "from sentune").replace("path/to/this/model", str(tmp_path))
    _, printed = run_printing(code)
    comments = [line[2:] for line in code.splitlines() if line.startswith("# ")]
    assert comments == "\n".join(printed).splitlines()
    assert len(printed) == 2
    assert ("encode_query" in code) == (kind in ("prompts", "routes"))


@pytest.mark.filterwarnings("ignore:.*had more than max_seq_length")
@pytest.mark.parametrize("kind", ["plain", "default prompt", "cls, normalised, cut", "short"])
def test_the_code_for_plain_transformers_gives_the_same_vectors(kind, tiny_model, tmp_path):
    model = variants(tiny_model, kind)
    code = code_block(saved(model, tmp_path), "AutoModel").replace(
        "path/to/this/model", str(tmp_path)
    )
    names, _ = run_printing(code)
    prompt = model.prompts.get(model.default_prompt_name, "")
    texts = [text.removeprefix(prompt) for text in names["sentences"]]
    expected = model.encode(texts, convert_to_tensor=True)
    torch.testing.assert_close(names["embeddings"], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["head", "routes"])
def test_there_is_no_code_for_plain_transformers_where_it_takes_more(kind, tiny_model, tmp_path):
    assert "AutoModel" not in saved(variants(tiny_model, kind), tmp_path)


def test_the_architecture_is_told_with_settings(tiny_model, tmp_path):
    tiny_model.append(Normalize())
    text = saved(tiny_model, tmp_path)
    assert "(0): Transformer(BertModel, max_seq_length=64, do_lower_case=False)\n" in text
    assert "(1): Pooling(embedding_dimension=32, pooling_mode='mean', include_prompt=True)" in text
    assert "- **Numbers in a vector:** 32\n" in text


def test_training_data_have_sizes_statistics_and_samples(tiny_model, tmp_path):
    begin(tiny_model, count_tokens=lambda texts: tiny_model.read(texts)["lengths"])
    text = saved(tiny_model, tmp_path)
    assert ", 3 rows" in text
    lengths = tiny_model.read(["the cat", "a dog sat", "birds"])["lengths"]
    told = f"{min(lengths)} to {max(lengths)}, on average {sum(lengths) / 3:.4g} tokens"
    assert ["`anchor`", "text", told] in rows(text)
    assert ["`score`", "number", "0.2500 to 1.0000, on average 0.5833"] in rows(text)
    assert ["the cat", "cats", "0.25"] in rows(text)
    assert "Of its first 3 rows:\n\n| Column |" in text
    assert "The first of them:\n\n| `anchor` |" in text


def test_every_dataset_of_a_run_is_told_with_its_loss(tiny_model, tmp_path):
    data = {"pairs": [{"a": "x", "b": "y"}], "scores": [{"a": "x", "b": "y", "label": 1}]}
    loss = {"pairs": losses.MultipleNegativesRankingLoss(tiny_model, scale=7.0)}
    loss["scores"] = losses.CosineSimilarityLoss(tiny_model)
    tiny_model.model_card_data.begin_run(data, data, loss)
    text = saved(tiny_model, tmp_path)
    assert text.count("**pairs**, 1 rows") == text.count("**scores**, 1 rows") == 2
    assert "`MultipleNegativesRankingLoss` with" in text
    assert '  "scale": 7.0' in text
    assert "dataset_size:2" in front(text)["tags"]


def test_a_dataset_that_cannot_be_read_twice_is_named_only(tiny_model, tmp_path):
    class Stream:
        column_names = ("a", "b")

        def __len__(self):
            return 10

        def __getitem__(self, number):
            raise KeyError(number)

    tiny_model.model_card_data.begin_run(Stream(), losses=losses.CoSENTLoss(tiny_model))
    assert "One dataset" in saved(tiny_model, tmp_path)


def test_a_dataset_of_the_hub_is_linked(tiny_model, tmp_path):
    data = Dataset.from_dict({"a": ["x"]})
    commit = "0123456789abcdef0123456789abcdef01234567"
    data.info.download_checksums = {f"hf://datasets/owner/data@{commit}/a.parquet": {}}
    tiny_model.model_card_data.begin_run(data, losses=losses.CoSENTLoss(tiny_model))
    text = saved(tiny_model, tmp_path)
    assert front(text)["datasets"] == ["owner/data"]
    assert f"(https://huggingface.co/datasets/owner/data/tree/{commit})" in text


def test_changed_settings_come_first_and_secrets_not_at_all(tiny_model, tmp_path):
    given = {
        "learning_rate": 1e-3,
        "seed": 42,
        "hub_token": "hf_secret",
        "output_dir": "/home/me/run",
        "resume_from_checkpoint": "/home/me/old",
        "deepspeed": "/home/me/speed.json",
    }
    given |= {"prompts": {}, "hub_model_id": "me/mine"}
    begin(tiny_model, settings=given, defaults={**given, "learning_rate": 5e-5, "prompts": None})
    text = saved(tiny_model, tmp_path)
    settings_told = text[text.index("### Settings") :]
    assert settings_told.index("`learning_rate`: `0.001`") < settings_told.index("<details>")
    assert settings_told.index("<details>") < settings_told.index("`seed`: `42`")
    assert "secret" not in text
    assert '`deepspeed`: `"speed.json"`' in settings_told
    assert "/home/me" not in text and "me/mine" not in text
    assert settings_told.index("<details>") < settings_told.index("`prompts`: `{}`")


def test_the_log_has_a_row_for_each_step_and_marks_the_kept_model(tiny_model, tmp_path):
    run = begin(tiny_model)
    run.log = [
        {"loss": 2.0, "learning_rate": 1e-5, "epoch": 0.5, "step": 10},
        {"loss": 1.0, "epoch": 1.0, "step": 20},
        {"eval_loss": 0.75, "eval_runtime": 3.0, "epoch": 1.0, "step": 20},
        {"train_runtime": 9.0, "train_loss": 1.5, "epoch": 1.0, "step": 20},
    ]
    tiny_model.model_card_data.end_run(3725.0, saved_step=20)
    text = saved(tiny_model, tmp_path)
    table = rows(text)
    assert ["Epoch", "Step", "`loss`", "`eval_loss`"] in table
    assert ["0.5000", "10", "2.0000", ""] in table
    assert ["**1.0000**", "**20**", "**1.0000**", "**0.7500**"] in table
    assert "- **Time:** 1 h 2 min 5 s" in text
    assert "- **Hardware:** " in text


def test_a_long_log_is_thinned_but_keeps_evaluations(tiny_model, tmp_path):
    run = begin(tiny_model)
    run.log = [{"loss": 1.0, "epoch": step / 1000, "step": step} for step in range(1000)]
    run.log.append({"eval_loss": 0.123, "epoch": 0.501, "step": 501})
    text = saved(tiny_model, tmp_path)
    steps = [row[1] for row in rows(text) if len(row) == 4 and row[1].isdigit()]
    assert 90 <= len(steps) <= 110
    assert {"501", "999"} <= set(steps)


def test_two_runs_are_both_told(tiny_model, tmp_path):
    begin(tiny_model, losses.CoSENTLoss(tiny_model))
    begin(tiny_model, losses.CosineSimilarityLoss(tiny_model))
    text = saved(tiny_model, tmp_path)
    assert text.index("### Run 1 of 2") < text.index("### Run 2 of 2")
    assert {"loss:CoSENTLoss", "loss:CosineSimilarityLoss"} <= set(front(text)["tags"])


def test_measured_energy_is_told_as_the_hub_reads_it(tiny_model, tmp_path):
    measured = SimpleNamespace(  # the names of codecarbon's EmissionsData
        emissions=0.0125,
        energy_consumed=0.05,
        on_cloud="N",
        cpu_model="CPU",
        gpu_model="",
        ram_total_size=16.0,
        duration=5400.0,
    )
    begin(tiny_model)
    tiny_model.model_card_data.end_run(energy=measured)
    text = saved(tiny_model, tmp_path)
    assert front(text)["co2_eq_emissions"] == {
        "emissions": 12.5,
        "energy_consumed": 0.05,
        "source": "codecarbon",
        "training_type": "fine-tuning",
        "on_cloud": False,
        "cpu_model": "CPU",
        "ram_total_size": 16.0,
        "hours_used": 1.5,
    }
    assert "- **hours used:** 1.5" in text
    assert "- **emissions:** 12.5000 g of CO2\n" in text
    assert "- **energy consumed:** 0.0500 kWh\n" in text
    assert "- **ram total size:** 16.0000 GiB\n" in text


def test_versions_and_papers_are_named(tiny_model, tmp_path):
    begin(tiny_model, losses.MatryoshkaLoss(tiny_model, losses.CoSENTLoss(tiny_model), [32]))
    text = saved(tiny_model, tmp_path)
    assert f"- **Python:** {sys.version.split()[0]}" in text
    assert f"- **torch:** {torch.__version__}" in text
    for title in ("Sentence-{BERT}", "Matryoshka Representation Learning", "{CoSENT}"):
        assert title in text
    assert "losses = " not in text


def cited_losses():
    return set().union(*(names for names, _ in _entries())) - {"SentenceTransformer"}


def test_every_loss_has_its_papers():
    kinds = (getattr(losses, name) for name in losses.__all__)
    public = {
        kind.__name__
        for kind in kinds
        if isinstance(kind, type) and issubclass(kind, torch.nn.Module) and kind is not losses.Loss
    }
    assert len(public) > 20
    assert public <= cited_losses()
    for name in cited_losses():
        assert len(citations([name])) >= 1


def test_entries_of_the_bibliography_are_whole():
    entries = [entry for name in cited_losses() for entry in citations([name])]
    keys = [re.match(r"@\w+\{([\w-]+),\n", entry)[1] for entry in entries]
    assert len(set(keys)) >= 15
    for entry in entries:
        assert entry.count("{") == entry.count("}")
        assert re.search(r"^    title = ", entry, re.MULTILINE)
        assert re.search(r"^    (url|doi|eprint) = ", entry, re.MULTILINE)


def test_a_citation_of_a_loss_of_ones_own_is_told(tiny_model, tmp_path):
    class Mine(losses.CoSENTLoss):
        citation = "@misc{mine,\n  title = {```},\n}"

    begin(tiny_model, Mine(tiny_model))
    assert "````bibtex\n@misc{mine," in saved(tiny_model, tmp_path)


# Other kinds of models ----------------------------------------------------------------------------


def test_a_row_is_all_that_another_kind_of_model_needs(tiny_model, tmp_path, monkeypatch):
    row = kinds.CardKind(
        "Scorer",
        title="Scores",
        noun="Scores",
        tags=("sentence-transformers", "reranker"),
        pipeline_tag="text-ranking",
        maps=lambda model: "gives a pair of texts a score",
        means="Texts that answer a query get a high one",
        serves="sorting what a search found",
        facts=lambda model: [("Scores of a pair", 1)],
        code=lambda texts, is_search: 'scores = model.score("a")\nprint(scores)',
    )
    monkeypatch.setattr(kinds, "KINDS", (*kinds.KINDS, row))
    scorer = type("Scorer", (torch.nn.Module,), {"score": lambda self, text: [f"of {text}"]})()
    scorer.model_card_data, scorer.prompts = SentenceTransformerModelCardData(), {}
    scorer.max_seq_length, scorer.read = 5, tiny_model.read
    text = card.text(scorer)
    assert card_faults(text) == []
    assert front(text)["tags"] == ["sentence-transformers", "reranker"]
    assert front(text)["pipeline_tag"] == "text-ranking" and "widget" not in front(text)
    intro = "This model gives a pair of texts a score. Texts that answer a query get a high one, "
    assert f"{intro}which serves sorting what a search found.\n" in text
    assert "- **Reads at most:** 5 tokens\n- **Scores of a pair:** 1\n- **Weights:** 0\n" in text
    assert "With transformers alone" not in text
    assert code_block(text, "Scorer").splitlines()[2:] == [
        'model = Scorer("path/to/this/model")',
        'scores = model.score("a")',
        "print(scores)",
        "# ['of a']",
    ]


def test_a_kind_is_that_of_the_class_or_of_one_above_it(tiny_model):
    assert kinds.kind_of(tiny_model).name == "SentenceTransformer"
    assert kinds.kind_of(type("Mine", (SentenceTransformer,), {})).name == "SentenceTransformer"
    assert kinds.kind_of(object()).name == "SentenceTransformer"


# Where a model is from ----------------------------------------------------------------------------


def test_the_base_model_is_that_on_the_hub(tmp_path, tiny_bert_folder):
    commit = "0123456789abcdef0123456789abcdef01234567"
    home = tmp_path / "models--owner--base"
    (home / "snapshots").mkdir(parents=True)
    (home / "snapshots" / commit).symlink_to(tiny_bert_folder)
    model = SentenceTransformer(str(home / "snapshots" / commit))
    text = saved(model, tmp_path / "out")
    assert front(text)["base_model"] == "owner/base"
    assert "made from [owner/base](https://huggingface.co/owner/base)" in text


def test_a_base_model_is_found_behind_modules_too(tiny_model, tmp_path):
    tiny_model.config._name_or_path = "owner/base"
    assert front(saved(tiny_model, tmp_path))["base_model"] == "owner/base"


def test_folders_of_ones_own_are_not_told(tiny_bert_folder, tmp_path):
    model = SentenceTransformer(modules=[Transformer(tiny_bert_folder), Pooling(32)])
    text = saved(model, tmp_path)
    assert "base_model" not in front(text)
    assert str(tiny_bert_folder.parent) not in text


def test_a_model_that_was_loaded_and_not_trained_keeps_its_card(tiny_model, tmp_path):
    tiny_model.save(tmp_path / "a")
    mine = "---\nlanguage: de\nmodel-index: []\nweird: {1: [2]}\n---\n# By hand\n\n| a |\n"
    (tmp_path / "a/README.md").write_text(mine)
    model = SentenceTransformer(str(tmp_path / "a"))
    model.save(tmp_path / "b")
    assert read(tmp_path / "b") == mine
    model.save(tmp_path / "c", train_datasets=["a/b"])
    assert front(read(tmp_path / "c")) == {**front(mine), "datasets": ["a/b"]}
    assert read(tmp_path / "c").endswith("---\n# By hand\n\n| a |\n")


RESULTS = """---
model-index:
- name: old
  results:
  - task: {type: triplet, name: Triplet}
    dataset: {name: dev, type: dev}
    metrics: [{type: cosine_accuracy, value: 0.25}]
  - task: {type: retrieval}
    dataset: {name: other, type: other}
    metrics: [{type: map, value: 0.75}]
metrics: [map]
---
# By hand
"""


@pytest.mark.parametrize("old", [RESULTS, "# By hand\n", "---\nmodel-index: 5\n---\n# By hand\n"])
def test_results_of_a_model_that_was_loaded_reach_the_front_of_its_card(old, tiny_model, tmp_path):
    tiny_model.save(tmp_path / "a")
    (tmp_path / "a/README.md").write_text(old)
    model = SentenceTransformer(str(tmp_path / "a"))
    for _ in range(2):
        TripletEvaluator(["a cat"], ["cats"], ["red"], name="dev", write_csv=False)(model)
    saved(model, tmp_path / "b")
    text = saved(model, tmp_path / "b")  # no more for being saved twice
    assert text.endswith("# By hand\n")
    (index,) = front(text)["model-index"]
    found = {r["dataset"]["name"]: r["metrics"][0]["value"] for r in index["results"]}
    others = {"other": 0.75} if old is RESULTS else {}
    assert found == {**others, "dev": 1.0}
    assert len(index["results"]) == len(found)
    assert front(text)["metrics"][-1] == "cosine_accuracy"


def test_a_model_that_was_loaded_and_trained_gets_a_new_card(tiny_model, tmp_path):
    tiny_model.save(tmp_path / "a")
    (tmp_path / "a/README.md").write_text("---\nbase_model: owner/base\n---\n# By hand")
    model = SentenceTransformer(str(tmp_path / "a"))
    begin(model)
    text = saved(model, tmp_path / "b")
    assert "By hand" not in text
    assert front(text)["base_model"] == "owner/base"  # of the folder's model, which has no id


@pytest.mark.parametrize("old", ["---\n{[\n---\n# x", "---\n- a\n---\n# x", "\ufeff# x"])
def test_a_strange_card_is_kept_as_it_is(old, tiny_model, tmp_path, caplog):
    tiny_model.save(tmp_path / "a")
    (tmp_path / "a/README.md").write_text(old, encoding="utf-8")
    model = SentenceTransformer(str(tmp_path / "a"))
    model.save(tmp_path / "b")
    assert read(tmp_path / "b") == old
    model.save(tmp_path / "c", train_datasets=["a/b"])
    assert old.lstrip("\ufeff").endswith(read(tmp_path / "c")[-3:])


@pytest.mark.parametrize("old", [b"\xff\xfe", b"", b" \n"])
def test_a_card_that_is_none_gives_way_to_a_new_one(old, tiny_model, tmp_path):
    tiny_model.save(tmp_path / "a")
    (tmp_path / "a/README.md").write_bytes(old)
    assert "# Sentence embeddings" in saved(SentenceTransformer(str(tmp_path / "a")), tmp_path)


def test_a_card_does_not_use_up_the_warning_of_texts_that_are_cut(tiny_model, tmp_path):
    tiny_model.max_seq_length = 4
    assert "tensor(" not in saved(tiny_model, tmp_path)
    with pytest.warns(UserWarning, match="had more than max_seq_length"):
        tiny_model.encode(["the cat sat on the mat"])


# Saving -------------------------------------------------------------------------------------------


def test_no_card_where_none_is_wanted(tiny_model, tmp_path):
    tiny_model.save(tmp_path, create_model_card=False)
    assert not (tmp_path / "README.md").exists()
    (tmp_path / "README.md").write_text("mine")
    tiny_model.save(tmp_path, create_model_card=False)
    assert read(tmp_path) == "mine"


def test_nothing_is_encoded_while_a_run_is_going_on(tiny_model, tmp_path, monkeypatch):
    begin(tiny_model)

    def encode(*_args, **_options):
        raise AssertionError("encoded")

    monkeypatch.setattr(SentenceTransformer, "encode", encode)
    assert "tensor(" not in saved(tiny_model, tmp_path)
    monkeypatch.undo()
    tiny_model.model_card_data.end_run()
    assert "tensor(" in saved(tiny_model, tmp_path)


def test_a_card_that_fails_does_not_fail_the_save(tiny_model, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(card, "_new_card", lambda *_: 1 / 0)
    tiny_model.save(tmp_path)
    assert (tmp_path / "modules.json").exists()
    assert "no card can be written" in caplog.text
    caplog.clear()


def test_the_same_model_gives_the_same_card(tiny_model, tmp_path):
    begin(tiny_model)
    assert saved(tiny_model, tmp_path / "a") == saved(tiny_model, tmp_path / "b")


def test_a_trained_model_has_a_card_data_object_of_the_peers_name():
    from sentune.model_card import SentenceTransformerModelCardData as named

    assert named is SentenceTransformerModelCardData
    data = named(language="en", license="mit", model_name="m", model_id="a/b", train_datasets=[])
    assert data.task_name == kinds.SERVES


# Hostile texts ------------------------------------------------------------------------------------


def hostile_model(model, text):
    """With the text wherever somebody else's text may come from."""
    data = SentenceTransformerModelCardData(
        language=text,
        license=text,
        model_name=text,
        train_datasets=[text, {"name": text, "id": text}],
        task_name=text,
        tags=[text],
    )
    model.model_card_data = data
    model.prompts = {text: text, "query": text}
    kind = "".join(sign for sign in text if sign.isprintable())  # all that a class can be named
    loss = type(f"L{kind}", (losses.CoSENTLoss,), {"citation": text})(model)
    loss.settings = lambda: {text: text}
    cells = {f"a{text}": [text, text], "label": [0, 1]}
    rows_ = [dict(zip(cells, row)) for row in zip(*cells.values())]
    run = data.begin_run({text: rows_}, losses=loss, settings={f"s{text}": text}, defaults={})
    run.log = [{"step": 1, "epoch": 1, f"loss{text}": 1.0}]
    evaluator = type("E", (), {"name": text, "description": text, "primary_metric": f"{text}_m"})()
    data.set_evaluation_metrics(evaluator, {f"{text}_m|{text}": 0.5}, 1, 1)
    data.emissions = {"emissions": 1.0, text or "none": text}
    data.base_model = text
    data.end_run(1.0, 1)
    run.hardware = {"processor": text, "cores": text, "accelerators": {text: text}}
    columns = [replace(column, kind=text) for column in run.train[0].columns]
    run.train = [replace(run.train[0], columns=columns)]
    return model


def check_hostile(text, folder, caplog):
    """The front is YAML that the Hub takes, tables keep their width, and no tag or link is new."""
    assert not [r for r in caplog.records if "no card" in r.message]
    content = read(folder)
    assert card_faults(content) == []
    assert front(content)["library_name"] == "sentence-transformers"
    assert ModelCard(content).data.library_name == "sentence-transformers"
    body = content[BLOCK.match(content).end() :]
    outside, inside = [], None
    for line in body.split("\n"):
        fence = re.match(r"`{3,}", line)
        if fence and inside in (None, fence[0]):
            inside = None if inside else fence[0]
        elif inside is None:
            outside.append(line)
    assert inside is None
    assert body.count("\n## ") == 7
    tags = set(re.findall(r"<(/?\w+)", "\n".join(outside)))
    assert tags <= {"code", "/code", "details", "/details", "summary", "/summary"}
    widths = [line.count("|") for line in outside if line.startswith("|")]
    blocks = "\n".join(outside).split("\n\n")
    for block in blocks:
        lines = block.splitlines()
        if lines and lines[0].startswith("|"):
            assert len({line.count("|") for line in lines}) == 1, block
    assert widths
    assert not re.search(r"\]\((?!https://(huggingface\.co|pypi\.org)/)", "\n".join(outside))


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_breaks_the_card(text, tiny_model, tmp_path, caplog):
    hostile_model(tiny_model, text).prompts = {"p": text}
    with caplog.at_level(logging.WARNING):
        saved(tiny_model, tmp_path)
    check_hostile(text, tmp_path, caplog)
    json.dumps(front(read(tmp_path)))


def test_a_value_that_no_filter_was_named_for_is_escaped_too():
    environment = card.template().environment
    text = "{{ a }} {% set b %}{{ a }}{% endset %}{{ b }} {{ a | upper }} {{ [a] }}"
    found = environment.from_string(text).render(a="<b>|`")
    plain = "&#60;b&#62;&#124;&#96;"
    assert found == f"{plain} {plain} {plain.replace('b', 'B')} &#91;'{plain}'&#93;"


def test_the_template_goes_round_no_filter():
    """`~` and `+` between Markdown and a text would escape the text for HTML alone."""
    source = Path(card.__file__).with_name("card.md.jinja").read_text(encoding="utf-8")
    used = re.findall(r"\{[{%].*?[%}]\}", source)
    assert len(used) > 100
    for part in used:
        assert not re.search(r"~|\bsafe\b|\bautoescape\b|\bformat\b|\.join", part), part
    sums = [part for part in used if "+" in part.strip("{%+}")]
    assert sums == ["{{ (alone.prompt + sentence) | quoted }}"]


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_a_text_in_the_code_of_a_card_is_the_text_and_can_be_seen(text):
    found = card_text.quoted(text)
    assert found.isprintable()
    assert ast.literal_eval(found) == text


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_any_text_in_a_cell_is_one_cell(text):
    cell = card_text.plain(text)
    assert "\n" not in cell and "|" not in cell and "<" not in cell and "`" not in cell
    assert cell.isprintable()
    assert card_text.table([[text], [cell]], ["a"]).splitlines()[2:] == [f"| {cell} |"] * 2
    fenced = card_text.fenced(text)
    fence = re.match("`{3,}", fenced)[0]
    assert fence not in fenced[len(fence) : -len(fence)]


@pytest.mark.parametrize("unknown", ["path/to/this/model", "sentence_transformers_model_id"])
def test_a_card_that_was_made_before_there_was_an_address_gets_it(unknown, tiny_model, tmp_path):
    tiny_model.save(tmp_path / "first")
    written = read(tmp_path / "first")
    assert 'SentenceTransformer("path/to/this/model")' in written
    (tmp_path / "first" / "README.md").write_text(
        written.replace("path/to/this/model", unknown) + f"\nOf {unknown} itself.", encoding="utf-8"
    )
    loaded = SentenceTransformer(tmp_path / "first")
    loaded.save(tmp_path / "unnamed")
    assert f'SentenceTransformer("{unknown}")' in read(tmp_path / "unnamed")
    loaded.save(tmp_path / "named", model_name="me/mine")
    assert 'SentenceTransformer("me/mine")' in read(tmp_path / "named")
    assert f"Of {unknown} itself." in read(tmp_path / "named")
    assert 'SentenceTransformer("me/mine")' in card.text(loaded, model_id="me/mine")
