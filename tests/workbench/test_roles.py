"""A model is trained with the prompts and through the routes that it is measured with."""

import io

import pytest
import torch
from datasets import Dataset

from sentune import SentenceTransformer
from sentune.errors import SettingError
from sentune.models import Dense, Router, StaticEmbedding
from sentune.training.collate import SentenceTransformerDataCollator
from sentune.workbench import train
from sentune.workbench.rows import forms_turned
from sentune.workbench.rows.roles import prompts_of, roles_of, routes_of
from tests import tiny
from tests.workbench import topics

FAST = {"steps": 12, "learning_rate": 1e-2, "alpha": 1, "batch_size": 16, "dtype": "float32"}


def test_the_first_text_of_pairs_searches_the_others_and_scored_texts_are_alike():
    pairs, scored, triplets = (
        Dataset.from_dict(rows(20)) for rows in (topics.pairs, topics.scored, topics.triplets)
    )
    assert roles_of(pairs) == {"query": "query", "document": "document"}
    assert roles_of(scored) == {"sentence1": "text", "sentence2": "text"}
    assert list(roles_of(triplets).values()) == ["query", "document", "document"]


@pytest.mark.parametrize(
    ("turn", "data", "role"),
    [
        (forms_turned.PAIRS_OF_A_CLASS, topics.classes(40), "text"),
        (forms_turned.HIGH_PAIRS, topics.scored(40), "text"),
        (forms_turned.TWICE, {"text": topics.classes(40)["text"]}, "query"),
    ],
)
def test_rows_that_were_turned_have_the_roles_that_the_rows_before_are_measured_in(
    turn, data, role
):
    made = forms_turned.turned(turn, Dataset.from_dict(data), None, 1)
    assert roles_of(made, turn)["anchor"] == role


@pytest.fixture
def seen(monkeypatch):
    """What the batches of a training were read with: column -> prompts and routes."""
    found = {}
    read = SentenceTransformerDataCollator.__call__

    def watched(self, rows):
        found.update(prompts=self.prompts, routes=self.router_mapping)
        return read(self, rows)

    monkeypatch.setattr(SentenceTransformerDataCollator, "__call__", watched)
    return found


def with_prompts(folder, **options):
    model = SentenceTransformer(str(tiny.make_folder(folder / "bert")), **options)
    model.save_pretrained(str(folder / "model"))
    return str(folder / "model")


def test_the_prompts_of_a_model_are_trained_with(tmp_path, seen):
    """And are those that `encode_query` and `encode_document` put before the texts."""
    prompts = {"query": "search for: ", "passage": "passage: "}
    model = with_prompts(tmp_path, prompts=prompts)
    screen = io.StringIO()
    train(topics.pairs(120), model, tmp_path / "out", progress=screen, **FAST)
    loaded = SentenceTransformer(model)
    rows = loaded.encode_query(["cat"]), loaded.encode_document(["cat"])
    for vectors, prompt in zip(rows, seen["prompts"].values()):
        assert (vectors == loaded.encode([f"{prompt}cat"])).all()
    assert seen["prompts"] == {"query": "search for: "}  # "document" is there, and empty
    assert "prompts: 'search for: ' before query" in screen.getvalue()


def test_the_default_prompt_is_trained_with_where_encode_puts_it(tmp_path, seen):
    options = {"prompts": {"same": "find the same: "}, "default_prompt_name": "same"}
    model = with_prompts(tmp_path, **options)
    train(topics.classes(120), model, tmp_path / "out", data_as="pairs of a class", **FAST)
    assert seen["prompts"] == {"anchor": "find the same: ", "positive": "find the same: "}


def routed(folder, default="document"):
    """A model with a layer of its own for queries and for documents."""
    torch.manual_seed(3)
    static = StaticEmbedding(tiny.tokenizer().backend_tokenizer, embedding_dim=16)
    router = Router.for_query_document([Dense(16, 16)], [Dense(16, 16)], default)
    SentenceTransformer(modules=[static, router], device="cpu").save_pretrained(str(folder))
    return str(folder)


def test_each_column_of_pairs_goes_through_its_route(tmp_path, seen):
    screen = io.StringIO()
    model = routed(tmp_path / "routed")
    as_is = {"data_as": forms_turned.AS_IT_IS, "progress": screen}
    result = train(topics.pairs(120), model, tmp_path / "out", **as_is, **FAST)
    assert seen["routes"] == {"query": "query", "document": "document"}
    assert "query takes 'query', document takes 'document'" in screen.getvalue()
    start, kept = (SentenceTransformer(path).state_dict() for path in (model, result.model_path))
    for route in ("query", "document"):
        (name,) = [n for n in start if f"{route}.0.linear.weight" in n]
        assert not torch.equal(start[name], kept[name])


def test_texts_without_a_role_go_through_the_route_that_encode_takes(tmp_path, seen):
    model = routed(tmp_path / "routed")
    train(topics.scored(120), model, tmp_path / "out", data_as=forms_turned.AS_IT_IS, **FAST)
    assert seen["routes"] == {"sentence1": "document", "sentence2": "document"}


def test_a_model_without_prompts_or_routes_has_none(tmp_path):
    model = SentenceTransformer(str(tiny.make_folder(tmp_path / "bert")))
    roles = roles_of(Dataset.from_dict(topics.pairs(20)))
    assert prompts_of(model, roles) is routes_of(model, roles) is None


def test_an_adapter_of_a_model_without_a_transformer_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(SettingError, match="begins with a StaticEmbedding; leave lora out"):
        train(topics.pairs(120), routed(tmp_path / "m"), tmp_path / "out", lora=4, **FAST)
