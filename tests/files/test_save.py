"""A save into a folder that is in use: all of it or nothing, and other people's files stay."""

import os
import subprocess
import sys
from functools import partial
from itertools import count
from pathlib import Path

import pytest
import torch

from sentune import models
from sentune.errors import SettingError
from sentune.files.restore import restore
from sentune.files.save import save, save_card
from sentune.folders.source import local_folder
from sentune.hub.fetch import Access
from sentune.share.push import files_in as files_in_upload
from tests.files.folders import load, read, same_tensors, write

STEPS = ("rename", "replace", "link", "fsync")


def dense(seed=0):
    torch.manual_seed(seed)
    return {"0": models.Dense(4, 2)}


def files_in(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def contents(folder):
    return {name: (folder / name).read_bytes() for name in files_in(folder)}


def test_parents_are_made(tmp_path):
    save(dense(), {}, tmp_path / "a" / "b" / "model")
    assert load(tmp_path / "a/b/model").modules


def test_the_folder_can_be_read_by_others_as_far_as_the_system_says(tmp_path):
    (tmp_path / "plain").mkdir()
    save(dense(), {}, tmp_path / "model")
    assert (tmp_path / "model").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_file_in_the_way_is_not_touched(tmp_path):
    path = write(tmp_path / "model", "mine")
    with pytest.raises(SettingError, match="is a file"):
        save(dense(), {}, path)
    assert path.read_text() == "mine"


def test_files_of_the_user_stay_and_those_of_the_old_model_go(tmp_path, tiny_bert_folder):
    target = tmp_path / "model"
    transformer = models.Transformer(tiny_bert_folder)
    old = [transformer, models.Pooling(32), models.Dense(32, 4), models.Normalize()]
    save(dict(zip("0123", old)), {}, target, safe_serialization=False)
    mine = ("README.md", "notes.txt", "train_config.json", "1_Pooling/notes.md", "onnx/model.onnx")
    for name in (*mine, "2_Dense/config.json.bak", "runs/config.json"):
        write(target / name, "mine")
    save({"0": transformer, "1": models.Pooling(32, "cls")}, {}, target)
    assert files_in(target) == sorted(
        [
            *mine,
            "2_Dense/config.json.bak",
            "runs/config.json",
            "1_Pooling/config.json",
            "config.json",
            "config_sentence_transformers.json",
            "model.safetensors",
            "modules.json",
            "sentence_bert_config.json",
            "tokenizer.json",
            "tokenizer_config.json",
        ]
    )
    assert not (target / "3_Normalize").exists()
    assert load(target).modules["1"].pooling_mode == "cls"


def test_stale_modules_of_a_router_go(tmp_path):
    routes = {"query": [models.Dense(4, 2)], "document": [models.Dense(4, 2)]}
    save({"0": models.Router(routes)}, {}, tmp_path / "model")
    save({"0": models.Router({"query": [models.Dense(4, 2)]})}, {}, tmp_path / "model")
    assert not (tmp_path / "model/document_0_Dense").exists()
    assert (tmp_path / "model/query_0_Dense/model.safetensors").exists()


def test_weights_of_the_other_format_do_not_stay_to_be_loaded(tmp_path):
    target = tmp_path / "model"
    for seed, safe in enumerate((True, False, True)):
        save(dense(seed), {}, target, safe_serialization=safe)
        assert same_tensors(load(target).modules["0"], dense(seed)["0"])


def test_a_folder_that_holds_no_model_keeps_all_its_files(tmp_path):
    target = tmp_path / "model"
    names = ["tokenizer.json", "vocab.txt", "model.safetensors"]
    for name in names:
        write(target / name, "mine")
    save({"0": models.BoW(["a", "b"])}, {}, target)
    assert set(names) < set(files_in(target))


class Unsavable(torch.nn.Module):
    def save(self, path):
        raise OSError("no space left on device")


def test_a_save_that_fails_leaves_what_was_there(tmp_path):
    target = tmp_path / "model"
    save(dense(), {}, target)
    before = contents(target)
    with pytest.raises(OSError, match="no space left"):
        save({**dense(1), "1": Unsavable()}, {}, target)
    assert contents(target) == before
    assert list(tmp_path.iterdir()) == [target]


def test_a_first_save_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(OSError, match="no space left"):
        save({"0": Unsavable()}, {}, tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("is_linux", [True, False])
def test_a_step_that_fails_leaves_the_old_model_or_the_new(is_linux, tmp_path, monkeypatch):
    """One step after the other; after some of them the save goes on in another way."""
    target = tmp_path / "model"
    save(dense(), {}, target)
    write(target / "notes.txt", "mine")
    before = contents(target)
    for at in count(1):
        steps, error = failing_save(target, at, is_linux, monkeypatch)
        if contents(target) != before:
            loaded = load(target)  # which finishes what was decided
            assert loaded.settings["prompts"] == {"query": "new"}
            assert same_tensors(loaded.modules["0"], dense(1)["0"])
            assert not (target / "0_Dense/model.safetensors").exists()
        assert (target / "notes.txt").read_text() == "mine"
        save(dense(), {}, target)
        assert contents(target) == before
        assert list(tmp_path.iterdir()) == [target]
        if steps < at:
            break
    assert at > 10 and error is None


def failing_save(target, at, is_linux, monkeypatch):
    """A save of which a step fails; how many there were, and the error if it was not got over."""
    calls, real = [], {name: getattr(os, name) for name in STEPS}

    def step(name, *arguments, **options):
        calls.append(name)
        if len(calls) == at:
            raise OSError("the disk is gone")
        return real[name](*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "linux" if is_linux else "other")
        for name in STEPS:
            patch.setattr(os, name, partial(step, name))
        try:
            save(dense(1), {"prompts": {"query": "new"}}, target, safe_serialization=False)
        except OSError as error:
            assert str(error) == "the disk is gone"
            return len(calls), error
    return len(calls), None


@pytest.mark.parametrize("reader", ["load", "restore", "an adapter's reader", "upload"])
def test_every_reader_finishes_a_save_that_was_interrupted(reader, tmp_path, monkeypatch):
    """Where folders cannot change places, a kill can leave files of both models."""
    target, replace = tmp_path / "model", os.replace
    save(dense(), {}, target)

    def killed(start, end):
        if end.name == "modules.json":
            raise KeyboardInterrupt
        replace(start, end)

    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "other")
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            save({**dense(1), "1": models.Normalize()}, {}, target, safe_serialization=False)
    assert (target / ".sentune-save" / "modules.json").exists()
    if reader == "load":
        assert len(load(target).modules) == 2
    elif reader == "restore":
        modules = {**dense(2), "1": models.Normalize()}
        restore(modules, target, Access())
        assert same_tensors(modules["0"], dense(1)["0"])
    elif reader == "upload":
        write(target / ".README.md.0123abcd.unfinished", "left by a kill")
        assert set(files_in_upload(target)) == {
            "0_Dense/config.json",
            "0_Dense/pytorch_model.bin",
            "config_sentence_transformers.json",
            "modules.json",
        }
    else:
        assert local_folder(target).path == target
    assert len(read(target / "modules.json")) == 2
    assert not (target / "0_Dense/model.safetensors").exists()
    assert not (target / ".sentune-save").exists()


@pytest.mark.parametrize("name", ["", Path()])
def test_no_name_is_no_folder(name, tmp_path, monkeypatch):
    """A forgotten name must not write over the files of the working folder; "." names it."""
    monkeypatch.chdir(tmp_path)
    readme = write(tmp_path / "README.md", "mine")
    if name == "":
        for write_it in (lambda: save(dense(), {}, name), lambda: save_card("card", name)):
            with pytest.raises(SettingError, match="saved into a folder, got ''; name one"):
                write_it()
        assert readme.read_text() == "mine" and files_in(tmp_path) == ["README.md"]
    else:
        save(dense(), {}, name, card="card")
        assert readme.read_text() == "card" and load(tmp_path).modules


@pytest.mark.slow
def test_a_real_save_that_is_killed_leaves_a_model_that_can_be_loaded(tiny_bert_folder, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tests.files.kills", str(tiny_bert_folder), str(tmp_path), "12"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.startswith("12 kills, ")


def test_a_listing_that_leads_elsewhere_deletes_nothing_there(tmp_path):
    outside = write(tmp_path / "other/config.json", "mine")
    target = tmp_path / "model"
    paths = ["../other", str(tmp_path / "other"), "", ".", "..", None, 5]
    write(target / "modules.json", [{"path": path} for path in paths] + ["x"])
    (target / "linked").symlink_to(tmp_path / "other")
    write(target / "router_config.json", {"types": {"linked": "x", "../other": "y"}})
    save(dense(), {}, target)
    assert outside.read_text() == "mine"
    assert load(target).modules


def test_saving_over_the_model_in_use_keeps_its_weights(tmp_path):
    save(dense(), {}, tmp_path / "model")
    loaded = load(tmp_path / "model")
    save(loaded.modules, loaded.settings, tmp_path / "model")
    assert same_tensors(loaded.modules["0"], dense()["0"])
    assert same_tensors(load(tmp_path / "model").modules["0"], dense()["0"])


def test_a_link_to_a_folder_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    save(dense(), {}, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert load(tmp_path / "real").modules
