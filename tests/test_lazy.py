"""Startup: the package is instant, and its names arrive when they are used."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "datasets", "sklearn", "scipy", "numpy")


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["sentune", "sentune.cli"])
def test_import_loads_nothing_heavy(module):
    code = f"import sys, {module}; print([m for m in {HEAVY!r} if m in sys.modules])"
    assert run(code) == "[]"


def test_import_takes_less_than_a_fifth_of_a_second():
    code = "import time; t = time.perf_counter(); import sentune; print(time.perf_counter() - t)"
    # A busy machine slows some runs, a slow import slows them all.
    assert any(float(run(code)) < 0.2 for _ in range(20))


@pytest.mark.parametrize(
    ("missing", "code"),
    [
        ("accelerate", "from sentune.cli import main; main(['demo'])"),
        ("datasets", "from sentune.cli import main; main(['demo'])"),
        ("accelerate", "from sentune import SentenceTransformerTrainer"),
        ("accelerate", "from sentune import SentenceTransformer as S; S.fit(None, [])"),
    ],
)
def test_without_the_extra_for_training_its_command_is_named(missing, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = f"import sys; sys.modules[{missing!r}] = None\n{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert f"{missing} is needed here" in last
    assert last.endswith('pip install "sentune[train]"')
    assert "Documents" not in done.stdout  # before any work


def test_every_public_name_can_be_imported():
    import sentune

    assert len(sentune.__all__) == len(set(sentune.__all__)) > 3
    for name in sentune.__all__:
        assert getattr(sentune, name) is not None, name


def test_an_unknown_name_is_an_attribute_error():
    import sentune

    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = sentune.Nonsense
