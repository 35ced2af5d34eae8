import random

import pytest
import torch

from sentune import SentenceTransformer, losses
from sentune.errors import InputError, SentuneWarning, SettingError
from sentune.losses import AdaptiveLayerLoss, Matryoshka2dLoss, MatryoshkaLoss
from sentune.losses import MultipleNegativesRankingLoss as MNRL
from sentune.losses.nested import shrink
from sentune.models import Normalize, StaticEmbedding
from tests import tiny
from tests.losses import cases, loops
from tests.losses.tools import TableModel, column, total, value_and_gradient

FEATURES = [column(6, seed) for seed in range(3)]


class LayeredModel(TableModel):
    """A table model of three layers beside the input: each adds a turn of the rows before it."""

    def __init__(self, **options):
        super().__init__(**options)
        generator = torch.Generator().manual_seed(8)
        self.turns = torch.nn.Parameter(torch.randn(3, 6, 6, generator=generator) / 3)

    def forward(self, features, output_hidden_states=False):
        output = super().forward(features)
        layers = [output["sentence_embedding"]]
        for turn in self.turns.to(layers[0]):
            layers.append((layers[-1] @ turn).tanh() + layers[-1])
        output["sentence_embedding"] = layers[-1]
        if output_hidden_states:
            output["layer_sentence_embeddings"] = torch.stack(layers, dim=1)
        return output


# Matryoshka ---------------------------------------------------------------------------------------


def test_the_model_runs_once_for_all_widths():
    model = TableModel()
    MatryoshkaLoss(model, MNRL(model), [6, 4, 2])(FEATURES)
    assert model.rows_seen == [18]


def test_widths_are_taken_in_descending_order_with_their_weights():
    loss = MatryoshkaLoss(model := TableModel(), MNRL(model), [2, 6, 4], [0.5, 1, 2])
    assert loss.matryoshka_dims == (6, 4, 2) and loss.matryoshka_weights == (1, 2, 0.5)
    assert loss.settings() == {
        "loss": "MultipleNegativesRankingLoss",
        "matryoshka_dims": (6, 4, 2),
        "matryoshka_weights": (1, 2, 0.5),
        "n_dims_per_step": -1,
    }


def test_some_widths_may_be_drawn_in_each_step():
    model = TableModel()
    single = {
        width: MatryoshkaLoss(unaware(model), MNRL(model), [width])(FEATURES) for width in (6, 4, 2)
    }
    drawn = MatryoshkaLoss(model, MNRL(model), [6, 4, 2], n_dims_per_step=2)
    sums = [single[a] + single[b] for a, b in ((6, 4), (6, 2), (4, 2))]
    random.seed(0)
    seen = set()
    for _ in range(40):
        value = drawn(FEATURES)
        seen |= {i for i, expected in enumerate(sums) if torch.isclose(value, expected)}
    assert seen == {0, 1, 2}


def unaware(model):
    model.get_embedding_dimension = None
    return model


def test_teacher_embeddings_are_cut_with_the_models():
    model = unaware(TableModel())
    labels = torch.randn(6, 6)
    loss = MatryoshkaLoss(model, losses.MSELoss(model), [2])
    rows = model(FEATURES[0])["sentence_embedding"]
    expected = torch.nn.functional.mse_loss(
        torch.nn.functional.normalize(rows[:, :2], dim=1), labels[:, :2]
    )
    torch.testing.assert_close(loss(FEATURES[:1], labels), expected)


def by_widths(inner, columns, labels, widths):
    """The sum over the widths of a function of the embeddings cut, at length 1."""
    cut = torch.nn.functional.normalize
    return sum(
        inner([cut(x[:, :width], dim=1) for x in columns], labels, width) for width in widths
    )


def test_a_classifier_is_shared_by_all_widths():
    model = TableModel()
    inner = losses.SoftmaxLoss(model, num_labels=3, concatenation_sent_multiplication=True)
    columns = [model(x)["sentence_embedding"] for x in FEATURES[:2]]
    labels = torch.tensor([0, 2, 1, 1, 0, 2])
    weight, bias = inner.classifier.weight, inner.classifier.bias

    def by_part(columns, labels, width):
        u, v = columns
        parts = [u, v, (u - v).abs(), u * v]
        blocks = [weight[:, 6 * i : 6 * i + width] for i in range(4)]
        logits = sum(part @ block.T for part, block in zip(parts, blocks, strict=True)) + bias
        return torch.nn.functional.cross_entropy(logits, labels)

    expected = by_widths(by_part, columns, labels, [6, 4, 1])
    value = MatryoshkaLoss(model, inner, [6, 4, 1])(FEATURES[:2], labels)
    torch.testing.assert_close(value, expected)
    assert torch.autograd.grad(value, weight)[0].any()


def test_a_projection_is_shared_and_its_teacher_is_not_cut():
    model = TableModel()
    for inner in (losses.MSELoss(model, 6), losses.EmbedDistillLoss(model, "cosine", 9)):
        teacher = torch.randn(6, inner.projection_dim)
        columns = [model(FEATURES[0])["sentence_embedding"]]

        def by_part(columns, labels, width, inner=inner):
            rows = columns[0] @ inner.projection.weight[:, :width].T + inner.projection.bias
            if inner.distance_metric == "mse":
                return (rows - labels).square().mean()
            return (1 - torch.cosine_similarity(rows, labels)).mean()

        value = MatryoshkaLoss(model, inner, [6, 2])(FEATURES[:1], teacher)
        torch.testing.assert_close(value, by_widths(by_part, columns, teacher, [6, 2]))


def test_scores_of_as_many_documents_as_the_model_has_dimensions_are_not_cut():
    model = TableModel()
    features = [column(6, seed) for seed in range(7)]
    scores = torch.randn(6, 6)
    value = MatryoshkaLoss(model, losses.DistillKLDivLoss(model), [6, 2])(features, scores)
    columns = [model(x)["sentence_embedding"] for x in features]

    def by_part(columns, labels, width):
        return loops.distill_kl(columns, labels)

    torch.testing.assert_close(value, by_widths(by_part, columns, scores, [6, 2]))


def test_a_head_for_fewer_dimensions_is_refused_where_more_are_kept():
    model = TableModel()
    with pytest.raises(SettingError, match=r"embeddings of 4 dimensions, .*=\[6, 4\] has more"):
        MatryoshkaLoss(model, losses.SoftmaxLoss(model, 4, 3), [6, 4])


@pytest.mark.parametrize("case", [case for case in cases.CASES if "matryoshka" not in case.name])
def test_every_loss_works_inside_every_wrapper(case):
    for wrapper in ("matryoshka", "layers", "both"):
        model = LayeredModel()
        inner = case.make(model)
        if wrapper == "layers":
            loss = AdaptiveLayerLoss(model, inner)
        elif wrapper == "matryoshka":
            loss = MatryoshkaLoss(model, inner, [6, 3])
        else:
            loss = Matryoshka2dLoss(model, inner, [6, 3])
        features = [column(6, seed) for seed in range(case.n)]
        value = total(loss(features, case.labels(6, 6)))
        value.backward()
        assert value.isfinite() and model.table.grad.any()


def test_the_inner_losses_own_weights_are_trained():
    model = unaware(TableModel())
    loss = MatryoshkaLoss(model, losses.SoftmaxLoss(model, 4, 3), [4])
    names = [name for name, _ in loss.named_parameters()]
    assert names == ["model.table", "loss.classifier.weight", "loss.classifier.bias"]


@pytest.mark.parametrize(
    ("widths", "weights", "message"),
    [
        ([], None, "numbers from 1 to 6"),
        ([6, 0], None, r"numbers from 1 to 6, got \[6, 0\]"),
        ([6, 7], None, "numbers from 1 to 6"),
        ([6, 4], [1], "2 matryoshka_dims, but 1 matryoshka_weights"),
    ],
)
def test_widths_out_of_range_are_refused(widths, weights, message):
    model = TableModel()
    with pytest.raises(SettingError, match=message):
        MatryoshkaLoss(model, MNRL(model), widths, weights)


def test_a_width_beyond_that_of_a_silent_model_is_refused_when_seen():
    model = unaware(TableModel())
    with pytest.raises(SettingError, match="has 9, the embeddings have only 6 dimensions"):
        MatryoshkaLoss(model, MNRL(model), [9, 2])(FEATURES)


def test_a_missing_full_width_is_warned_of():
    model = TableModel()
    with pytest.warns(SentuneWarning, match="full width 6 is not among matryoshka_dims="):
        MatryoshkaLoss(model, MNRL(model), [4, 2])


@pytest.mark.parametrize("wrapper", [MatryoshkaLoss, AdaptiveLayerLoss])
def test_only_losses_of_the_same_model_are_wrapped(wrapper):
    model = TableModel()
    more = ([6],) if wrapper is MatryoshkaLoss else ()
    with pytest.raises(SettingError, match="CrossEntropyLoss does not hold the model to get them"):
        wrapper(model, torch.nn.CrossEntropyLoss(), *more)
    with pytest.raises(SettingError, match="wraps a loss, got .*MultipleNegativesRankingLoss"):
        wrapper(model, MNRL, *more)
    with pytest.raises(SettingError, match="different models"):
        wrapper(model, MNRL(TableModel()), *more)


def test_a_wrapper_wants_what_the_inner_loss_wants():
    model = LayeredModel()
    for inner in (losses.TripletLoss(model), losses.CoSENTLoss(model), losses.AnglELoss(model)):
        for outer in (MatryoshkaLoss(model, inner, [6]), AdaptiveLayerLoss(model, inner)):
            for name in ("inputs", "min_columns", "max_columns", "label_kind", "is_label_optional"):
                assert getattr(outer, name) == getattr(inner, name)


# Adaptive layers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("weighting", ["uniform", "log", "linear", lambda layer: layer + 0.5])
@pytest.mark.parametrize("temperature", [0.3, 0])
def test_adaptive_layers_are_what_their_definition_says(weighting, temperature):
    model = LayeredModel().double()
    loss = AdaptiveLayerLoss(
        model,
        MNRL(model),
        n_layers_per_step=-1,
        last_layer_weight=0.7,
        prior_layers_weight=1.3,
        kl_div_weight=0.9,
        kl_temperature=temperature,
        layer_weighting=weighting,
    )
    outputs = [model(x, output_hidden_states=True) for x in FEATURES]
    layers = [x["layer_sentence_embeddings"] for x in outputs]
    weights = {
        "uniform": [1, 1, 1],
        "log": [1 / (1 + torch.tensor(1.0 + i).log().item()) for i in range(3)],
        "linear": [1, 1 / 2, 1 / 3],
    }.get(weighting, [0.5, 1.5, 2.5])
    expected = 0.7 * loops.info_nce([x[:, 3] for x in layers])
    for layer in range(3):
        inner = loops.info_nce([x[:, layer] for x in layers])
        expected = expected + 1.3 * weights[layer] / 3 * inner
        if temperature:
            rows = torch.cat(layers) / temperature
            for row in rows:
                p, q = row[3].softmax(0).detach(), row[layer].softmax(0)
                expected = expected + 0.9 * temperature * (p * (p / q).log()).sum() / len(rows)
    value = loss(FEATURES)
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-9)
    weights = [model.table, model.turns]
    torch.testing.assert_close(
        torch.autograd.grad(value, weights),
        torch.autograd.grad(expected, weights),
        rtol=1e-5,
        atol=1e-8,
    )


def test_one_layer_is_drawn_in_each_step_unless_told_otherwise():
    model = LayeredModel()
    loss = AdaptiveLayerLoss(model, MNRL(model), kl_temperature=0)
    model.rows_seen.clear()
    random.seed(0)
    values = {round(loss(FEATURES).item(), 5) for _ in range(30)}
    assert len(values) == 3 and set(model.rows_seen) == {18}


def test_named_parts_stay_named():
    model = LayeredModel()
    inner = losses.GlobalOrthogonalRegularizationLoss(model)
    parts = AdaptiveLayerLoss(model, inner, n_layers_per_step=-1)(FEATURES)
    assert parts.keys() == {"gor_mean", "gor_second_moment", "kl_div"}
    assert parts["kl_div"] > 0


def test_a_model_without_layers_is_refused():
    model = lambda features, **options: TableModel()(features)  # noqa: E731
    with pytest.raises(SettingError, match="embeddings after every layer"):
        AdaptiveLayerLoss(model, MNRL(model))(FEATURES)
    static = StaticEmbedding(tiny.tokenizer(), embedding_dim=8)
    of_words = SentenceTransformer(modules=[static, Normalize()], device="cpu")
    with pytest.raises(SettingError, match="embeddings after every layer"):
        AdaptiveLayerLoss(of_words, MNRL(of_words))  # before the first step
    with pytest.raises(InputError, match=r"columns of \(rows, layers, width\)"):
        AdaptiveLayerLoss(model, MNRL(model)).compute([torch.randn(3, 4)] * 2)


def test_an_unknown_weighting_is_refused():
    model = LayeredModel()
    with pytest.raises(SettingError, match="layer_weighting must be one of"):
        AdaptiveLayerLoss(model, MNRL(model), layer_weighting="square")


def test_two_dimensions_are_layers_around_widths():
    results = []
    for is_2d in (True, False):
        model = LayeredModel()
        random.seed(0)
        if is_2d:
            loss = Matryoshka2dLoss(model, MNRL(model), [6, 4, 2], [1, 2, 3], 2, 2, 0.5)
        else:
            inner = MatryoshkaLoss(model, MNRL(model), [6, 4, 2], [1, 2, 3], 2)
            loss = AdaptiveLayerLoss(model, inner, 2, 0.5)
        results.append(value_and_gradient(loss, FEATURES))
    torch.testing.assert_close(*results)
    settings = Matryoshka2dLoss(model, MNRL(model), [6]).settings()
    assert settings["loss"] == "MultipleNegativesRankingLoss"
    assert settings["n_dims_per_step"] == settings["n_layers_per_step"] == 1


# Together -----------------------------------------------------------------------------------------


def plain(model, **options):
    return MNRL(model, **options)


def cached(model, **options):
    return losses.CachedMultipleNegativesRankingLoss(model, mini_batch_size=4, **options)


def guided(model, **options):
    return losses.GISTEmbedLoss(model, TableModel(seed=5), 0.1, **options)


def cached_guided(model):
    return losses.CachedGISTEmbedLoss(model, TableModel(seed=5), 0.1, mini_batch_size=4)


def around(*wrappers, inner, **options):
    """Builds wrappers, the outermost first, around a loss; options go to the outermost."""

    def build(model):
        loss = inner(model)
        for place, wrapper in enumerate(reversed(wrappers)):
            more = options if place == len(wrappers) - 1 else {}
            if wrapper is MatryoshkaLoss:
                loss = MatryoshkaLoss(model, loss, [6, 3], **more)
            else:
                loss = AdaptiveLayerLoss(model, loss, -1, kl_temperature=0, **more)
        return loss

    return build


M, A = MatryoshkaLoss, AdaptiveLayerLoss


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (around(M, inner=cached), around(M, inner=plain)),
        (around(M, inner=plain, mini_batch_size=5), around(M, inner=plain)),
        (around(M, inner=cached_guided), around(M, inner=guided)),
        (around(M, inner=guided, mini_batch_size=5), around(M, inner=guided)),
        (around(A, inner=cached), around(A, inner=plain)),
        (around(A, inner=guided, mini_batch_size=5), around(A, inner=guided)),
        (around(M, A, inner=plain), around(A, M, inner=plain)),
        (around(M, A, inner=cached_guided), around(A, M, inner=guided)),
        (around(M, A, inner=guided, mini_batch_size=7), around(A, M, inner=cached_guided)),
    ],
)
def test_wrappers_mini_batches_and_guides_nest_in_any_order(one, other):
    results = []
    for build in (one, other):
        model = LayeredModel().double()
        results.append((value_and_gradient(build(model), FEATURES), model.turns.grad))
    torch.testing.assert_close(results[0], results[1], rtol=1e-8, atol=1e-10)
    assert results[0][0][1].any()


@pytest.mark.parametrize("inner", [losses.ContrastiveTensionLoss, losses.MegaBatchMarginLoss])
def test_losses_with_two_models_or_mining_nest_too(inner):
    features = FEATURES[:2]
    model = LayeredModel()
    loss = around(M, A, inner=inner)(model)
    value = loss(features)
    total(value).backward()
    assert value.isfinite() and model.turns.grad.any()


def test_gathering_goes_with_the_inner_loss():
    model = LayeredModel()
    inner = MNRL(model, gather_across_devices=True)
    whole = around(M, A, inner=lambda model: inner)(model)(FEATURES)
    torch.testing.assert_close(whole, around(M, A, inner=plain)(LayeredModel())(FEATURES))


def test_rows_are_truncated_and_brought_to_length_1():
    rows = torch.tensor([[3.0, 4.0, 12.0], [0.0, 2.0, 5.0]])
    torch.testing.assert_close(shrink(rows, 2), torch.tensor([[0.6, 0.8], [0.0, 1.0]]))
    with pytest.raises(SettingError, match="only 3 dimensions"):
        shrink(rows, 4)
