"""`sentune card`: the card of a model, made again from what is recorded of it."""

from __future__ import annotations

import argparse
import sys

HELP = "print or write the card of a model, from what is recorded of it"
DESCRIPTION = (
    "Make the card of a model: what it is, how to use it, what it was trained on and how, what was "
    "measured. A card that is there stays, with what you give added to it; a model without one, or "
    "any with --new, gets a card of what its run.json records, which shows some rows of the "
    "training data unless you add --no-rows. It is printed, and written only with --write."
)
EXAMPLES = """
sentune card my-model > card.md
sentune card my-model --write --name "Support questions" --license apache-2.0 --language en
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "model", help="folder of the model, or Hub id with which it is only printed"
    )
    parser.add_argument("--write", action="store_true", help="write it to README.md in the folder")
    parser.add_argument(
        "--new", action="store_true", help="make a new card in place of the one that is there"
    )
    parser.add_argument(
        "--no-rows", action="store_true", help="leave rows of the training data out of the card"
    )
    group = parser.add_argument_group("what the card says")
    group.add_argument("--name", help="what the model is called")
    group.add_argument("--id", dest="model_id", metavar="OWNER/NAME", help="address on the Hub")
    group.add_argument("--license", help="as the Hub names it, e.g. apache-2.0")
    group.add_argument("--language", nargs="+", default=[], metavar="CODE", help="e.g. en de")
    group.add_argument(
        "--dataset", nargs="+", default=[], metavar="ID", help="datasets on the Hub that it was "
        "trained on"
    )  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Print the card, or write it."""
    from pathlib import Path

    from sentune.cli._output import note
    from sentune.errors import MissingFolderError
    from sentune.files.save import save_card
    from sentune.machine.screen import quiet_libraries
    from sentune.workbench import card

    folder = Path(args.model).expanduser()
    if args.write and not folder.is_dir():
        raise MissingFolderError(f"there is no folder {folder} to write a card into")
    with quiet_libraries():
        text = card(
            args.model,
            name=args.name,
            model_id=args.model_id,
            license=args.license,
            language=args.language,
            datasets=args.dataset,
            has_rows=not args.no_rows,
            is_new=args.new,
        )
    if args.write:
        save_card(text, folder)
        note(f"the card is in {folder / 'README.md'}")
    else:
        sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
        sys.stdout.flush()
