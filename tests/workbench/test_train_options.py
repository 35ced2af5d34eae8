"""Options of `train` that reach outside of it: the clock, the Hub, trackers."""

import time

import pytest

from sentune import SentenceTransformer
from sentune.cli import main
from sentune.errors import SettingError
from sentune.workbench import train
from tests import tiny
from tests.share import test_push
from tests.training.tools import assert_equal_weights, weights
from tests.workbench import topics

hub = test_push.hub
FEW = {"steps": 6, "learning_rate": 1e-2, "alpha": 1, "batch_size": 16, "dtype": "float32"}


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny.make_folder(tmp_path / "bert")
    topics.write(topics.classes(300), tmp_path / "topics.csv")
    return tmp_path


def test_a_budget_in_seconds_is_kept_and_its_run_file_gives_the_same_model(work):
    options = {"learning_rate": 1e-2, "agreement": 0, "dtype": "float32"}
    began = time.monotonic()
    first = train("topics.csv", "bert", "first", budget="10s", **options)
    assert time.monotonic() - began < 40
    assert first.kept == "trained"
    assert first.record["spent"]["training"] > 0
    again = train(config=first.model_path / "run.yaml", output="again")
    assert "budget" not in (first.model_path / "run.yaml").read_text()
    one, other = (SentenceTransformer(str(result.model_path)) for result in (first, again))
    assert_equal_weights(weights(one), weights(other))


PUSH = ["train", "topics.csv", "--model", "bert", "--output", "out", "--alpha", "0"]
PUSH += ["--push", "alice/topics"]


def test_the_model_is_uploaded_with_its_card_and_nothing_else(work, hub, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", "alice-token")
    assert main([*PUSH, "--push-private"]) == 0
    assert "Uploaded to" in capsys.readouterr().err
    files = hub.files("alice/topics")
    assert {"model.safetensors", "modules.json", "README.md"} <= files.keys()
    assert not {"run.json", "run.yaml", "report.html"} & files.keys()
    assert hub.repos["alice/topics"].private
    assert 'SentenceTransformer("alice/topics")' in files["README.md"].decode()
    local = (work / "out" / "model.safetensors").read_bytes()
    assert files["model.safetensors"] == local
    assert "push" not in (work / "out" / "run.yaml").read_text()  # who repeats it uploads nothing


def test_a_model_on_the_hub_is_not_replaced_and_nothing_is_trained(work, hub, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", "alice-token")
    assert main(PUSH) == 0
    before = hub.commits("alice/topics")
    capsys.readouterr()
    assert main([*PUSH, "--output", "other"]) == 2
    said = capsys.readouterr().err
    assert "'alice/topics' on the Hub already; nothing was trained" in said
    assert "sentune push" in said and "exist_ok" not in said
    assert not (work / "other" / "model.safetensors").exists()
    assert hub.commits("alice/topics") == before


def test_without_a_login_nothing_is_trained(work, hub, capsys):
    assert main(PUSH) == 2
    assert "log in" in capsys.readouterr().err
    assert not (work / "out" / "model.safetensors").exists()


def test_an_upload_that_fails_leaves_the_model_and_says_how_to_go_on(
    work, hub, monkeypatch, capsys
):
    monkeypatch.setenv("HF_TOKEN", "alice-token")
    hub.fail("POST", "/commit/", 500)
    assert main([*PUSH, "--push-private"]) == 2
    said = capsys.readouterr().err
    assert "upload it with: sentune push out alice/topics --private" in said
    assert (work / "out" / "model.safetensors").exists() and not (work / "out" / "run").exists()


def test_a_tracker_gets_the_curves(work):
    train("topics.csv", "bert", "out", report_to=["tensorboard"], **FEW)
    events = [*(work / "out" / "logs").rglob("events.out.tfevents.*")]
    assert events
    assert b"train/loss" in b"".join(path.read_bytes() for path in events)


def test_a_tracker_that_is_not_known_is_said_before_anything_is_read(work):
    with pytest.raises(SettingError, match="'tensorbord'.*did you mean tensorboard"):
        train("none.csv", "no-model", "out", report_to=["tensorbord"])
