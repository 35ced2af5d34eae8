"""The folder of a finished run, written in one step: model, card, run.json, run.yaml, report."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sentune.disk import folders
from sentune.errors import MissingDependencyError, SettingError
from sentune.files.own import own
from sentune.report import missing
from sentune.report.document import page_or_reason
from sentune.workbench.records import run_file
from sentune.workbench.records.kept import FOLDER, LOGS, is_of_training

RECORD, REPORT = "run.json", "report.html"
_FILES = (RECORD, REPORT, run_file.FILE, "README.md")


def check_output(output: Path) -> None:
    """Raise an error, before the work starts, if the result could not be written."""
    if reason := missing():
        raise MissingDependencyError(reason)
    run = output / FOLDER
    is_ours = (output / "modules.json").exists() or (run.is_dir() and is_of_training(run))
    if output.exists() and not output.is_dir():
        raise SettingError(f"{output} is a file; name a folder with --output")
    if output.is_dir() and not is_ours and any(one.name != LOGS for one in output.iterdir()):
        raise SettingError(
            f"{output} exists and does not contain a model; choose another folder with --output"
        )
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError(f"{output} cannot be written: {error.strerror}") from error
    if not os.access(output, os.W_OK):
        raise SettingError(f"{output} cannot be written: no permission; choose another folder")


def write(
    output: Path,
    model: Any,
    record: Mapping[str, Any],
    data: list[str],
    hashes: Mapping[str, str],
) -> dict[str, Any]:
    """Write all files of a run; at any kill the folder has those of before or all of these.

    A page that cannot be made does not keep the model from being written.

    Args:
        output: The folder; what else is in it stays.
        model: What is kept.
        record: For run.json and the report; its "settings" go to run.yaml.
        data: Where the rows are.
        hashes: Of data and model.

    Returns:
        The record as it was written; with a line in its log if the page could not be made.
    """
    html, reason = page_or_reason(record)
    record = {**record, "log": [*record["log"], *([f"  note: {reason}"] if reason else [])]}
    options = {n: v for n, v in record["settings"].items() if n not in ("output",)}
    text = run_file.text_of(data, options, hashes, str(output / run_file.FILE))
    with folders.replaced(output, _own) as draft:
        _save_into(model, draft)
        (draft / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        (draft / run_file.FILE).write_text(text, encoding="utf-8")
        (draft / REPORT).write_text(html, encoding="utf-8")
    return record


def _save_into(model: Any, draft: Path) -> None:
    """Write a model into a draft, which is held, as every folder that is being saved to."""
    inner = draft / "model"
    model.save_pretrained(str(inner))
    for path in sorted(inner.iterdir()):
        path.rename(draft / path.name)
    inner.rmdir()


def _own(folder: Path) -> Iterable[Path]:
    """Files of an earlier run: the model's, and those beside it."""
    yield from own(folder)
    for name in _FILES:
        if (folder / name).is_file():
            yield Path(name)
