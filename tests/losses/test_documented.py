"""docs/losses.md and docs/data.md hold what the code holds."""

import inspect
import re
from pathlib import Path

import pytest
import torch

from sentune import losses
from sentune.data.forms import FORMS
from sentune.errors import DatasetError
from sentune.losses.base import Loss
from sentune.losses.fitting import check
from tests.losses.tools import TableModel

ROOT = Path(__file__).parents[2]
LOSSES = (ROOT / "docs" / "losses.md").read_text(encoding="utf-8")
DATA = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its head."""
    section = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


TABLE = {row[0].strip("`"): row[1:] for row in rows(LOSSES, "One row per loss")}
CLASSES = [name for name in losses.__all__ if inspect.isclass(getattr(losses, name))]
PUBLIC = [name for name in CLASSES if issubclass(getattr(losses, name), Loss) and name != "Loss"]


def test_every_loss_has_one_row_and_every_row_is_a_loss():
    assert len(PUBLIC) > 25
    assert sorted(TABLE) == sorted(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_row_says_columns_label_when_and_why(name):
    columns, label, when, why = TABLE[name]
    assert columns and label and when and why


@pytest.mark.parametrize("name", [name for name in PUBLIC if getattr(losses, name).forms])
def test_a_row_and_the_checks_agree_on_whether_there_is_a_label(name):
    wants_none = {form.wanted in ("none", "any") for form in getattr(losses, name).forms}
    assert ("none" in TABLE[name][1]) == (True in wants_none)
    assert (TABLE[name][1] != "none") == (False in wants_none)


def test_every_other_public_name_is_mentioned():
    assert not [name for name in losses.__all__ if f"`{name}`" not in LOSSES]


def test_the_first_table_names_only_losses_there_are():
    named = re.findall(r"`(\w+Loss\w*)`", LOSSES.partition("## One row")[0])
    assert named and set(named) <= set(PUBLIC)


def test_the_custom_loss_of_the_guide_is_checked_and_computes():
    (code,) = re.findall(r"```python\n(import torch\n.*?)```", LOSSES, re.DOTALL)
    names: dict = {}
    exec(code, names)
    kind, pairs = names["AbsoluteError"], {"a": ["x", "y"], "b": ["z", "u"]}
    with pytest.raises(DatasetError, match="wants scores from -1 to 1, 'score' has 0 to 5"):
        check({**pairs, "score": [0.0, 5.0]}, kind)
    columns = [torch.eye(2), torch.ones(2, 2)]
    assert kind(TableModel()).compute(columns, torch.zeros(2)) == pytest.approx(0.5**0.5)


def test_every_form_has_a_row_and_its_script_exists():
    table = {row[0]: row for row in rows(DATA, "Forms")}
    assert sorted(table) == sorted(form.name for form in FORMS)
    scripts = {row[-1].strip("`") for row in table.values()} - {""}
    assert len(scripts) == 10
    assert all((ROOT / "examples" / script).is_file() for script in scripts)
