"""Modules, subclasses, losses and collators of a user's own get what torch users expect."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from torch import nn
from transformers import AutoTokenizer

from sentune import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
    losses,
)
from sentune.engine.tree import engine_off
from sentune.models.heads import Dense, Normalize
from sentune.models.pooling import Pooling
from sentune.models.router import Router
from sentune.models.transformer import Transformer
from sentune.training.collate import SentenceTransformerDataCollator
from tests import uneven

TEXTS = uneven.texts(40, seed=5, longest=60)


class Seen:
    """What the modules below were given."""

    layouts: list = []


def note(features):
    Seen.layouts.append("padded" if features["input_ids"].ndim == 2 else "flat")
    assert {"input_ids", "attention_mask"} <= features.keys()
    assert features["attention_mask"].shape == features["input_ids"].shape


class OwnForward(Transformer):
    def forward(self, features, **kwargs):
        note(features)
        features = super().forward(features, **kwargs)
        features["token_embeddings"] = features["token_embeddings"] * 2
        return features


class OwnTokenize(Transformer):
    def tokenize(self, texts, **kwargs):
        return super().tokenize([text.upper() + " cat" for text in texts], **kwargs)


class OwnPreprocess(Transformer):
    def preprocess(self, inputs, prompt=None, **kwargs):
        return super().preprocess([text + " cat" for text in inputs], prompt=prompt, **kwargs)


class OwnPooling(Pooling):
    def forward(self, features, **kwargs):
        note(features)
        tokens, mask = features["token_embeddings"], features["attention_mask"]
        features.update(
            {"sentence_embedding": (tokens * mask[..., None]).sum(1) / mask.sum(1, True)}
        )
        return features


class Plain(nn.Module):
    """A first module that knows nothing of this library."""

    def __init__(self, folder):
        super().__init__()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.table = nn.Embedding(len(self.tokenizer), 32)

    def tokenize(self, texts):
        return self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")

    def forward(self, features):
        note(features)
        tokens = self.table(features["input_ids"]) * features["attention_mask"][..., None]
        features["sentence_embedding"] = tokens.sum(1) / features["attention_mask"].sum(1, True)
        return features


@pytest.fixture(autouse=True)
def nothing_seen():
    Seen.layouts = []


@pytest.fixture
def folder(tiny_folders):
    return tiny_folders("bert")


def encoder(kind, folder):
    torch.manual_seed(1)
    return kind(folder)


def model_of(*modules):
    return SentenceTransformer(modules=modules, device="cpu", dtype="float32")


def test_a_subclass_of_transformer_with_a_forward_of_its_own(folder):
    usual = model_of(encoder(Transformer, folder), Pooling(32))
    own = model_of(encoder(OwnForward, folder), Pooling(32))
    own.load_state_dict(usual.state_dict())
    np.testing.assert_allclose(own.encode(TEXTS), 2 * usual.encode(TEXTS), atol=1e-5)
    assert set(Seen.layouts) == {"padded"} and not own.is_packed


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (OwnTokenize, lambda text: text.upper() + " cat"),
        (OwnPreprocess, lambda text: text + " cat"),
    ],
)
def test_a_subclass_of_transformer_that_reads_texts_in_its_own_way(kind, change, folder):
    usual = model_of(encoder(Transformer, folder), Pooling(32))
    own = model_of(encoder(kind, folder), Pooling(32))
    own.load_state_dict(usual.state_dict())
    expected = usual.encode([change(text) for text in TEXTS])
    np.testing.assert_allclose(own.encode(TEXTS), expected, atol=1e-5)
    (rows,) = own.encode_stream(iter(TEXTS))
    np.testing.assert_allclose(rows, expected, atol=1e-5)
    found = own(own.tokenize(TEXTS))["sentence_embedding"].detach()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_subclass_of_the_whole_model_that_reads_texts_in_its_own_way(folder):
    class Marked(SentenceTransformer):
        def tokenize(self, texts, **kwargs):
            return super().tokenize(["cat " + text for text in texts], **kwargs)

    modules = [encoder(Transformer, folder), Pooling(32)]
    expected = model_of(*modules).encode(["cat the " + text for text in TEXTS])
    own = Marked(modules=modules, device="cpu", dtype="float32")
    np.testing.assert_allclose(own.encode(TEXTS, prompt="the "), expected, atol=1e-5)
    found = own(own.preprocess(TEXTS, prompt="the "))["sentence_embedding"].detach()
    usual = model_of(*modules).encode(["the cat " + text for text in TEXTS])
    np.testing.assert_allclose(found, usual, atol=1e-5)


def test_a_subclass_of_pooling_with_a_forward_of_its_own(folder):
    transformer = encoder(Transformer, folder)
    own = model_of(transformer, OwnPooling(32), Normalize())
    usual = model_of(transformer, Pooling(32), Normalize())
    np.testing.assert_allclose(own.encode(TEXTS), usual.encode(TEXTS), atol=1e-5)
    assert set(Seen.layouts) == {"padded"}


def test_a_plain_module_comes_first(folder):
    plain = Plain(folder)
    model = model_of(plain, Dense(32, 16))
    alone = np.stack([model.encode(text) for text in TEXTS])
    np.testing.assert_allclose(model.encode(TEXTS, batch_size=7), alone, atol=1e-5)
    assert set(Seen.layouts) == {"padded"}


def test_a_hook_or_a_replaced_forward_of_one_module_sees_padded_features(folder):
    model = model_of(encoder(Transformer, folder), Pooling(32))
    before = model.encode(TEXTS)
    handle = model[1].register_forward_pre_hook(lambda module, given: note(given[0]))
    np.testing.assert_allclose(model.encode(TEXTS), before, atol=1e-5)
    assert set(Seen.layouts) == {"padded"}
    handle.remove()
    forward, Seen.layouts = model[1].forward, []
    model[1].forward = lambda features: note(features) or forward(features)
    np.testing.assert_allclose(model.encode(TEXTS), before, atol=1e-5)
    assert set(Seen.layouts) == {"padded"}


def test_a_subclass_or_a_hook_of_the_whole_model_sees_padded_features(folder):
    class Doubled(SentenceTransformer):
        def forward(self, features, **kwargs):
            note(features)
            features = super().forward(features, **kwargs)
            features["sentence_embedding"] = features["sentence_embedding"] * 2
            return features

    modules = [encoder(Transformer, folder), Pooling(32)]
    expected = model_of(*modules).encode(TEXTS)
    own = Doubled(modules=modules, device="cpu", dtype="float32")
    np.testing.assert_allclose(own.encode(TEXTS), 2 * expected, atol=1e-5)
    assert set(Seen.layouts) == {"padded"}
    hooked = model_of(*modules)
    hooked.register_forward_hook(
        lambda module, given, found: {
            **found,
            "sentence_embedding": found["sentence_embedding"] + 1,
        }
    )
    np.testing.assert_allclose(hooked.encode(TEXTS), expected + 1, atol=1e-5)


@pytest.mark.parametrize("kind", ["bert", "mpnet"])
def test_the_padded_dict_that_a_model_is_given_is_filled(kind, tiny_folders):
    model = model_of(Transformer(tiny_folders(kind)), Pooling(32), Normalize())
    expected = model.encode(TEXTS)
    for context in (torch.no_grad(), torch.enable_grad()):
        with context:
            features = model.tokenize(TEXTS)
            given = dict(features)
            found = model(features)
        assert found is features
        assert all(found[key] is value for key, value in given.items())
        np.testing.assert_allclose(found["sentence_embedding"].detach(), expected, atol=1e-5)
        tokens = found["token_embeddings"]
        assert tokens.shape[:2] == found["attention_mask"].shape
        rows = [row[mask] for row, mask in zip(tokens, found["attention_mask"].bool(), strict=True)]
        wanted = model.encode(TEXTS, output_value="token_embeddings")
        for one, other in zip(rows, wanted, strict=True):
            torch.testing.assert_close(one.detach(), other, atol=1e-5, rtol=1e-5)
    ragged = model.read(TEXTS)
    keys = set(ragged)
    assert model(ragged) is not ragged and set(ragged) == keys  # nothing else is changed


def test_a_mask_with_gaps_or_on_the_left_is_read_as_it_stands(folder):
    model = model_of(encoder(Transformer, folder), Pooling(32))
    features = model.tokenize(["the cat sat on a mat", "a dog"])
    left = {key: value.flip(1) for key, value in features.items()}
    gap = dict(features)
    gap["attention_mask"] = features["attention_mask"].clone()
    gap["attention_mask"][0, 2] = 0
    empty = dict(features)
    empty["attention_mask"] = features["attention_mask"].clone()
    empty["attention_mask"][1] = 0
    for given in (left, gap, empty):
        with torch.no_grad(), engine_off():
            expected = model(dict(given))["sentence_embedding"]
        with torch.no_grad():
            found = model(dict(given))["sentence_embedding"]
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.filterwarnings("ignore")  # what is traced becomes a constant, says torch
def test_a_traced_model_takes_other_lengths(folder):
    model = model_of(encoder(Transformer, folder), Pooling(32))

    class Vectors(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, input_ids, attention_mask):
            given = {"input_ids": input_ids, "attention_mask": attention_mask}
            return self.model(given)["sentence_embedding"]

    with torch.no_grad(), engine_off():
        one, other = model.tokenize(["the cat sat", "a"]), model.tokenize(["a dog", "red"])
        traced = torch.jit.trace(Vectors(), (one["input_ids"], one["attention_mask"]))
    size = one["input_ids"].shape
    ids = torch.nn.functional.pad(other["input_ids"], (0, size[1] - other["input_ids"].shape[1]))
    mask = (ids != 0).long()
    np.testing.assert_allclose(
        traced(ids, mask).detach(), model.encode(["a dog", "red"]), atol=1e-5
    )


def test_outputs_of_tokens_stay_packed(folder):
    model = model_of(encoder(Transformer, folder), Pooling(32))
    widths = []
    model[0].auto_model  # noqa: B018 - its modules are made
    original = Transformer._run_padded
    try:
        Transformer._run_padded = lambda self, *args: widths.append(1) or original(self, *args)
        tokens = model.encode(TEXTS, output_value="token_embeddings")
        everything = model.encode(TEXTS, output_value=None)
    finally:
        Transformer._run_padded = original
    assert not widths
    lengths = model.read(TEXTS)["lengths"]
    assert [len(rows) for rows in tokens] == lengths
    for row, length in zip(everything, lengths, strict=True):
        assert len(row["input_ids"]) == len(row["attention_mask"]) == length
        assert row["token_embeddings"].shape == (length, 32)
        assert row["sentence_embedding"].shape == (32,)


class OwnLoss(nn.Module):
    """As people write them: it reads the padded features and calls the model."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, sentence_features, labels):
        for features in sentence_features:
            note(features)
        one, other = [self.model(features)["sentence_embedding"] for features in sentence_features]
        return nn.functional.mse_loss(torch.cosine_similarity(one, other), labels.view(-1))


class OwnSubclass(losses.CosineSimilarityLoss):
    def forward(self, sentence_features, labels=None):
        for features in sentence_features:
            note(features)
        return super().forward(sentence_features, labels)


class OwnCollator(SentenceTransformerDataCollator):
    """As people write them for other libraries: a flat batch of padded columns."""

    def __call__(self, rows):
        batch = {"label": torch.tensor([row["score"] for row in rows])}
        for column in ("a", "a_b"):
            for key, value in self.tokenize_fn([row[column] for row in rows]).items():
                batch[f"{column}_{key}"] = value
        return batch


def train(model, loss, tmp_path, **options):
    texts = [text or "red" for text in TEXTS]
    half = len(texts) // 2
    scores = [k % 5 / 4 for k in range(half)]
    data = Dataset.from_dict({"a": texts[:half], "a_b": texts[half:], "score": scores})
    torch.manual_seed(0)
    trainer = SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(
            output_dir=str(tmp_path),
            max_steps=3,
            per_device_train_batch_size=8,
            bf16=False,
            report_to="none",
            save_strategy="no",
            logging_steps=1,
            include_num_input_tokens_seen="all",
        ),
        train_dataset=data,
        eval_dataset=data,
        loss=loss,
        **options,
    )
    trainer.train()
    assert trainer.state.num_input_tokens_seen > 100
    trainer.evaluate()
    return model.encode(TEXTS)


@pytest.mark.parametrize(
    ("loss", "collator"),
    [(OwnLoss, None), (OwnSubclass, None), (None, OwnCollator), (OwnLoss, OwnCollator)],
)
def test_losses_and_collators_of_the_user_train_as_those_of_the_library(
    loss, collator, tmp_path, tiny_folders
):
    from tests.tiny import make_folder

    folder = make_folder(tmp_path / "encoder", dropout=0.0)

    def fresh():
        return model_of(Transformer(folder), Pooling(32))

    usual = fresh()
    expected = train(usual, losses.CosineSimilarityLoss(usual), tmp_path)
    own = fresh()
    options = {}
    if collator is not None:
        options["data_collator"] = collator(preprocess_fn=own.preprocess)
    made = (loss or losses.CosineSimilarityLoss)(own)
    np.testing.assert_allclose(train(own, made, tmp_path, **options), expected, atol=1e-4)
    assert loss is None or set(Seen.layouts) == {"padded"}


def test_training_with_modules_of_the_user(tmp_path):
    from tests.tiny import make_folder

    folder = make_folder(tmp_path / "encoder", dropout=0.0)
    usual = model_of(Transformer(folder), Pooling(32))
    expected = train(usual, losses.CosineSimilarityLoss(usual), tmp_path)
    own = model_of(Transformer(folder), OwnPooling(32))
    found = train(own, losses.CosineSimilarityLoss(own), tmp_path)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert set(Seen.layouts) == {"padded"}
    plain = model_of(Plain(folder))
    before = plain.encode(TEXTS)
    assert abs(train(plain, losses.CosineSimilarityLoss(plain), tmp_path) - before).max() > 1e-6


class HandsOn(Transformer):
    """What wrappers do: they know the first argument, and hand on the others."""

    def preprocess(self, inputs, **kwargs):
        return super().preprocess([text.lower() for text in inputs], **kwargs)


class HandsOnToo(SentenceTransformer):
    def preprocess(self, inputs, **kwargs):
        return super().preprocess(inputs, **kwargs)


def _handing_on(kind, folder):
    own = (HandsOn if kind == "module" else Transformer)(folder)
    made = HandsOnToo if kind == "model" else SentenceTransformer
    model = made(modules=[own, Pooling(32, include_prompt=False)], device="cpu")
    if kind == "instance":
        before = model.preprocess
        model.preprocess = lambda texts, **kwargs: before(texts, **kwargs)
    return model


@pytest.mark.parametrize("kind", ["module", "model", "instance"])
def test_a_reader_that_hands_on_its_arguments_is_given_the_prompt_as_one(kind, tiny_folders):
    """Pooling leaves a prompt out by its length, which is known of a prompt of its own only."""
    folder = tiny_folders("bert")
    plain = [Transformer(folder), Pooling(32, include_prompt=False)]
    expected = SentenceTransformer(modules=plain, device="cpu").encode(TEXTS, prompt="the dog ")
    model = _handing_on(kind, folder)
    model.prompts = {"query": "the dog "}
    np.testing.assert_allclose(model.encode(TEXTS, prompt="the dog "), expected, atol=1e-5)
    np.testing.assert_allclose(model.encode_query(TEXTS), expected, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*max_seq_length")
def test_a_model_that_hands_on_its_arguments_reads_by_the_route_of_the_task(tiny_folders):
    short, long = (
        Transformer(tiny_folders("bert"), max_seq_length=4),
        Transformer(tiny_folders("bert")),
    )
    router = Router({"query": [short, Pooling(32)], "document": [long, Pooling(32)]}, "document")
    expected = SentenceTransformer(modules=[router], device="cpu").encode_query(TEXTS)
    found = HandsOnToo(modules=[router], device="cpu").encode_query(TEXTS)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert not np.allclose(SentenceTransformer(modules=[router]).encode(TEXTS), expected)


def test_a_trainer_gives_the_prompt_to_a_reader_that_hands_on_its_arguments(tiny_folders, tmp_path):
    seen = set()

    class Loss(losses.MultipleNegativesRankingLoss):
        def forward(self, columns, labels=None):
            seen.update(key for column in columns for key in column if "prompt" in key)
            return super().forward(columns, labels)

    model = _handing_on("instance", tiny_folders("bert"))
    SentenceTransformerTrainer(
        model,
        SentenceTransformerTrainingArguments(
            output_dir=tmp_path, prompts="the ", max_steps=1, report_to="none", use_cpu=True
        ),
        Dataset.from_dict({"a": TEXTS[:8], "b": TEXTS[8:16]}),
        loss=Loss(model),
    ).train()
    assert seen
