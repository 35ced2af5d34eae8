"""Few rows are held out in turn, and the weights of several trainings are averaged."""

import numpy as np
import pytest
import torch

from sentune import SentenceTransformer
from sentune.errors import TrainingError
from sentune.workbench import train
from sentune.workbench.measuring.encoded import Encoded
from sentune.workbench.racing import folds, mixing
from sentune.workbench.rows.prepared import parts_of
from sentune.workbench.settings import Settings
from tests import tiny
from tests.workbench import topics


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tiny.make_folder(tmp_path_factory.mktemp("folds") / "bert")
    return SentenceTransformer(str(folder), dtype="float32")


def held_out(model, data, count=3):
    parts = parts_of(data, {}, Settings())
    return parts, folds.HeldOut.in_turn(parts, count, 12, Encoded(model), 1000)


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("make", [topics.classes, topics.pairs, topics.triplets, topics.scored])
def test_each_row_is_measured_once_by_who_was_not_trained_on_it(model, make, count):
    parts, found = held_out(model, make(150), count)
    assert len(found.folds) == count
    name = parts.whole.column_names[0]
    measured = []
    for fold in found.folds:
        trained = set(fold.train[0][name])
        own = [text for texts in fold.measure.texts.values() for text in texts]
        first = next(iter(fold.measure.texts.values()))[: len(np.unique(fold.measure.groups))]
        assert fold.measure.rows == len(fold.measure.groups) and own
        assert not trained & set(first[:5])  # the rows themselves come first
        measured.append(fold.measure.rows)
    assert sum(measured) == found.measure.rows
    groups = [set(fold.measure.groups.tolist()) for fold in found.folds]
    assert not any(a & b for n, a in enumerate(groups) for b in groups[:n])


def test_the_figure_is_that_of_all_rows(model):
    _, found = held_out(model, topics.classes(150))
    together = found.values([model] * 3)
    alone = found.measure.values(Encoded(model))
    np.testing.assert_array_equal(together.rows, alone.rows)
    assert together.figure == alone.figure == together.rows.mean()


def test_few_rows_without_a_part_of_their_own_are_held_out_in_turn():
    few = parts_of(topics.classes(150), {}, Settings())
    assert folds.number_of_folds(few, 1.0, 3) == 3
    own = parts_of(topics.classes(150), {"dev": topics.classes(60)}, Settings())
    assert folds.number_of_folds(own, 9.0, 1) == 1


def test_more_rows_are_where_the_budget_is_enough_and_the_loss_is_clear():
    more = parts_of(topics.classes(2500), {}, Settings())
    assert folds.number_of_folds(more, 5.0, 1) == 3
    assert folds.number_of_folds(more, 4.9, 1) == 1
    assert folds.number_of_folds(more, None, 1) == 1
    assert folds.number_of_folds(more, 5.0, 2) == 1
    many = parts_of(topics.classes(12_000), {}, Settings())
    assert folds.number_of_folds(many, 9.0, 1) == 1


@pytest.mark.parametrize(("make", "count"), [(topics.scored, 3), (topics.classes, 1)])
def test_train_asks_for_folds_by_its_budget(make, count, tmp_path, monkeypatch):
    """By default pairs with a score may take enough passes, and classes have several losses."""
    monkeypatch.setattr(folds, "FEW", 10)
    start = tiny.make_folder(tmp_path / "bert")
    result = train(make(200), str(start), tmp_path / "out", agreement=0, dtype="float32")
    keys = " ".join(result.record["log"])
    assert ("in 3 parts" in keys) == (count == 3)


def test_the_mean_of_weights_is_that_of_each_number(model):
    one = mixing.weights_of(model)
    other = {name: value + 1 if value.is_floating_point() else value for name, value in one.items()}
    for name, value in mixing.mean([one, other]).items():
        expected = one[name] + 0.5 if value.is_floating_point() else one[name]
        torch.testing.assert_close(value, expected)
    assert mixing.mean([one]) == one
    with pytest.raises(TrainingError, match="different models"):
        mixing.mean([one, {"another": torch.ones(2)}])


def test_a_mixer_averages_a_fold_or_all(model):
    start = mixing.weights_of(model)

    def moved(by):
        return {name: v + by if v.is_floating_point() else v for name, v in start.items()}

    mixer = mixing.Mixer(model, start, [lambda: [moved(1.0), moved(3.0)], lambda: [moved(8.0)]])
    name = next(iter(start))
    try:
        for alpha, fold, by in [(1, 0, 2.0), (1, 1, 8.0), (0.5, None, 2.0), (0, None, 0.0)]:
            found = mixing.weights_of(mixer.at(alpha, fold))[name]
            torch.testing.assert_close(found, start[name] + by, atol=1e-5, rtol=1e-5)
    finally:
        mixer.at(0)
