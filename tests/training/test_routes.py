"""Every column goes through a route that is named for it, or nothing is trained."""

import pytest
import torch
from datasets import Dataset, IterableDataset
from torch import nn
from torch.utils.data import DataLoader

from sentune.data.example import InputExample
from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.errors import SentuneWarning, SettingError
from sentune.losses import MultipleNegativesRankingLoss
from sentune.models import Dense, Router, StaticEmbedding
from sentune.training.collate import SentenceTransformerDataCollator
from sentune.training.fit import fit
from sentune.training.trainer import SentenceTransformerTrainer
from tests import tiny
from tests.training.tools import (
    PAIRS,
    arguments,
    assert_equal_weights,
    assert_trained,
    pairs,
    trainer,
    weights,
)

BOTH = {"anchor": "query", "positive": "document"}
QUIET = {
    "epochs": 1,
    "show_progress_bar": False,
    "warmup_steps": 0,
    "optimizer_params": {"lr": 0.1},
}


def routed(routes=("query", "document"), is_first=False, **options):
    """A model with a Dense per route, behind static embeddings or each with its own."""
    torch.manual_seed(3)

    def static():
        return StaticEmbedding(tiny.tokenizer().backend_tokenizer, embedding_dim=16)

    own = {route: [*([static()] if is_first else []), Dense(16, 8)] for route in routes}
    router = Router(own, **options)
    return SentenceTransformer(modules=[router] if is_first else [static(), router], device="cpu")


def loader(columns=None, task=None):
    rows = zip(*(columns or PAIRS).values(), strict=True)
    names = task or [None, None]
    texts = (
        [text if name is None else {name: text} for text, name in zip(row, names, strict=True)]
        for row in rows
    )
    return DataLoader([InputExample(texts=row) for row in texts], batch_size=5)


def denses(model) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in weights(model).items() if "linear.weight" in name}


def trained(model, run) -> set[str]:
    """The routes whose weights a run changes."""
    before = denses(model)
    run()
    changed = [
        name for name, tensor in denses(model).items() if not torch.equal(tensor, before[name])
    ]
    return {name.split("sub_modules.")[1].split(".")[0] for name in changed}


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({}, r"train_dataset: column 'anchor' has no route, and would take the default one, "
             r"'query', of a Router with \['query', 'document'\]; set router_mapping=\{'anchor': "
             r"'query', 'positive': 'document'\}"),
        ({"anchor": "query"}, "train_dataset: column 'positive' has no route"),
        ({**BOTH, "positive": "docs"}, r"column 'positive' is mapped to 'docs', and the Router has "
                                       r"no such route; there are \['query', 'document'\]"),
    ],
)  # fmt: skip
def test_columns_without_a_route_are_refused_before_the_first_step(
    mapping, message, is_first, tmp_path
):
    model = routed(is_first=is_first)
    before = weights(model)
    with pytest.raises(SettingError, match=message):
        trainer(model, tmp_path, router_mapping=mapping)
    assert_equal_weights(weights(model), before)


@pytest.mark.parametrize("is_first", [True, False])
def test_fit_refuses_a_router_whose_routes_the_texts_do_not_name(is_first):
    model = routed(is_first=is_first)
    before = weights(model)
    with pytest.raises(SettingError, match="'sentence_0' has no route.*fit has no router_mapping"):
        fit(model, [(loader(), MultipleNegativesRankingLoss(model))], **QUIET)
    assert_equal_weights(weights(model), before)


def test_fit_trains_the_routes_that_the_texts_name():
    model = routed(is_first=True)
    data = loader(task=["query", "document"])
    run = lambda: fit(model, [(data, MultipleNegativesRankingLoss(model))], **QUIET)  # noqa: E731
    assert trained(model, run) == {"query", "document"}
    with pytest.raises(
        SettingError, match=r"column 'sentence_1' is \{'doc': text\}, and the Route"
    ):
        fit(model, [(loader(task=["query", "doc"]), MultipleNegativesRankingLoss(model))], **QUIET)


def test_fit_of_a_loader_that_draws_its_rows_is_refused_in_the_first_batch():
    model = routed()
    before = weights(model)
    batches = [[InputExample(texts=[a, b]) for a, b in zip(*PAIRS.values(), strict=True)]]
    with pytest.raises(SettingError, match="column 'sentence_0' has no route"):
        fit(model, [(batches, MultipleNegativesRankingLoss(model))], steps_per_epoch=1, **QUIET)
    assert_equal_weights(weights(model), before)


@pytest.mark.parametrize("is_first", [True, False])
def test_all_routes_that_are_mapped_are_trained(is_first, tmp_path):
    model = routed(is_first=is_first)
    assert trained(model, trainer(model, tmp_path, router_mapping=BOTH).train) == {
        "query",
        "document",
    }


def test_a_router_further_on_goes_by_mappings_that_name_a_modality(tmp_path):
    mappings = {("query", "text"): "b", (None, "text"): "c"}
    model = routed("abc", route_mappings=mappings)
    mapping = {"anchor": "query", "positive": "document"}
    assert trained(model, trainer(model, tmp_path, router_mapping=mapping).train) == {"b", "c"}
    static, router = model
    for task, route in (("query", "b"), (None, "c")):
        alone = SentenceTransformer(modules=[static, *router.sub_modules[route]], device="cpu")
        found, expected = (one.encode(["the cat"], task=task) for one in (model, alone))
        assert abs(found - expected).max() < 1e-6


@pytest.mark.parametrize(
    "model",
    [
        lambda: routed(["only"]),
        lambda: routed(["image", "text"]),
        lambda: routed(["image", "b"], route_mappings={(None, "text"): "b"}),
        lambda: routed(["a", "b"], route_mappings={(None, None): "b"}),
    ],
    ids=["one route", "by modality", "modality mapped", "all mapped"],
)
def test_a_mapping_is_not_needed_where_there_is_no_choice(model, tmp_path):
    model = model()
    assert len(trained(model, trainer(model, tmp_path).train)) == 1


def test_routers_in_routes_are_looked_into(tmp_path):
    def nested():
        torch.manual_seed(3)
        inner = Router({"query": [Dense(16, 8)], "document": [Dense(16, 8)]})
        outer = Router({"text": [inner], "image": [Dense(16, 8)]})
        static = StaticEmbedding(tiny.tokenizer().backend_tokenizer, embedding_dim=16)
        return SentenceTransformer(modules=[static, outer], device="cpu")

    with pytest.raises(SettingError, match=r"of a Router with \['query', 'document'\]"):
        trainer(nested(), tmp_path)
    outer = SentenceTransformer(modules=[Router({"text": [*nested()]})], device="cpu")
    with pytest.raises(SettingError, match=r"of a Router with \['query', 'document'\]"):
        trainer(outer, tmp_path)


def test_rows_to_evaluate_on_need_routes_too(tmp_path):
    model = routed()
    held_out = Dataset.from_dict({"anchor": PAIRS["anchor"], "other": PAIRS["positive"]})
    with pytest.raises(SettingError, match="^eval_dataset: column 'other' has no route"):
        trainer(model, tmp_path, router_mapping=BOTH, eval_dataset=held_out)
    run = trainer(model, tmp_path, router_mapping=BOTH)
    with pytest.raises(SettingError, match="^eval_dataset: column 'other' has no route"):
        run.evaluate(held_out)
    assert run.evaluate(pairs())["eval_loss"] > 0


def test_the_dataset_with_the_missing_route_is_named(tmp_path):
    model = routed()
    data = {"one": pairs(), "two": pairs()}
    mapping = {"one": BOTH, "two": {"anchor": "query"}}
    with pytest.raises(SettingError, match=r"^train_dataset\['two'\]: column 'positive' has no"):
        trainer(model, tmp_path, data, router_mapping=mapping)
    mapping["two"] = BOTH
    assert len(trained(model, trainer(model, tmp_path, data, router_mapping=mapping).train)) == 2


def test_streams_are_looked_at_without_reading_them(tmp_path):
    def rows():
        yield from (dict(zip(PAIRS, row, strict=True)) for row in zip(*PAIRS.values(), strict=True))

    stream = IterableDataset.from_generator(rows, features=pairs().features)
    with pytest.raises(SettingError, match="column 'positive' has no route"):
        trainer(routed(), tmp_path, stream, max_steps=1, router_mapping={"anchor": "query"})


def test_a_collator_of_ones_own_has_its_own_mapping(tmp_path):
    model = routed()
    options = {"args": arguments(tmp_path), "train_dataset": pairs()}
    options["loss"] = MultipleNegativesRankingLoss(model)
    collator = SentenceTransformerDataCollator(model.preprocess)
    with pytest.raises(SettingError, match="column 'anchor' has no route"):
        SentenceTransformerTrainer(model, data_collator=collator, **options)
    collator = SentenceTransformerDataCollator(model.preprocess, router_mapping=BOTH)
    run = SentenceTransformerTrainer(model, data_collator=collator, **options)
    assert len(trained(model, run.train)) == 2


def test_a_mapping_for_a_model_without_a_router_is_refused(tiny_model, tmp_path):
    with pytest.raises(SettingError, match=r"has no Router, only \['Transformer', 'Pooling'\]"):
        trainer(tiny_model, tmp_path, router_mapping=BOTH)


def test_a_mapping_of_no_column_is_odd(tmp_path):
    with pytest.warns(SentuneWarning, match="router_mapping names 'question', which is no column"):
        trainer(routed(), tmp_path, router_mapping={**BOTH, "question": "query"})


def test_a_module_of_ones_own_may_take_the_task(tiny_model, tmp_path):
    seen = []

    class ByTask(nn.Module):
        forward_kwargs = frozenset({"task"})

        def forward(self, features, task=None):
            seen.append(task)
            return features

    model = SentenceTransformer(modules=[*tiny_model, ByTask()], device="cpu")
    before = weights(model)
    trainer(model, tmp_path, router_mapping=BOTH).train()
    assert set(seen) == {"query", "document"}
    assert_trained(before, weights(model))


class OtherNames(SentenceTransformerDataCollator):
    """Changes the rows first, as the collator's documentation says."""

    def __call__(self, rows):
        names = {"q": "anchor", "p": "positive"}
        return super().__call__([{names[c]: row[c] for c in names} for row in rows])


def test_a_collator_that_changes_rows_is_judged_by_what_it_hands_on(tmp_path):
    model = routed()
    rows = Dataset.from_dict({"q": PAIRS["anchor"], "p": PAIRS["positive"]})
    given = {"loss": MultipleNegativesRankingLoss(model), "args": arguments(tmp_path)}
    collator = OtherNames(model.preprocess, router_mapping=BOTH)
    SentenceTransformerTrainer(model, train_dataset=rows, data_collator=collator, **given).train()
    collator = OtherNames(model.preprocess, router_mapping={"anchor": "query"})
    run = SentenceTransformerTrainer(model, train_dataset=rows, data_collator=collator, **given)
    with pytest.raises(SettingError, match="column 'positive' has no route"):
        run.train()


def test_a_collator_outside_of_a_training_takes_the_default_route():
    collator = SentenceTransformerDataCollator(routed().preprocess)
    assert set(collator([{"a": "the cat"}])["columns"]) == {"a"}


def test_a_trainer_may_make_any_function_its_collator(tmp_path):
    class Own(SentenceTransformerTrainer):
        def get_data_collator(self, *args, **kwargs):
            self.inner = super().get_data_collator(*args, **kwargs)
            return self.collated

        def collated(self, rows):
            return self.inner(rows)

    model = routed(("query",))
    loss = MultipleNegativesRankingLoss(model)
    Own(model, arguments(tmp_path), pairs(), loss=loss).train()
