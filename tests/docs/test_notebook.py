"""The notebook companion of the guide runs from the first cell to the last, with few examples."""

import re

import nbformat
import pytest

from tests.docs.notebook import PATH, printed, run


@pytest.fixture(scope="module")
def ran(tmp_path_factory, minilm_folder):
    return run(tmp_path_factory.mktemp("notebook"), EXAMPLES=120, HUB_ID="alice/docs")


def test_every_cell_runs_and_the_model_is_on_the_hub(ran):
    notebook, hub = ran
    assert "modules.json" in hub.files("alice/docs")
    assert "alice/docs" in printed(notebook)


def test_each_training_makes_the_search_better(ran):
    figures = [float(value) for value in re.findall(r"MRR@10 (\d\.\d+)", printed(ran[0]))]
    assert len(figures) == 3
    assert figures[0] < figures[2]


def test_the_steps_of_the_guide_are_all_there():
    source = "\n".join(cell.source for cell in nbformat.read(PATH, as_version=4).cells)
    for step in (
        "models.Transformer",
        "models.Pooling",
        "modules=[",
        "InputExample(",
        "DataLoader(",
        "TripletLoss",
        "MultipleNegativesRankingLoss",
        "model.fit(",
        "save_to_hub(",
    ):
        assert step in source


def test_the_outputs_that_are_shown_were_printed_by_the_cells_that_are_there():
    notebook = nbformat.read(PATH, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert "MRR@10" in printed(notebook)
    assert "/work" not in printed(notebook) and "/tmp" not in printed(notebook)
