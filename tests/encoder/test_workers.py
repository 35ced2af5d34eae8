"""Worker pools: what happens when a process dies, is started wrongly, or settings change."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

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


BODY = """
from sentune import SentenceTransformer
from sentune.models import Normalize, Pooling, Transformer

class Mine(Normalize):
    pass

def main(last=Normalize):
    modules = [Transformer({folder!r}), Pooling(32), last()]
    model = SentenceTransformer(modules=modules, device="cpu")
    print(model.encode(["a cat", "a dog"] * 20, device=["cpu", "cpu"]).shape)

"""
GUARDED = BODY + "if __name__ == '__main__':\n    main()\n"
PLAIN = BODY + "main()\n"
NOTEBOOK = """
import sys, types
main = sys.modules["__main__"] = types.ModuleType("__main__")
exec({cell!r}, main.__dict__)
"""


@pytest.fixture
def said(tmp_path, tiny_folders):
    """Function of a program and the way to start it, to what it writes: its result or its error."""

    def run(program, way="file"):
        program = program.replace("{folder!r}", repr(str(tiny_folders("bert"))))
        path = tmp_path / "program.py"
        path.write_text(NOTEBOOK.format(cell=program) if way == "notebook" else program)
        ways = {"-c": ["-c", program], "stdin": [], "-i": ["-i"], "dash": ["-"]}
        command = [sys.executable, *ways.get(way, [str(path)])]
        if way == "pipe":
            command = ["bash", "-c", f"{sys.executable} <(cat {path})"]
        given = program if way in ("stdin", "-i", "dash") else ""
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=120)
        return done.stdout if "(40, 32)" in done.stdout else done.stderr.strip().splitlines()[-1]

    return run


@pytest.mark.parametrize("way", ["-c", "-i", "notebook"])
def test_without_a_file_no_guard_is_needed(said, way):
    assert "(40, 32)" in said(PLAIN, way)


def test_a_file_without_a_guard_is_told_to_have_one(said):
    error = said(PLAIN)
    assert "put what it does under `if __name__ == '__main__':`" in error
    assert "standard input" not in error


@pytest.mark.parametrize(
    ("program", "way"), [(GUARDED, "stdin"), (PLAIN, "dash"), (GUARDED, "pipe")]
)
def test_a_program_that_workers_cannot_read_is_told_to_be_in_a_file(said, program, way):
    error = said(program, way)
    assert "standard input or a pipe: save it in a file" in error
    assert "__name__" not in error


@pytest.mark.parametrize("way", ["-c", "notebook"])
def test_a_class_that_workers_cannot_import_is_named(said, way):
    error = said(PLAIN.replace("main()\n", "main(Mine)\n"), way)
    assert "a worker process cannot load the model (Can't get attribute 'Mine'" in error
    assert "in a file that can be imported" in error


def test_a_class_of_the_program_s_own_file_is_found(said):
    assert said(GUARDED.replace("    main()\n", "    main(Mine)\n")) == "(40, 32)\n"


def test_the_error_of_a_device_that_is_not_there_comes_from_the_worker(model):
    with model.start_multi_process_pool(["mps" if torch.cuda.is_available() else "cuda:7"]) as pool:
        with pytest.raises(Exception, match="(?i)cuda|mps"):
            model.encode(TEXTS, pool=pool)


def test_a_pool_names_its_processes_also_by_key(model):
    with model.start_multi_process_pool(["cpu", "cpu"]) as pool:
        assert [process.is_alive() for process in pool["processes"]] == [True, True]
        os.kill(pool["processes"][1].pid, signal.SIGKILL)  # as a program that ends one itself
        pool["processes"][1].join(5)
        assert model.encode(TEXTS, pool=pool, chunk_size=50).shape == (len(TEXTS), 32)
        assert all(process.is_alive() for process in pool.processes)
        with pytest.raises(KeyError, match="'input'.* has no queues"):
            pool["input"]
    assert pool.processes == []


@pytest.mark.parametrize("messages", [[], [("run", b"")]])
def test_a_worker_whose_pipe_is_closed_ends_quietly(messages, monkeypatch):
    """As when the process that started it is interrupted."""
    from sentune.encoder import workers

    left, sent = list(messages), []

    class Pipe:
        def send(self, content):
            if sent or not messages:
                raise BrokenPipeError
            sent.append(content)

        def recv(self):
            return left.pop()

    monkeypatch.setattr(workers.signal, "signal", lambda *_: None)
    workers._work(Pipe(), "cpu", 1)
    assert sent == (["ready"] if messages else [])
