"""Router: the right route by task, texts read by its first module."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from sentune import SentenceTransformer
from sentune.engine import packing
from sentune.errors import InputError, InputTypeError, SentuneWarning, SettingError
from sentune.models import Asym
from sentune.models.base import InputModule
from sentune.models.heads import Dense, Normalize
from sentune.models.pooling import Pooling
from sentune.models.router import Router
from sentune.models.sequence import CNN
from sentune.models.static import StaticEmbedding
from sentune.models.transformer import Transformer
from sentune.text import layouts
from tests import tiny
from tests.models.layouts import assert_leaves_its_input_alone, rebuilt


class Add(nn.Module):
    """A module from elsewhere: writes into the dict it is given, knows no packed layout."""

    forward_kwargs = frozenset({"extra"})

    def __init__(self, amount):
        super().__init__()
        self.amount = amount

    def forward(self, features, extra=0):
        features["sentence_embedding"] = features["sentence_embedding"] + self.amount + extra
        return features


def adding(**options):
    return Router({"query": [Add(1)], "document": [Add(10), Add(100)]}, **options)


def run(router, **where):
    return router({"sentence_embedding": torch.zeros(1)}, **where)["sentence_embedding"].item()


def static(width=4, seed=0):
    torch.manual_seed(seed)
    return StaticEmbedding(tiny.tokenizer(), embedding_dim=width)


# Which route --------------------------------------------------------------------------------------


def test_the_task_chooses_the_route():
    router = adding()
    assert run(router, task="query") == 1
    assert run(router, task="document") == 110
    assert run(router) == 1  # the first, where no default is given
    assert run(adding(default_route="document")) == 110


def test_the_task_may_stand_in_the_features_and_the_argument_counts_more():
    router = adding()
    features = {"sentence_embedding": torch.zeros(1), "task": "document"}
    assert router(features)["sentence_embedding"].item() == 110
    assert router(features, task="query")["sentence_embedding"].item() == 1


def test_without_a_default_the_task_is_needed():
    router = adding(allow_empty_key=False)
    assert run(router, task="query") == 1
    with pytest.raises(SettingError, match=r"no route for task=None; the routes are \['query', 'd"):
        run(router)


def test_an_unknown_task_is_refused_even_with_a_default():
    with pytest.raises(SettingError, match="no route for task='passage'"):
        run(adding(default_route="document"), task="passage")


ALL = {
    ("query", "text"): "a",
    ("query", None): "b",
    (None, "text"): "c",
    (None, ("text", "image")): "d",
}


@pytest.mark.parametrize(
    ("task", "modality", "route"),
    [
        ("query", "text", "a"),
        ("query", "image", "b"),
        ("document", "text", "c"),
        (None, "text", "c"),
        (None, ("image", "text"), "d"),  # in any order
        ("e", "image", "e"),  # by the name of the task
        (None, "e", "e"),  # by the name of the modality
        (None, "image", "a"),  # the default
    ],
)
@pytest.mark.parametrize("key", [lambda key: key, str])
def test_the_first_mapping_that_matches_counts(task, modality, route, key):
    mappings = {key(pair): name for pair, name in ALL.items()}
    router = Router({name: [Add(0)] for name in "abcde"}, route_mappings=mappings)
    assert router.route_for(task, modality) == route


def test_a_mapping_of_nothing_catches_all():
    router = adding(route_mappings={(None, None): "document"})
    assert router.route_for("anything", "image") == "document"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"default_route": "passage"}, "route 'passage' is named by default_route"),
        ({"route_mappings": {("query", None): "q"}}, "route 'q' is named"),
        ({"route_mappings": {"query": "query"}}, r"must be \(task, modality\).*'query'"),
        ({"route_mappings": {("query",): "query"}}, r"must be \(task, modality\)"),
    ],
)
def test_routes_that_are_not_there_are_named(options, message):
    with pytest.raises(SettingError, match=message):
        adding(**options)


@pytest.mark.parametrize("routes", [{}, None, {"query": []}])
def test_a_router_has_routes_with_modules(routes):
    with pytest.raises(SettingError, match="at least one route"):
        Router(routes)


# Running ------------------------------------------------------------------------------------------


def test_modules_get_the_arguments_they_take():
    assert run(adding(), task="document", extra=1000, other=5) == 2110
    assert adding().forward_kwargs == {"task", "modality", "extra"}


def test_modules_from_elsewhere_do_not_change_the_callers_features():
    assert_leaves_its_input_alone(adding(), {"sentence_embedding": torch.zeros(1)})


def test_a_router_reads_packed_if_all_its_modules_do():
    assert Router({"a": [static()], "b": [Dense(4, 4), Normalize()]}).reads_packed
    assert not Router({"a": [static()], "b": [CNN(4, 4, kernel_sizes=[2])]}).reads_packed
    assert not adding().reads_packed


def test_a_module_that_stands_twice_in_a_route_runs_twice():
    twice = Add(1)
    assert run(Router({"a": [twice, twice]})) == 2


# Reading ------------------------------------------------------------------------------------------


@pytest.fixture
def router(tiny_bert_folder):
    transformer = Transformer(tiny_bert_folder)
    return Router.for_query_document([static(32)], [transformer, Pooling(32)])


def test_texts_are_read_by_the_first_module_of_their_route(router):
    query, document = router.read(["the cat"], task="query"), router.read(["the cat"])
    assert query["lengths"] == [2]
    assert document["lengths"] == [4]  # with [CLS] and [SEP]
    assert (query["task"], query["modality"]) == ("query", "text")
    assert "task" not in document
    assert router.read(["cat"], prompt="the ", task="query")["lengths"] == [2]


@pytest.mark.parametrize("layout", ["pack", "pad"])
def test_the_task_stays_with_the_features_in_every_layout(router, layout):
    texts = ["the cat sat", "dog", "the cat"]
    for task in ("query", "document"):
        features = layouts.select(router.read(texts, task=task), [2, 0, 1])
        features = packing.pack(features) if layout == "pack" else router.pad(features)
        out = router(features)["sentence_embedding"]
        route = router.sub_modules[task]
        alone = [route(packing.pack(route[0].read([text])))["sentence_embedding"] for text in texts]
        torch.testing.assert_close(out, torch.cat([alone[2], alone[0], alone[1]]))


def test_the_task_survives_joining_and_padding_and_back(router):
    features = layouts.join([router.read(["cat"], task="query")] * 2)
    assert features["task"] == "query"
    assert packing.from_padded(packing.pad(features))["task"] == "query"
    assert layouts.can_be_ragged(packing.pad(features))


def test_texts_may_name_their_task(router):
    features = router.read([{"query": "the cat"}, {"query": "dog"}], prompt="a ")
    assert features["task"] == "query"
    assert features["lengths"] == [3, 2]
    assert router.tokenize([{"document": "the cat"}])["input_ids"].shape == (1, 4)


@pytest.mark.parametrize(
    ("texts", "task"),
    [
        ([{"query": "a"}, {"document": "b"}], None),
        ([{"query": "a"}], "document"),
        ([{"query": "a"}, "b"], None),
    ],
)
def test_texts_of_several_tasks_are_refused(router, texts, task):
    with pytest.raises(InputError, match="a batch takes one route"):
        router.read(texts, task=task)


def test_what_is_no_text_is_named(router):
    with pytest.raises(InputTypeError, match="row 1"):
        router.read(["a", None], task="query")


def test_tokenize_gives_what_the_routes_first_module_gives(router):
    query = router.tokenize(["the cat"], task="query")
    assert query["offsets"].tolist() == [0]
    document = router.tokenize(["the cat", "dog"], task="document", prompt="a ")
    assert document["attention_mask"].tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]]
    for features in (query, document):
        assert router(features)["sentence_embedding"].shape[1] == 32


def test_limits_are_read_and_set_for_all_routes(router):
    assert router.max_seq_length == 64
    router.max_seq_length = 3
    assert router.max_seq_length == 3
    assert router.read(["the cat sat on"], task="query")["lengths"] == [3]
    assert router.read(["the cat sat on"])["lengths"] == [3]
    assert adding().max_seq_length is None


def test_the_tokenizer_is_the_first_routes(router):
    assert router.tokenizer is router.sub_modules["query"][0].tokenizer
    assert adding().tokenizer is None


# What it is ---------------------------------------------------------------------------------------


def test_asym_is_the_older_name():
    assert Asym is Router


def test_a_router_is_rebuilt_from_its_settings_and_modules():
    mappings = {("query", None): "a", (None, ("text", "image")): "b"}
    router = Router({"a": [Dense(4, 4)], "b": [Dense(4, 4)]}, "b", False, mappings)
    twin = rebuilt(router, sub_modules={"a": [Dense(4, 4)], "b": [Dense(4, 4)]})
    assert (twin.default_route, twin.allow_empty_key) == ("b", False)
    assert twin.route_for("query") == "a"
    assert twin.route_for(None, ("image", "text")) == "b"
    assert "sub_modules.a.0.linear.weight" in router.state_dict()


def test_the_width_is_that_of_the_routes():
    router = Router({"a": [Dense(8, 4), Normalize()], "b": [Dense(8, 4)]})
    assert router.get_embedding_dimension() == router.get_sentence_embedding_dimension() == 4
    assert adding().get_embedding_dimension() is None


def test_routes_of_different_widths_are_warned_of():
    message = r"different widths, {'query': 4, 'document': 5}"
    with pytest.warns(SentuneWarning, match=message) as caught:
        Router.for_query_document([Dense(8, 4)], [Dense(8, 5)])
    assert caught[0].filename == __file__


def test_a_routed_model_embeds_queries_and_documents_each_its_way(router):
    from sentune.encoder.sentence_transformers import SentenceTransformer

    model = SentenceTransformer(modules=[router, Normalize()])
    texts = ["the cat sat", "dog", "the cat", "a red house"]
    query, document = router.sub_modules["query"], router.sub_modules["document"]
    for encode, route in ((model.encode_query, query), (model.encode_document, document)):
        expected = SentenceTransformer(modules=[*copy.deepcopy(route), Normalize()]).encode(texts)
        torch.testing.assert_close(
            torch.tensor(encode(texts)), torch.tensor(expected), atol=1e-6, rtol=1e-5
        )
    assert (model.encode_query(texts) != model.encode_document(texts)).any()
    named = model.encode([{"query": text} for text in texts])
    torch.testing.assert_close(torch.tensor(named), torch.tensor(model.encode_query(texts)))


@pytest.mark.parametrize("reader", ["read", "tokenize"])
def test_a_router_in_a_route_is_told_the_task(reader):
    inner = Router({"query": [static(4, seed=1)], "document": [static(4, seed=2)]})
    outer = Router({"text": [inner], "image": [static(4)]})
    features = getattr(outer, reader)(["the cat"], task="document")
    assert features["task"] == "document"


def test_what_may_be_a_task_is_listed():
    router = adding(route_mappings={("passage", None): "document", (None, "image"): "query"})
    assert router.tasks == ["query", "document", "passage"]
    assert router.has_route("passage") and router.has_route(None, "image")
    assert not router.has_route() and not router.has_route("other")


class Told(nn.Module):
    """Keeps the model that it is told of."""

    model = None

    def forward(self, features):
        return features

    def on_model_ready(self, model):
        self.__dict__["model"] = model


def test_modules_of_every_route_are_told_of_the_model():
    told = [Told(), Told()]
    routes = {"query": [StaticEmbedding(tiny.tokenizer(), embedding_dim=4), told[0]]}
    routes["document"] = [*routes["query"][:1], told[1]]
    model = SentenceTransformer(modules=[Router(routes)], device="cpu")
    assert [module.model for module in told] == [model, model]


class Lengths(nn.Module):
    """A first module from elsewhere, which embeds the length of a text."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(50, 4)

    def tokenize(self, texts, **kwargs):
        return {"input_ids": torch.tensor([[len(text)] for text in texts])}

    def forward(self, features):
        features["sentence_embedding"] = self.embedding(features["input_ids"])[:, 0]
        return features


class WithPrompt(Lengths):
    def preprocess(self, texts, prompt=None, **kwargs):
        return {"input_ids": torch.tensor([[len(prompt or "") + len(text)] for text in texts])}


@pytest.mark.parametrize("first", [Lengths, WithPrompt])
def test_a_route_may_begin_with_a_module_from_elsewhere(first):
    own = first()
    router = Router({"query": [own], "document": [static(4)]})
    model = SentenceTransformer(modules=[router], device="cpu")
    texts = ["a dog", "the cat sat", "a"]
    found = model.encode_query(texts, batch_size=2)
    torch.testing.assert_close(torch.tensor(found), own.embedding.weight[[5, 11, 1]])
    found = model.encode_query(texts, prompt="the ")
    torch.testing.assert_close(torch.tensor(found), own.embedding.weight[[9, 15, 5]])
    assert model.encode_document(texts).shape == (3, 4)
    assert model.tokenize(texts, task="query")["input_ids"].tolist() == [[5], [11], [1]]


def test_its_kinds_of_inputs_are_those_of_the_routes():
    class Sees(InputModule):
        modalities = ("text", "image")

    assert Router({"a": [static()], "b": [Sees()]}).modalities == ["text", "image"]
    assert adding().modalities == ["text"]


def test_a_limit_that_no_route_takes_is_warned_of():
    router = adding()
    with pytest.warns(SentuneWarning, match="max_seq_length=3 has no effect"):
        router.max_seq_length = 3


class Pictures(Lengths):
    modalities = ["image", ("image", "text")]


def test_a_router_reads_what_its_routes_read_and_takes_what_they_take():
    router = Router({"query": [static(4)], "document": [Pictures(), Add(1)]})
    assert router.modalities == ["text", "image", ("image", "text")]
    assert router.forward_kwargs == {"task", "modality", "extra"}
    assert Router.forward_kwargs == {"task", "modality"}
