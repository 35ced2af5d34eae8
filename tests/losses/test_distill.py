import math

import pytest
import torch

from sentune import losses
from sentune.errors import InputError, SentuneWarning, SettingError
from sentune.vectors.similarity import pairwise_cos_sim
from tests.losses.tools import TableModel, column, value_and_gradient

ROWS = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
TEACHER = torch.tensor([[0.0, 0.0], [1.0, 0.0]])


@pytest.mark.parametrize(
    ("metric", "expected"),
    [("mse", (9 + 16 + 1 + 1) / 4), ("l2", (5 + math.sqrt(2)) / 2), ("cosine", 1.0)],
)
def test_distances_to_the_teacher_by_hand(metric, expected):
    loss = losses.EmbedDistillLoss(TableModel(), distance_metric=metric)
    assert loss.compute([ROWS], TEACHER).item() == pytest.approx(expected)


def test_one_teacher_embedding_serves_all_columns():
    loss = losses.MSELoss(TableModel())
    both = loss.compute([ROWS, ROWS + 1], TEACHER)
    each = loss.compute([ROWS, ROWS + 1], torch.stack([TEACHER, TEACHER], dim=1))
    torch.testing.assert_close(both, each)


@pytest.mark.parametrize("shape", [(2,), (2, 3), (3, 2), (2, 3, 2)])
def test_labels_that_are_not_the_teachers_embeddings_are_refused(shape):
    with pytest.raises(InputError, match=r"of shape \(2, 2\) or \(2, 1, 2\).*set projection_dim"):
        losses.MSELoss(TableModel()).compute([ROWS], torch.randn(shape))


def test_a_projection_is_learnt_saved_and_read(tmp_path):
    features, labels = [column(5, 0)], torch.randn(5, 3)
    loss = losses.EmbedDistillLoss(TableModel(), "mse", projection_dim=3)
    value = value_and_gradient(loss, features, labels)[0]
    assert loss.projection.weight.grad.any()
    rows = loss.model(features[0])["sentence_embedding"]
    expected = torch.nn.functional.mse_loss(loss.projection(rows), labels)
    torch.testing.assert_close(value, expected.detach())

    loss.save_projection(tmp_path / "p.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["p.safetensors"]
    for other in (
        losses.EmbedDistillLoss(TableModel(), "mse"),
        losses.EmbedDistillLoss(TableModel(), "mse", projection_dim=3),
    ):
        other.load_projection(tmp_path / "p.safetensors")
        torch.testing.assert_close(other(features, labels).detach(), value)
        assert other.settings()["projection_dim"] == 3
    with pytest.raises(SettingError, match="maps 6 numbers to 3; this loss maps 6 to 4"):
        losses.MSELoss(TableModel(), projection_dim=4).load_projection(tmp_path / "p.safetensors")
    with pytest.raises(SettingError, match="maps 6 numbers to 3; this loss maps 8 to 3"):
        losses.MSELoss(TableModel(width=8)).load_projection(tmp_path / "p.safetensors")
    with pytest.raises(SettingError, match="no projection to save"):
        losses.MSELoss(TableModel()).save_projection(tmp_path / "q")


def test_a_projection_needs_a_width():
    with pytest.raises(SettingError, match="does not say the width"):
        losses.MSELoss(lambda features: features, projection_dim=3)


def test_an_unknown_distance_is_refused():
    with pytest.raises(SettingError, match="distance_metric must be one of.*'dot'"):
        losses.EmbedDistillLoss(TableModel(), distance_metric="dot")


def test_margin_mse_by_hand():
    # Dot products 1 and 0, so the margin is 1, and the teacher's 3.
    query, positive, negative = torch.eye(2)[:1], torch.eye(2)[:1], torch.eye(2)[1:]
    loss = losses.MarginMSELoss(TableModel())
    assert loss.compute([query, positive, negative], torch.tensor([3.0])).item() == 4
    assert loss.compute([query, positive, negative], torch.tensor([[5.0, 2.0]])).item() == 4


@pytest.mark.parametrize("shape", [None, (4,), (4, 1), (4, 4), (3, 2)])
def test_margins_of_another_shape_are_refused(shape):
    columns = [torch.randn(4, 3) for _ in range(4)]
    labels = None if shape is None else torch.randn(shape)
    with pytest.raises(InputError, match=r"margins \(4, 2\).*or its scores \(4, 3\)"):
        losses.MarginMSELoss(TableModel()).compute(columns, labels)


def test_distill_kl_is_zero_where_the_model_agrees():
    columns = [torch.randn(4, 3) for _ in range(4)]
    scores = torch.stack([pairwise_cos_sim(columns[0], column) for column in columns[1:]], dim=1)
    loss = losses.DistillKLDivLoss(TableModel(), pairwise_cos_sim, temperature=0.7)
    assert loss.compute(columns, scores + 5).item() == pytest.approx(0, abs=1e-6)
    assert loss.compute(columns, scores.flip(1)).item() > 0


@pytest.mark.parametrize("shape", [None, (4,), (4, 2)])
def test_scores_of_another_shape_are_refused(shape):
    labels = None if shape is None else torch.randn(shape)
    with pytest.raises(InputError, match=r"one teacher score per candidate, \(4, 3\)"):
        columns = [torch.randn(4, 3) for _ in range(4)]
        losses.DistillKLDivLoss(TableModel()).compute(columns, labels)


def test_teacher_scores_that_cannot_teach_are_told():
    columns = [torch.randn(2, 3) for _ in range(3)]
    with pytest.raises(InputError, match="NaN"):
        losses.DistillKLDivLoss(TableModel()).compute(columns, torch.full((2, 2), torch.nan))
    loss = losses.DistillKLDivLoss(TableModel())
    with pytest.warns(SentuneWarning, match="1 of 4 .* up to 400.0 apart.*above 4") as seen:
        loss.compute(columns, torch.tensor([[0.0, 400.0], [0.0, 1.0]]))
        loss.compute(columns, torch.tensor([[0.0, 400.0], [0.0, 1.0]]))
    assert len(seen) == 1
    left_out = torch.tensor([[0.0, -torch.inf], [0.0, 1.0]])  # on purpose: nothing to say
    assert losses.DistillKLDivLoss(TableModel()).compute(columns, left_out).isfinite()


@pytest.mark.parametrize("options", [{"temperature": 0}, {"teacher_temperature": float("inf")}])
def test_temperatures_are_positive_numbers(options):
    with pytest.raises(SettingError, match="temperature must be a positive number"):
        losses.DistillKLDivLoss(TableModel(), **options)
