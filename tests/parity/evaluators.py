"""Runs an evaluator of sentune and of the peer on equal encoders and compares all they give."""

import csv

import pytest

import sentune.evaluation as ours
from tests.fake_encoder import FakeEncoder

peer = pytest.importorskip("sentence_transformers.sentence_transformer.evaluation")

ALL = ["cosine", "dot", "euclidean", "manhattan"]


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def same_number(mine, theirs):
    return mine == pytest.approx(theirs, abs=1e-6, rel=1e-6, nan_ok=True)


def assert_same(class_name, tmp_path, *args, encoder=None, **kwargs):
    """Both evaluators on equal encoders: the same metrics, primary metric, files and card."""
    seen = []
    for library, folder in ((ours, tmp_path / "ours"), (peer, tmp_path / "peer")):
        model = FakeEncoder(**(encoder or {}))
        evaluator = getattr(library, class_name)(*args, **kwargs)
        first = evaluator(model, str(folder))
        second = evaluator(model, str(folder), epoch=1, steps=20)
        assert first == pytest.approx(second, abs=0, nan_ok=True)
        seen.append((first, evaluator, model))
    (mine, my_evaluator, my_model), (theirs, peer_evaluator, peer_model) = seen
    assert mine.keys() == theirs.keys()
    assert len(mine) > 0
    for key in mine:
        assert same_number(mine[key], theirs[key]), key
    assert all(type(value) is float for value in mine.values())
    assert my_evaluator.primary_metric == peer_evaluator.primary_metric
    assert my_evaluator.greater_is_better == peer_evaluator.greater_is_better
    assert my_evaluator.description == peer_evaluator.description
    assert my_evaluator.get_config_dict() == peer_evaluator.get_config_dict()
    assert_same_card(my_model.model_card_data.stored, peer_model.model_card_data.stored)
    assert_same_files(tmp_path / "ours", tmp_path / "peer")
    return mine


def assert_same_card(mine, theirs):
    assert len(mine) == len(theirs) > 0
    for my_entry, peer_entry in zip(mine, theirs, strict=True):
        assert type(my_entry[0]).__name__ == type(peer_entry[0]).__name__
        assert same_number(my_entry[1], peer_entry[1])
        assert my_entry[2:] == peer_entry[2:]


def assert_same_files(my_folder, peer_folder):
    names = sorted(path.name for path in my_folder.iterdir())
    assert names == sorted(path.name for path in peer_folder.iterdir())
    assert any(name.endswith(".csv") for name in names)
    for name in names:
        if name.endswith(".csv"):
            mine, theirs = rows_of(my_folder / name), rows_of(peer_folder / name)
            assert mine[0] == theirs[0]
            assert len(mine) == 3
            for my_row, peer_row in zip(mine[1:], theirs[1:], strict=True):
                assert my_row[:2] == peer_row[:2]
                assert same_number([float(x) for x in my_row], [float(x) for x in peer_row])
