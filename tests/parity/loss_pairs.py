"""The losses of both libraries, with the options under which they are compared."""

from dataclasses import dataclass
from typing import Any

import torch

from tests.losses.cases import Numbers, Teacher, binary, classes, no_labels, scores, tied_scores
from tests.losses.tools import TableModel
from tests.tiny import tokenizer


class WithTokens(TableModel):
    """A table model with what the peer asks of a guide."""

    max_seq_length = 8

    def __init__(self, **options):
        super().__init__(**options)
        self.tokenizer = tokenizer()

    def __getitem__(self, place):
        return self


@dataclass(frozen=True)
class Metric:
    """A distance that both libraries have under the same name."""

    home: str
    name: str

    def of(self, library):
        return getattr(getattr(library, self.home), self.name)

    def __str__(self):
        return self.name


@dataclass(frozen=True)
class Pair:
    """The same loss of both libraries: its name and its options."""

    name: str
    options: dict[str, Any]
    n: int = 2
    labels: Any = no_labels

    def build(self, library, model, metrics_of=None):
        options = {
            key: value.of(metrics_of or library) if isinstance(value, Metric) else value
            for key, value in self.options.items()
        }
        if "loss" in options:
            options["loss"] = options["loss"].build(library, model, metrics_of)
        if "guide" in options:
            options["guide"] = WithTokens(seed=options["guide"])
        if self.name == "SoftmaxLoss":
            options["embedding_dimension"] = model.get_embedding_dimension()
        return getattr(library, self.name)(model, **options)

    def __str__(self):
        options = map(str, self.options.values())
        name = self.name.removesuffix("Loss")
        return "-".join([name, str(self.n), *options, getattr(self.labels, "__name__", "teacher")])


def ones(b, d=None):
    return torch.ones(b, dtype=torch.long)


def zeros(b, d=None):
    return torch.zeros(b, dtype=torch.long)


def every_one_its_own(b, d=None):
    return torch.arange(b)


MNRL = "MultipleNegativesRankingLoss"
Q2D, D2Q = "query_to_doc", "doc_to_query"
ALL = (Q2D, "query_to_query", D2Q, "doc_to_doc")

PAIRS = [
    *[Pair(MNRL, {}, n) for n in (2, 3, 5)],
    *[Pair(MNRL, {"directions": directions}, 3) for directions in ((Q2D, D2Q), ALL)],
    Pair(MNRL, {"directions": (Q2D, D2Q), "partition_mode": "per_direction"}, 4),
    *[
        Pair(MNRL, {"hardness_mode": mode, "hardness_strength": 3.0, "directions": ALL}, 4)
        for mode in ("in_batch_negatives", "hard_negatives", "all_negatives")
    ],
    Pair("MultipleNegativesSymmetricRankingLoss", {"scale": 7.0}, 3),
    *[
        Pair("TripletLoss", {"distance_metric": Metric("TripletDistanceMetric", metric), **more}, 3)
        for metric in ("EUCLIDEAN", "COSINE", "MANHATTAN")
        for more in ({}, {"triplet_margin": 0.5})
    ],
    Pair("CosineSimilarityLoss", {}, 2, scores),
    *[
        Pair(
            "ContrastiveLoss",
            {"distance_metric": Metric("SiameseDistanceMetric", metric), **more},
            2,
            y,
        )
        for metric in ("EUCLIDEAN", "COSINE_DISTANCE", "MANHATTAN")
        for more, y in (({}, binary), ({"margin": 2.0, "size_average": False}, scores))
    ],
    *[
        Pair(
            "OnlineContrastiveLoss",
            {"distance_metric": Metric("SiameseDistanceMetric", metric), "margin": margin},
            2,
            y,
        )
        for metric in ("EUCLIDEAN", "COSINE_DISTANCE", "MANHATTAN")
        for margin, y in ((0.5, binary), (2.0, ones), (4.0, zeros))
    ],
    *[
        Pair("CoSENTLoss", {"scale": scale}, 2, y)
        for scale in (20.0, 3.0)
        for y in (scores, tied_scores, binary, ones)
    ],
    Pair("AnglELoss", {}, 2, scores),
    Pair("AnglELoss", {"scale": 2.0}, 3),
    Pair("AnglELoss", {}, 5, tied_scores),
    *[
        Pair(
            f"{name}Loss",
            {"distance_metric": Metric("BatchHardTripletLossDistanceFunction", metric), **more},
            1,
            y,
        )
        for name in (
            "BatchAllTriplet",
            "BatchHardTriplet",
            "BatchHardSoftMarginTriplet",
            "BatchSemiHardTriplet",
        )
        for metric in ("euclidean_distance", "cosine_distance")
        for more in ([{}] if "Soft" in name else [{}, {"margin": 0.3}])
        for y in (classes, zeros, every_one_its_own)
    ],
    *[
        Pair(
            "SoftmaxLoss",
            {"num_labels": 3, **dict.fromkeys(seen, True), **dict.fromkeys(unseen, False)},
            2,
            classes,
        )
        for seen, unseen in (
            (("concatenation_sent_rep",), ("concatenation_sent_difference",)),
            (("concatenation_sent_difference",), ("concatenation_sent_rep",)),
            (("concatenation_sent_rep", "concatenation_sent_multiplication"), ()),
        )
    ],
    *[
        Pair("EmbedDistillLoss", {"distance_metric": metric}, n, y)
        for metric in ("cosine", "l2", "mse")
        for n, y in ((1, Teacher()), (3, Teacher()), (2, Teacher(2)))
    ],
    Pair("EmbedDistillLoss", {"projection_dim": 5}, 2, Teacher(width=5)),
    Pair("MSELoss", {}, 2, Teacher(2)),
    *[
        Pair("MarginMSELoss", {}, n, y)
        for n, y in (
            (3, scores),
            (3, Numbers(1)),
            (3, Numbers(2)),
            (5, Numbers(3)),
            (5, Numbers(4)),
        )
    ],
    *[
        Pair("DistillKLDivLoss", options, n, Numbers(n - 1))
        for n in (3, 5)
        for options in ({}, {"temperature": 2.0}, {"student_temperature": 0.5})
    ],
    *[
        Pair("GISTEmbedLoss", {"guide": 9, **options}, n)
        for n in (2, 3)
        for options in (
            {},
            {"margin": 0.1, "temperature": 0.05},
            {"margin": 0.2, "margin_strategy": "relative"},
            {"contrast_anchors": False},
            {"contrast_positives": False, "margin": 0.05},
        )
    ],
    Pair("CachedGISTEmbedLoss", {"guide": 9, "mini_batch_size": 4}, 4),
    Pair("CachedMultipleNegativesRankingLoss", {"mini_batch_size": 4, "directions": ALL}, 3),
    Pair("CachedMultipleNegativesSymmetricRankingLoss", {"mini_batch_size": 3}, 3),
    *[
        Pair("MegaBatchMarginLoss", options)
        for options in (
            {},
            {"use_mini_batched_version": False},
            {"mini_batch_size": 4, "positive_margin": 0.9, "negative_margin": -0.1},
        )
    ],
    *[
        Pair("GlobalOrthogonalRegularizationLoss", options, n)
        for n in (1, 3)
        for options in (
            {},
            {"mean_weight": None, "aggregation": "sum"},
            {"second_moment_weight": 0},
        )
    ],
    Pair("ContrastiveTensionLoss", {}, 2, binary),
    Pair("ContrastiveTensionLossInBatchNegatives", {"scale": 5.0}, 1),
    *[
        Pair(
            "MatryoshkaLoss",
            {"loss": inner, "matryoshka_dims": dims, **weights},
            inner.n,
            inner.labels,
        )
        for inner in (
            Pair(MNRL, {}, 3),
            Pair("CachedMultipleNegativesRankingLoss", {"mini_batch_size": 4}, 2),
            Pair("CoSENTLoss", {}, 2, scores),
            Pair("GISTEmbedLoss", {"guide": 9}, 2),
            Pair("MSELoss", {}, 2, Teacher(2)),
            Pair("TripletLoss", {"triplet_margin": 0.5}, 3),
            Pair("MegaBatchMarginLoss", {"mini_batch_size": 4}),
        )
        for dims, weights in (
            ([2, 4, 3], {"matryoshka_weights": [0.5, 1.0, 2.0]}),
            ([4, 2], {"n_dims_per_step": 1}),
        )
    ],
]
