"""Every loss with its options, its loop, and how many columns and which labels it is tested on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from sentune import losses
from sentune.vectors.similarity import dot_score, pairwise_cos_sim
from tests.losses import loops
from tests.losses.tools import TableModel


def no_labels(b, d=None):
    return None


def scores(b, d=None):
    return torch.rand(b, generator=torch.Generator().manual_seed(b)).double()


def tied_scores(b, d=None):
    return (scores(b) * 3).floor() / 3


def binary(b, d=None):
    return torch.tensor([(i * i + i // 2) % 2 for i in range(b)])


def classes(b, d=None):
    return torch.tensor([(i * i) % 3 for i in range(b)])


@dataclass(frozen=True)
class Case:
    """A loss, `make(model, mini_batch_size=...)`, and `loop(columns[, labels])` for it."""

    name: str
    make: Callable[..., losses.Loss]
    loop: Callable[..., Any]
    n: int = 2
    labels: Callable[[int], Any] = no_labels
    context: Callable[[int, int], dict[str, Any]] = lambda n, b: {}

    def compute(self, columns, labels, **options):
        context = self.context(len(columns), len(columns[0]))
        return self.make(TableModel(), **options).compute(columns, labels, **context)

    def expected(self, columns, labels):
        context = self.context(len(columns), len(columns[0]))
        given = (columns,) if labels is None else (columns, labels)
        return self.loop(*given, **context)


def make(loss, **options):
    return lambda model, **more: loss(model, **options, **more)


def loop(function, **options):
    return lambda *inputs, **context: function(*inputs, **options, **context)


ALL_DIRECTIONS = ("query_to_doc", "query_to_query", "doc_to_query", "doc_to_doc")
TWO_DIRECTIONS = ("query_to_doc", "doc_to_query")
MNRL = losses.MultipleNegativesRankingLoss


def contrast_cases():
    yield Case("mnrl-pairs", make(MNRL), loops.info_nce)
    yield Case("mnrl-triplets", make(MNRL, scale=5.0), loop(loops.info_nce, scale=5.0), 3)
    yield Case("mnrl-4", make(MNRL), loops.info_nce, 4)
    for direction in ALL_DIRECTIONS[1:]:
        options = {"directions": ("query_to_doc", direction)}
        yield Case(f"mnrl-{direction}", make(MNRL, **options), loop(loops.info_nce, **options), 3)
    options = {"directions": ALL_DIRECTIONS}
    yield Case("mnrl-all", make(MNRL, **options), loop(loops.info_nce, **options), 4)
    for hardness in ("in_batch_negatives", "hard_negatives", "all_negatives"):
        yield Case(
            f"mnrl-{hardness}",
            make(MNRL, directions=TWO_DIRECTIONS, hardness_mode=hardness, hardness_strength=4.0),
            loop(loops.info_nce, directions=TWO_DIRECTIONS, hardness=hardness, strength=4.0),
            4,
        )
    yield Case(
        "symmetric",
        make(losses.MultipleNegativesSymmetricRankingLoss, scale=8.0),
        loop(loops.info_nce, scale=8.0, directions=TWO_DIRECTIONS, per_direction=True),
        3,
    )


def triplet_cases():
    metric = losses.TripletDistanceMetric
    for name, distance, own in (
        ("euclidean", loops.euclidean, metric.EUCLIDEAN),
        ("manhattan", loops.manhattan, metric.MANHATTAN),
        ("cosine", loops.cosine_distance, metric.COSINE),
    ):
        yield Case(
            f"triplet-{name}",
            make(losses.TripletLoss, distance_metric=own, triplet_margin=0.7),
            loop(loops.triplet, distance=distance, margin=0.7),
            3,
        )


def pair_cases():
    yield Case(
        "cosine-similarity", make(losses.CosineSimilarityLoss), loops.cosine_similarity, 2, scores
    )
    metric = losses.SiameseDistanceMetric
    for name, distance, own in (
        ("euclidean", loops.siamese_euclidean, metric.EUCLIDEAN),
        ("manhattan", loops.siamese_manhattan, metric.MANHATTAN),
        ("cosine", loops.cosine_distance, metric.COSINE_DISTANCE),
    ):
        yield Case(
            f"contrastive-{name}",
            make(losses.ContrastiveLoss, distance_metric=own, margin=1.5),
            loop(loops.contrastive, distance=distance, margin=1.5),
            2,
            binary,
        )
    yield Case(
        "contrastive-sum",
        make(losses.ContrastiveLoss, size_average=False),
        loop(loops.contrastive, average=False),
        2,
        binary,
    )

    for name, distance, own in (
        ("euclidean", loops.siamese_euclidean, metric.EUCLIDEAN),
        ("cosine", loops.cosine_distance, metric.COSINE_DISTANCE),
    ):
        yield Case(
            f"online-contrastive-{name}",
            make(losses.OnlineContrastiveLoss, distance_metric=own, margin=1.5),
            loop(loops.online_contrastive, distance=distance, margin=1.5),
            2,
            binary,
        )


def ordering_cases():
    yield Case("cosent", make(losses.CoSENTLoss), loops.cosent, 2, scores)
    yield Case(
        "cosent-ties",
        make(losses.CoSENTLoss, scale=3.0),
        loop(loops.cosent, scale=3.0),
        2,
        tied_scores,
    )
    yield Case("angle", make(losses.AnglELoss), loops.angle, 2, scores)
    yield Case("angle-triplets", make(losses.AnglELoss, scale=2.0), loop(loops.angle, scale=2.0), 3)
    yield Case("angle-labelled", make(losses.AnglELoss), loops.angle, 4, tied_scores)


def supervised_cases():
    yield Case(
        "supervised-contrastive",
        make(losses.SupervisedContrastiveLoss),
        loops.supervised_contrastive,
        1,
        classes,
    )
    yield Case(
        "supervised-contrastive-dot",
        make(losses.SupervisedContrastiveLoss, temperature=2.0, similarity_fct=dot_score),
        loop(loops.supervised_contrastive, temperature=2.0, similarity=lambda x, y: (x * y).sum()),
        1,
        classes,
    )


def mining_cases():
    metric = losses.BatchHardTripletLossDistanceFunction
    for name, distance, own in (
        ("euclidean", loops.euclidean, metric.euclidean_distance),
        ("cosine", loops.cosine_distance, metric.cosine_distance),
    ):
        for loss, by_loop in (
            (losses.BatchAllTripletLoss, loops.batch_all),
            (losses.BatchHardTripletLoss, loops.batch_hard),
            (losses.BatchHardSoftMarginTripletLoss, loops.batch_hard_soft),
            (losses.BatchSemiHardTripletLoss, loops.batch_semi_hard),
        ):
            options = {} if "Soft" in loss.__name__ else {"margin": 0.4}
            yield Case(
                f"{by_loop.__name__}-{name}",
                make(loss, distance_metric=own, **options),
                loop(by_loop, distance=distance, **options),
                1,
                classes,
            )


def normal(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).double()


def distill_cases():
    for metric in ("cosine", "l2", "mse"):
        yield Case(
            f"embed-distill-{metric}",
            make(losses.EmbedDistillLoss, distance_metric=metric),
            loop(loops.embed_distill, metric=metric),
            2,
            Teacher(),
        )
    by_loop = loop(loops.embed_distill, metric="mse")
    yield Case("mse-per-column", make(losses.MSELoss), by_loop, 3, Teacher(3))
    yield Case("margin-mse", make(losses.MarginMSELoss), loops.margin_mse, 3, scores)
    for k in (1, 3):
        for extra in (0, 1):
            labels = Numbers(k + extra)
            name = f"margin-mse-{k}-{'scores' if extra else 'margins'}"
            yield Case(name, make(losses.MarginMSELoss), loops.margin_mse, 2 + k, labels)
    yield Case(
        "margin-mse-cosine",
        make(losses.MarginMSELoss, similarity_fct=pairwise_cos_sim),
        loop(loops.margin_mse, similarity=loops.cosine),
        4,
        Numbers(2),
    )
    yield Case("distill-kl", make(losses.DistillKLDivLoss), loops.distill_kl, 4, Numbers(3))
    yield Case(
        "distill-kl-temperatures",
        make(losses.DistillKLDivLoss, student_temperature=2.0, teacher_temperature=0.5),
        loop(loops.distill_kl, student=2.0, teacher=0.5),
        3,
        Numbers(2),
    )


class Numbers:
    """Labels of k numbers per row."""

    def __init__(self, k):
        self.k = k

    def __call__(self, b, d=None):
        return normal(b, self.k)


class Teacher:
    """Labels that are embeddings, one per row or one per row and column, as wide as the columns."""

    def __init__(self, n=None, width=None):
        self.n, self.width = n, width

    def __call__(self, b, d):
        d = self.width or d
        return normal(b, d) if self.n is None else normal(b, self.n, d)


def guide_columns(n, b):
    """Embeddings of a guide that finds some candidates closer than their row's positive."""
    return {"guide": list(normal(n, b, 3).unbind(0))}


def negatives_cases():
    for name, n, own, other in (
        ("pairs", 2, {}, {}),
        ("triplets", 3, {"temperature": 0.1}, {"temperature": 0.1}),
        ("absolute", 4, {"margin": 0.2}, {"margin": 0.2}),
        (
            "relative",
            3,
            {"margin": 0.4, "margin_strategy": "relative"},
            {"margin": 0.4, "relative": True},
        ),
        ("no-anchors", 2, {"contrast_anchors": False}, {"with_anchors": False}),
        ("no-positives", 3, {"contrast_positives": False}, {"with_positives": False}),
    ):
        by_loop = loop(loops.gist, **other)
        yield Case(f"gist-{name}", guided(**own), by_loop, n, context=guide_columns)
    yield Case("mega-batch", make(losses.MegaBatchMarginLoss), loops.mega_batch_margin)
    yield Case(
        "mega-batch-margins",
        make(losses.MegaBatchMarginLoss, positive_margin=0.9, negative_margin=-0.2),
        loop(loops.mega_batch_margin, positive_margin=0.9, negative_margin=-0.2),
    )


def guided(loss=losses.GISTEmbedLoss, **options):
    return lambda model, **more: loss(
        model, TableModel(seed=9).to(model.table.dtype), **options, **more
    )


def regularize_cases():
    loss = losses.GlobalOrthogonalRegularizationLoss
    yield Case("orthogonal-1", make(loss), loops.orthogonal, 1)
    yield Case(
        "orthogonal-3",
        make(loss, mean_weight=0.3, second_moment_weight=2.0, aggregation="sum"),
        loop(loops.orthogonal, mean_weight=0.3, second_weight=2.0, average=False),
        3,
    )


def nested_cases():
    for inner in [*contrast_cases(), *pair_cases(), *regularize_cases()][::4]:
        yield Case(
            f"matryoshka-{inner.name}",
            matryoshka(inner, [2, 3], [0.5, 2.0]),
            cut_loop(inner, [2, 3], [0.5, 2.0]),
            inner.n,
            inner.labels,
        )
    inner = next(negatives_cases())
    yield Case(
        "matryoshka-gist",
        matryoshka(inner, [3, 1], [1, 1]),
        cut_loop(inner, [3, 1], [1, 1]),
        inner.n,
        context=guide_columns,
    )


def matryoshka(inner, widths, weights):
    def build(model, **options):
        model.get_embedding_dimension = None  # so that nobody minds that it is not among the widths
        return losses.MatryoshkaLoss(model, inner.make(model), widths, weights, **options)

    return build


def cut_loop(inner, widths, weights):
    def by_loop(columns, *labels, **context):
        values = [inner.loop(loops.cut(columns, width), *labels, **context) for width in widths]
        weighted = list(zip(weights, values, strict=True))
        if isinstance(values[0], dict):
            return {name: sum(w * part[name] for w, part in weighted) for name in values[0]}
        return sum(w * value for w, value in weighted)

    return by_loop


CASES = [
    *contrast_cases(),
    *triplet_cases(),
    *pair_cases(),
    *ordering_cases(),
    *supervised_cases(),
    *mining_cases(),
    *distill_cases(),
    *negatives_cases(),
    *regularize_cases(),
    *nested_cases(),
]
