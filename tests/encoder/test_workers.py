"""Worker pools: what happens when a process dies, is started wrongly, or settings change."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from sentune import SentenceTransformer
from sentune.errors import InputError, SettingError
from sentune.models.pooling import Pooling
from sentune.models.transformer import Transformer
from tests import uneven

TEXTS = uneven.texts(200, seed=6, longest=60)


class DiesOn(Transformer):
    """Ends its process at one text, every time or until a file is there; raises at another."""

    def tokenize(self, texts, **kwargs):
        kind = os.environ.get("SENTUNE_TEST_DIES", "")
        if kind and os.environ.get("SENTUNE_TEST_PARENT") != str(os.getpid()):
            once = kind == "always" or not os.path.exists(kind)
            if once and any("fish fish fish" in text for text in texts):
                if kind != "always":
                    open(kind, "w").close()
                os.kill(os.getpid(), signal.SIGKILL)
        if any("water water water" in text for text in texts):
            raise ValueError("no water, please")
        return super().tokenize(texts, **kwargs)


@pytest.fixture
def model(tiny_folders, monkeypatch):
    monkeypatch.setenv("SENTUNE_TEST_PARENT", str(os.getpid()))
    return SentenceTransformer(modules=[DiesOn(tiny_folders("bert")), Pooling(32)], device="cpu")


def test_a_worker_that_dies_is_replaced_and_its_texts_are_done_again(
    model, monkeypatch, tmp_path, caplog
):
    texts = [*TEXTS, "fish fish fish", *TEXTS[::-1]]
    expected = model.encode(texts)
    monkeypatch.setenv("SENTUNE_TEST_DIES", str(tmp_path / "died"))
    with model.start_multi_process_pool(["cpu", "cpu"]) as pool:
        found = model.encode(texts, pool=pool, chunk_size=20)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert "a worker died (signal SIGKILL)" in caplog.text
        os.kill(pool._workers[0].process.pid, signal.SIGKILL)  # between two calls
        time.sleep(0.2)
        found = model.encode(texts, pool=pool, chunk_size=20)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_texts_that_kill_every_worker_end_the_call_with_the_reason(model, monkeypatch):
    monkeypatch.setenv("SENTUNE_TEST_DIES", "always")
    pool = model.start_multi_process_pool(["cpu"])
    with pytest.raises(InputError, match="died 2 times on the same texts .signal SIGKILL"):
        model.encode([*TEXTS, "fish fish fish"], pool=pool, chunk_size=300)
    with pytest.raises(SettingError, match="was stopped"):
        model.encode(TEXTS, pool=pool)


def test_a_pool_follows_the_settings_of_the_model_and_gives_its_errors(model):
    with model.start_multi_process_pool(["cpu"]) as pool:
        np.testing.assert_allclose(model.encode(TEXTS, pool=pool), model.encode(TEXTS), atol=1e-5)
        model.max_seq_length = 7
        model.set_pooling_include_prompt(False)
        model.prompts["query"] = "a cat "
        expected = model.encode(TEXTS, prompt_name="query")
        found = model.encode(TEXTS, pool=pool, prompt_name="query")
        np.testing.assert_allclose(found, expected, atol=1e-5)
        with pytest.raises(ValueError, match="no water, please"):
            model.encode([*TEXTS, "water water water"], pool=pool)
        found = model.encode(TEXTS, pool=pool, prompt_name="query")
        np.testing.assert_allclose(found, expected, atol=1e-5)


SCRIPT = """
from sentune import SentenceTransformer
from sentune.models import Pooling, Transformer
model = SentenceTransformer(modules=[Transformer({folder!r}), Pooling(32)], device="cpu")
{guard}
    with model.start_multi_process_pool(["cpu", "cpu"]) as pool:
        print(model.encode(["a cat", "a dog"] * 20, pool=pool).shape)
"""


@pytest.mark.parametrize(
    ("guard", "is_file", "works"),
    [
        ("if __name__ == '__main__':", True, True),
        ("if True:", True, False),
        ("if __name__ == '__main__':", False, False),
    ],
    ids=["with a guard", "without", "from stdin"],
)
def test_a_program_that_cannot_start_processes_is_told_so(
    guard, is_file, works, tmp_path, tiny_folders
):
    script = SCRIPT.format(folder=str(tiny_folders("bert")), guard=guard)
    path = tmp_path / "program.py"
    path.write_text(script)
    run = [sys.executable, str(path)] if is_file else [sys.executable, "-"]
    done = subprocess.run(
        run, input="" if is_file else script, capture_output=True, text=True, timeout=120
    )
    if works:
        assert done.returncode == 0 and "(40, 32)" in done.stdout, done.stderr
    else:
        assert done.returncode != 0
        assert "if __name__ == '__main__':" in done.stderr.splitlines()[-1]
