"""What the README says is what happens."""

import re
from pathlib import Path

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, flags=re.DOTALL)


def code(word: str) -> str:
    (block,) = [text for language, text in BLOCKS if language == "python" and word in text]
    return block


def test_use_prints_what_is_shown(minilm_folder, capsys):
    exec(
        code("model.similarity(").replace(
            "sentence-transformers/all-MiniLM-L6-v2", str(minilm_folder)
        ),
        {},
    )
    shown = next(text for language, text in BLOCKS if text.startswith("(3, 384)"))
    assert capsys.readouterr().out == shown


def test_training_trains_and_saves(tiny_bert_folder, tmp_path, monkeypatch):
    import torch

    from sentune import SentenceTransformer, models

    monkeypatch.chdir(tmp_path)
    exec(code("fit").replace("distilroberta-base", str(tiny_bert_folder)), {})
    before = models.Transformer(tiny_bert_folder).state_dict()
    after = SentenceTransformer("my-model")[0].state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_it_stays_short():
    assert len(README.splitlines()) < 200
