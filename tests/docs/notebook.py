"""Runs docs/tutorial.ipynb.

    python -m tests.docs.notebook   # runs it with its own numbers, and keeps what it printed

The last step of the notebook uploads a model, to a Hub that runs on this machine.
"""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import nbformat
from nbclient import NotebookClient

from tests.hub_server import HubServer

PATH = Path(__file__).parents[2] / "docs" / "tutorial.ipynb"
SOURCE = Path(__file__).parents[2] / "src"
TIMEOUT_S = 600


@contextmanager
def a_hub(home: Path):
    """A Hub on this machine, for the processes that are started meanwhile."""
    (home / "ipython").mkdir(parents=True)
    with HubServer() as hub:
        settings = {
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": str(home),
            "HF_TOKEN": "alice-token",
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "JUPYTER_PLATFORM_DIRS": "1",
            "IPYTHONDIR": str(home / "ipython"),
            "PYTHONPATH": os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")]),
        }
        with mock.patch.dict(os.environ, settings):
            yield hub


def run(folder: Path, **parameters: object) -> tuple[nbformat.NotebookNode, HubServer]:
    """The notebook after a run in a folder, with some of its parameters replaced."""
    notebook = nbformat.read(PATH, as_version=4)
    for name, value in parameters.items():
        pattern = re.compile(rf"^{name} = .*$", re.MULTILINE)
        cell = next(c for c in notebook.cells if "parameters" in c.metadata.get("tags", ()))
        source, count = pattern.subn(f"{name} = {value!r}", cell.source)
        assert count == 1, f"the notebook has no parameter {name}"
        cell.source = source
    with a_hub(folder / "home") as hub:
        place = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=TIMEOUT_S, resources=place).execute()
    return notebook, hub


def printed(notebook: nbformat.NotebookNode) -> str:
    """All that the cells printed or gave back."""
    outputs = [one for cell in notebook.cells for one in cell.get("outputs", ())]
    texts = (one.get("text") or one.get("data", {}).get("text/plain", "") for one in outputs)
    return "\n".join(texts)


def keep(notebook: nbformat.NotebookNode) -> None:
    """Write the notebook with its outputs, without what differs from run to run for no reason."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [
                one for one in cell.outputs if one.output_type != "stream" or one.name == "stdout"
            ]
    original = nbformat.read(PATH, as_version=4)
    for cell, before in zip(notebook.cells, original.cells, strict=True):
        cell.source = before.source
    nbformat.write(notebook, PATH)


if __name__ == "__main__":
    with TemporaryDirectory() as name:
        keep(run(Path(name), HUB_ID="alice/python-docs-search")[0])
