"""Embeddings kept in a folder: read again for the same model and texts, and for no others."""

import logging

import numpy as np
import pytest
import torch
from datasets import Dataset

from sentune.search import kept, mine_hard_negatives
from tests.fake_encoder import FakeEncoder, sentences

ANSWERS = sentences(40, words=4)
ROWS = Dataset.from_dict({"q": [f"{text} w1" for text in ANSWERS], "a": ANSWERS})


def mine(model, folder, **options):
    options = {"cache_folder": str(folder), "verbose": False, **options}
    return mine_hard_negatives(ROWS, model, **options).to_dict()


def texts_encoded(model):
    return sum(len(texts) for texts, _ in model.calls)


class Weighted(torch.nn.Module):
    """A model with weights, as they are looked at."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.head = torch.nn.Linear(24, 24, dtype=torch.bfloat16)
        self.fake = FakeEncoder()
        self.calls, self.device = self.fake.calls, "cpu"
        self.similarity = self.fake.similarity
        self.similarity_pairwise = self.fake.similarity_pairwise

    def encode_query(self, texts, **options):
        return self.encode_document(texts, **options)

    def encode_document(self, texts, **options):
        rows = self.fake.encode(texts, **options)
        return self.head(torch.from_numpy(rows).bfloat16()).detach().float().numpy()


@pytest.mark.parametrize("kind", [FakeEncoder, Weighted])
def test_embeddings_are_kept_for_the_next_run(tmp_path, kind):
    first, second = kind(), kind()
    expected = mine(first, tmp_path / "kept")
    assert texts_encoded(first) == 80
    assert mine(second, tmp_path / "kept") == expected
    assert texts_encoded(second) <= 18  # some, to see whether the model is the same
    names = sorted(path.name for path in (tmp_path / "kept").iterdir())
    assert [name.split("_embeddings_")[0] for name in names] == ["corpus", "query"]


def test_other_texts_and_prompts_have_files_of_their_own(tmp_path):
    mine(FakeEncoder(), tmp_path)
    for options in (
        {"corpus_prompt": "w3 "},
        {"query_prompt": "w3 "},
        {"query_prompt_name": "x"},
        {"corpus": ["w1 w2"]},
    ):
        before = len(list(tmp_path.glob("*.npy")))
        with_cache = mine(FakeEncoder(), tmp_path, **options)
        assert with_cache == mine(FakeEncoder(), tmp_path / "other", **options)
        assert len(list(tmp_path.glob("*.npy"))) == before + 1


def test_a_model_trained_a_little_more_is_another(tmp_path):
    mine(Weighted(), tmp_path)
    model = Weighted()
    with torch.no_grad():
        model.head.weight[3, 5] *= 1.01  # the last bit or two of one weight
    expected = mine(model, tmp_path / "other")
    model.calls.clear()
    assert mine(model, tmp_path) == expected
    assert texts_encoded(model) == 80
    assert len(list(tmp_path.glob("*.npy"))) == 4


def test_a_model_without_weights_is_known_by_what_it_gives(tmp_path, caplog):
    class Other(FakeEncoder):
        def vector(self, text):
            return super().vector(text) + 1e-3

    mine(FakeEncoder(), tmp_path)
    expected = mine(Other(), tmp_path / "other")
    assert mine(Other(), tmp_path) == expected
    assert "is of another model" in caplog.text
    again = Other()
    assert mine(again, tmp_path) == expected
    assert texts_encoded(again) <= 18


def test_weights_that_work_otherwise_are_seen_by_what_they_give(tmp_path):
    """As with an adapter that is switched off, or a hook."""
    model = Weighted()
    mine(model, tmp_path)
    model.fake.word = lambda word: -FakeEncoder.word(model.fake, word)[::-1]
    assert mine(model, tmp_path) == mine(model, tmp_path / "other")


def damage(path, kind):
    content = bytearray(path.read_bytes())
    if kind == "cut":
        del content[-1000:]
    elif kind == "one byte":
        content[len(content) // 2] ^= 1
    elif kind == "no array":
        content[:] = b"something else"
    elif kind == "empty":
        content.clear()
    elif kind == "other rows":
        np.save(path, np.ones((3, 24), np.float32))
        return
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("kind", ["cut", "one byte", "no array", "empty", "other rows"])
def test_a_damaged_file_is_written_again(tmp_path, kind, caplog):
    caplog.set_level(logging.WARNING)
    expected = mine(FakeEncoder(), tmp_path)
    for path in tmp_path.glob("*.npy"):
        damage(path, kind)
    model = FakeEncoder()
    assert mine(model, tmp_path) == expected
    assert caplog.text.count("is damaged") == 2
    assert texts_encoded(model) == 80
    caplog.clear()
    assert mine(FakeEncoder(), tmp_path) == expected
    assert caplog.text == ""


def test_embeddings_that_were_not_all_written_are_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "_TEXTS_AT_A_TIME", 16)

    class Failing(FakeEncoder):
        def encode(self, texts, **options):
            if len(self.calls) == 2:
                raise OSError("the disk is full")
            return super().encode(texts, **options)

    with pytest.raises(OSError, match="full"):
        mine(Failing(), tmp_path)
    assert not list(tmp_path.iterdir())
    expected = mine_hard_negatives(ROWS, FakeEncoder(), verbose=False).to_dict()
    assert mine(FakeEncoder(), tmp_path) == expected  # in three parts


def test_rows_are_read_from_the_disk_when_they_are_needed(tmp_path):
    texts = sentences(1000)
    options = {"normalize_embeddings": True}
    for _ in range(2):
        model = FakeEncoder()
        rows = kept.embedded(model, model.encode, "corpus", texts, options, str(tmp_path))
        assert np.array_equal(rows, FakeEncoder().encode(texts, **options))
        with open("/proc/self/maps") as maps:
            assert str(tmp_path) in maps.read()
        rows[0] = 0  # changes nothing in the file
        assert isinstance(np.load(next(tmp_path.glob("*.npy"))), np.ndarray)  # others read it, too
