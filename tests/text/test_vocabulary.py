"""Tokens that were added to a tokenizer and have no embedding."""

from __future__ import annotations

import pytest
import torch
from datasets import Dataset
from tokenizers import Tokenizer
from torch.utils.data import DataLoader

import sentune
from sentune import InputExample, losses, models
from sentune.errors import DatasetError, InputError, SentuneError
from tests import tiny
from tests.files.folders import change

CURE = r"resize_token_embeddings\(len\(model.tokenizer\)\)"


def model(tmp_path, kind):
    """A model that was loaded, whose tokenizer got a token."""
    folder = tiny.make_folder(tmp_path / kind, kind)
    if kind == "bert":  # its modules are made when they are used
        settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
        change(folder / "tokenizer_config.json", **settings)
    found = sentune.SentenceTransformer(str(folder), device="cpu")
    assert found[0].is_deferred == (kind == "bert")
    found.tokenizer.add_tokens(["[NEW]"], special_tokens=True)
    return found


def static():
    """A static model whose tokenizer has a token more than it has vectors."""
    core: Tokenizer = tiny.tokenizer().backend_tokenizer
    size = core.get_vocab_size()
    core.add_special_tokens(["[NEW]"])
    embedding = models.StaticEmbedding(core, torch.randn(size, 8))
    return sentune.SentenceTransformer(modules=[embedding], device="cpu")


@pytest.mark.parametrize("kind", ["bert", "mpnet", "roberta"])
def test_encode_names_the_token_and_the_cure(tmp_path, kind):
    found = model(tmp_path, kind)
    before = found.encode(["the cat"])
    for read in (found.encode, found.tokenize, found.preprocess, found.read):
        with pytest.raises(InputError, match=rf"'\[NEW\]' has the id .* rows.*{CURE}"):
            read(["the cat", "the [NEW] cat"])
    assert (found.encode(["the cat"]) == before).all()  # the token is not in there
    found[0].auto_model.resize_token_embeddings(len(found.tokenizer))
    assert found.encode(["the [NEW] cat"]).shape == (1, 32)


def test_a_padding_token_without_a_row(tmp_path):
    found = model(tmp_path, "bert")
    found.tokenizer.pad_token = "[NEW]"
    assert found.encode(["the cat", "the cat sat"]).shape == (2, 32)  # nothing is padded
    with pytest.raises(InputError, match=CURE):
        found.tokenize(["the cat", "the cat sat"])
    assert found.tokenize(["the cat", "the dog"])["input_ids"].shape == (2, 4)


def test_a_static_embedding():
    found = static()
    assert found.encode(["the cat"]).shape == (1, 8)
    with pytest.raises(InputError, match=r"'\[NEW\]'.*StaticEmbedding\(tokenizer, embedding"):
        found.encode(["the [NEW]"])


def rows(last, size=1200):
    return {
        "a": [f"the cat {n}" for n in range(size)],
        "b": [*(f"a dog {n}" for n in range(size - 1)), last],
    }


@pytest.mark.parametrize("make", [lambda path: model(path, "bert"), lambda path: static()])
@pytest.mark.parametrize("with_prompt", [False, True])
def test_training_stops_before_the_first_step(tmp_path, make, with_prompt):
    found = make(tmp_path)
    prompts = {"b": "[NEW] "} if with_prompt else None
    args = sentune.SentenceTransformerTrainingArguments(
        str(tmp_path / "run"), max_steps=1, prompts=prompts, report_to="none"
    )
    data = Dataset.from_dict(rows("a dog" if with_prompt else "a [NEW] dog"))
    loss = losses.MultipleNegativesRankingLoss(found)
    row = 0 if with_prompt else 1199
    for sets in (
        {"train_dataset": data},
        {"train_dataset": data.select(range(8)), "eval_dataset": data},
    ):
        with pytest.raises(DatasetError, match=rf"column 'b' of row {row}: token '\[NEW\]'"):
            sentune.SentenceTransformerTrainer(found, args, loss=loss, **sets)


def test_fit_stops_before_the_first_step(tmp_path):
    found = model(tmp_path, "bert")
    before = found.encode(["the cat"])
    examples = [InputExample(texts=[a, b]) for a, b in zip(*rows("a [NEW]").values(), strict=True)]
    loader = DataLoader(examples, batch_size=2)
    with pytest.raises(SentuneError, match=CURE):
        found.fit([(loader, losses.MultipleNegativesRankingLoss(found))], warmup_steps=0)
    assert (found.encode(["the cat"]) == before).all()


def test_a_token_that_never_comes_is_no_matter(tmp_path):
    found = model(tmp_path, "bert")
    args = sentune.SentenceTransformerTrainingArguments(
        str(tmp_path / "run"), max_steps=1, report_to="none", save_strategy="no"
    )
    trainer = sentune.SentenceTransformerTrainer(
        found,
        args,
        Dataset.from_dict(rows("a dog", 20)),
        loss=losses.MultipleNegativesRankingLoss(found),
    )
    assert trainer.train().global_step == 1
