import pytest
import torch

from sentune import losses
from sentune.errors import SettingError
from tests.losses.tools import TableModel, column

GOR = losses.GlobalOrthogonalRegularizationLoss


def test_parts_by_hand():
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    # Cosines off the diagonal: 1 twice, 0 four times; d = 2.
    parts = GOR(TableModel()).compute([rows])
    assert parts["gor_mean"].item() == pytest.approx((1 / 3) ** 2)
    assert parts["gor_second_moment"].item() == 0  # 1/3 is below 1/2
    parts = GOR(TableModel(), second_moment_weight=3.0).compute([rows[:2]])
    assert parts["gor_second_moment"].item() == pytest.approx(3 * 0.5)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, {"gor_mean", "gor_second_moment"}),
        ({"mean_weight": None}, {"gor_second_moment"}),
        ({"second_moment_weight": 0}, {"gor_mean"}),
    ],
)
def test_a_part_without_weight_is_left_out(options, names):
    assert GOR(TableModel(), **options)([column(5, 0)]).keys() == names


def test_columns_are_averaged_or_summed():
    columns = [torch.randn(5, 3) for _ in range(3)]
    mean = GOR(TableModel()).compute(columns)
    total = GOR(TableModel(), aggregation="sum").compute(columns)
    torch.testing.assert_close(total, {name: 3 * part for name, part in mean.items()})


def test_one_row_is_at_right_angles_to_nothing():
    assert sum(GOR(TableModel()).compute([torch.randn(1, 4)]).values()) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mean_weight": 0, "second_moment_weight": None}, "are both 0"),
        ({"aggregation": "max"}, "aggregation must be one of"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(SettingError, match=message):
        GOR(TableModel(), **options)
