"""The page of the command line says what the commands say."""

from sentune import cli
from tests.docs import commands


def test_the_page_is_what_the_parsers_say():
    assert commands.PAGE.read_text(encoding="utf-8") == commands.page() + "\n", (
        "docs/cli.md is stale; write it again: python -m tests.docs.commands"
    )


def test_each_command_and_each_of_its_options_is_on_the_page():
    page = commands.page()
    for name in cli.commands():
        section = page.partition(f"\n## sentune {name}\n")[2].partition("\n## ")[0]
        for action in commands._parser_of(name)._actions:
            for option in action.option_strings:
                known = option in ("-h", "--help", "-q", "--quiet")
                assert known or f"`{option}" in section, (name, option)
