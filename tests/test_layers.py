"""The floors of the house: a file imports only from lower floors, or from its own folder."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "sentune"

FLOORS = {
    "__init__": 0,
    "_lazy": 0,
    "_version": 0,
    "errors": 0,
    "types": 0,
    "device": 0,
    "similarity": 0,
    "quantize": 0,
    "distributed": 0,
    "text": 1,
    "data": 1,
    "models": 2,
    "files": 3,
    "encoder": 4,
    "losses": 4,
    "evaluation": 5,
    "search": 4,
    "training": 6,
    "report": 7,
    "cli": 8,
    "util": 8,
    "readers": 8,
    "datasets": 8,
    "quantization": 8,
    "training_args": 8,
    "trainer": 8,
    "similarity_functions": 8,
    "sampler": 8,
    "data_collator": 8,
    "model_card": 8,
}


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports_of(path: Path) -> list[str]:
    package = ["sentune", *path.relative_to(SOURCE).with_suffix("").parts]
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = ".".join(package[: -node.level])
            found.append(f"{base}.{node.module}" if node.module else base)
        elif isinstance(node, ast.ImportFrom) and node.module == "sentune":
            found += [f"sentune.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append(node.module)
    return [name for name in found if name.split(".")[0] == "sentune"]


# A stub is what the lazy front door of its room reads, so it imports as a file does. The one of the
# whole house stands on no floor: it names what every room has to offer.
FILES = [
    path
    for path in sorted([*SOURCE.rglob("*.py"), *SOURCE.rglob("*.pyi")])
    if path != SOURCE / "__init__.pyi"
]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_file_imports_only_from_lower_floors_or_its_own_room(path):
    room = path.relative_to(SOURCE).with_suffix("").parts[0]
    assert room in FLOORS, f"{room} has no floor: give it one in the house plan"
    for name in imports_of(path):
        other = room_of(name)
        assert other in FLOORS, f"{path.name} imports {name}"
        # Floor 0 holds single files that may use each other; from floor 1 up, neighbours may not.
        allowed = (
            other == room or FLOORS[other] < FLOORS[room] or FLOORS[other] == FLOORS[room] == 0
        )
        assert allowed, f"{path.relative_to(SOURCE)} (floor {FLOORS[room]}) imports {name}"


def test_the_source_is_found():
    assert len([path for path in FILES if path.suffix == ".py"]) > 100
    assert len([path for path in FILES if path.suffix == ".pyi"]) > 5


def test_the_only_door_upstairs_is_fit():
    users = [
        (path.relative_to(SOURCE).as_posix(), node.args[0].value)
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "upstairs"
    ]
    assert users == [("encoder/sentence_transformer.py", "sentune.training.fit")]
