"""Losses that are no number are found, also where they are looked at in bulk; means of parts."""

import pytest
import torch

from sentune.errors import TrainingError
from sentune.training.nan_guard import LossWatch, PartMeans

NAN = torch.tensor(float("nan"))


def batch(*rows, name=None):
    return {"rows": torch.tensor(rows), "dataset_name": name}


def test_on_the_cpu_a_nan_is_found_at_once():
    watch = LossWatch()
    watch.see(torch.tensor(1.0), batch(1), 0)
    with pytest.raises(TrainingError, match=r"in step 2, on a batch of rows 5, 6\."):
        watch.see(NAN, batch(5, 6), 1)


def test_in_bulk_the_first_nan_is_named():
    watch = LossWatch(bulk=4)
    for step, loss in enumerate([torch.tensor(1.0), NAN, torch.tensor(2.0)]):
        watch.see(loss, batch(step, name="news"), step)
    with pytest.raises(TrainingError, match="in step 2, on a batch of row 1 of dataset 'news'"):
        watch.see(NAN, batch(3), 3)


def test_what_waits_is_found_by_a_check():
    watch = LossWatch(bulk=4)
    watch.see(NAN, batch(*range(40)), 7)
    with pytest.raises(TrainingError, match="in step 8, on a batch of rows 0, 1, .*38, 39"):
        watch.check()
    watch.check()  # what was told is told once


def test_an_infinite_loss_may_pass():
    """Half precision goes over now and then, and the scaler leaves such a step out."""
    LossWatch().see(torch.tensor(float("inf")), batch(1), 0)


def test_means_are_those_of_all_processes():
    parts = PartMeans()
    parts.add({"a": torch.tensor(1.0)})
    parts.add({"a": torch.tensor(2.0), "b": torch.tensor(5.0)})
    found = parts.take(lambda own: [*own, {"a": (7.0, 2), "c": (4.0, 1)}])
    assert found == {"a": 2.5, "b": 5.0, "c": 4.0}
    assert parts.take(lambda own: own) == {}
