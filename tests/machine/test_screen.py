"""Lines, tables and bars on a terminal and elsewhere."""

import io
import logging
import warnings

import pytest

from sentune.machine import screen as _screen
from sentune.machine.screen import Progress, duration, fit, quiet_libraries, table


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    """A clock that the test moves on."""

    now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(_screen, "time", clock)
    return clock


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3600, "1 h 00 min"),
        (7799, "2 h 09 min"),
    ],
)
def test_durations_read_as_people_say_them(seconds, text):
    assert duration(seconds) == text


def test_text_is_cut_or_filled_up_to_the_width():
    assert fit("short", 8) == "short   "
    assert fit("a long, long text", 10) == "a long..."[:10].ljust(10)
    assert len(fit("a long, long text", 10)) == 10


def test_a_table_has_its_figures_under_each_other():
    assert table(("what", "before", "after"), [("MRR@10", "0.4", "0.5"), ("n", "10", "9")]) == (
        "  what     before   after\n  MRR@10      0.4     0.5\n  n            10       9"
    )


def test_elsewhere_progress_is_a_plain_line_at_every_tenth(clock, capsys):
    progress = Progress("Training", 100, "pairs")
    for done in range(1, 101):
        clock.now = done / 10
        progress.show(done, "loss 0.5")
    progress.close()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert lines[0] == "Training   10%  loss 0.5, 10 pairs/s, 9.0 s left"
    assert lines[-1] == "Training  100%  loss 0.5, 10 pairs/s"
    assert all(line.isprintable() for line in lines)


def test_a_long_task_says_something_every_minute(clock, capsys):
    progress = Progress("Encoding", 100_000, "texts")
    for done in range(1, 301):
        clock.now = 2.0 * done
        progress.show(done)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert lines[0] == "Encoding    0%  0.5 texts/s, 55 h 32 min left"


def test_on_a_terminal_progress_is_a_bar_that_goes_away(clock, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    progress = Progress("Training", 100, "pairs")
    clock.now = 5.0
    progress.bar.mininterval = 0
    progress.show(50, "loss 0.5")
    shown = terminal.getvalue().split("\r")[-1]
    assert "50%" in shown and "loss 0.5, 10 pairs/s, 5.0 s left" in shown
    progress.close()
    assert terminal.getvalue().split("\r")[-2].strip() == ""  # wiped
    assert "\n" not in terminal.getvalue()


def test_libraries_are_quiet_inside_and_as_before_afterwards():
    from transformers.utils import logging as transformers_logging

    had_bars = transformers_logging.is_progress_bar_enabled()
    seen = []
    handler = logging.Handler()
    handler.emit = seen.append
    logger = logging.getLogger("some.library")
    logger.addHandler(handler)
    try:
        with quiet_libraries():
            warnings.warn("not to be seen", UserWarning, stacklevel=1)
            logger.warning("not to be seen")
            logger.error("an error")
            assert not transformers_logging.is_progress_bar_enabled()
        logger.warning("seen again")
    finally:
        logger.removeHandler(handler)
    assert [record.msg for record in seen] == ["an error", "seen again"]
    assert transformers_logging.is_progress_bar_enabled() == had_bars
    with pytest.warns(UserWarning, match="seen again"):
        warnings.warn("seen again", UserWarning, stacklevel=1)
