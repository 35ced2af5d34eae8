"""Every public name of sentence-transformers is here, with its arguments, or docs say otherwise."""

from fnmatch import fnmatchcase

import pytest
import torch

pytest.importorskip("sentence_transformers")

import sentence_transformers as peer  # noqa: E402
from sentence_transformers import (  # noqa: E402
    SentenceTransformerTrainingArguments as TheirArguments,
)
from sentence_transformers.sentence_transformer import losses as their_losses  # noqa: E402

from sentune import (  # noqa: E402
    SentenceTransformer,
    SentenceTransformerTrainingArguments,
    losses,
    models,
)
from tests.parity import surface  # noqa: E402
from tests.test_migrating import patterns  # noqa: E402


@pytest.fixture(scope="module")
def found(tiny_bert_folder):
    objects = []
    for kind in (peer.SentenceTransformer, SentenceTransformer):
        model = kind(str(tiny_bert_folder), device="cpu")
        package = losses if kind is SentenceTransformer else their_losses
        names = (
            "CachedMultipleNegativesRankingLoss",
            "CachedMultipleNegativesSymmetricRankingLoss",
        )
        objects.append([model, model[0], model[1], model.model_card_data])
        objects[-1] += [getattr(package, name)(model) for name in names]
    all_of_it = surface.findings()
    for there, here in zip(*objects, strict=True):
        all_of_it.update(surface.attributes(there, here))
        # What is a property there may be a plain attribute here.
        for name in [n for n, how in all_of_it.items() if how == "is missing"]:
            owner, _, member = name.rpartition(".")
            if owner == type(there).__name__ and hasattr(here, member):
                del all_of_it[name]
    return all_of_it


def is_meant(name):
    return any(fnmatchcase(name, pattern) for pattern in patterns())


def test_nothing_is_missing_or_otherwise_but_what_the_docs_say(found):
    unknown = {n: how for n, how in found.items() if not is_meant(n)}
    assert not unknown, "\n".join(f"{name}: {how}" for name, how in unknown.items())


def test_each_name_in_the_docs_is_otherwise(found):
    idle = [p for p in patterns() if not any(fnmatchcase(name, p) for name in found)]
    assert idle == []


def test_the_walk_finds_what_is_missing_or_otherwise():
    class There:
        size = 1

        def run(self, a, b=2, *, c=3): ...

        @property
        def name(self): ...

        @name.setter
        def name(self, value): ...

    class Here:
        def run(self, b=3, a=1): ...

        @property
        def name(self): ...

    There.__module__ = f"{surface.PEER}.x"
    assert dict(surface.members("X", There, Here)) == {
        "X.size": "is missing",
        "X.run(b)": "is 3, there 2",
        "X.run(c)": "is no argument",
        "X.run()": "takes ['b', 'a'] in this order, there ['a', 'b']",
        "X.name": "cannot be set",
    }
    assert len(surface.addresses()) > 60


def test_defaults_that_are_said_otherwise_mean_the_same(tiny_model):
    for name in ("CosineSimilarityLoss", "SoftmaxLoss"):
        options = {} if name[0] == "C" else {"num_labels": 2, "sentence_embedding_dimension": 32}
        mine = getattr(losses, name)(tiny_model, **options)
        other = getattr(their_losses, name)(tiny_model, **options)
        assert type(mine.loss_fct) is type(other.loss_fct)
    assert isinstance(models.Dense(4, 4).activation_function, torch.nn.Tanh)
    assert models.BoW(["a"]).word_weights == {}
    mine, other = (kind("out") for kind in (SentenceTransformerTrainingArguments, TheirArguments))
    for name in ("router_mapping", "learning_rate_mapping", "warmup_ratio", "warmup_steps"):
        assert getattr(mine, name) == getattr(other, name)
