"""What the README says is tested, and every extra, is what `make interop` runs."""

import re
from pathlib import Path

from tests.interop.extras import extras
from tests.interop.jobs import JOBS

ROOT = Path(__file__).parents[1]
README, MAKEFILE, PROJECT = (
    (ROOT / name).read_text(encoding="utf-8")
    for name in ("README.md", "Makefile", "pyproject.toml")
)


def row(name):
    """The cells of a row of the table of versions."""
    return re.search(rf"^\| {name}.*? \| (.*) \| (.*) \|$", README, re.MULTILINE).groups()


def default(name):
    return re.search(rf"^{name} \?= (.*)$", MAKEFILE, re.MULTILINE)[1].split()


def test_pythons():
    tested, allowed = row("Python")
    oldest = re.search(r'requires-python = ">=([\d.]+)"', PROJECT)[1]
    assert default("PYTHONS")[0] == oldest and allowed == f"{oldest} and newer"
    said = [re.search(rf"([\d.]+) \({which}\)", tested)[1] for which in ("oldest", "newest")]
    assert said == default("PYTHONS")


def test_transformers():
    tested, allowed = row("transformers")
    oldest, below = re.search(r'"transformers>=([\d.]+),<(\d+)"', PROJECT).groups()
    assert f"{oldest} (oldest)" in tested
    assert allowed == f"{oldest} and newer, below {below}"


def test_torch():
    tested, allowed = row("torch")
    pinned = re.search(r"^torch==(\d+\.\d+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert tested == f"{pinned[1]} only"
    assert allowed == f"{re.search(r'torch>=([0-9.]+)', PROJECT)[1]} and newer"


def test_peers():
    assert row("sentence-transformers, to exchange")[0].split(", ") == default("PEERS")


def test_every_extra_has_a_job():
    assert list(JOBS) == extras()


def test_every_extra_that_a_message_names_is_there():
    found = set()
    for path in (ROOT / "src").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        found |= set(re.findall(r"""\bneed\("[\w.]+", (?:extra=)?"(\w+)"\)""", text))
        found |= set(re.findall(r"sentune\[([\w,]+)\]", text))
    assert found == set(extras())
