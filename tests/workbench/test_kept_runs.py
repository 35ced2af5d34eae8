"""What a training may replace: what runs of it left, and nothing of the user's."""

import pytest

from sentune.errors import SentuneWarning, SettingError
from sentune.workbench.records import run_file, saved
from sentune.workbench.records.kept import Kept
from sentune.workbench.training import train

ASKED = {"options": {"loss": "TripletLoss", "output": "model"}, "data": ["a.csv"]}


def test_a_folder_run_of_the_users_is_never_taken_for_ours(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("precious")
    with pytest.raises(SettingError, match="does not contain a model"):
        saved.check_output(tmp_path)
    (tmp_path / "modules.json").write_text("[]")  # a model beside it
    with pytest.raises(SettingError, match="is not of a training"):
        Kept.opened(tmp_path, ASKED, resume=False)
    assert (tmp_path / "run" / "thesis.txt").read_text() == "precious"


def test_weights_that_a_killed_run_left_are_not_gone_on_with(tmp_path):
    (tmp_path / "run" / "full-0" / "checkpoint-5").mkdir(parents=True)
    kept = Kept.opened(tmp_path, ASKED, resume=False)
    assert not kept.place("full-0").exists()
    assert not kept.has_runs


def test_a_run_goes_on_also_if_its_folder_is_named_in_another_way(tmp_path):
    Kept.opened(tmp_path, ASKED, resume=False).note("full-0", {})
    other = {**ASKED, "options": {**ASKED["options"], "output": "./model/"}}
    assert Kept.opened(tmp_path, other, resume=True).has_runs
    other = {**ASKED, "options": {**ASKED["options"], "loss": "MSELoss"}}
    with pytest.raises(SettingError, match="other values of loss"):
        Kept.opened(tmp_path, other, resume=True)


def test_the_model_to_start_from_is_not_replaced(tiny_model, tmp_path):
    tiny_model.save(str(tmp_path / "model"))
    rows = {"text": ["a cat", "a dog"] * 20, "label": [0, 1] * 20}
    with pytest.raises(SettingError, match="is the model to start from"):
        train(rows, tmp_path / "model", tmp_path / "model")
    assert (tmp_path / "model" / "modules.json").is_file()


def test_a_run_of_other_versions_goes_on_and_says_that_bits_may_differ(tmp_path):
    before = {**ASKED, "versions": {**run_file.versions(), "torch": "1.0"}}
    Kept.opened(tmp_path, before, resume=False).note("full-0", {})
    now = {**ASKED, "versions": run_file.versions()}
    with pytest.warns(SentuneWarning, match=r"was started with other versions: torch .* \(then 1"):
        assert Kept.opened(tmp_path, now, resume=True).has_runs
