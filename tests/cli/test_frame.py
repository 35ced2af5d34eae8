"""Wrong words are answered by right ones; what goes to which stream; what --quiet leaves."""

import json
import logging
import os
import shlex
import subprocess
import sys
import types
import warnings

import numpy as np
import pytest

from sentune import cli
from sentune.cli import _output
from sentune.errors import SentuneWarning, SettingError, warn
from sentune.machine.screen import say


@pytest.fixture
def fake(monkeypatch):
    def install(run=lambda args: None, **texts):
        module = types.ModuleType("fake")
        module.HELP, module.run = "a command made up by the test", run

        def add_arguments(parser):
            parser.add_argument("file")
            parser.add_argument("--model")
            parser.add_argument("--margin", type=float, default=0.5, help="how far apart")
            parser.add_argument("--form", choices=["triplet", "n-tuple"])
            _output.add_json(parser)

        module.add_arguments = add_arguments
        module.__dict__.update(texts)
        monkeypatch.setattr(cli, "commands", lambda: {"fake": module, "evaluate": module})

    return install


def refused(words, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(words)
    said = capsys.readouterr()
    assert stop.value.code == 2 and said.out == ""
    return said.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["fake", "--modle", "x"], "fake: there is no option --modle; did you mean --model?"),
        (["fake", "f", "--modle=x"], "there is no option --modle; did you mean --model?"),
        (["fake", "f", "--quite"], "there is no option --quite; did you mean --quiet?"),
        (["fake", "f", "--form", "tripplet"], "got 'tripplet'; did you mean triplet?"),
        (["fake", "f", "--zzz"], "there is no option --zzz; `sentune fake --help` shows"),
        (["fake", "f", "g"], "there is one word too many: g"),
        (["fake", "f", "-z"], "there is no option -z"),
        (["evalute", "f"], "sentune: there is no command 'evalute'; did you mean evaluate?"),
        (["zzz"], "there is no command 'zzz'; there are fake, evaluate"),
        (["--verson"], "there is no option --verson; did you mean --version?"),
    ],
)
def test_a_wrong_word_is_answered_by_the_nearest_right_one(words, says, fake, capsys):
    fake()
    said = refused(words, capsys)
    assert says in said
    assert said.count("\n") == 1 and "usage:" not in said


def test_what_follows_two_dashes_is_no_option_and_beginnings_of_options_are(fake):
    seen = []
    fake(run=lambda args: seen.append((args.file, args.margin)))
    assert cli.main(["fake", "--marg", "2", "--", "--strange"]) == 0
    assert seen == [("--strange", 2.0)]


def test_help_shows_the_paragraph_and_the_examples_as_written(fake, capsys):
    fake(
        DESCRIPTION="What it does. " * 12,
        EXAMPLES="\nsentune fake x      # blanks stay\nsentune fake %s --json\n",
    )
    with pytest.raises(SystemExit) as stop:
        cli.main(["fake", "--help"])
    said = capsys.readouterr().out
    assert stop.value.code == 0
    assert "examples:\n  sentune fake x      # blanks stay\n  sentune fake %s --json\n" in said
    assert "\nWhat it does. What it does." in said
    assert "how far apart (default: 0.5)" in said
    assert "(default: False)" not in said and "(default: None)" not in said


@pytest.mark.parametrize("name", sorted(cli.commands()))
def test_each_command_has_a_paragraph_and_examples_that_its_parser_takes(name):
    command = cli.commands()[name]
    assert len(command.DESCRIPTION) > 80 and command.DESCRIPTION.endswith(".")
    examples = [line for line in command.EXAMPLES.strip().splitlines() if line.strip()]
    assert 2 <= len(examples) <= 6
    for line in examples:
        words = shlex.split(line.split("|")[-1], comments=True)
        words = words[: words.index(">")] if ">" in words else words
        assert words[:2] == ["sentune", name]
        cli._parser().parse_args(words[1:])


def noisy(args):
    say("result")
    sys.stderr.write("progress\n")
    logging.getLogger("sentune.test").warning("a log line")
    warnings.warn("of a library", UserWarning, stacklevel=1)
    warn("of sentune")


@pytest.mark.filterwarnings("default")
def test_notes_go_to_standard_error_and_only_results_to_standard_output(fake, capsys):
    fake(run=noisy)
    assert cli.main(["fake", "f"]) == 0
    said = capsys.readouterr()
    assert said.out == "result\n"
    lines = said.err.splitlines()
    assert "progress" in lines and "note: of sentune" in lines
    assert "UserWarning: of a library" in lines  # without the path of a file


@pytest.mark.filterwarnings("default")
def test_quiet_leaves_results_and_errors(fake, capsys):
    fake(run=noisy)
    assert cli.main(["fake", "f", "--quiet"]) == 0
    assert capsys.readouterr() == ("result\n", "")

    def fail(args):
        sys.stderr.write("progress\n")
        raise SettingError("that is wrong")

    fake(run=fail)
    assert cli.main(["fake", "f", "-q"]) == 2
    assert capsys.readouterr() == ("", "sentune fake: that is wrong\n")


def test_settings_of_the_process_are_put_back(fake):
    before = warnings.showwarning, sys.stderr, list(warnings.filters)
    fake(run=lambda args: warnings.simplefilter("ignore", SentuneWarning))
    cli.main(["fake", "f", "-q"])
    assert (warnings.showwarning, sys.stderr, warnings.filters) == before


class Found:
    def __str__(self):
        return "for a person"

    def to_dict(self):
        return {"a": np.float32(0.5), "b": [float("nan"), float("inf")], 3: {"é": np.int64(4)}}


def test_a_result_is_text_or_json_that_every_reader_takes(fake, capsys):
    fake(run=lambda args: _output.show(Found(), args))
    assert cli.main(["fake", "f"]) == 0
    assert capsys.readouterr().out == "for a person\n"
    assert cli.main(["fake", "f", "--json"]) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert found == {"a": 0.5, "b": [None, None], "3": {"é": 4}}


def test_a_letter_that_the_terminal_cannot_show_is_no_failure(tmp_path):
    (tmp_path / "shout.py").write_text(
        "HELP = ''\ndef add_arguments(parser): pass\ndef run(args): print('h\\u00e9 \\u4e2d')\n"
    )
    code = (
        f"import sys; from sentune import cli; cli.__path__.append({str(tmp_path)!r}); "
        "sys.exit(cli.main(['shout']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"h\\xe9 \\u4e2d\n", b"")


def test_a_bug_is_an_error_of_the_program_and_not_a_negative_answer(tmp_path):
    (tmp_path / "broken.py").write_text(
        "HELP = ''\ndef add_arguments(parser): pass\ndef run(args): 1 // 0\n"
    )
    code = (
        f"import sys; from sentune import cli; cli.__path__.append({str(tmp_path)!r}); "
        "sys.argv[1:] = ['broken']; sys.exit(cli.main())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert "ZeroDivisionError" in done.stderr
