"""A folder in the place of another: what goes, what stays, and how, on every kind of system."""

import errno
import os
import subprocess
import sys
import threading

import pytest

from sentune.disk import drafts, folders
from sentune.errors import ModelFileError


def own(folder):
    return [path for path in folders.walk(folder) if path.name.startswith("model")]


def save(target, own=own, **files):
    with folders.replaced(target, own) as draft:
        for name, text in files.items():
            path = draft / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


def contents(folder):
    return {
        str(path): os.readlink(folder / path)
        if (folder / path).is_symlink()
        else (folder / path).read_text()
        for path in folders.walk(folder)
        if not (folder / path).is_dir() or (folder / path).is_symlink()
    }


@pytest.fixture(params=["exchange", "inside", "elsewhere", "mounted"])
def way(request, monkeypatch):
    """How the folder is replaced: see the docstring of sentune.disk.folders."""

    def refuse(*_):
        raise OSError(errno.EXDEV, "not here")

    if request.param == "inside":
        monkeypatch.setattr(folders, "_must_stay", lambda target: True)
    if request.param == "elsewhere":
        monkeypatch.setattr(folders, "_exchange", refuse)
    if request.param == "mounted":
        monkeypatch.setattr(folders, "_mount_of", lambda path: path.name)
    return request.param


@pytest.fixture
def target(tmp_path, way):
    path = tmp_path / "model"
    save(path, model="old", model2="old", sub__model="old")
    return path


def test_the_folder_is_the_same_one_only_where_it_must_be(target, way):
    before = target.stat().st_ino
    save(target, model="new")
    assert (target.stat().st_ino == before) == (way != "exchange")


def test_what_is_the_models_goes_and_the_rest_stays(target, tmp_path):
    for name in ("notes.txt", "runs/events", "sub/notes.txt"):
        (target / name).parent.mkdir(exist_ok=True)
        (target / name).write_text("mine")
    (target / "nothing").mkdir()
    (target / "link").symlink_to("notes.txt")
    (target / "away").symlink_to("/no/such/file")
    (target / "outside").symlink_to(tmp_path)
    events = (target / "runs/events").stat().st_ino
    save(target, model="new", more__model="new")
    assert contents(target) == {
        "model": "new",
        "more/model": "new",
        "notes.txt": "mine",
        "runs/events": "mine",
        "sub/notes.txt": "mine",
        "link": "notes.txt",
        "away": "/no/such/file",
        "outside": str(tmp_path),
    }
    assert (target / "nothing").is_dir()
    assert (target / "runs/events").stat().st_ino == events  # what writes to it goes on
    assert (target / "runs/events").stat().st_nlink == 1
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_owner_and_bits_stay(target):
    target.chmod(0o2750)
    (target / "sub").chmod(0o700)
    (target / "model").chmod(0o640)
    if os.geteuid() == 0:
        os.chown(target, 1234, 4321)
    before = target.stat()
    save(target, model="new", sub__model="new")
    after = target.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )
    assert (target / "sub").stat().st_mode & 0o777 == 0o700
    assert (target / "model").stat().st_mode & 0o777 == 0o640


def test_a_file_that_an_error_interrupts_changes_nothing(target, tmp_path):
    before = contents(target)
    with pytest.raises(RuntimeError), folders.replaced(target, own) as draft:
        (draft / "model").write_text("half")
        raise RuntimeError
    assert contents(target) == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("name", ["model2", "notes"])
def test_a_folder_where_a_file_is_to_be_is_refused(target, name):
    (target / name).unlink(missing_ok=True)
    (target / name).mkdir()
    (target / name / "mine").write_text("mine")
    before = contents(target)
    with pytest.raises(FileExistsError, match=name):
        save(target, model="new", **{name: "new"})
    assert contents(target) == before


def test_a_file_where_a_folder_is_to_be_is_refused(target):
    (target / "notes").write_text("mine")
    before = contents(target)
    with pytest.raises(FileExistsError, match="notes"):
        save(target, notes__model="new")
    assert contents(target) == before


def test_links_are_replaced_and_not_written_through(target, tmp_path):
    far = tmp_path / "far"
    far.mkdir()
    for name in ("model", "file"):
        (far / name).write_text("far")
    (target / "model").unlink()
    (target / "model").symlink_to(far / "file")
    folders.shutil.rmtree(target / "sub")
    (target / "sub").symlink_to(far)
    save(target, model="new", sub__model="new")
    assert contents(target) == {"model": "new", "sub/model": "new"}
    assert contents(far) == {"model": "far", "file": "far"}


def test_all_of_a_checkpoint_goes(target):
    (target / "notes.txt").write_text("old")
    save(target, own=folders.walk, other="new", sub__other="new")
    assert contents(target) == {"other": "new", "sub/other": "new"}


def test_a_link_to_the_folder_stays_one(target, tmp_path):
    (tmp_path / "link").symlink_to("model")
    save(tmp_path / "link", model="new")
    assert (tmp_path / "link").is_symlink()
    assert contents(target) == {"model": "new"}


def test_two_at_the_same_time_take_turns(target, tmp_path):
    barrier = threading.Barrier(4)

    def one(text):
        barrier.wait()
        for _ in range(5):
            save(target, model=text, model2=text, **{f"model_{text}": text})

    threads = [threading.Thread(target=one, args=(text,)) for text in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = contents(target)
    (text,) = set(found.values())
    assert set(found) == {"model", "model2", f"model_{text}"}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_leftovers_go_with_the_next_save_and_drafts_of_others_stay(target, tmp_path):
    for home in (target, tmp_path):
        (home / ".model.0123abcd.unfinished" / "sub").mkdir(parents=True)
        (home / ".model.0123abcd.unfinished" / "file").touch()
    with folders.replaced(target, own) as other:
        (other / "model").write_text("first")
        save(target, model="second")
        assert other.exists()
    assert contents(target) == {"model": "first"}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_comes_in_the_moment_of_the_exchange_is_moved_along(tmp_path, monkeypatch):
    target = tmp_path / "model"
    save(target, model="old")
    exchange = folders._exchange

    def slow(one, other):
        (other / "runs").mkdir()
        (other / "runs" / "events").write_text("late")
        (other / "notes").write_text("late")
        exchange(one, other)

    (target / "notes").write_text("early")
    os.replace(target / "notes", target / "notes")
    monkeypatch.setattr(folders, "_exchange", slow)
    save(target, model="new")
    assert contents(target) == {"model": "new", "notes": "late", "runs/events": "late"}


def test_what_may_not_be_read_is_no_obstacle(tmp_path, monkeypatch):
    """A folder of somebody else's in it."""
    target, scandir = tmp_path / "model", os.scandir
    save(target, model="old")
    (target / "theirs").mkdir()

    def scan(path):
        if str(path).endswith("theirs"):
            raise PermissionError(errno.EACCES, "no")
        return scandir(path)

    with monkeypatch.context() as patch:
        patch.setattr(folders.os, "scandir", scan)
        save(target, lambda _: [folders.Path("model")], model="new")
    assert contents(target) == {"model": "new"} and (target / "theirs").is_dir()


def test_very_many_other_files_are_not_linked(tmp_path, monkeypatch):
    target = tmp_path / "model"
    save(target, model="old")
    for name in range(5):
        (target / str(name)).write_text("mine")
    monkeypatch.setattr(folders, "_MOST_LINKS", 4)
    before = target.stat().st_ino
    save(target, model="new")
    assert target.stat().st_ino == before and len(contents(target)) == 6


def test_the_working_folder_stays_where_it_is(tmp_path, monkeypatch):
    target = tmp_path / "model"
    save(target, sub__model="old", model="old")
    monkeypatch.chdir(target / "sub")
    save(target, sub__model="new")
    assert contents(folders.Path()) == {"model": "new"}


def test_the_working_folder_of_another_process_stays_where_it_is(tmp_path):
    target = tmp_path / "model"
    save(target, sub__model="old")
    before = target.stat().st_ino
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, cwd=target / "sub"):
        save(target, model="new", sub__notes="mine")
        assert target.stat().st_ino == before
    save(target, model="newer")
    assert (target.stat().st_ino == before) == (sys.platform != "linux")
    assert contents(target) == {"model": "newer", "sub/notes": "mine"}


@pytest.mark.parametrize("forbidden", ["model", "home"])
def test_without_a_right_to_write_beside_it_the_draft_is_inside(tmp_path, monkeypatch, forbidden):
    target, seen = tmp_path / "home" / "model", []
    save(target, model="old")
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, how: path.name != forbidden and may(path, how))
    if forbidden == "model":
        with pytest.raises(PermissionError, match="may not be written to"):
            save(target, model="new")
        assert contents(target) == {"model": "old"}
        return
    with folders.replaced(target, own) as draft:
        seen.append(draft.parent)
        (draft / "model").write_text("new")
    assert seen == [target]
    assert contents(target) == {"model": "new"}


def test_a_real_mount_point_is_filled_in_place(tmp_path):
    target = tmp_path / "model"
    save(target, model="old")
    (tmp_path / "mounted").mkdir()
    code = f"""
from pathlib import Path
from sentune.disk import folders
target = Path({str(tmp_path / "mounted")!r})
with folders.replaced(target, lambda _: [Path("model")]) as draft:
    (draft / "model2").write_text("new")
"""
    mount = 'mount --bind model mounted || exit 9; exec "$0" -c "$1"'
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", mount, sys.executable, code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    if "unshare:" in done.stderr or done.returncode == 9:
        pytest.skip("this system lets nobody mount a folder")
    assert done.returncode == 0, done.stderr
    assert contents(target) == {"model2": "new"}


def test_a_folder_in_a_draft_is_filled_in_place(tmp_path):
    """Other processes write to it, too."""
    target = tmp_path / ".checkpoint-5.unfinished" / "checkpoint-5"
    target.mkdir(parents=True)
    (target / "rng_state_1.pth").write_text("of another process")
    before = target.stat().st_ino
    save(target, model="new")
    assert target.stat().st_ino == before
    assert contents(target) == {"model": "new", "rng_state_1.pth": "of another process"}


# What a kill leaves -------------------------------------------------------------------------------


def pending(target, note, **files):
    home = target / ".sentune-save"
    home.mkdir(parents=True)
    for name, text in files.items():
        (home / name).write_text(text)
    (home / ".stale").write_bytes(b"".join(os.fsencode(name) + b"\0" for name in note))
    return home


def test_an_interrupted_save_is_finished(tmp_path):
    target = tmp_path / "model"
    save(target, model="old", model2="old", sub__model="old")
    pending(target, ["sub/model", "sub", "model2", "gone"], model="new")
    folders.finish(target)
    assert contents(target) == {"model": "new"}
    assert not (target / "sub").exists() and not (target / ".sentune-save").exists()


def test_finishing_what_is_finished_does_nothing(tmp_path):
    folders.finish(tmp_path / "nothing")
    (tmp_path / ".sentune-save").mkdir()
    folders.finish(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_strangers_note_removes_nothing_outside_of_the_folder(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "file").write_text("mine")
    (mine / "nothing").mkdir()
    target = tmp_path / "model"
    target.mkdir()
    (target / "link").symlink_to(mine)
    names = ["../mine/file", "../mine/nothing", str(mine / "file"), "link/file", "link/nothing"]
    pending(target, [*names, "", ".", "..", "../mine"])
    folders.finish(target)
    assert contents(mine) == {"file": "mine"} and (mine / "nothing").is_dir()
    assert contents(target) == {"link": str(mine)}


def test_a_pending_folder_that_is_a_link_is_not_followed(tmp_path):
    pending(tmp_path / "mine", [], file="mine")
    target = tmp_path / "model"
    target.mkdir()
    (target / ".sentune-save").symlink_to(tmp_path / "mine" / ".sentune-save")
    folders.finish(target)
    assert contents(tmp_path / "mine") == {".sentune-save/file": "mine", ".sentune-save/.stale": ""}


def test_what_cannot_be_finished_says_so(tmp_path):
    pending(tmp_path, [], model="new")
    (tmp_path / "model").mkdir()
    with pytest.raises(ModelFileError, match="was interrupted and cannot be finished: .*model"):
        folders.finish(tmp_path)


# Locks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("locks", [True, False])
def test_a_draft_that_is_held_is_no_leftover(tmp_path, monkeypatch, locks):
    """Without locks, one of the last day may be somebody's."""
    if not locks:
        monkeypatch.setattr(drafts, "fcntl", None)
    path = tmp_path / ".model.0123abcd.unfinished"
    path.mkdir()
    with drafts.held(path), drafts.held(path, wait=False) as is_free:
        assert not is_free
    if not locks:
        os.utime(path, (0, 0))
    with drafts.held(path, wait=False) as is_free:
        assert is_free


def test_a_file_system_without_locks_is_no_obstacle(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EBADF, "no locks here")

    monkeypatch.setattr(drafts.fcntl, "flock", refuse)
    save(tmp_path / "model", model="old")
    save(tmp_path / "model", model="new")
    assert contents(tmp_path / "model") == {"model": "new"}


def test_a_process_that_was_forked_in_between_holds_nothing(tmp_path, monkeypatch):
    """Workers of a loader live long, and have copies of all that was open when they were made."""
    opened, copies = os.open, []

    def open_and_copy(*arguments):
        handle = opened(*arguments)
        copies.append(os.dup(handle))
        return handle

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", open_and_copy)
        with drafts.held(tmp_path):
            pass
    with drafts.held(tmp_path, wait=False) as is_free:
        assert is_free
    (copy,) = copies
    os.close(copy)


def test_who_waits_for_a_folder_gets_the_one_that_is_there_then(tmp_path, monkeypatch):
    target, seen = tmp_path / "model", []
    target.mkdir()
    lock, has_opened = drafts.fcntl.flock, threading.Event()

    def lock_and_tell(*arguments):
        has_opened.set()
        lock(*arguments)

    def wait():
        with drafts.held(target):
            seen.append(sorted(path.name for path in target.iterdir()))

    with drafts.held(target):
        monkeypatch.setattr(drafts.fcntl, "flock", lock_and_tell)
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert has_opened.wait(60)  # it has the folder that goes; any later, and it may find none
        target.rename(tmp_path / "old")
        target.mkdir()
        (target / "new").touch()
    waiting.join()
    assert seen == [["new"]]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EBADF])
def test_folders_need_not_be_waited_for_where_that_is_not_possible(tmp_path, monkeypatch, number):
    def refuse(_):
        raise OSError(number, "not for folders")

    monkeypatch.setattr(drafts.os, "fsync", refuse)
    drafts.sync(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="not for folders"):
        drafts.sync(tmp_path / "file")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such bits")
def test_files_that_a_library_makes_for_its_user_alone_can_be_read_by_others(tmp_path):
    """As safetensors 0.8 does; a mode that somebody chose is left as it is."""
    with folders.replaced(tmp_path / "model") as draft:
        for name, mode in (("model.safetensors", 0o600), ("run.sh", 0o700), ("plain.txt", None)):
            (draft / name).write_text("")
            if mode is not None:
                (draft / name).chmod(mode)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "model").iterdir()}
    assert modes["model.safetensors"] == modes["plain.txt"]
    assert modes["run.sh"] == 0o700
    assert sorted(modes) == ["model.safetensors", "plain.txt", "run.sh"]
