"""The README trains what it says it trains; `tests/docs` runs its code and compares the output."""

import re
from pathlib import Path

from tests.docs import pages

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_training_trains_and_saves(tiny_bert_folder, tmp_path, monkeypatch):
    import torch

    from sentune import SentenceTransformer, models

    monkeypatch.chdir(tmp_path)
    (code,) = [block.text for block in pages.blocks(README) if "model.fit(" in block.text]
    exec(code.replace("distilroberta-base", str(tiny_bert_folder)), {})
    before = models.Transformer(tiny_bert_folder).state_dict()
    after = SentenceTransformer("my-model")[0].state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_it_stays_short():
    assert len(README.splitlines()) < 200


def test_the_layout_names_every_package():
    source = Path(__file__).parents[1] / "src" / "sentune"
    packages = {path.parent.name for path in source.glob("*/__init__.py")}
    section = README.partition("## Layout of the package")[2].partition("\n## ")[0]
    assert set(re.findall(r"\b(\w+)/", section)) - {"sentune", "src", "docs", "tests"} == packages
