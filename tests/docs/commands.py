"""Writes docs/cli.md, all commands at a glance, from the parsers themselves.

    python -m tests.docs.commands

`tests/docs/test_commands.py` compares the page with what this gives.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from sentune import cli

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"

HEAD = """\
# The command line

Each command is a thin file over a public function, mostly of `sentune.workbench`; what is written
here is also what `sentune COMMAND --help` shows. This page is made by
`python -m tests.docs.commands`.

- **Results go to standard output**, progress, notes and warnings to standard error. Output to a
  pipe is plain text: `sentune search faq.csv refund | head`.
- **`--quiet`** (`-q`), which every command has, shows nothing but results and errors.
- **`--json`** prints the result as JSON, for programs; numbers that are not finite are `null`.
- **A wrong word** is answered by the nearest right one: `there is no option --modle; did you mean
  --model?` A beginning of an option is enough if no other begins so.
- **The exit status** is

| status | what it means |
|---|---|
| 0 | it worked |
| 1 | it worked, and the answer is no: nothing found, data that a loss cannot learn from |
| 2 | an error: a wrong option, a file that is not there, a bug |
| 130 | interrupted with Ctrl-C |

"""


def page() -> str:
    """The whole page."""
    return HEAD + "\n".join([*_overview(), *(line for one in cli.commands() for line in _of(one))])


def _overview() -> Iterator[str]:
    yield "| command | what it does |"
    yield "|---|---|"
    for name, command in cli.commands().items():
        yield f"| [`{name}`](#sentune-{name}) | {command.HELP} |"


def _of(name: str) -> Iterator[str]:
    command, parser = cli.commands()[name], _parser_of(name)
    yield from ("", f"## sentune {name}", "", command.DESCRIPTION, "", "```text")
    yield from command.EXAMPLES.strip().splitlines()
    yield from ("```", "", "| argument | what it says |", "|---|---|")
    for action in parser._actions:
        if "--help" not in action.option_strings and "--quiet" not in action.option_strings:
            yield f"| {_name(action)} | {_help(parser, action)} |"


def _parser_of(name: str) -> argparse.ArgumentParser:
    return cli._parser()._subparsers._group_actions[0].choices[name]


def _name(action: argparse.Action) -> str:
    if not action.option_strings:
        more = " ..." if action.nargs in ("+", "*") else ""
        return f"`{action.metavar or action.dest}{more}`"
    value = ""
    if action.nargs != 0:
        word = action.metavar or action.dest.upper()
        value = f" {word}" if not action.choices else ""
        value = f" [{word}]" if action.nargs == "?" else value
        value += " ..." if action.nargs in ("+", "*") else ""
    return ", ".join(f"`{name}{value}`" for name in action.option_strings)


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    text = parser._get_formatter()._expand_help(action) if action.help else ""
    choices = f"{', '.join(f'`{one}`' for one in action.choices)}: " if action.choices else ""
    return f"{choices}{' '.join(text.split())}".replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page() + "\n", encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")
