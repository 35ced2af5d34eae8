"""The demo, on a tiny model and a small part of the documentation."""

import contextlib
import csv
import io
import json
import sys

import pytest

from sentune.cli import main
from sentune.demo import show as _demo
from sentune.demo import steps as _demo_steps
from sentune.demo.pydocs import Entry
from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.machine.screen import quiet_libraries

LIMIT = 400


@pytest.fixture(scope="module")
def demo(tiny_bert_folder, tmp_path_factory):
    """One run: status, what was printed, its folder, the figures."""
    folder = tmp_path_factory.mktemp("demo")
    output, figures = folder / "demo", folder / "sub" / "figures.json"
    words = ["demo", "--model", str(tiny_bert_folder), "--limit", str(LIMIT)]
    words += ["--output", str(output), "--json", str(figures)]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(words)
    return status, out.getvalue(), err.getvalue(), output, json.loads(figures.read_text())


def test_it_ends_well_and_without_noise(demo):
    status, out, err, _, _ = demo
    assert status == 0
    assert err == ""
    assert "Warning:" not in out


def test_its_lines_are_plain_and_fit_a_screen(demo):
    lines = demo[1].splitlines()
    assert all(line.isprintable() for line in lines)
    own = [line for line in lines if "/" not in line]  # paths are the user's
    assert len(own) > 40
    assert max(own, key=len)[160:] == ""


def test_the_story_is_told_in_order(demo):
    out = demo[1]
    parts = ["Model  ", "Documents  ", "$ sentune inspect", "Loss that fits best", "Before     MRR"]
    parts += ["$ sentune train", "After      MRR", "Held-out queries   before", *_demo.SEARCHES]
    parts += [
        f"The model is in {(demo[3] / 'model').resolve()}",
        "What was tried",
        "SentenceTransformer(",
    ]
    places = [out.find(part) for part in parts]
    assert places == sorted(places), dict(zip(parts, places))
    assert f"{LIMIT} functions, methods and classes" in out


def test_the_figures_are_written(demo):
    figures = demo[4]
    held_out = LIMIT // 5
    assert figures["corpus"]["held_out"] == held_out
    assert figures["corpus"]["train"] == LIMIT - held_out
    assert figures["training"]["leaderboard"][1]["loss"]
    for moment in ("before", "after"):
        assert set(figures[moment]) == {"MRR@10", "hit@1", "hit@10"}
        assert 0 <= figures[moment]["hit@1"] <= figures[moment]["MRR@10"]
        assert figures[moment]["MRR@10"] <= figures[moment]["hit@10"] <= 1
    assert [found["query"] for found in figures["searches"]] == list(_demo.SEARCHES)
    assert all(len(found["after"]) == 3 for found in figures["searches"])


def test_the_figures_on_the_screen_are_those_in_the_file(demo):
    _, out, _, _, figures = demo
    row = next(line for line in out.splitlines() if line.startswith("  MRR@10"))
    assert row.split()[1:3] == [f"{figures[m]['MRR@10']:.3f}" for m in ("before", "after")]


def test_its_files_can_be_used_by_the_commands_that_it_shows(demo, capsys):
    folder = demo[3]
    for file, count in (("pairs.csv", LIMIT - LIMIT // 5), ("held-out.csv", LIMIT // 5)):
        with (folder / file).open(encoding="utf-8", newline="") as rows:
            assert len(list(csv.DictReader(rows))) == count
    words = ["inspect", str(folder / "pairs.csv"), "--test", str(folder / "held-out.csv")]
    assert main(words) == 0
    assert "Form: pair" in capsys.readouterr().out
    assert SentenceTransformer(str(folder / "model")).encode("a text").shape
    assert (folder / "model" / "report.html").is_file()


def test_a_slow_machine_uses_a_part_of_the_documentation(tiny_bert_folder):
    model, corpus = SentenceTransformer(str(tiny_bert_folder)), _demo_steps.prepare(1500)
    with quiet_libraries():
        whole, pace = _demo_steps.affordable(model, corpus, seconds=1e6)
        part, _ = _demo_steps.affordable(model, corpus, seconds=1e-6)
    assert whole == len(corpus.entries) and pace > 0
    assert part == _demo_steps.FEWEST


def test_the_fastest_look_at_the_machine_counts(tiny_bert_folder, monkeypatch):
    model, corpus = SentenceTransformer(str(tiny_bert_folder)), _demo_steps.prepare(100)
    paces = iter([2.0, 50.0, 30.0])
    monkeypatch.setattr(_demo_steps, "_pace", lambda model, texts: next(paces))
    with quiet_libraries():
        assert _demo_steps.affordable(model, corpus)[1] == 50.0


def test_the_last_lines_are_python_that_runs(demo, capsys):
    lines = demo[1].rstrip().splitlines()[-4:]
    exec("\n".join(line.strip() for line in lines))
    assert "tensor" in capsys.readouterr().out


def test_a_prompt_answers_own_searches(tiny_bert_folder, tmp_path, monkeypatch, capsys):
    asked = iter(["open a file", ""])
    monkeypatch.setattr("builtins.input", lambda prompt: next(asked))
    words = ["demo", "--ask", "--limit", "30", "--model", str(tiny_bert_folder)]
    assert main([*words, "--output", str(tmp_path / "model")]) == 0
    answers = capsys.readouterr().out.split("an empty line ends.")[1]
    assert [line[:4] for line in answers.splitlines() if line.strip()][::2] == [
        f"  {rank} " for rank in range(1, 6)
    ]
    assert next(asked, None) is None


def test_the_prompt_ends_with_the_input(monkeypatch, capsys):
    def end(prompt):
        raise EOFError

    monkeypatch.setattr("builtins.input", end)
    _demo._ask(None, None, None)
    assert capsys.readouterr().out.endswith("\n\n")


def test_an_output_folder_with_other_things_is_refused_before_any_work(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("precious")
    assert main(["demo", "--output", str(tmp_path)]) == 2
    assert "--output" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").read_text() == "precious"


@pytest.mark.parametrize("option", ["--output", "--json"])
def test_a_place_that_cannot_be_written_is_refused_before_any_work(option, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    words = {"--output": tmp_path / "model", option: tmp_path / "file" / "below"}
    assert main(["demo", *(str(word) for pair in words.items() for word in pair)]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_folder_in_place_of_the_file_for_figures_is_refused_before_any_work(tmp_path, capsys):
    words = ["demo", "--output", str(tmp_path / "model"), "--json", str(tmp_path)]
    assert main(words) == 2
    assert "is a folder; give the name of a file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "least"),
    [("--limit", "4", 5), ("--limit", "many", 5), ("--limit", "-7", 5)],
)
def test_numbers_out_of_range_are_named(option, value, least, capsys):
    with pytest.raises(SystemExit):
        main(["demo", option, value])
    said = capsys.readouterr().err
    assert f"{option}: must be an integer of at least {least}, got '{value}'" in said


def test_the_smallest_limit_is_enough():
    corpus = _demo_steps.prepare(5)
    assert (len(corpus.train), len(corpus.held_out)) == (4, 1)


def test_a_model_that_is_none_is_one_clear_line(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    words = ["demo", "--limit", "30", "--model", str(tmp_path / "empty")]
    assert main([*words, "--output", str(tmp_path / "model")]) == 2
    assert capsys.readouterr().err.startswith("sentune demo: ")
    assert not (tmp_path / "model").exists()


def test_ctrl_c_in_training_is_a_clean_end(tiny_bert_folder, tmp_path, monkeypatch, capsys):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(_demo, "train", interrupt)
    words = ["demo", "--limit", "30", "--model", str(tiny_bert_folder)]
    assert main([*words, "--output", str(tmp_path / "demo")]) == 130
    captured = capsys.readouterr()
    assert captured.err == "\nStopped.\n"
    assert "Done" not in captured.out
    assert not (tmp_path / "demo" / "model" / "modules.json").exists()


def test_the_packaged_model_is_found_without_importing_its_package(tmp_path, monkeypatch):
    package = tmp_path / _demo_steps.MODEL_PACKAGE
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert _demo_steps.default_model() == str(package / "model")


def test_without_the_package_the_model_comes_from_the_hub(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    assert _demo_steps.default_model() == "sentence-transformers/all-MiniLM-L6-v2"


def test_a_signature_that_is_too_long_loses_its_parameters():
    entry = Entry("module.function", "q", "module.function(first, second) and the rest")
    assert _demo._signature(entry, 40) == "module.function(first, second)"
    assert _demo._signature(entry, 25) == "module.function(...)"
    assert len(_demo._signature(entry, 12)) <= 12
