"""`sentune push`: the model in a folder to the Hugging Face Hub."""

from __future__ import annotations

import argparse
import sys
from typing import Any

HELP = "upload a model to the Hugging Face Hub"
DESCRIPTION = (
    "Upload the model in a folder to the Hugging Face Hub, in one commit, and print its address. "
    "What goes are the model's own files, its card with the pictures in it, licenses, notices, and "
    "the folders onnx and openvino; all else stays here, and so do the run.json, run.yaml and "
    "report.html of a training run, which may show texts of your data, unless you ask for them. "
    "The card of a trained model shows some rows of its training data, unless you leave them out "
    "with --no-rows. Log in first with `hf auth login`. The exit status is 1 if you answer no."
)
EXAMPLES = """
sentune push my-model you/my-model --private
sentune push my-model you/my-model --replace --message "Train on more questions" --yes
sentune push my-model acme/support --create-pr
sentune push my-model you/my-model --no-rows     # the card without rows of the data
"""

_OPTIONS = {
    "exist_ok=True": "--replace",
    "create_pr=True": "--create-pr",
    "private=True": "--private",
    " (in a notebook: huggingface_hub.notebook_login()) or pass token=...": ", or set HF_TOKEN",
    "mend that file, or set what is wrong in model.model_card_data": "mend that file",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model", help="folder of the model")
    parser.add_argument("repo_id", metavar="OWNER/NAME", help="its address on the Hub")
    parser.add_argument(
        "--private",
        action="store_true",
        help="have a new repository be seen by its owner only; an error for one that is public",
    )
    parser.add_argument("--revision", metavar="BRANCH", help="branch; made if it is not there")
    parser.add_argument(
        "--create-pr", action="store_true", help="open a pull request in place of changing it"
    )
    parser.add_argument("--replace", action="store_true", help="replace the model that is there")
    parser.add_argument(
        "--replace-card",
        action="store_true",
        help="replace also a README.md that sentune did not make, or that was changed since",
    )
    parser.add_argument(
        "--no-rows", action="store_true", help="leave rows of the training data out of the card"
    )
    parser.add_argument(
        "--with-run", action="store_true", help="upload run.json, run.yaml and report.html, too"
    )
    parser.add_argument("--message", help="of the commit")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")


def run(args: argparse.Namespace) -> int:
    """Upload, and print the address; the status is 1 if the person says no."""
    from sentune.cli._output import note
    from sentune.errors import HubError
    from sentune.machine.screen import quiet_libraries, say
    from sentune.workbench import push

    def confirm(upload: Any) -> bool:
        if not args.yes:
            return _asked(upload, args)
        for line in upload.details().splitlines():
            note(line)
        return True

    try:
        with quiet_libraries():
            address = push(
                args.model,
                args.repo_id,
                private=args.private or None,
                revision=args.revision,
                create_pr=args.create_pr,
                exist_ok=args.replace,
                replace_card=args.replace_card,
                has_run=args.with_run,
                has_rows=not args.no_rows,
                message=args.message,
                confirm=confirm,
            )
    except HubError as error:
        raise HubError(_in_options(str(error))) from error
    if address is None:
        return 1
    say(address)
    return 0


def _in_options(words: str) -> str:
    """What an error of `push` says, in the options of the command line."""
    for argument, option in _OPTIONS.items():
        words = words.replace(argument, option)
    return words


def _asked(upload: Any, args: argparse.Namespace) -> bool:
    """Whether the person says yes; without one to ask, an error."""
    from sentune.errors import SettingError

    if not sys.stdin.isatty():
        raise SettingError("nobody is here to confirm the upload; add --yes")
    what = "as a pull request" if args.create_pr else "for its owner only" if args.private else ""
    question = (
        f"Upload {args.model} ({upload}) to {args.repo_id}{f' {what}' if what else ''}? [y/N] "
    )
    # Not on standard output, which is for the address; and shown with --quiet, too.
    stream = sys.__stderr__ or sys.stderr
    stream.write(f"{upload.details()}\n{question}")
    stream.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
