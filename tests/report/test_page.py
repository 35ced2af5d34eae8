"""The page as text: what it says, what it leaves out, and that no text of the data is markup."""

import copy
import json
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
from sentune.report.charts import densities, histogram, lines
from sentune.report.document import page_or_reason
from sentune.report.plain import embedded, plain
from sentune.report.sections import view_of
from sentune.report.words import beside
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


def test_a_single_model_has_its_interval():
    record = evaluation()
    record |= {"models": record["models"][:1], "differences": []}
    found = view_of(record)["head"]
    assert found["line"] == "large: 0.900"
    assert found["says"] == ["The Spearman on the rows is 0.900 (95% interval 0.880 to 0.920)."]


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


@pytest.mark.parametrize("text", ["深度学习模型可以把句子变成向量" * 40, "😀😃" * 300, "<&>" * 200])
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
from sentune.report.charts import densities, histogram, lines
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


def test_a_text_that_begins_as_a_place_stays_as_it_is():
    record = train("/r/science/comments: what is a star?")
    record |= {"command": "", "data": record["data"] | {"source": []}}
    most = [["/Arts/Music/Rock", 3], ["C:\\Home\\Garden\\Rock", 2]]
    record["data"]["inspection"]["labels"]["most"] = most
    record["settings"] = {"prompts": {"query": "/a/b/query: "}, "model": "/home/ann/model"}
    found = Reader(page(record)).text
    assert "comments: what is a star?" in found
    assert found.count("comments: what is a star?") == found.count("/r/science/comments: what is")
    assert all(name in found for name, _ in most)
    assert "/a/b/query:" in found and "ann" not in found


def test_a_place_in_a_note_or_in_the_log_is_shortened():
    record = train()
    record["data"]["source"] = [{"name": "/home/ann/rows.csv", "rows": 3}]
    record["data"]["notes"] = ["2 rows of /home/ann/rows.csv have no text"]
    record["log"] = ["reading /home/ann/rows.csv"]
    found = Reader(page(record)).text
    assert "ann" not in found and "2 rows of rows.csv have no text" in found


def test_a_model_that_has_seen_the_rows_is_warned_of_before_the_figures():
    record = evaluation("r1")
    record["warnings"] = [{"model": "r1", "seen": ["/home/ann/rows.csv"]}]
    record["data"] = {"notes": ["measured on 3 of 9 rows"]}
    found = Reader(page(record)).text
    warning = "r1 was trained on rows of rows.csv: its figure says how well it remembers them"
    assert found.index(warning) < found.index("Spearman 0.900")
    assert "ann" not in found and "R1" not in found
    assert "Measured on 3 of 9 rows." in found


def test_a_stopped_run_says_so_and_how_it_goes_on():
    record = train()
    record["decision"]["is_stopped"] = True
    record["resume"] = "sentune train --output /home/ann/my-model --resume"
    del record["result"]["test"]
    found = Reader(page(record)).text
    assert "Stopped by Ctrl-C before the end." in found and "were not measured" in found
    assert "sentune train --output my-model --resume" in found and "ann" not in found
    assert "Stopped by Ctrl-C" not in Reader(page(train())).text


def test_only_what_was_trained_counts_as_tried():
    record = train()
    waiting = {"name": "later", "loss": "later", "state": "not tried", "rounds": []}
    average = record["leaderboard"][0] | {"name": "average", "is_average": True, "rounds": []}
    record["leaderboard"] += [waiting, average]
    found = Reader(page(record)).text
    assert "3 ways to train were tried; 1 more has no figure, and the outcome says why" in found
    assert "Not tried" in found


def test_an_average_is_drawn_as_its_members_and_changes_no_settings():
    record = train()
    first, _, second, _ = record["leaderboard"]
    names = [first["name"], second["name"]]
    first["state"] = "finished"
    average = {"name": "average of both", "is_average": True, "of": names, "settings": {}}
    record["leaderboard"] += [average | {"rounds": [], "figure": 0.9, "state": "won"}]
    record["decision"]["candidate"] = "average of both"
    view = view_of(plain(record))
    scale = view["charts"]["course"]["encoding"]["color"]["scale"]
    assert scale["range"] == ["var(--accent)"] * 2
    found = Reader(page(record)).text
    assert "Those whose average was kept are blue" in found
    assert "one of the 2 that were averaged, went, step by step" in found
    tried = next(one for one in view["sections"] if one["key"] == "tried")
    assert all(row["settings"] == [] for row in tried["leaderboard"])


def test_rows_held_out_in_turn_are_all_of_them():
    record = train()
    record["data"] |= {"folds": 3, "rows": {"train": 180, "dev": 60, "test": 60}}
    record["result"]["dev"]["rows"] = 240
    found = Reader(page(record)).text
    assert "The figure is that of all 240 rows, held out in turn in 3 parts" in found
    assert "train and dev 240 all of them held out in turn, in 3 parts" in found
    assert "on the last of its 3 parts went, step by step" in found
    assert "180" not in found


def test_a_sample_of_the_rows_to_choose_by_is_said():
    record = train()
    record["result"]["dev"]["rows"] = 200
    found = Reader(page(record)).text
    assert "The figure is that of the dev part, measured on 200 of 545 rows" in found


def test_a_start_that_was_kept_has_one_side():
    record = train()
    record["decision"] = {"kept": "start", "reason": "", "cause": "chance"}
    view = view_of(record)
    shown = {name for name in view["charts"] if name.startswith(("scores-", "map-"))}
    assert shown == {"scores-before", "map-before", "map-texts"}
    found = Reader(page(record)).text
    assert "The start" in found and "After" not in found and "only before" not in found
    assert "marked on the other side" not in found and "the large one was kept" not in found


def test_several_datasets_are_told_apart():
    record = train()
    forms = ["sentence and class", "pair"]
    each = [
        {"form": form, "why": f"why {form}", "labels": {"most": [[f"of {form}", 3]]}}
        for form in forms
    ]
    record["data"]["datasets"] = [{"form": form, "rows": {}} for form in forms]
    record["data"]["inspection"]["datasets"] = each
    figures = {"metric": "accuracy", "before": 0.8, "after": 0.8, "rows": 100}
    record["result"]["test"]["each"] = [figures, figures | {"metric": "MRR@10"}]
    record["decision"] = {"kept": "start", "cause": "chance", "reason": "a reason"}
    found = Reader(page(record)).text
    for form in forms:
        assert f"have the form {form} : why {form} ." in found and f"Labels of {form}" in found
    only = "rows with the form sentence and class only."
    assert found.count(f"Of the {only}") == 3 and f"Of held-out {only}" in found
    assert "Accuracy: 0.800 on 100 rows." in found and "MRR@10: 0.800 on 100 rows." in found


def test_the_longest_texts_leave_room_for_the_others():
    spec = histogram([0, 5, 10, 15, 20_001], [3, 9, 4, 1], 256, "tokens")
    bars = spec["data"]["values"]
    assert bars[-1]["to"] == 20_000 and bars[-1]["b"] < 30
    assert "longer" in json.dumps(spec) and spec["layer"][0]["encoding"]["x"]["scale"]
    assert "longer" not in json.dumps(histogram([0, 5, 10, 15], [3, 9, 4], 256, "tokens"))


def test_one_step_is_drawn_as_a_point():
    spec = lines({"Loss": [[1, 0.5]]}, None, main=["Loss"])
    assert len(spec["data"]["values"]) == 1
    assert spec["layer"][1]["encoding"]["opacity"]["value"] == 1
    long = lines({"Loss": [[step, 0.5] for step in range(50)]}, None, main=["Loss"])
    assert long["layer"][1]["encoding"]["opacity"]["value"] == 0
    record = train()
    record["leaderboard"][0]["rounds"] = [{"steps": 1, "figure": 0.8}]
    assert "1 step" in Reader(page(record)).text and "1 steps" not in Reader(page(record)).text


def test_an_agreement_near_the_threshold_has_the_digits_that_decide():
    assert beside(0.9948, 0.995) == "0.9948" and beside(0.99496, 0.995) == "0.99496"
    assert beside(0.991, 0.995) == "0.991" and beside(0.9987, 0.995) == "0.999"
    assert beside(None, 0.995) == "–" and beside(0.5, None) == "0.500"
    record = train()
    record["result"]["general"] |= {"threshold": 0.995, "agreement": 0.9948}
    record["mixes"] = [mix | {"agreement": 0.9948} for mix in record["mixes"]]
    found = Reader(page(record)).text
    assert "0.9948" in found and "at least 0.995 is needed" in found and "asked for" not in found


def test_an_evaluation_trains_on_nothing():
    record = evaluation()
    record["data"] = {"rows": {"train": 300, "dev": 0, "test": 60}}
    found = Reader(page(record)).text
    assert "Rows to measure on 60 300 to look among" in found and "train on" not in found


def test_pairs_with_labels_are_not_called_belonging_together():
    record = train()
    assert "belong together" not in Reader(page(record)).text
    del record["scores"]["groups"]["a text"]
    assert "belong together" in Reader(page(record)).text


def test_densities_reach_the_ends_of_their_axis():
    spec = densities([0.0, 0.5, 1.0], {"positives": [1, 3]}, 1.0)
    assert [row["x"] for row in spec["data"]["values"]] == [0.0, 0.25, 0.75, 1.0]
    assert spec["layer"][2]["transform"] == [{"filter": "datum.e === 0"}]


def test_means_are_those_of_the_record():
    found = Reader(page(train())).text
    assert "positives 0.55 0.78" in found


def test_small_words_are_right():
    record = train() | {"created": "2026-11-27T17:49:00+00:00"}
    record["queries"]["counts"]["improved"] = 1
    record["leaderboard"][2]["reason"] = "worse than ALoss, 5e-05"
    found = Reader(page(record)).text
    assert "27 November 2026, 17:49 UTC" in found
    assert "1 finds it earlier" in found and "Rows are counted from 0." in found
    assert "ALoss, 5e\N{MINUS SIGN}5" in found and "5e-05" not in found


def test_long_examples_are_cut():
    record = train()
    finding = record["data"]["inspection"]["findings"][0]
    finding["examples"][0]["cells"] = {"text": "word " * 390}
    found = re.findall(r"(?:word ?)+…?", Reader(page(record)).text)
    assert max(map(len, found)) <= 400 and any(text.endswith("…") for text in found)
