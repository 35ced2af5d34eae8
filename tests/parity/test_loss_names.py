"""The peer's methods and attributes of losses: their values, and what overriding them does."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from sentune import losses
from sentune.engine import packing
from sentune.errors import SentuneWarning
from sentune.losses import cached, embed
from tests.losses.test_custom import Plain
from tests.losses.tools import column, total
from tests.parity.loss_pairs import PAIRS, WithTokens
from tests.parity.test_losses import float_labels

pytest.importorskip("sentence_transformers")
theirs = pytest.importorskip("sentence_transformers.sentence_transformer.losses")
their_base = pytest.importorskip("sentence_transformers.base.losses")

pytestmark = pytest.mark.filterwarnings("ignore")

ALL = {pair.name: pair for pair in reversed(PAIRS)}
B = 6
# What the peer's cached losses delegate by, and the parts of its decoder loss.
OTHERWISE = {
    "loss",
    "encoder",
    "tokenizer_encoder",
    "tokenizer_decoder",
    "need_retokenization",
    "tokenizer",
}


def features(pair):
    return [column(B, seed) for seed in range(pair.n)]


def built(pair, library, cls=None):
    torch.manual_seed(0)
    model = WithTokens(seed=4)
    if cls is None:
        return pair.build(library, model)
    return pair.build(type("Library", (), {**vars(library), pair.name: cls}), model)


def public(thing):
    names = {name for name in dir(thing) if not name.startswith("_")}
    return names - set(dir(nn.Module())) - OTHERWISE


@pytest.mark.parametrize("name", ALL)
def test_every_public_name_of_a_loss_is_there(name):
    ours, other = built(ALL[name], losses), built(ALL[name], theirs)
    missing = [one for one in public(other) if not hasattr(ours, one)]
    assert missing == []
    assert bool(getattr(ours, "uses_gradient_cache", False)) == bool(
        getattr(other, "uses_gradient_cache", False)
    )


@pytest.mark.parametrize("name", ALL)
def test_the_card_shows_the_same_settings(name):
    ours, other = built(ALL[name], losses), built(ALL[name], theirs)
    if hasattr(other, "get_config_dict"):
        lacking = set(other.get_config_dict()) - set(ours.get_config_dict())
        assert lacking - {"similarity_fct", "activation_fn"} == set()


# A paper that says more of how the loss is computed here.
OTHER_PAPER = {
    "MultipleNegativesSymmetricRankingLoss",
    "TripletLoss",
    "CoSENTLoss",
    "AnglELoss",
    "BatchSemiHardTripletLoss",
}


def identity(text):
    """The number of a paper, or the words of its title."""
    numbers = re.findall(r"\d{4}\.\d{5}|P18-1042|10\.\d{4}/[^\s\"}]+|acl-long\.\d+", text)
    title = re.search(r"\btitle\s*=\s*[{\"](.*?)[}\"],?\n", text, re.DOTALL)
    return set(numbers), re.sub(r"[^a-z]", "", title.group(1).lower())


@pytest.mark.parametrize("name", [n for n in ALL if hasattr(getattr(theirs, n), "citation")])
def test_the_papers_behind_a_loss_are_cited(name):
    ours, other = built(ALL[name], losses).citation, built(ALL[name], theirs).citation
    titles = {identity(f"@{entry}")[1] for entry in ours.split("@")[1:]}
    assert titles and (identity(other)[1] in titles) == (name not in OTHER_PAPER)


METHODS = [
    (name, method)
    for name in ALL
    for method in (
        "compute_loss_from_embeddings",
        "calculate_loss",
        "batch_all_triplet_loss",
        "batch_hard_triplet_loss",
        "batch_semi_hard_triplet_loss",
        "batch_hard_triplet_soft_margin_loss",
        "compute_gor",
        "sim_matrix",
    )
    if hasattr(getattr(theirs, name), method)
]


def arguments(name, method):
    """What a method is called with."""
    pair = ALL[name]
    model = WithTokens(seed=4)
    columns = [model(x)["sentence_embedding"].detach() for x in features(pair)]
    labels = float_labels(pair, B, 6)
    if method == "calculate_loss":
        second = (
            [[torch.randn(4, 3), torch.randn(2, 3)] for _ in columns] if "GIST" in name else None
        )
        return [list(rows.split(4)) for rows in columns], second
    if method.startswith("batch"):
        return labels, columns[0]
    if method == "compute_gor":
        return (columns[0],)
    if method == "sim_matrix":
        return columns[0], columns[1][:3]
    if name in ("MSELoss", "EmbedDistillLoss"):
        labels = [labels if labels.ndim == 2 else labels[:, i] for i in range(len(columns))]
    return columns, labels


@pytest.mark.parametrize(("name", "method"), METHODS)
def test_a_method_gives_the_same(name, method):
    torch.manual_seed(0)
    given = arguments(name, method)
    ours, other = (getattr(built(ALL[name], one), method)(*given) for one in (losses, theirs))
    torch.testing.assert_close(ours, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [n for n, method in METHODS if method == "calculate_loss"])
def test_the_gradient_of_mini_batches_is_computed_where_asked_for(name):
    results = []
    for library in (losses, theirs):
        torch.manual_seed(0)
        reps, second = arguments(name, "calculate_loss")
        reps = [[rows.requires_grad_() for rows in parts] for parts in reps]
        loss = built(ALL[name], library)
        value = loss.calculate_loss(reps, second, with_backward=True)
        assert not value.requires_grad
        results.append([value, *(rows.grad for parts in reps for rows in parts)])
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-5)


def doubling(cls, method):
    """A subclass in which a method gives twice as much."""

    def double(self, *args, **kwargs):
        value = getattr(super(own, self), method)(*args, **kwargs)
        if isinstance(value, dict):
            return {name: 2 * part for name, part in value.items()}
        return tuple(2 * part for part in value) if isinstance(value, tuple) else 2 * value

    own = type(f"Own{cls.__name__}", (cls,), {method: double, "__module__": __name__})
    return own


@pytest.mark.parametrize(("name", "method"), METHODS)
@pytest.mark.parametrize("is_wrapped", [False, True])
def test_a_method_that_is_overridden_computes(name, method, is_wrapped):
    pair, values = ALL[name], []
    if name == "GlobalOrthogonalRegularizationLoss" and is_wrapped:
        pytest.skip("the peer does not wrap it")
    if (name, method) == ("BatchHardSoftMarginTripletLoss", "batch_hard_triplet_loss"):
        pytest.skip("it is not computed by this method, there neither")
    for library in (losses, theirs):
        plain = built(pair, library)
        own = built(pair, library, doubling(getattr(library, name), method))
        for loss in (plain, own):
            if is_wrapped:
                loss = library.MatryoshkaLoss(
                    loss.model if hasattr(loss, "model") else loss.sentence_embedder, loss, [6]
                )
            batch = features(pair)
            batch = [packing.pad(x) for x in batch] if library is theirs else batch
            values.append(total(loss(batch, float_labels(pair, B, 6))).detach())
    ours, doubled, other, other_doubled = values
    torch.testing.assert_close(doubled, other_doubled, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours, other, rtol=1e-5, atol=1e-6)
    assert not torch.isclose(ours, doubled)


CACHED = [name for name in ALL if hasattr(getattr(theirs, name), "embed_minibatch")]


@pytest.mark.parametrize("name", CACHED)
def test_mini_batches_are_embedded_one_by_one(name):
    ours, other = built(ALL[name], losses), built(ALL[name], theirs)
    rows = features(ALL[name])[0]
    for with_grad in (False, True):
        options = {"with_grad": with_grad, "copy_random_state": True}
        one = ours.embed_minibatch(rows, 1, 4, **options)
        two = other.embed_minibatch(packing.pad(rows), 1, 4, **options)
        assert len(one) == len(two)
        for mine, its in zip(one[:-1], two[:-1], strict=True):
            torch.testing.assert_close(mine, its)
        assert one[0].requires_grad == with_grad
        assert isinstance(one[-1], cached.RandContext)
    ours.mini_batch_size = other.mini_batch_size = 4
    options["copy_random_state"] = False
    parts = [list(ours.embed_minibatch_iter(rows, **options))]
    parts.append(list(other.embed_minibatch_iter(packing.pad(rows), **options)))
    assert [[len(x[0]) for x in part] for part in parts] == [[4, 2]] * 2


@pytest.mark.parametrize("name", CACHED)
@pytest.mark.parametrize("method", ["embed_minibatch", "embed_minibatch_iter"])
def test_an_overridden_way_to_embed_is_taken(name, method):
    pair, results = ALL[name], []
    for library in (losses, theirs):
        cls = getattr(library, name)

        def shifted(rows):
            return rows[0] + torch.arange(6), *rows[1:]

        def one(self, *args, cls=cls, **kwargs):
            return shifted(cls.embed_minibatch(self, *args, **kwargs))

        def several(self, *args, cls=cls, **kwargs):
            yield from map(shifted, cls.embed_minibatch_iter(self, *args, **kwargs))

        body = {"embed_minibatch": one, "embed_minibatch_iter": several}
        own = type("Own", (cls,), {method: body[method], "__module__": __name__})
        loss = built(pair, library, own)
        loss.mini_batch_size = 4
        batch = [packing.pad(x) if library is theirs else x for x in features(pair)]
        value = total(loss(batch, None))
        value.backward()
        results.append((value.detach(), loss.model.table.grad))
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-5)


def mixed(mixin):
    """A loss of a user's own made of the mixin."""

    class Own(mixin, nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model
            self.mini_batch_size = 4

        def calculate_loss(self, reps, labels=None, *, with_backward=False):
            first, second = (torch.cat(parts) for parts in reps)
            value = ((first - second) * labels[:, None]).pow(2).mean()
            if with_backward:
                value.backward()
                value = value.detach()
            return value

        def forward(self, sentence_features, labels=None):
            return self.forward_cached(sentence_features, labels)

    return Own


def test_a_loss_made_of_the_mixin_is_computed_in_mini_batches():
    results = []
    for mixin, layout in (
        (cached.CachedLossMixin, lambda x: x),
        (their_base.CachedLossMixin, packing.pad),
    ):
        model = WithTokens(seed=4)
        loss = mixed(mixin)(model)
        value = loss([layout(column(B, seed)) for seed in range(2)], torch.arange(B) / B)
        value.backward()
        assert set(model.rows_seen) == {4, 2}
        results.append((value.detach(), model.table.grad))
        assert cached.uses_gradient_cache(loss) and their_base.uses_gradient_cache(loss)
    torch.testing.assert_close(*results)
    with pytest.raises(NotImplementedError, match="calculate_loss"):
        cached.CachedLossMixin().calculate_loss([])


def test_random_numbers_come_again():
    for context in (cached.RandContext, their_base.RandContext):
        torch.manual_seed(3)
        state = context(torch.zeros(1))
        first, outside = torch.rand(4), torch.get_rng_state()
        with state:
            assert torch.equal(torch.rand(4), first)
        assert torch.equal(torch.get_rng_state(), outside)


def test_columns_can_be_kept_apart():
    model = WithTokens()
    loss = losses.MultipleNegativesRankingLoss(model)
    batch = [column(B, seed) for seed in range(3)]
    together = loss(batch)
    with embed.column_merging_disabled():
        apart = loss(batch)
    assert model.rows_seen == [18, 6, 6, 6]
    torch.testing.assert_close(apart, together)


def test_masks_of_triplets():
    labels = torch.tensor([0, 1, 0, 2, 1, 1])
    for name in (
        "get_triplet_mask",
        "get_anchor_positive_triplet_mask",
        "get_anchor_negative_triplet_mask",
    ):
        ours, other = (getattr(one.BatchHardTripletLoss, name)(labels) for one in (losses, theirs))
        assert torch.equal(ours, other)
    assert issubclass(losses.BatchHardSoftMarginTripletLoss, losses.BatchHardTripletLoss)


@pytest.mark.parametrize(
    ("name", "attribute", "module"),
    [
        ("MarginMSELoss", "loss_fct", nn.L1Loss()),
        ("DistillKLDivLoss", "loss_fct", nn.KLDivLoss(reduction="sum")),
        ("GISTEmbedLoss", "cross_entropy_loss", nn.CrossEntropyLoss(reduction="sum")),
        ("GISTEmbedLoss", "similarity_fct", nn.PairwiseDistance()),
        (
            "ContrastiveTensionLossInBatchNegatives",
            "cross_entropy_loss",
            nn.CrossEntropyLoss(reduction="sum"),
        ),
        ("AnglELoss", "similarity_fct", lambda a, b: (a * b).sum(dim=1)),
        ("BatchHardTripletLoss", "triplet_margin", 1.5),
        ("BatchAllTripletLoss", "triplet_margin", 1.5),
    ],
)
def test_an_attribute_that_is_set_computes(name, attribute, module):
    pair = next(pair for pair in PAIRS if pair.name == name and pair.n < 5)
    values = []
    for library in (losses, theirs):
        loss = built(pair, library)
        batch = [packing.pad(x) if library is theirs else x for x in features(pair)]
        before = loss(batch, float_labels(pair, B, 6)).detach()
        setattr(loss, attribute, module)
        values.append(loss(batch, float_labels(pair, B, 6)).detach())
        assert not torch.isclose(before, values[-1])
    torch.testing.assert_close(*values, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("default")
def test_the_online_loss_is_a_sum_whatever_is_asked_for():
    pair = ALL["OnlineContrastiveLoss"]
    ours, other = built(pair, losses), built(pair, theirs)
    batch, labels = features(pair), pair.labels(B)
    with pytest.warns(SentuneWarning, match="size_average changes nothing"):
        value = ours(batch, labels, True)
    torch.testing.assert_close(value, other([packing.pad(x) for x in batch], labels, True))


def test_a_plain_loss_in_a_wrapper_is_that_of_the_peer():
    labels = torch.linspace(0, 1, B)
    values = []
    for library, layout in ((losses, lambda x: x), (theirs, packing.pad)):
        model = WithTokens(seed=4)
        loss = library.MatryoshkaLoss(model, Plain(model), [6, 3, 2], [1, 0.5, 2])
        value = loss([layout(column(B, seed)) for seed in range(2)], labels)
        value.backward()
        values.append((value.detach(), model.table.grad))
    torch.testing.assert_close(*values)
