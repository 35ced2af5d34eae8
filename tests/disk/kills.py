"""Saves into one folder in processes that are killed, and looks at the folder after each kill.

    python -m tests.disk.kills FOLDER WAY each     # a process for each step of a save
    python -m tests.disk.kills FOLDER WAY chain    # the same, where each finds what the last left
    python -m tests.disk.kills FOLDER WAY random N # N processes that save until they are killed

WAY is how the folder is replaced: `exchange`, `inside` (it holds the working folder), `elsewhere`
(a system that cannot exchange folders), `checkpoint` (nothing of the old folder stays), `first`
(there is no folder yet); `file`, a single file; or `append`, a file that grows. Prints the number
of kills, and that of kills after which other programs than sentune would have seen files of both.
Needs no torch, and forks.
"""

from __future__ import annotations

import ctypes  # noqa: F401  (imported here, so that importing it is no step of a save)
import itertools
import os
import random
import signal
import sys
import time
from pathlib import Path

from sentune.disk import files, folders

assert "torch" not in sys.modules

OTHERS = {
    "notes.txt": "mine",
    "runs/deep/events": "mine",
    "1_part/notes.md": "mine",
    "gone_part/kept.md": "mine",
}


def own(folder: Path) -> list[Path]:
    return [
        path
        for path in folders.walk(folder)
        if path.name.startswith("model") or path.name in ("1_part", "gone_part", "empty")
    ]


def contents(generation: int) -> dict[str, str]:
    """Even and odd generations have other files, so that some go with each save."""
    odd = ["model.bin", "gone_part/model.json"] if generation % 2 else ["model.safetensors"]
    names = ["model.json", "1_part/model.json", "1_part/deep/model.json", *odd]
    return {name: f"{generation} " * 500 for name in names}


def save(target: Path, way: str, generation: int) -> None:
    if way == "file":
        files.write(target, f"{generation} ".encode() * 500)
    elif way == "append":
        files.append(target, row(generation), start=b"head\n")
    elif way == "checkpoint":
        home = target.parent / f".{target.name}.unfinished"
        folders.shutil.rmtree(home, ignore_errors=True)
        fill(home / target.name, contents(generation))
        folders.put(home / target.name, target)
        folders.shutil.rmtree(home)
    else:
        with folders.replaced(target, own) as draft:
            fill(draft, contents(generation))
            (draft / "empty").mkdir()


def row(generation: int) -> bytes:
    return f"{generation} ".encode() * 20 + b"\n"


def fill(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def files_in(folder: Path) -> dict[str, str]:
    """All files, but none of a draft: neither hidden folders in it nor those beside it."""
    paths = [path for path in folders.walk(folder) if not path.parts[0].startswith(".")]
    return {str(path): (folder / path).read_text() for path in paths if (folder / path).is_file()}


def generation_in(target: Path, others: dict[str, str]) -> int:
    """Which save the folder holds, whole, beside the files of others; -1 for a mixture."""
    if target.is_file() and target.read_bytes().startswith(b"head"):
        lines = target.read_bytes().splitlines(keepends=True)
        whole = [b"head\n", *map(row, range(len(lines) - 1))]
        return len(lines) - 2 if lines == whole else -1
    if target.is_file():
        number = target.read_text().split(" ")[0]
        return int(number) if target.read_text() == f"{number} " * 500 else -1
    found = files_in(target)
    number = int(found.get("model.json", "-1").split()[0])
    return number if found == {**contents(number), **others} else -1


def forked(act, before_kill=None) -> int:
    """Run something in a process of its own; gives its exit status as `os.waitpid` does."""
    child = os.fork()
    if child == 0:
        try:
            act()
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)  # noqa: T201
            os._exit(1)
    if before_kill is not None:
        before_kill()
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def killed_at(step: int) -> None:
    """Kill this process at its n-th step from now on: whatever Python tells its auditors."""
    count = 0

    def hook(event: str, arguments: tuple) -> None:
        nonlocal count
        count += 1
        if count == step:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


class Check:
    """Looks at the folder after each kill."""

    def __init__(self, target: Path, way: str) -> None:
        self.target, self.way = target, way
        self.others = {} if way in ("checkpoint", "first") else OTHERS
        self.kills = self.mixtures = 0
        self.last = 0

    def killed(self, at: str) -> None:
        """The folder holds a save that is not older than the one that was there before."""
        self.kills += 1
        if self.way == "first" and not self.target.exists():
            return
        seen = generation_in(self.target, self.others)
        if seen == -1:
            self.mixtures += 1
            assert self.way in ("inside", "elsewhere"), f"a mixture after a kill at {at}"
            folders.finish(self.target)
            seen = generation_in(self.target, self.others)
        assert seen >= self.last, f"{seen} after a kill at {at}, where {self.last} was before"
        self.last = seen

    def finished(self) -> None:
        """A save that nobody kills leaves nothing of those that were killed."""
        save(self.target, self.way, self.last + 1)
        assert generation_in(self.target, self.others) == self.last + 1
        hidden = [path for path in folders.walk(self.target.parent) if path.name.startswith(".")]
        assert not hidden, hidden
        print(self.kills, self.mixtures)  # noqa: T201


def at_each_step(check: Check, *, is_clean: bool) -> None:
    target = check.target
    for step in itertools.count(1):
        if check.way == "first":
            folders.shutil.rmtree(target, ignore_errors=True)
            check.last = 0
        elif is_clean:
            check.last += 1
            save(target, check.way, check.last)
        generation = check.last + 1

        def act(step=step, generation=generation) -> None:
            killed_at(step)
            save(target, check.way, generation)

        if forked(act) == 0:
            assert generation_in(target, check.others) == generation
            check.last = generation
            return
        check.killed(f"step {step}")


def at_random(check: Check, kills: int) -> None:
    draw = random.Random(time.time_ns())

    def act() -> None:
        for generation in itertools.count(check.last + 1):
            save(check.target, check.way, generation)

    for number in range(kills):
        forked(act, lambda: time.sleep(draw.uniform(0, 0.02)))
        check.killed(f"random time {number}")


def main(folder: str, way: str, when: str, kills: str = "0") -> None:
    target = Path(folder) / "model"
    check = Check(target, way)
    if way in ("file", "append"):
        save(target, way, 0)
    elif way != "first":
        fill(target, {**contents(0), **check.others})
    if way == "inside":
        os.chdir(target / "runs")
    if way == "elsewhere":

        def refuse(one: Path, other: Path) -> None:
            raise OSError("not on this system")

        folders._exchange = refuse
    if when == "random":
        at_random(check, int(kills))
    else:
        at_each_step(check, is_clean=when == "each")
    check.finished()


if __name__ == "__main__":
    main(*sys.argv[1:])
