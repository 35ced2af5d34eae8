"""Nothing else in the source writes where a user looks: all of it goes through `sentune.disk`."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "sentune"

# Methods and functions that write or move a file, whatever they are called on.
WRITERS = {"write_text", "write_bytes", "save_file", "save_model", "rename", "touch", "tofile"}
WRITERS |= {"symlink_to", "hardlink_to", "copytree", "copyfile", "save_to_json", "to_csv"}
# Those whose names say nothing without the module.
IN_MODULES = {
    ("os", "replace"),
    ("np", "save"),
    ("np", "savez"),
    ("torch", "save"),
    ("json", "dump"),
    ("shutil", "copy"),
    ("shutil", "move"),
}
# Files that write without it, and where to.
ELSEWHERE = {
    "bulk/storage.py": "a temporary file, which is then sent to object storage",
    "cli/_output.py": "the system's file that keeps nothing",
    "data/kept.py": "a draft in the cache of the datasets library",
    "data/spool.py": "a temporary folder",
    "engine/deferred.py": "a temporary folder",
    "folders/folder.py": "a draft that files/save.py makes",
    "files/modules/adapters.py": "such a draft",
    "files/modules/checkpoint.py": "such a draft",
    "files/modules/custom.py": "such a draft",
    "files/save.py": "such a draft",
    "folders/weights.py": "such a draft",
    "training/checkpoints.py": "a draft; and checkpoints on their way out are renamed",
    "training/trainer_saving.py": "a checkpoint's draft",
    "training/training_step.py": "a checkpoint's draft",
    "workbench/publishing.py": "a temporary folder, which is then uploaded",
    "workbench/records/saved.py": "a draft of the model's folder",
}


def writes(source: str) -> list[int]:
    """The lines of a source that write or move files."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [call.lineno for call in calls if is_write(call)]


def is_write(call: ast.Call) -> bool:
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name == "open":
        given = [*call.args, *(word.value for word in call.keywords if word.arg == "mode")]
        modes = [str(value.value) for value in given if isinstance(value, ast.Constant)]
        return any(set(mode) <= set("rwaxbt+") and set(mode) & set("wax+") for mode in modes)
    module = getattr(getattr(function, "value", None), "id", "")
    return name in WRITERS or (module, name) in IN_MODULES


@pytest.mark.parametrize(
    "code",
    [
        "path.write_text('a')",
        "path.open('w')",
        "open(path, mode='ab')",
        "np.save(path, rows)",
        "save_file(tensors, path)",
        "os.replace(a, b)",
    ],
)
def test_a_write_is_seen(code):
    assert writes(f"import os\n{code}\n") == [2]
    assert not writes("text.replace('w', 'a'); path.open(); open('a.txt'); path.open('rb')")


def test_files_are_written_by_disk_alone():
    found = {}
    for path in SOURCE.rglob("*.py"):
        name = path.relative_to(SOURCE).as_posix()
        if not name.startswith("disk/"):
            found[name] = writes(path.read_text(encoding="utf-8"))
    # np.save is given an open file of sentune.disk there.
    through = {"cli/encode.py"}
    assert {name for name, lines in found.items() if lines} == ELSEWHERE.keys() | through
    for name in through:
        assert "files.opened(" in (SOURCE / name).read_text(encoding="utf-8")
