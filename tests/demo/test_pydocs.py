"""The demo's corpus, on made-up source trees and on the running Python."""

import random
import sys
import time

import pytest

from sentune.demo import pydocs
from sentune.demo.pydocs import Entry
from sentune.errors import DatasetError, SettingError

SOURCE = '''
"""The docstring of a module is no entry."""

def add(a, /, b, *rest, scale=1, **more):
    """Return the sum
    of all numbers.

    The rest   says
    more.

    And more.
    """
    def helper():
        """A function inside a function cannot be called."""

class Stack(list):
    """A pile of many things.

    Last in, first out.
    """

    def __init__(self, items=(), *, limit=None):
        pass

    async def push(self, item):
        """Put one item on top."""

    @classmethod
    def of(cls, *items):
        """Make a stack of these items."""

    class Error(Exception):
        """What is raised by an empty stack."""

    def __len__(self):
        """How many there are."""

if True:
    try:
        def guarded():
            """Defined inside an if and a try."""
    except ImportError:
        pass

def _helper():
    """A private one, for nobody to find."""

class _Hidden:
    def shown(self):
        """Public by its own name."""

def blank():
    """   """

def silent():
    pass
'''


def entry(n: int) -> Entry:
    return Entry(f"module.f{n}", f"what number {n} does", f"module.f{n}(x)")


@pytest.fixture
def tree(tmp_path):
    for name, text in {
        "pack/__init__.py": 'def f():\n    """Found in the package itself."""\n',
        "pack/mod.py": SOURCE,
        "pack/tests/t.py": 'def f():\n    """A test has no reader."""\n',
        "site-packages/x.py": 'def f():\n    """Somebody else wrote this one."""\n',
        "test.py": 'def f():\n    """A file called test is no folder."""\n',
        "broken.py": "def f(:\n",
        "bytes.py": 'def f():\n    """A bad escape \\d is quiet."""\n',
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def test_functions_methods_and_classes_with_a_docstring_are_found(tree):
    assert [e.name for e in pydocs.entries(tree)] == [
        "bytes.f",
        "pack.f",
        "pack.mod.add",
        "pack.mod.Stack",
        "pack.mod.Stack.push",
        "pack.mod.Stack.of",
        "pack.mod.Stack.Error",
        "pack.mod.Stack.__len__",
        "pack.mod.guarded",
        "pack.mod._Hidden.shown",
        "test.f",
    ]


def test_the_query_is_the_first_paragraph_on_one_line(tree):
    found = {e.name: e for e in pydocs.entries(tree)}
    assert found["pack.mod.add"].query == "Return the sum of all numbers."


def test_the_document_is_the_name_with_parameters_and_the_rest(tree):
    found = {e.name: e.document for e in pydocs.entries(tree)}
    assert found["pack.mod.add"] == (
        "pack.mod.add(a, b, *rest, scale, **more) The rest says more. And more."
    )
    assert found["pack.mod.Stack"] == "pack.mod.Stack(items, limit) Last in, first out."
    assert found["pack.mod.Stack.push"] == "pack.mod.Stack.push(item)"
    assert found["pack.mod.Stack.of"] == "pack.mod.Stack.of(*items)"


def test_the_source_is_read_and_never_run(tmp_path):
    (tmp_path / "danger.py").write_text(
        'raise SystemExit\ndef f():\n    """Never gets imported at all."""\n'
    )
    assert [e.name for e in pydocs.entries(tmp_path)] == ["danger.f"]
    assert "danger" not in sys.modules


def test_a_folder_without_source_is_a_clear_error(tmp_path):
    with pytest.raises(DatasetError, match="source of its standard library"):
        pydocs.entries(tmp_path)


def test_repeated_queries_and_documents_are_dropped_after_the_first():
    found = [
        Entry("a", "same query here", "a()"),
        Entry("b", "same query here", "b()"),
        Entry("a", "another query here", "a()"),
        Entry("c", "a third query", "c()"),
    ]
    assert pydocs.distinct(found) == [found[0], found[3]]


def test_the_split_does_not_depend_on_the_order():
    found = [entry(n) for n in range(50)]
    shuffled = random.Random(0).sample(found, k=50)
    train, held_out = pydocs.split(found, held_out=10)
    other_train, other_held_out = pydocs.split(shuffled, held_out=10)
    assert len(held_out) == 10
    assert set(held_out) == set(other_held_out)
    assert set(train) == set(other_train)
    assert sorted(train + held_out) == sorted(found)


def test_the_split_hardly_moves_when_entries_are_added():
    found = [entry(n) for n in range(100)]
    before = set(pydocs.split(found, held_out=20)[1])
    after = set(pydocs.split([*found, entry(100)], held_out=20)[1])
    assert len(before & after) >= 19


def test_the_split_is_the_same_in_every_process():
    # the smallest sha256 of "what number <n> does", computed with hashlib once
    assert {e.name for e in pydocs.split([entry(n) for n in range(6)], 2)[1]} == {
        "module.f2",
        "module.f3",
    }


@pytest.mark.parametrize("held_out", [0, -1, 5, 9])
def test_a_split_that_leaves_nothing_is_refused(held_out):
    with pytest.raises(SettingError, match="between 1 and 4"):
        pydocs.split([entry(n) for n in range(5)], held_out)


def test_a_sample_keeps_the_order_and_does_not_depend_on_it():
    found = [entry(n) for n in range(30)]
    chosen = pydocs.sample(found, 7)
    assert chosen == sorted(chosen, key=found.index)
    assert set(chosen) == set(pydocs.sample(found[::-1], 7))
    assert pydocs.sample(found, 99) == found


def test_the_running_python_has_thousands_of_entries():
    start = time.perf_counter()
    found = pydocs.entries()
    assert time.perf_counter() - start < 30
    unique = pydocs.distinct(found)
    assert 4000 < len(unique) < len(found) < 9000
    by_name = {e.name: e for e in unique}
    assert by_name["textwrap.dedent"].query.startswith("Remove any common leading whitespace")
    assert by_name["shutil.which"].document.startswith("shutil.which(cmd, mode, path) ")
    folders = {e.name.split(".")[0] for e in unique}
    assert not folders & {"test", "idlelib", "site-packages", "torch", "pytest"}
    assert all(e.query == " ".join(e.query.split()) for e in unique)
