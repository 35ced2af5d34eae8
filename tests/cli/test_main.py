"""The frame of the command line: help, version, exit statuses; commands are files."""

import subprocess
import sys
import time
import types

import pytest

from sentune import cli
from sentune.errors import SettingError


def run(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "sentune.cli", *words], capture_output=True, text=True
    )


def command(**functions) -> types.ModuleType:
    module = types.ModuleType("fake")
    module.HELP = "a command made up by the test"
    module.add_arguments = lambda parser: parser.add_argument("--number", type=int, default=7)
    module.__dict__.update(functions)
    return module


@pytest.fixture
def fake(monkeypatch):
    def install(**functions):
        monkeypatch.setattr(cli, "commands", lambda: {"fake": command(**functions)})

    return install


def test_version():
    from sentune import __version__

    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"sentune {__version__}\n")


@pytest.mark.parametrize("words", [["--help"], []])
def test_help_lists_the_commands(words):
    done = run(*words)
    assert done.returncode == 0
    assert "demo" in done.stdout
    assert done.stderr == ""


def test_help_loads_nothing_heavy_and_is_instant():
    code = (
        "import sys, time; t = time.process_time()\n"
        "from sentune.cli import main\n"
        "try: main(['demo', '--help'])\n"
        "except SystemExit: pass\n"
        "took = time.process_time() - t\n"  # others may be busy on this machine
        "heavy = {'torch', 'transformers', 'datasets', 'numpy', 'tqdm'} & set(sys.modules)\n"
        "print(took, sorted(heavy), file=sys.stderr)"
    )
    started = time.perf_counter()
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        for _ in range(3)
    ]
    assert time.perf_counter() - started < 30
    assert all(done.stderr.split(" ", 1)[1] == "[]\n" for done in runs)
    assert min(float(done.stderr.split()[0]) for done in runs) < 0.2


def test_help_shows_each_default_once():
    said = " ".join(run("encode", "--help").stdout.split())
    column = "(default: text, else the first whose texts have several words)"
    assert said.count(column) == 1
    assert said.count("(default: train; with -o all files of such a folder)") == 1
    assert "None" not in said and "False" not in said


def test_an_unknown_command_is_named():
    done = run("nonsense")
    assert done.returncode == 2
    assert "nonsense" in done.stderr and "demo" in done.stderr


def test_a_new_file_is_a_new_command(monkeypatch, tmp_path, capsys):
    (tmp_path / "shout_loud.py").write_text(
        "HELP = 'say it'\n"
        "def add_arguments(parser): parser.add_argument('word')\n"
        "def run(args): print(args.word.upper())\n"
    )
    (tmp_path / "_helper.py").write_text("raise RuntimeError('no command')\n")
    monkeypatch.setattr(cli, "__path__", [*cli.__path__, str(tmp_path)])
    assert cli.main(["shout-loud", "hello"]) == 0
    assert capsys.readouterr().out == "HELLO\n"
    monkeypatch.delitem(sys.modules, "sentune.cli.shout_loud")


def test_the_arguments_arrive_and_none_is_success(fake):
    seen = []
    fake(run=lambda args: seen.append(args.number))
    assert cli.main(["fake", "--number", "3"]) == 0
    assert seen == [3]


def test_a_command_chooses_its_status(fake):
    fake(run=lambda args: 4)
    assert cli.main(["fake"]) == 4


def test_an_error_of_sentune_is_one_line_and_status_2(fake, capsys):
    def fail(args):
        raise SettingError("number must be even, got 7; use 8")

    fake(run=fail)
    assert cli.main(["fake"]) == 2
    captured = capsys.readouterr()
    assert captured.err == "sentune fake: number must be even, got 7; use 8\n"
    assert captured.out == ""


def test_a_bug_is_not_hidden(fake):
    fake(run=lambda args: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["fake"])


def test_ctrl_c_is_status_130_without_a_traceback(fake, capsys):
    def interrupt(args):
        raise KeyboardInterrupt

    fake(run=interrupt)
    assert cli.main(["fake"]) == 130
    assert capsys.readouterr().err == "\nStopped.\n"


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    (tmp_path / "chatter.py").write_text(
        "HELP = ''\ndef add_arguments(parser): pass\n"
        "def run(args):\n    for n in range(100_000): print(n)\n"
    )
    code = (
        f"import sys; from sentune import cli; cli.__path__.append({str(tmp_path)!r}); "
        "sys.exit(cli.main(['chatter']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "0\n"
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0


@pytest.mark.parametrize("value", ["0", "-3", "many"])
def test_the_demo_refuses_counts_below_one(value, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["demo", "--limit", value])
    assert stop.value.code == 2
    assert "--limit" in capsys.readouterr().err
