"""Models of words: tokenizers, vectors from a file, weights, bags."""

from __future__ import annotations

import copy
import gzip
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import sentence_transformers.sentence_transformer.modules.tokenizer as peer_tokenizers
import torch

from sentune.engine import packing
from sentune.errors import InputError, InputTypeError, MissingDependencyError, SettingError
from sentune.models.pooling import Pooling
from sentune.models.tokenizer import (
    ENGLISH_STOP_WORDS,
    PhraseTokenizer,
    TransformersTokenizerWrapper,
    WhitespaceTokenizer,
    WordTokenizer,
)
from sentune.models.words import BoW, WordEmbeddings, WordWeights
from tests import tiny
from tests.models.layouts import assert_leaves_its_input_alone, assert_same_in_both_layouts, rebuilt

VOCAB = ["PADDING_TOKEN", "cat", "sat", "Dog", "new_york", "New_York_City", "don't"]
TEXTS = ["Cat sat, cat!", "zebra", "", "the Dog sat on (cat)", "sat"]


@pytest.fixture
def nltk(monkeypatch):
    """A stand-in that splits at white space."""
    fake = SimpleNamespace(word_tokenize=lambda text, preserve_line: text.split())
    monkeypatch.setitem(sys.modules, "nltk", fake)


# Tokenizers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cat sat", ["cat", "sat"]),
        ("(cat), sat!", ["cat", "sat"]),  # without punctuation at the ends
        ("CAT Sat.", ["cat", "sat"]),  # then in lower case
        ("Dog dog", ["Dog"]),  # as written first; "dog" is not in the vocabulary
        ("don't", ["don't"]),  # punctuation inside stays
        ("the cat of The sat", ["cat", "sat"]),
        ("zebra -- !", []),
        ("  \n\t", []),
    ],
)
def test_whitespace_tokenizer_looks_up_one_form_after_another(text, words):
    tokenizer = WhitespaceTokenizer(VOCAB)
    assert [VOCAB[number] for number in tokenizer.tokenize(text)] == words


def test_a_stop_word_ends_the_search():
    tokenizer = WhitespaceTokenizer(["cat"], stop_words=["Cat", "cat."])
    assert tokenizer.tokenize("cat Cat cat. cat! CAT") == [0, 0, 0]


def test_lower_case_comes_first_where_asked():
    assert WhitespaceTokenizer(["Dog", "dog"], do_lower_case=True).tokenize("Dog DOG") == [1, 1]


def test_stop_words_are_those_of_the_peer():
    assert set(ENGLISH_STOP_WORDS) == set(peer_tokenizers.ENGLISH_STOP_WORDS)
    text = "The computer, and a cat: it seems fine without us!"
    vocabulary = text.lower().replace(",", "").split()
    theirs = peer_tokenizers.WhitespaceTokenizer(vocabulary).tokenize(text)
    assert WhitespaceTokenizer(vocabulary).tokenize(text) == theirs
    assert len(ENGLISH_STOP_WORDS) == len(set(ENGLISH_STOP_WORDS))


@pytest.mark.parametrize("kind", [WhitespaceTokenizer, PhraseTokenizer])
def test_tokenizers_are_rebuilt_from_their_settings(kind, nltk):
    tokenizer = kind([*VOCAB, "cat"], stop_words=["b", "a"])
    twin = kind(**tokenizer.settings())
    assert twin.settings() == tokenizer.settings()
    assert twin.settings()["stop_words"] == ["a", "b"]
    assert twin.get_vocab() == [*VOCAB, "cat"]
    assert twin.tokenize("a cat Dog") == tokenizer.tokenize("a cat Dog") == [7, 3]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("new york sat", ["new_york", "sat"]),
        ("New York sat", ["new_york", "sat"]),  # in lower case where not as written
        ("New York City Dog", ["New_York_City", "Dog"]),  # the longest first
        ("york new", []),
        ("new new york", ["new_york"]),
        ("CAT (cat)", ["cat", "cat"]),
        ("the cat", ["cat"]),
    ],
)
def test_phrases_of_the_vocabulary_are_kept_together(nltk, text, words):
    tokenizer = PhraseTokenizer(VOCAB)
    assert [VOCAB[number] for number in tokenizer.tokenize(text)] == words


def test_phrases_too_long_or_malformed_are_no_phrases(nltk):
    tokenizer = PhraseTokenizer(["a_b_c", "a__b", "a_b"], stop_words=(), max_ngram_length=2)
    assert tokenizer.ngram_lookup == {"a_b"}
    assert tokenizer.tokenize("a b c") == [2]
    assert not PhraseTokenizer(["a_b"], ngram_separator=None).ngram_lookup


def test_phrases_need_nltk(monkeypatch):
    monkeypatch.setitem(sys.modules, "nltk", None)
    with pytest.raises(MissingDependencyError, match=r"pip install \"sentune\[words\]\""):
        PhraseTokenizer(VOCAB)


def test_real_nltk_splits_off_punctuation():
    pytest.importorskip("nltk")
    assert PhraseTokenizer(VOCAB).tokenize("New York City's cat, sat.") == [5, 1, 2]


def test_a_transformers_tokenizer_is_wrapped_and_left_alone():
    tokenizer = tiny.tokenizer()
    tokenizer(["cat"], truncation=True, max_length=3)
    wrapped = TransformersTokenizerWrapper(tokenizer)
    ids = wrapped.tokenize("the cat sat on the mat")
    assert len(ids) == 8
    assert tokenizer.backend_tokenizer.truncation["max_length"] == 3
    vocabulary = wrapped.get_vocab()
    assert vocabulary[ids[1]] == "the"


# WordEmbeddings -----------------------------------------------------------------------------------


@pytest.fixture
def vectors():
    rows = torch.randn(len(VOCAB), 4, generator=torch.Generator().manual_seed(0))
    rows[0] = 0
    return rows


@pytest.fixture
def words(vectors):
    return WordEmbeddings(WhitespaceTokenizer(VOCAB), vectors)


def test_known_words_become_their_vectors(words, vectors):
    features = words.read(TEXTS)
    assert features["lengths"] == [3, 0, 0, 3, 1]
    assert features["input_ids"].tolist() == [1, 2, 1, 3, 2, 1, 2]
    out = words(features)["token_embeddings"]
    torch.testing.assert_close(out, vectors[features["input_ids"]])


def test_words_pool_the_same_packed_and_padded(words, vectors):
    pooling = Pooling(4)
    features = words.read(TEXTS)
    packed = pooling(words(packing.pack(features)))["sentence_embedding"]
    padded = pooling(words(words.tokenize(TEXTS)))["sentence_embedding"]
    torch.testing.assert_close(packed, padded)
    torch.testing.assert_close(packed[0], (2 * vectors[1] + vectors[2]) / 3)
    assert packed[1:3].eq(0).all()


def test_long_texts_are_cut_and_prompts_put_before(vectors):
    words = WordEmbeddings(WhitespaceTokenizer(VOCAB), vectors, max_seq_length=2)
    features = words.read(["cat sat cat", "sat"], prompt="Dog ")
    assert features["input_ids"].tolist() == [3, 1, 3, 2]
    assert features["truncated"] == 1


def test_vectors_are_trained_only_where_asked(vectors):
    tokenizer = WhitespaceTokenizer(VOCAB)
    assert not WordEmbeddings(tokenizer, vectors).emb_layer.weight.requires_grad
    trained = WordEmbeddings(tokenizer, vectors, update_embeddings=True)
    trained.emb_layer.weight.data.zero_()
    assert vectors[1:].abs().sum() > 0  # the user's own stay
    assert trained.emb_layer.weight.requires_grad


def test_word_embeddings_are_rebuilt_from_their_settings(words, vectors):
    settings = {"update_embeddings": False, "max_seq_length": 1_000_000}
    assert words.settings() == settings
    assert list(words.state_dict()) == ["emb_layer.weight"]
    twin = rebuilt(words, tokenizer=words.tokenizer, embedding_weights=vectors.tolist())
    assert torch.equal(twin.emb_layer.weight, words.emb_layer.weight)
    assert copy.deepcopy(words).get_embedding_dimension() == 4


def test_a_transformers_tokenizer_will_do():
    tokenizer = tiny.tokenizer()
    words = WordEmbeddings(tokenizer, np.zeros((len(tokenizer), 2)))
    assert words.read(["the cat"])["lengths"] == [4]  # with [CLS] and [SEP]


def test_unusable_arguments_are_named(vectors):
    with pytest.raises(InputTypeError, match="tokenizer must be a WordTokenizer.*got list"):
        WordEmbeddings(VOCAB, vectors)
    with pytest.raises(SettingError, match="6 rows for a vocabulary of 7 words"):
        WordEmbeddings(WhitespaceTokenizer(VOCAB), vectors[:6])
    with pytest.raises(SettingError, match=r"\(vocabulary, width\), got \(4,\)"):
        WordEmbeddings(WhitespaceTokenizer(VOCAB), vectors[0])
    with pytest.raises(SettingError, match="max_seq_length"):
        WordEmbeddings(WhitespaceTokenizer(VOCAB), vectors, max_seq_length=0)


@pytest.mark.parametrize("text", [None, 3, ("a", "b"), {"query": "a"}])
def test_what_is_no_text_is_named_with_its_row(words, text):
    with pytest.raises(InputTypeError, match="row 1 is a"):
        words.read(["cat", text])


# Vectors from a file ------------------------------------------------------------------------------

FILE = "3 2\ncat 1 2\nbroken 1\nDog -3.5 4e-1\nlast 7 8\n"


@pytest.mark.parametrize("name", ["vectors.txt", "vectors.txt.gz"])
def test_a_file_of_vectors_is_read(tmp_path, name, caplog):
    path = tmp_path / name
    opened = gzip.open if name.endswith("gz") else open
    with opened(path, "wt", encoding="utf-8") as file:
        file.write(FILE)
    words = WordEmbeddings.from_text_file(path)
    assert words.tokenizer.get_vocab() == ["PADDING_TOKEN", "cat", "Dog", "last"]
    expected = [[0, 0], [1, 2], [-3.5, 0.4], [7, 8]]
    torch.testing.assert_close(words.emb_layer.weight.detach(), torch.tensor(expected))
    assert "1 lines of another width" in caplog.text


def test_a_file_is_read_as_far_as_asked_with_the_users_tokenizer(tmp_path):
    path = tmp_path / "vectors.csv"
    path.write_text("cat\t1\t2\ndog\t3\t4\nred\t5\t6\n")
    own = WhitespaceTokenizer(stop_words=["cat"])
    words = WordEmbeddings.from_text_file(
        path, update_embeddings=True, item_separator="\t", tokenizer=own, max_vocab_size=2
    )
    assert words.tokenizer.get_vocab() == ["PADDING_TOKEN", "cat", "dog"]
    assert words.read(["cat dog red"])["input_ids"].tolist() == [2]
    assert words.update_embeddings
    assert own.get_vocab() == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("cat 1 2\ndog x 2\n", "line 2: could not convert"),
        ("", "holds no word vectors"),
        ("cat\ndog\n", "holds no word vectors"),
        (None, "there is no file"),
    ],
)
def test_a_file_that_holds_no_vectors_is_named(tmp_path, content, message):
    path = tmp_path / "vectors.txt"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=message):
        WordEmbeddings.from_text_file(path)


# WordWeights --------------------------------------------------------------------------------------


def test_vectors_are_weighted_and_the_mean_divides_by_the_weights(words, vectors):
    weights = WordWeights(VOCAB, {"cat": 3.0, "dog": 0.5}, unknown_word_weight=2)
    features = weights(words(words.tokenize(TEXTS)))
    # cat, sat, cat; nothing; nothing; Dog, sat, cat; sat. "Dog" is found as "dog".
    assert features["token_weights_sum"].tolist() == [8.0, 0.0, 0.0, 5.5, 2.0]
    pooled = Pooling(4)(features)["sentence_embedding"]
    torch.testing.assert_close(pooled[0], (6 * vectors[1] + 2 * vectors[2]) / 8)


@pytest.mark.parametrize("mode", ["mean", "mean_sqrt_len_tokens", "max"])
def test_weights_are_the_same_packed_and_padded(words, mode):
    weights = WordWeights(VOCAB, {"cat": 3.0, "dog": 0.5})
    pooling = Pooling(4, mode)
    texts = [text for text in TEXTS if mode != "max" or words.read([text])["lengths"] != [0]]
    results = []
    for features in (packing.pack(words.read(texts)), words.tokenize(texts)):
        weights.zero_grad()
        out = pooling(weights(words(features)))["sentence_embedding"]
        (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
        results.append((out, weights.emb_layer.weight.grad.clone()))
    torch.testing.assert_close(results[0], results[1])
    assert results[0][1].abs().sum() > 0


def test_word_weights_need_token_embeddings(words):
    with pytest.raises(InputError, match="WordWeights reads 'token_embeddings'"):
        WordWeights(VOCAB, {})(words.read(["cat"]))


def test_word_weights_are_rebuilt_from_their_settings(words):
    weights = WordWeights(tuple(VOCAB), {"cat": 3}, unknown_word_weight=2)
    expected = {"vocab": VOCAB, "word_weights": {"cat": 3}, "unknown_word_weight": 2}
    assert weights.settings() == expected
    assert list(weights.state_dict()) == ["emb_layer.weight"]
    rebuilt(weights)
    assert_same_in_both_layouts(weights, 4)
    for features in (words.tokenize(TEXTS), packing.pack(words.read(TEXTS))):
        assert_leaves_its_input_alone(weights, words(features))
    assert repr(weights).startswith("WordWeights(\n  7 words, unknown_word_weight=2")


# BoW ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cumulative", "first"), [(True, [2 * 3.0, 1.0, 0.0]), (False, [3.0, 1.0, 0.0])]
)
@pytest.mark.parametrize("layout", [packing.pack, packing.pad, lambda features: features])
def test_a_bag_counts_weighted_words(cumulative, first, layout):
    bow = BoW(["cat", "sat", "Dog", "cat"], {"cat": 3.0, "dog": -0.5}, 1, cumulative)
    out = bow(layout(bow.read(TEXTS)))["sentence_embedding"]
    zeros = [0.0] * 3
    assert out.tolist() == [first, zeros, zeros, [3.0, 1.0, -0.5], [0.0, 1.0, 0.0]]
    assert bow.get_embedding_dimension() == 3


def test_a_bag_keeps_stop_words_of_its_vocabulary():
    assert BoW(["the", "cat"]).read(["The the"])["input_ids"].tolist() == [0, 0]


def test_a_bag_that_is_filled_already_passes():
    features = {"sentence_embedding": torch.ones(1, 2)}
    assert BoW(["the", "cat"])(features) is features


def test_bags_are_rebuilt_from_their_settings():
    bow = BoW(["cat", "sat"], {"cat": 3.0}, 2, False)
    assert bow.settings() == {
        "vocab": ["cat", "sat"],
        "word_weights": {"cat": 3.0},
        "unknown_word_weight": 2,
        "cumulative_term_frequency": False,
    }
    assert not bow.state_dict()
    assert rebuilt(bow).weights == [3, 2]
    assert_leaves_its_input_alone(bow, packing.pack(bow.read(TEXTS)))
    assert bow.reads_packed
    assert "2 words" in repr(bow)


def test_a_tokenizer_of_ones_own_will_do(vectors):
    class Letters(WordTokenizer):
        def set_vocab(self, vocab):
            pass

        def get_vocab(self):
            return list("abc")

        def tokenize(self, text, **kwargs):
            return ["abc".index(letter) for letter in text if letter in "abc"]

    words = WordEmbeddings(Letters(), vectors)
    assert words.read(["cab", "z"])["input_ids"].tolist() == [2, 0, 1]
    with pytest.raises(NotImplementedError, match="Letters"):
        words.tokenizer.settings()


def test_a_batch_of_words_says_how_many_each_row_has():
    words = WordEmbeddings(WhitespaceTokenizer(VOCAB), np.ones((len(VOCAB), 2), np.float32))
    features = words.preprocess(TEXTS)
    assert features["sentence_lengths"].tolist() == features["attention_mask"].sum(1).tolist()
    assert max(features["sentence_lengths"]) == 3


def test_weights_that_are_set_are_kept_and_checked(tmp_path):
    bag = BoW(VOCAB)
    bag.weights = [float(n) for n, _ in enumerate(VOCAB)]
    bag.save(str(tmp_path))
    assert BoW.load(str(tmp_path)).weights == bag.weights
    with pytest.raises(SettingError, match="weights"):
        bag.weights = [1.0]
