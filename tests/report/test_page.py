"""The page as text: what it says, what it leaves out, and that no text of the data is markup."""

import copy
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from typing import get_args

import numpy as np
import pytest

from sentune.errors import InputTypeError, MissingDependencyError
from sentune.report import missing, page
from sentune.report.document import page_or_reason
from sentune.report.plain import embedded, plain
from sentune.report.sections import view_of
from sentune.workbench.racing.decision import Cause
from tests.report.records import HOSTILE, evaluation, train

pytest.importorskip("vl_convert", reason="the extra report is not installed")

SECTIONS = "tried mixes curves scores queries neighbours map data findings settings".split()


class Reader(HTMLParser):
    """The tags, attributes and visible texts of a page, and what is in its scripts."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.texts, self.scripts = [], [], [], []
        self._inside = None
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attributes]
        self._inside = tag if tag in ("script", "style") else None

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        (self.scripts if self._inside else self.texts).append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    @property
    def attributes_names(self):
        return [(tag, name) for tag, name, _ in self.attributes]

    @property
    def ids(self):
        return {value for _, name, value in self.attributes if name == "id"}


def test_the_headline_says_what_got_better_and_how_sure_it_is():
    found = Reader(page(train())).text
    assert "Accuracy a text rose from 0.812 to 0.861" in found
    assert "95% interval +0.020 to +0.078" in found
    assert "On 545 held-out rows that no training and no choice has seen" in found
    assert "70% of its weights, 30% of the start" in found


def with_result(**figures):
    record = train()
    record["result"]["test"] |= figures
    return view_of(record)["head"]


def test_a_gain_that_may_be_chance_is_called_so():
    head = with_result(gain=0.049, low=-0.01, high=0.1)
    assert "may be chance" in head["line"] and "holds 0" in head["says"][0]


def test_a_loss_is_called_a_loss():
    head = with_result(after=0.7, gain=-0.112, low=-0.15, high=-0.08)
    assert "fell from 0.812 to 0.700" in head["line"] and "loses 0.112" in head["says"][0]


def test_a_start_that_was_kept_is_said_with_the_reason():
    record = train()
    reason = "no candidate was better by more than chance"
    record["decision"] = {"kept": "start", "cause": "no_gain", "reason": reason}
    found = Reader(page(record)).text
    assert "Nothing better was found, so the start was kept" in found
    assert "No candidate was better by more than chance." in found
    assert "On 545 held-out rows the accuracy a text is 0.812." in found


def test_an_evaluation_has_its_models_and_no_section_of_a_training():
    html = page(evaluation("middle"))
    reader = Reader(html)
    assert "large is ahead of middle" in reader.text
    assert "Spearman 0.900 against 0.820, +0.080 (+0.050 to +0.110) on the rows, which is more" in (
        reader.text
    )
    assert "models" in reader.ids and not reader.ids & set(SECTIONS)


def test_models_that_cannot_be_told_apart_are_not_ranked():
    record = evaluation("middle")
    record["differences"][0]["is_real"] = False
    found = view_of(record)["head"]
    assert found["line"] == "No real difference between large and middle"
    assert "may be chance" in found["says"][0]
    record["differences"].append(
        {"first": "small", "second": "large", "gain": 0.01, "low": -0.02, "high": 0.04}
    )
    assert view_of(record)["head"]["line"] == "No real difference between large, middle and small"
    html = page(record)
    assert '<tr class="kept">' not in html
    assert '<tr class="kept">' in page(evaluation("middle") | {"models": record["models"][:2]})


CAUSES = {
    "asked": "The start was kept, as asked for",
    "stopped": "Stopped before a model was trained",
    "failed": "No training succeeded",
    "few_rows": "Too few held-out rows to show a gain",
    "no_gain": "Nothing better was found, so the start was kept",
    "chance": "No gain beyond chance was found",
    "forgot": "What was trained forgot too much",
    "better_but_forgot": "A better model was found, but it forgot too much",
    None: "The start was kept",
}


@pytest.mark.parametrize("cause", CAUSES)
def test_the_headline_says_why_the_start_was_kept(cause):
    record = train() | {"decision": {"kept": "start", "reason": "a reason", "cause": cause}}
    assert view_of(record)["head"]["line"].startswith(CAUSES[cause])
    assert cause is None or cause in get_args(Cause)


def test_every_cause_has_a_headline():
    assert {*CAUSES} - {None} == {*get_args(Cause)} - {"gain"}


def test_all_sections_are_there():
    assert Reader(page(train())).ids >= set(SECTIONS)


GONE = {
    "leaderboard": {"tried"},
    "mixes": {"mixes"},
    "curves": {"curves"},
    "scores": {"scores"},
    "queries": {"queries"},
    "neighbours": {"neighbours"},
    "map": {"map"},
    "data": {"findings"},
    "settings": set(),
    "result": set(),
    "decision": set(),
    "task": set(),
    "environment": set(),
}


@pytest.mark.parametrize("name", GONE)
def test_what_is_not_there_is_left_out(name):
    record = train()
    del record[name]
    assert set(SECTIONS) - Reader(page(record)).ids == GONE[name]


def test_a_record_of_nothing_is_a_page():
    assert "A model was trained" in page({})


def test_any_part_may_be_none_or_not_finite():
    whole = train()
    whole["map"] = {name: part[:3] for name, part in whole["map"].items()}
    paths = [path for path in leaves_of(whole) if path]
    assert len(paths) > 300
    for path in paths:
        for nothing in (None, math.nan):
            record = copy.deepcopy(whole)
            place = record
            for name in path[:-1]:
                place = place[name]
            place[path[-1]] = nothing
            html = page(record)
            assert "</html>" in html and ">nan" not in html and ">None" not in html, path


def leaves_of(value, path=()):
    yield path
    if isinstance(value, dict):
        parts = value.items()
    else:
        parts = enumerate(value[:3]) if isinstance(value, list) else ()
    for name, part in parts:
        yield from leaves_of(part, (*path, name))


def test_a_hostile_text_stays_text_wherever_it_stands():
    plain = Reader(page(train("harmless")))
    for text in [*HOSTILE, " ".join(HOSTILE)]:
        html = page(train(text))
        reader = Reader(html)
        assert reader.tags == plain.tags, text
        assert sorted(set(reader.attributes_names)) == sorted(set(plain.attributes_names))
        html.encode("utf-8")  # no half of a pair
        assert "49" not in re.sub(r"[\d.,]*49[\d.,]+|0\.049", "", reader.text).split()
    assert "</script><script>alert(1)</script>" in Reader(page(train(HOSTILE[0]))).text


def test_nothing_is_asked_of_a_network():
    reader = Reader(page(train()))
    loads = {
        (tag, name, value)
        for tag, name, value in reader.attributes
        if name in ("src", "href", "srcset", "action", "data", "poster")
        and not value.startswith("#")
    }
    assert loads == {("link", "href", "data:,")}
    style = reader.scripts[0]
    assert "url(" not in style and "@import" not in style


def test_a_full_page_is_small():
    record = train()
    text = "a text of some length that a person might have written " * 3
    points = np.random.default_rng(0).normal(size=(2000, 2)).tolist()
    record["map"] = {"before": points, "after": points, "groups": ["a"] * 2000}
    record["map"]["texts"] = [f"{number} {text}" for number in range(2000)]
    assert len(page(record).encode()) < 1_700_000


@pytest.mark.parametrize("text", ["深度学习模型可以把句子变成向量" * 40, "😀😃😄" * 200, "<&>" * 200])
def test_any_page_is_under_three_megabytes(text):
    record = train(text[:600])
    points = np.random.default_rng(0).normal(size=(2000, 2)).tolist()
    record["map"] = {"before": points, "after": points, "groups": [text[:600]] * 2000}
    record["map"]["texts"] = [f"{number} {text}"[:600] for number in range(2000)]
    assert len(page(record).encode()) < 3_000_000
    shown = [text for text, _ in view_of(record)["charts"]["map-texts"]]
    assert all(len(text) > 45 and text.endswith("…") for text in shown)  # not more than it must be


def test_json_in_a_page_cannot_end_its_script():
    assert embedded({"a": "</b>&\u2028\u2029é😀"}) == (
        '{"a":"\\u003c/b\\u003e\\u0026\\u2028\\u2029é😀"}'
    )


def test_a_page_that_cannot_be_made_says_why(monkeypatch):
    def broken(record):
        raise RuntimeError("no <picture>")

    monkeypatch.setattr("sentune.report.document.view_of", broken)
    html, reason = page_or_reason(train())
    assert reason == "the report could not be made (RuntimeError: no <picture>)"
    assert "no &lt;picture&gt;" in html and "run.json" in html
    monkeypatch.undo()
    assert page_or_reason(train()) == (page(train()), None)


def test_values_of_numpy_are_read_and_the_record_stays_as_it_is():
    record = train()
    before = copy.deepcopy(record["mixes"])
    record["result"]["test"]["after"] = np.float64(0.861)
    record["scores"]["edges"] = np.linspace(0, 1, 5)
    assert page(record) == page(train())
    assert record["mixes"] == before


def test_what_is_no_record_is_refused():
    with pytest.raises(InputTypeError, match="a record must be a dict, got list"):
        page([])


def test_nothing_is_missing_where_the_extra_is_installed():
    assert missing() is None


def test_without_the_extra_the_pip_command_is_named():
    code = """
import sys; sys.modules["vl_convert"] = None
from sentune.report import missing, page
print(missing())
try: page({})
except ImportError as error: print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second = done.stdout.strip().splitlines()
    assert first.endswith('install it with: pip install "sentune[report]"')
    assert second == f"{MissingDependencyError.__name__} {first}"


def test_the_two_sides_of_an_evaluation_are_called_by_their_models():
    record = evaluation("middle")
    whole = train()
    record |= {name: whole[name] for name in ("scores", "queries", "neighbours", "map")}
    record["sides"] = {"before": "small", "after": "large"}
    found = Reader(page(record)).text
    assert "find it earlier with large than with small" in found
    assert "Mean with small Mean with large" in found
    assert "Before" not in found and "only before" not in found


CALLS = {
    "train": "workbench.train('rows.csv', 'no-model', 'out', seed=1)",
    "evaluate": "workbench.evaluate(['no-model'], 'rows.csv', output='out')",
}


@pytest.mark.parametrize("name", CALLS)
def test_a_run_that_could_not_write_its_report_does_not_begin(name, tmp_path):
    rows = "text,label\n" + "".join(f"text number {n},{n % 2}\n" for n in range(40))
    (tmp_path / "rows.csv").write_text(rows, encoding="utf-8")
    code = f"""
import sys; sys.modules["vl_convert"] = None
from sentune import workbench
{CALLS[name]}
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stderr.strip().endswith('install it with: pip install "sentune[report]"')


def test_places_of_a_machine_are_not_shown():
    record = train() | {
        "command": "sentune train /home/ann/private/rows.csv --model C:\\Users\\ann\\model",
        "settings": {"model": "/home/ann/private/model", "prompt": "/query: ", "data": "a/b.csv"},
    }
    record["data"]["source"][0]["name"] = "/home/ann/private/rows.csv"
    found = Reader(page(record)).text
    assert "ann" not in found and "private" not in found
    assert "sentune train rows.csv --model model" in found
    assert "/query:" in found and "a/b.csv" in found


def test_mixes_of_several_candidates_are_named_and_the_kept_one_is_drawn():
    record = train()
    record["mixes"] = [{"name": "other", **mix} for mix in record["mixes"][:2]] + record["mixes"]
    view = view_of(record)
    section = next(one for one in view["sections"] if one["key"] == "mixes")
    assert section["has_names"] and len(section["mixes"]) == 7
    assert [row["alpha"] for row in section["mixes"] if row["is_kept"]] == [0.7]
    assert len(view["charts"]["mixes"]["data"]["values"]) == 5


def test_the_race_is_drawn_from_rounds_where_there_are_no_curves():
    record = train()
    record["curves"] = {}
    spec = view_of(plain(record))["charts"]["course"]
    points = {(row["n"], row["s"]): row["v"] for row in spec["data"]["values"]}
    assert points == {
        ("a text fast", 0): 0.8,
        ("a text fast", 50): 0.87,
        ("a text slow", 0): 0.8,
        ("a text slow", 50): 0.82,
    }


def test_models_whose_folders_have_one_name_are_told_apart():
    from sentune.report.words import apart

    found = apart(["/r/a/final", "/r/b/final", "hub/model"])
    assert found == {"/r/a/final": "a/final", "/r/b/final": "b/final", "hub/model": "hub/model"}


def test_no_place_of_a_machine_is_in_a_command():
    from sentune.report.words import command

    line = "sentune train '/home/alice/My Data/x.csv' --test=/home/alice/y.csv --loss TripletLoss"
    assert command(line) == "sentune train x.csv --test=y.csv --loss TripletLoss"


def test_learning_rates_in_names_are_not_broken_at_a_hyphen():
    from sentune.report.words import named

    assert named("Loss on pairs, 2e-05") == "Loss on pairs, 2e\N{MINUS SIGN}5"
    assert named("Some-Loss, 1e-10") == "Some-Loss, 1e\N{MINUS SIGN}10"
    record = train()
    record["leaderboard"][0]["name"] = record["decision"]["candidate"] = "ALoss, 5e-05"
    shown = page(record)
    assert shown.count("ALoss, 5e\N{MINUS SIGN}5") >= 2
