"""A file imports only from lower layers, or from its own package, and never in a circle."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "sentune"

LAYERS = (
    {"__init__", "_lazy", "_version", "checks", "compat", "errors", "tables", "types"},
    {"disk", "machine", "vectors"},
    {"folders", "hub", "text"},
    {"data", "flow", "search"},
    {"engine", "evaluation", "record"},
    {"losses", "models", "report"},
    {"files"},
    {"share"},
    {"encoder"},
    {"training"},
    {"bulk", "datasets", "index", "quantization", "readers", "util", "workbench"},
    {"demo"},
    {"cli"},
    {"__main__"},
)
LAYER = {package: number for number, layer in enumerate(LAYERS) for package in layer}


def package_of(module: str) -> str:
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


# A stub is what the lazy front door of its package reads, so it imports as a file does. The one of
# the whole library is in no layer: it names what every package has to offer.
FILES = [
    path
    for path in sorted([*SOURCE.rglob("*.py"), *SOURCE.rglob("*.pyi")])
    if path != SOURCE / "__init__.pyi"
]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_a_file_imports_only_from_lower_layers_or_its_own_package(path):
    package = path.relative_to(SOURCE).with_suffix("").parts[0]
    assert package in LAYER, f"{package} is in no layer: name it in LAYERS"
    for name in imports_of(path):
        other = package_of(name)
        assert other in LAYER, f"{path.name} imports {name}"
        # Layer 0 holds single files that may use each other; from 1 on, neighbours may not.
        allowed = (
            other == package or LAYER[other] < LAYER[package] or LAYER[other] == LAYER[package] == 0
        )
        assert allowed, f"{path.relative_to(SOURCE)} ({LAYER[package]}) imports {name}"


def test_downloads_and_the_file_format_do_not_know_each_other():
    """Either can be replaced: files are read from any folder, and any file can be downloaded."""
    for package, other in (("files", "hub"), ("folders", "hub"), ("hub", "files")):
        paths = list((SOURCE / package).rglob("*.py"))
        assert paths
        for path in paths:
            assert other not in map(package_of, imports_of(path)), f"{path} imports {other}"


def dotted(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(["sentune", *(part for part in parts if part != "__init__")])


def graph() -> dict[str, set[str]]:
    """Which file imports which, also inside functions and under TYPE_CHECKING."""
    sources = {dotted(path): path for path in SOURCE.rglob("*.py")}
    edges = {}
    for name, path in sources.items():
        edges[name] = set()
        for module, names in froms_of(path):
            found = {f"{module}.{one}" for one in names if f"{module}.{one}" in sources}
            edges[name] |= found or ({module} & sources.keys())
    return edges


def froms_of(path: Path) -> list[tuple[str, list[str]]]:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    found = [(a.name, []) for n in nodes if isinstance(n, ast.Import) for a in n.names]
    froms = [n for n in nodes if isinstance(n, ast.ImportFrom) and n.module and not n.level]
    return found + [(node.module, [alias.name for alias in node.names]) for node in froms]


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Groups of files that reach each other, by Tarjan's algorithm."""
    place: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(name: str) -> None:
        place[name] = low[name] = len(place)
        stack.append(name)
        for other in edges[name]:
            if other not in place:
                visit(other)
            if other in stack:
                low[name] = min(low[name], low[other])
        if low[name] == place[name]:
            group = stack[stack.index(name) :]
            del stack[-len(group) :]
            if len(group) > 1 or name in edges[name]:
                found.append(sorted(group))

    for name in edges:
        if name not in place:
            visit(name)
    return found


def test_no_files_import_each_other_in_a_circle():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [["b", "c"]]
    assert circles(graph()) == []


def test_the_source_is_found():
    assert len([path for path in FILES if path.suffix == ".py"]) > 100
    assert len([path for path in FILES if path.suffix == ".pyi"]) > 5
    assert sum(map(len, graph().values())) > 300


def test_only_methods_that_users_expect_on_a_lower_layer_call_a_higher_one():
    users = [
        (path.relative_to(SOURCE).as_posix(), node.args[0].value)
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "from_higher_layer"
    ]
    files = ("models/files.py", "sentune.files.modules.alone")  # `load` and `save` of a module
    fit = ("encoder/fit_mixin.py", "sentune.training.fit")
    assert sorted(users) == [*[fit] * 2, *[files] * 2]
