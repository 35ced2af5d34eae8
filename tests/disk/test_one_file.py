"""One file: whole or as it was, with its bits, and straight into what is no file."""

import os
import threading

import pytest

from sentune.disk import files


def test_content_is_replaced_and_bits_stay(tmp_path):
    path = tmp_path / "a" / "file"
    files.write(path, b"old")
    path.chmod(0o640)
    files.write(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_a_new_file_can_be_read_as_far_as_the_system_says(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    files.write(tmp_path / "file", b"new")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_what_fails_changes_nothing(tmp_path):
    path = tmp_path / "file"
    files.write(path, b"old")
    with pytest.raises(RuntimeError), files.opened(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_the_file_is_the_old_one_until_the_end(tmp_path):
    path = tmp_path / "file"
    files.write(path, b"old")
    with files.opened(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("through", [True, False])
def test_a_link_is_replaced_or_written_through(tmp_path, through):
    (tmp_path / "far").mkdir()
    link, far = tmp_path / "link", tmp_path / "far" / "file"
    far.write_bytes(b"old")
    link.symlink_to(far)
    with files.opened(link, through_links=through) as file:
        file.write(b"new")
    assert link.is_symlink() == through
    assert link.read_bytes() == b"new"
    assert far.read_bytes() == (b"new" if through else b"old")


def test_a_pipe_is_written_to_and_stays_one(tmp_path):
    path, seen = tmp_path / "pipe", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: seen.append(path.read_bytes()))
    reader.start()
    files.write(path, b"text")
    reader.join()
    assert seen == [b"text"] and path.is_fifo()


@pytest.mark.parametrize("act", [files.write, files.append])
def test_where_no_other_file_can_be_made_it_is_written_to_directly(tmp_path, act, monkeypatch):
    path, synced = tmp_path / "file", []
    path.write_bytes(b"old")
    number, may, sync = path.stat().st_ino, os.access, os.fsync
    monkeypatch.setattr(os, "access", lambda p, how: p != tmp_path and may(p, how))
    monkeypatch.setattr(os, "fsync", lambda handle: (synced.append(handle), sync(handle)))
    act(path, b"new")
    assert path.read_bytes() == (b"oldnew" if act is files.append else b"new")
    assert path.stat().st_ino == number
    assert synced


def test_what_is_appended_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a" / "file"
    files.append(path, b"1\n", start=b"head\n")
    files.append(path, b"2\n", start=b"head\n")
    assert path.read_bytes() == b"head\n1\n2\n"

    def fail(one, other):
        raise OSError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="gone"):
            files.append(path, b"3\n")
    assert path.read_bytes() == b"head\n1\n2\n"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_a_link_is_appended_through(tmp_path):
    (tmp_path / "far").mkdir()
    link, far = tmp_path / "link", tmp_path / "far" / "file"
    link.symlink_to(far)
    files.append(link, b"1", start=b"head ")
    files.append(link, b"2", start=b"head ")
    assert link.is_symlink() and far.read_bytes() == b"head 12"


def test_nothing_is_lost_of_what_several_append_at_the_same_time(tmp_path):
    path, rows = tmp_path / "file", [f"{number}\n".encode() for number in range(40)]
    threads = [threading.Thread(target=files.append, args=(path, row)) for row in rows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path.read_bytes().splitlines(keepends=True)) == sorted(rows)


def test_a_folder_in_the_way_is_an_error_before_anything_is_written(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(IsADirectoryError), files.opened(tmp_path / "file"):
        pytest.fail("was opened")


def test_leftovers_go_and_what_others_write_stays(tmp_path):
    path = tmp_path / "a.b"
    left = [".a.b.0123abcd.unfinished", ".a.b.ffff0000.unfinished"]
    other = [".a.c.0123abcd.unfinished", ".a.b.c.0123abcd.unfinished", "a.b.unfinished", ".a.b.x"]
    for name in (*left, *other):
        (tmp_path / name).write_bytes(b"half")
    with files.opened(path) as file:  # another one is writing at the same time
        file.write(b"first")
        files.write(path, b"second")
    assert path.read_bytes() == b"first"
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["a.b", *other])
