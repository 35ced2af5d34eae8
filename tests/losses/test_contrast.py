import functools

import pytest
import torch

from sentune import losses
from sentune.errors import SentuneWarning, SettingError
from sentune.losses import MultipleNegativesRankingLoss as MNRL
from sentune.vectors.similarity import cos_sim, dot_score
from tests.losses.tools import TableModel, column, value_and_gradient


def columns_(n, b=6, d=5):
    return list(torch.randn(n, b, d, generator=torch.Generator().manual_seed(n)).unbind(0))


def test_a_batch_of_orthogonal_pairs_has_the_loss_written_here():
    # Two queries equal to their documents and at right angles to the other's:
    # each loss is log(e^1 + e^0) - 1.
    value = MNRL(TableModel(), scale=1.0).compute([torch.eye(2), torch.eye(2)])
    assert value.item() == pytest.approx(0.31326168751822286, abs=1e-6)


def test_the_loss_falls_when_the_positive_moves_closer():
    query, other = torch.eye(4)[:2], torch.eye(4)[2:]
    losses_ = [
        MNRL(TableModel()).compute([query, other + step * query]).item() for step in (0, 0.5, 2)
    ]
    assert losses_[0] > losses_[1] > losses_[2]


def test_every_further_direction_adds_negatives():
    columns = columns_(3)
    value = MNRL(TableModel()).compute(columns)
    for direction in ("query_to_query", "doc_to_query", "doc_to_doc"):
        more = MNRL(TableModel(), directions=("query_to_doc", direction)).compute(columns)
        assert more > value


def test_another_similarity_can_be_given():
    a, b = columns_(2)
    value = MNRL(TableModel(), scale=1.0, similarity_fct=dot_score).compute([a, b])
    logits = a @ b.T
    expected = torch.nn.functional.cross_entropy(logits, torch.arange(6))
    torch.testing.assert_close(value, expected)
    partial = MNRL(TableModel(), similarity_fct=functools.partial(cos_sim))
    assert partial.settings()["similarity_fct"].startswith("cos_sim")


def test_the_score_matrix_is_computed_in_rows_of_the_mini_batch():
    seen = []

    def similarity(a, b):
        seen.append((len(a), len(b)))
        return cos_sim(a, b)

    MNRL(TableModel(), similarity_fct=similarity, mini_batch_size=4).compute(columns_(3))
    assert seen == [(4, 12), (2, 12)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 0}, "scale must be > 0, got 0"),
        ({"directions": ()}, "must contain 'query_to_doc'"),
        ({"directions": ("doc_to_query",)}, "must contain 'query_to_doc'"),
        ({"directions": ("query_to_doc", "up")}, "directions must be one of .*'up'"),
        ({"partition_mode": "none"}, "partition_mode must be one of"),
        ({"hardness_mode": "some"}, "hardness_mode must be one of"),
        ({"hardness_strength": -1.0}, "hardness_strength must be >= 0"),
        (
            {"directions": ("query_to_doc", "doc_to_doc"), "partition_mode": "per_direction"},
            "use partition_mode='joint'",
        ),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(SettingError, match=message):
        MNRL(TableModel(), **options)


def test_a_hardness_without_strength_is_warned_of():
    with pytest.warns(SentuneWarning, match="does nothing with hardness_strength=0"):
        MNRL(TableModel(), hardness_mode="all_negatives")


@pytest.mark.parametrize(
    ("cached", "plain", "options"),
    [
        (losses.CachedMultipleNegativesRankingLoss, MNRL, {"directions": ("query_to_doc",)}),
        (
            losses.CachedMultipleNegativesSymmetricRankingLoss,
            losses.MultipleNegativesSymmetricRankingLoss,
            {},
        ),
    ],
)
def test_the_cached_name_is_the_loss_with_mini_batches(cached, plain, options):
    features = [column(7, seed) for seed in range(3)]
    small = cached(TableModel().double(), 8.0, cos_sim, 2, 6, show_progress_bar=False, **options)
    whole = plain(TableModel().double(), 8.0, cos_sim, **options)
    torch.testing.assert_close(
        value_and_gradient(small, features), value_and_gradient(whole, features)
    )
    assert len(small.model.rows_seen) > len(whole.model.rows_seen) == 1
    settings = small.settings()
    assert settings.pop("mini_batch_size") == 2 and settings.pop("mini_batch_num_tokens") == 6
    assert settings == whole.settings()
    assert cached(TableModel()).mini_batch_size == 32


def test_temperature_is_the_inverse_of_scale():
    assert MNRL(TableModel(), scale=50.0).temperature == pytest.approx(0.02)


def test_a_step_of_training_brings_partners_together():
    model = TableModel()
    features = [column(8, 0), column(8, 1)]
    loss = MNRL(model)
    before = loss(features).item()
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        loss(features).backward()
        optimizer.step()
    assert loss(features).item() < before
