"""The corpus of the demo: the documentation inside the installed Python's standard library.

The structure of the docstrings gives pairs without labels: the first paragraph says what a function
or class does (the query); its name, its parameters and the remaining text are what a search should
find (the document). The source is parsed with `ast`; no module is imported or run.

An entry is a function, method or class with a docstring, unless it is defined inside a function or
its own name begins with a single underscore, in a file outside `SKIPPED_FOLDERS` (third-party
packages, tests, the IDLE editor and the turtle demos). On Python 3.11 that is 6,296 entries, 5,822
once those that repeat a query or a document are dropped (`distinct`), read in a few seconds.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

from sentune.errors import DatasetError, SettingError

SKIPPED_FOLDERS = frozenset(
    {"site-packages", "dist-packages", "__pycache__"} | {"test", "tests", "idlelib", "turtledemo"}
)

_WORD = re.compile(r"\w+")
_PRIVATE = re.compile(r"_(?!_)")
_BLANK_LINE = re.compile(r"\n[ \t]*\n")
_Definition: TypeAlias = "ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef"


class Entry(NamedTuple):
    """One function, method or class and what its docstring says.

    The name is dotted, as `threading.Timer`. The query is the first paragraph of the docstring, the
    document the name with the parameters and the rest of the docstring; both on one line.
    """

    name: str
    query: str
    document: str


def entries(root: str | Path | None = None) -> list[Entry]:
    """Every entry below a folder of Python source, by default this Python's; an error if none."""
    folder = Path(root) if root is not None else Path(sysconfig.get_paths()["stdlib"])
    found = [entry for path in _source_files(folder) for entry in _entries_of(path, folder)]
    if not found:
        raise DatasetError(
            f"no documented Python source in {folder}; this Python seems to be installed without "
            "the source of its standard library: use one that has it"
        )
    return found


def distinct(found: Iterable[Entry]) -> list[Entry]:
    """The entries without those whose query, or whose document, an earlier entry has too.

    Queries that differ only in case and punctuation ("Return the name." and "return the name")
    count as equal.
    """
    queries: set[str] = set()
    documents: set[str] = set()
    kept = []
    for entry in found:
        words = " ".join(_WORD.findall(entry.query.lower())) or entry.query
        if words in queries or entry.document in documents:
            continue
        queries.add(words)
        documents.add(entry.document)
        kept.append(entry)
    return kept


def sample(found: Iterable[Entry], n: int) -> list[Entry]:
    """The n entries with the smallest hashes, in the order given; the order changes no choice."""
    found = list(found)
    chosen = set(sorted(found, key=_stable_hash)[:n])
    return [entry for entry in found if entry in chosen]


def split(found: Iterable[Entry], held_out: int = 600) -> tuple[list[Entry], list[Entry]]:
    """Entries to train on and entries held out; the split does not depend on their order."""
    found = list(found)
    if not 0 < held_out < len(found):
        raise SettingError(
            f"held_out must be between 1 and {len(found) - 1} for {len(found)} entries, "
            f"got {held_out}"
        )
    kept = sample(found, held_out)
    chosen = set(kept)
    return [entry for entry in found if entry not in chosen], kept


def _stable_hash(entry: Entry) -> bytes:
    # Of the query: unlike a name, which two systems may define twice, `distinct` makes it unique.
    return hashlib.sha256(entry.query.encode("utf-8", "surrogatepass")).digest()


def _source_files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*.py")
        if not SKIPPED_FOLDERS.intersection(path.relative_to(folder).parts[:-1])
    )


def _entries_of(path: Path, folder: Path) -> Iterator[Entry]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in old modules
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return  # a template, or a file that cannot be read: no entry
    parts = path.relative_to(folder).with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    for name, node in _definitions(tree, module):
        entry = _entry(name, node)
        if entry is not None and not _PRIVATE.match(node.name):
            yield entry


def _definitions(node: ast.AST, prefix: str) -> Iterator[tuple[str, _Definition]]:
    """Functions, methods and classes, with their dotted names, but not those inside functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            name = f"{prefix}.{child.name}"
            yield name, child
            yield from _definitions(child, name)
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield f"{prefix}.{child.name}", child
        elif isinstance(child, (ast.If, ast.Try, ast.With, ast.ExceptHandler)):
            yield from _definitions(child, prefix)


def _entry(name: str, node: _Definition) -> Entry | None:
    paragraphs = _BLANK_LINE.split((ast.get_docstring(node) or "").strip(), maxsplit=1)
    query = _fold(paragraphs[0])
    if not query:
        return None
    rest = _fold(paragraphs[1]) if len(paragraphs) > 1 else ""
    return Entry(name, query, f"{name}({', '.join(_parameters(node))}) {rest}".rstrip())


def _fold(text: str) -> str:
    return " ".join(text.split())


def _parameters(node: _Definition) -> list[str]:
    """Names of the parameters, without `self`; a class has those of its `__init__`."""
    if isinstance(node, ast.ClassDef):
        inits = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
        return _parameters(inits[0]) if inits else []
    args = node.args
    names = [arg.arg for arg in (*args.posonlyargs, *args.args)]
    if names and names[0] in ("self", "cls"):
        names = names[1:]
    names += [f"*{args.vararg.arg}"] if args.vararg else []
    names += [arg.arg for arg in args.kwonlyargs]
    return names + ([f"**{args.kwarg.arg}"] if args.kwarg else [])
