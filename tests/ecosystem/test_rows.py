"""What makes a row of docs/ecosystem.md, and what is a failure."""

from types import SimpleNamespace

import numpy as np
import pytest

from tests.ecosystem import page, run
from tests.ecosystem.environments import Failed

JOB = SimpleNamespace(LIBRARY="lib", JOB="a job", NOTE="", TOLERANCE=1e-5)
VALUES = {"vectors": np.ones((2, 3), np.float32), "texts": np.array(["a", "b"])}
RELEASES = {"lib": "1.0", "sentune": "0.1", "torch": "2.13", "transformers": "5.23"}


def about(library, **changed):
    return {"library": library, "calls": {"encode": 3}, "releases": RELEASES, **changed}


def row(values=VALUES, ours=None, theirs=None):
    there = (VALUES, about("peer") if theirs is None else theirs)
    return run.row(JOB, there, (values, about("sentune") if ours is None else ours))


def test_a_row_has_the_largest_difference_and_is_in_the_page(tmp_path, monkeypatch):
    found = row({**VALUES, "vectors": VALUES["vectors"] + 5e-6})
    assert found["difference"] == pytest.approx(5e-6, rel=0.1)
    monkeypatch.setattr(page, "RESULTS", tmp_path)
    monkeypatch.setattr(page, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(page, "REPOSITORY", tmp_path)
    page.write_row("library", "lib", found)
    page.write_row("folder", "reader", {**found, "name": "reader"})
    page.render()
    text = page.PAGE.read_text(encoding="utf-8")
    assert "| lib | 1.0 | a job | 5.0e-06 | encode 3 |  |" in text
    assert "| reader | 1.0 | a job | 5.0e-06 |  |" in text
    assert "Releases: sentune 0.1, torch 2.13, transformers 5.23." in text


@pytest.mark.parametrize(
    "changed",
    [
        {"values": {**VALUES, "vectors": VALUES["vectors"] + 5e-5}},
        {"values": {**VALUES, "vectors": VALUES["vectors"][:1]}},
        {"values": {**VALUES, "vectors": VALUES["vectors"] * np.nan}},
        {"values": {**VALUES, "texts": np.array(["a", "c"])}},
        {"values": {"vectors": VALUES["vectors"]}},
        {"ours": about("peer")},
        {"theirs": about("sentune")},
        {"ours": about("sentune", calls={"encode": 0})},
        {"ours": about("sentune", releases={**RELEASES, "transformers": "5.3"})},
    ],
)
def test_other_results_or_another_library_at_work_is_a_failure(changed):
    with pytest.raises(Failed):
        row(**changed)
