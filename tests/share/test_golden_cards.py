"""Whole cards, byte by byte: those in `cards/`, which `python -m tests.share.test_golden_cards`
writes anew. What depends on the machine is left out of them.
"""

import re
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from sentune import losses
from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.models import Dense, Normalize, Pooling, Transformer
from sentune.share import card
from sentune.share.data import SentenceTransformerModelCardData
from tests import tiny

CARDS = Path(__file__).with_name("cards")
ROWS = [
    {"anchor": "the cat", "positive": "cats", "score": 0.25},
    {"anchor": "a dog sat", "positive": "dogs | sit", "score": 0.5},
    {"anchor": "birds", "positive": "a <b>bird</b> flies over the house", "score": 1.0},
]
CLASSES = [{"text": f"text {n}", "label": n % 3} for n in range(30)]
HOSTILE = "a|b `c` <script>d</script>\n---\ne: f # {{ g }} {% h %} [i](http://j) </p>\x00\u202e"


def evaluator(name, kind="Ranking", primary=None, **settings):
    return SimpleNamespace(
        name=name, description=kind, primary_metric=primary, get_config_dict=lambda: settings
    )


def new_model(folder, *modules, **options):
    torch.manual_seed(0)
    encoder = Transformer(str(folder))
    return SentenceTransformer(modules=[encoder, *modules], device="cpu", **options)


def fresh(folder):
    model = new_model(folder, Pooling(32, "cls"), Normalize(), truncate_dim=8)
    model.prompts, model.default_prompt_name = {"say": 'say "it": ', "none": ""}, "say"
    data = model.model_card_data
    data.language, data.license, data.tags = ["en", "Klingon"], "My own, v1", ["mine"]
    data.set_losses([losses.TripletLoss(model)])
    return model, {"model_id": "me/mine", "train_datasets": ["a/b", {"name": "n", "id": "c/d"}]}


def trained(folder):
    model = new_model(folder, Pooling(32), Dense(32, 8))
    model.prompts = {"query": "query: ", "document": "passage: "}
    data = model.model_card_data
    same = {"seed": 1}
    data.begin_run(ROWS, losses=losses.CoSENTLoss(model), settings=same, defaults=same)
    data.end_run(0.4)
    inner = losses.MultipleNegativesRankingLoss(model, scale=7.0)
    run = data.begin_run(
        {"pairs": ROWS, "classes": CLASSES},
        {"held out": ROWS[:1]},
        {"pairs": losses.MatryoshkaLoss(model, inner, [8, 4]), "classes": losses.CoSENTLoss(model)},
        settings={"epochs": 3, "betas": [0.9, 0.99], "note": "x|y", "hub_token": "hf_secret"},
        defaults={"epochs": 1},
        count_tokens=lambda texts: [len(text.split()) for text in texts],
    )
    run.log = [{"loss": 1 / step, "epoch": step / 10, "step": step} for step in range(1, 31)]
    run.log.append({"eval_dev_map": 0.5, "eval_runtime": 3.0, "epoch": 2.0, "step": 20})
    run.tokens = 123456
    for name, value in (("dev", 0.5), ("test", float("nan"))):
        found = {f"{name}_map": value, f"{name}_mrr@10": 0.25}
        data.set_evaluation_metrics(evaluator(name, primary=f"{name}_map", k=[1, 10]), found, 2, 20)
    data.set_evaluation_metrics(evaluator("", "Triplets"), {"accuracy": 1}, 2, 20)
    energy = {"emissions": 0.5, "energy_consumed": 0.05, "on_cloud": "N", "cpu_model": "CPU"}
    energy |= {"gpu_model": "", "ram_total_size": 16.0, "duration": 5400.0}
    data.end_run(3725.0, saved_step=20, energy=SimpleNamespace(**energy))
    return model, {"model_name": "A model"}


def hostile(folder):
    model = new_model(folder, Pooling(32))
    data = model.model_card_data = SentenceTransformerModelCardData(
        HOSTILE, HOSTILE, HOSTILE, None, [HOSTILE], task_name=HOSTILE, tags=[HOSTILE]
    )
    model.prompts, model.default_prompt_name = {HOSTILE: HOSTILE}, HOSTILE
    loss = losses.CoSENTLoss(model)
    loss.settings = lambda: {HOSTILE: [HOSTILE]}
    loss.citation = f"@misc{{{HOSTILE}\n```}}"
    rows = [{HOSTILE: HOSTILE, "label": 1}, {HOSTILE: "", "label": 0}]
    run = data.begin_run({HOSTILE: rows}, None, loss, settings={HOSTILE: HOSTILE}, defaults={})
    run.log = [{"step": 1, "epoch": 1, HOSTILE: HOSTILE}]
    found = {f"{HOSTILE}_m{HOSTILE}": 0.5}
    data.set_evaluation_metrics(evaluator(HOSTILE, HOSTILE, **{HOSTILE: HOSTILE}), found, 1, 1)
    data.emissions = {HOSTILE: HOSTILE}
    data.end_run(1.0, saved_step=1)
    return model, {}


MAKERS = {maker.__name__: maker for maker in (fresh, trained, hostile)}


def made(name, folder):
    model, names = MAKERS[name](folder)
    text = card.text(model, **names)
    text = re.sub(r"^(# ([ (]|tensor)).*", r"\1...", text, flags=re.MULTILINE)  # what is printed
    text = re.sub(r"^(- \*\*Hardware:\*\*).*", r"\1 ...", text, flags=re.MULTILINE)
    text = re.sub(r"(?<=Made by sentune, )[0-9a-f]{16}", "...", text)
    return re.sub(r"(?s)(?<=\n## Versions\n\n).*(?=\n\n## )", "...", text)


@pytest.mark.parametrize("name", MAKERS)
def test_a_card_is_that_of_before(name, tiny_bert_folder):
    assert made(name, tiny_bert_folder) == (CARDS / f"{name}.md").read_text(encoding="utf-8")


if __name__ == "__main__":
    CARDS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        checkpoint = tiny.make_folder(Path(place, "bert"))
        for one in MAKERS:
            (CARDS / f"{one}.md").write_text(made(one, checkpoint), encoding="utf-8")
