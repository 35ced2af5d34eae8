"""Long texts are cut into overlapping chunks on sentence ends."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentune.errors import SettingError
from sentune.text import chunks
from sentune.text.chunks import Chunker, tokens_of, words
from tests import tiny

TOKENIZER = tiny.tokenizer()


def parts(text, tokens, overlap=0, offsets=words):
    found = Chunker(offsets, tokens, overlap).chunks(text)
    return [text[start:end] for start, end in found]


def test_a_short_text_is_one_chunk_without_the_blanks_around_it():
    assert Chunker(words, 5).chunks("  one two three\n") == [(2, 15)]
    assert parts("one", 1) == ["one"]


@pytest.mark.parametrize("text", ["", " ", "\n\n \t"])
def test_a_text_without_words_has_no_chunk(text):
    assert parts(text, 5) == []


def test_chunks_end_where_sentences_do():
    text = "One two three. Four five six seven. Eight nine? Ten eleven twelve."
    assert parts(text, 8) == [
        "One two three. Four five six seven.",
        "Eight nine? Ten eleven twelve.",
    ]


def test_the_next_chunk_starts_with_the_last_sentences_of_the_one_before():
    text = "One two three four five. Six seven. Eight nine ten. Eleven twelve thirteen fourteen."
    assert parts(text, 10, 4) == [
        "One two three four five. Six seven. Eight nine ten.",
        "Eight nine ten. Eleven twelve thirteen fourteen.",
    ]


def test_without_sentence_ends_chunks_overlap_by_words():
    text = " ".join(f"w{n}" for n in range(10))
    assert parts(text, 4, 1) == ["w0 w1 w2 w3", "w3 w4 w5 w6", "w6 w7 w8 w9"]


def test_lines_and_paragraphs_end_chunks_before_words_do():
    assert parts("a b c\nd e f\ng h i", 5) == ["a b c", "d e f", "g h i"]
    assert parts("a b c\nd\n\ne f g h", 5) == ["a b c\nd", "e f g h"]


def test_an_abbreviation_before_a_small_letter_is_no_end():
    text = "Words, e.g. nouns. They are many and long."
    assert parts(text, 5) == ["Words, e.g. nouns.", "They are many and long."]


def test_sentences_of_languages_without_blanks():
    core = tokens_of(TOKENIZER)
    text = "今天天气。明天下雨吗？后天晴。"
    assert all(part[-1] in "。？" for part in parts(text, 10, offsets=core))
    assert "".join(parts(text, 10, offsets=core)) == text


def test_a_word_of_more_tokens_than_a_chunk_has_is_split():
    text = "zq" * 20  # 40 pieces of one letter
    found = parts(text, 16, 0, tokens_of(TOKENIZER))
    assert [len(part) for part in found] == [16, 16, 8]


def texts(seed, words_=2_000):
    rng = random.Random(seed)
    out = []
    for _ in range(words_):
        out.append(rng.choice([*tiny.WORDS, "zebra", "Überzug", "x1"]))
        out.append(rng.choice([" "] * 8 + [". ", "? ", "\n", "\n\n"]))
    return "".join(out)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("tokens", "overlap"), [(7, 0), (7, 3), (62, 7), (62, 30)])
def test_no_chunk_is_truncated_and_none_of_the_text_is_lost(seed, tokens, overlap):
    text = texts(seed)
    offsets = tokens_of(TOKENIZER)
    found = Chunker(offsets, tokens, overlap).chunks(text)
    covered = set()
    for (start, end), (later, _) in zip(found, [*found[1:], (len(text), 0)]):
        assert len(offsets(text[start:end])) <= tokens
        assert start < later  # each begins after the one before
        assert end <= len(text) and text[start:end] == text[start:end].strip()
        shared = text[later:end] if later < end else ""
        assert len(offsets(shared)) <= overlap
        covered.update(range(start, end))
    lost = [place for place in range(len(text)) if place not in covered and text[place].strip()]
    assert lost == []
    sizes = [len(offsets(text[start:end])) for start, end in found]
    assert min(sizes[:-1]) > tokens // 4  # no crumbs


def test_a_long_text_is_tokenised_in_blocks_with_the_same_chunks(monkeypatch):
    text = texts(5, words_=20_000)
    sizes = []

    def offsets(part):
        sizes.append(len(part))
        return words(part)

    whole = Chunker(words, 30, 6).chunks(text)
    monkeypatch.setattr(chunks, "_BLOCK_CHARACTERS", 5_000)
    assert Chunker(offsets, 30, 6).chunks(text) == whole
    assert max(sizes) == 5_000 and len(sizes) > 10


@given(st.text(alphabet="ab .\n。?é\u3000", max_size=300), st.integers(1, 9), st.integers(0, 4))
@settings(max_examples=300, deadline=None)
def test_any_text_is_covered(text, tokens, overlap):
    if 2 * overlap >= tokens:
        return
    found = Chunker(words, tokens, overlap).chunks(text)
    covered = {place for start, end in found for place in range(start, end)}
    assert {place for place, letter in enumerate(text) if letter.strip()} <= covered
    assert [start for start, _ in found] == sorted({start for start, _ in found})
    assert all(len(words(text[start:end])) <= tokens for start, end in found)


@pytest.mark.parametrize(("tokens", "overlap"), [(0, 0), (10, 5), (10, -1), (10, 2.0)])
def test_sizes_that_make_no_chunks_are_refused(tokens, overlap):
    with pytest.raises(SettingError):
        Chunker(words, tokens, overlap)


def test_a_tokenizer_without_offsets_counts_words():
    assert tokens_of(object()) is words
