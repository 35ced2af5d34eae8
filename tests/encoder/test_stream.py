"""encode_stream: embeddings of texts as they come, in bounded memory."""

import itertools
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

from sentune import SentenceTransformer
from sentune.errors import InputTypeError, SettingError
from sentune.models.pooling import Pooling
from sentune.models.transformer import Transformer
from tests import uneven
from tests.precision import tolerance

LONGEST = 64


@pytest.fixture(scope="module", params=["bert", "mpnet"])
def model(request, tiny_folders):
    return SentenceTransformer(
        modules=[Transformer(tiny_folders(request.param)), Pooling(32)], device="cpu"
    )


@pytest.mark.parametrize("source", [list, iter, tuple], ids=lambda x: x.__name__)
def test_the_rows_are_those_of_encode(model, source):
    texts = uneven.texts(5000, seed=1, longest=LONGEST)
    parts = list(model.encode_stream(source(texts), normalize_embeddings=True, truncate_dim=8))
    assert len(parts[0]) == 2048 and len(parts) >= 2
    expected = model.encode(texts, normalize_embeddings=True, truncate_dim=8)
    np.testing.assert_allclose(np.concatenate(parts), expected, atol=tolerance(1e-6))


def test_prompts_forms_and_precision(model):
    texts = uneven.texts(50, seed=2, longest=LONGEST - 10)
    model.prompts["query"] = "search "
    for options in ({"prompt_name": "query"}, {"prompt": "a cat "}, {"batch_size": 3}):
        (rows,) = model.encode_stream(iter(texts), **options)
        np.testing.assert_allclose(rows, model.encode(texts, **options), atol=1e-6)
    (rows,) = model.encode_stream(iter(texts), convert_to_tensor=True)
    assert isinstance(rows, torch.Tensor)
    (rows,) = model.encode_stream(iter(texts), precision="ubinary")
    assert (rows == model.encode(texts, precision="ubinary")).all()
    assert list(model.encode_stream(iter([]))) == []


def test_what_cannot_be_streamed_is_refused_before_the_first_row(model):
    with pytest.raises(InputTypeError, match="an iterable of texts, got str"):
        model.encode_stream("one text")
    with pytest.raises(InputTypeError, match="got int"):
        model.encode_stream(3)
    with pytest.raises(SettingError, match="needs the ranges of all embeddings"):
        model.encode_stream(["a"], precision="int8")
    with pytest.raises(SettingError, match="quarry"):
        model.encode_stream(["a"], prompt_name="quarry")
    with pytest.raises(SettingError, match="unknown arguments"):
        model.encode_stream(["a"], colour="red")


def test_an_endless_source_is_read_one_window_at_a_time(model):
    taken = itertools.count()
    stream = model.encode_stream(f"cat dog {next(taken)}" for _ in itertools.count())
    assert len(next(stream)) == next(taken) == 2048
    assert len(next(stream)) == 2048
    stream.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("sentune")]
    assert not model.training and model.encode("a cat").shape == (32,)


def test_a_source_that_fails_gives_what_came_before(model):
    def source():
        yield from texts
        raise RuntimeError("line 3000 is broken")

    texts, rows = uneven.texts(3000, seed=3, longest=LONGEST), []
    with pytest.raises(RuntimeError, match="line 3000 is broken"):
        for part in model.encode_stream(source()):
            rows.extend(part)
    np.testing.assert_allclose(np.array(rows), model.encode(texts), atol=1e-6)


def test_two_streams_of_one_model_may_be_read_in_turn(model):
    texts = uneven.texts(4500, seed=4, longest=LONGEST)
    one, two = model.encode_stream(iter(texts)), model.encode_stream(texts[::-1])
    pairs = list(itertools.zip_longest(one, two))
    expected = model.encode(texts)
    rows = np.concatenate([a for a, _ in pairs if a is not None])
    np.testing.assert_allclose(rows, expected, atol=tolerance(1e-6))
    rows = np.concatenate([b for _, b in pairs if b is not None])
    np.testing.assert_allclose(rows, expected[::-1], atol=tolerance(1e-6))


def test_memory_does_not_grow_with_the_number_of_texts(tiny_bert_folder):
    script = """
import resource, sys
from sentune import SentenceTransformer, models
from sentune.models import StaticEmbedding
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=256)], device="cpu")
words = "the cat sat on a mat under green tree by dark water".split()
def texts(n):
    for k in range(n):
        yield f"{words[k % 12]} {words[k // 12 % 12]} {words[k // 144 % 12]} {k}"
def most(n):
    for rows in model.encode_stream(texts(n)): pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
few = most(20_000)
print((most(200_000) - few) / 1024)
"""
    run = [sys.executable, "-c", script, str(tiny_bert_folder)]
    grown = float(subprocess.run(run, check=True, capture_output=True, text=True).stdout)
    assert grown < 50, f"{grown:.0f} MB more for ten times the texts"  # they have 200 MB of rows


@pytest.mark.parametrize("source", ["(str(n) for n in range(9000))", "list(map(str, range(9000)))"])
def test_a_stream_that_is_left_unfinished_ends_quietly_with_the_program(tiny_bert_folder, source):
    script = f"""
import sys
from sentune import SentenceTransformer
stream = SentenceTransformer(sys.argv[1], device="cpu").encode_stream({source})
print(len(next(stream)))
"""
    run = [sys.executable, "-c", script, str(tiny_bert_folder)]
    done = subprocess.run(run, check=True, capture_output=True, text=True)
    assert done.stdout == "2048\n"
    assert "Exception ignored" not in done.stderr
