"""Near duplicates are the same sentence with a slip of the pen, and nothing else."""

import random
import string
import time

import pytest

from sentune.workbench.rows.duplicates import near_duplicates, normalised

SAME = """
My card has not arrived yet. | my card has not arrived yet
My card hasn't arrived yet. | My card has not arrived yet!
Can I top-up any amount? | Can I top up any amount
How are exchange rates determined? | How are the exchange rates determined?
Please help me to cancel a transfer | Help me to cancel a transfer
Where can I find the exchange rate? | Where can I find the exhcange rate?
Where can I find the exchange rate? | Where can I find the exchangge rate?
Where can I find the exchange rate? | Where can I find the echange rate?
Where can I find the exchange rate? | Where can I find the exchange rates?
Where can I find the exchange rate? | Where can I find the exchange rste?
Where  can I\tfind the exchange rate? | Where can I find the exchange rate?
\u201cIt\u2019s fine,\u201d he said to all of us | "It's fine", he said to all of us.
Der Zug nach Berlin f\u00e4hrt um 5 Uhr ab | DER ZUG NACH BERLIN F\u00c4HRT UM 5 UHR AB.
"""
OTHER = """
My card has not arrived | My card has arrived
My card hasn't arrived | My card has arrived
I can pay with my card at the bank | I can't pay with my card at the bank
The stock rose by 1.5 percent on Monday | The stock rose by 15 percent on Monday
It was built in 1984 by the same people | It was built in 1985 by the same people
How do I sort a list of words in C#? | How do I sort a list of words in C?
A man is playing a large flute | A man is playing a flute
The boy is playing with a ball | The toy is playing with a ball
hallo | hello
:) | :(
\u4ed6\u5728\u5317\u4eac\u6559\u4e66\u4e5d\u5e74 | \u5979\u5728\u5317\u4eac\u6559\u4e66\u4e5d\u5e74
\u092f\u0939 \u0932\u0921\u093c\u0915\u093e | \u092f\u0939 \u0932\u0921\u093c\u0915\u0940
"""


def pairs(lines):
    return [tuple(line.split(" | ")) for line in lines.strip().splitlines()]


@pytest.mark.parametrize(("one", "two"), pairs(SAME))
def test_a_slip_of_the_pen_is_a_near_duplicate(one, two):
    others = [
        "Where is the exchange rate?",
        "An exchange rate for all",
        "A rate of exchange, a rate",
    ]
    ((i, j, similarity),) = near_duplicates([one, *others, two])
    assert (i, j) == (0, 4)
    assert 0.9 <= similarity <= 1


@pytest.mark.parametrize(("one", "two"), pairs(OTHER))
def test_another_meaning_is_none(one, two):
    assert near_duplicates([one, two]) == []


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("My flight is on 1/12/2020", "My flight is on 11/2/2020"),
        ("What is 10 - 2?", "What is 10 / 2?"),
        ("What is 10 * 2?", "What is 10/2?"),
        ("How much is 2*3?", "How much is 23?"),
        ("They won 1-12", "They won 11-2"),
        ("They won 1 12 times", "They won 11 2 times"),
        ("He is notable.", "He is not able."),
    ],
)
def test_numbers_and_negations_keep_their_borders(one, two):
    assert near_duplicates([one, two]) == []
    assert near_duplicates([one, f"{one.upper()} "])[0][2] == 1.0


def test_a_unit_may_be_apart_from_its_number():
    assert near_duplicates(["a run of 10 km", "a run of 10km"]) == [(0, 1, 1.0)]


def test_two_common_words_are_no_slip_of_each_other():
    texts = [
        f"The new {word} was {what} today"
        for word in ("trial", "trail")
        for what in "closed long".split()
    ]
    assert len(near_duplicates(texts)) == 2  # so few texts do not show that both are words
    texts += [f"We {what} the {word}" for word in ("trial", "trail") for what in ("saw", "left")]
    assert near_duplicates(texts) == []


def test_a_long_text_may_differ_in_a_word_but_not_in_a_number():
    words = [
        f"{one}{two}ing" for one in ("walk", "sing", "talk", "jump", "read") for two in "abcdef"
    ]
    text = " ".join(words)
    changed = " ".join([*words[:11], "other", *words[12:]])
    ((_, _, similarity),) = near_duplicates([text, changed])
    assert 0.9 < similarity < 1
    assert near_duplicates([text, changed], threshold=0.999) == []
    assert near_duplicates([text, text.replace(words[11], "not")]) == []
    assert near_duplicates([text, text.replace(words[11], "12")]) == []


def test_equal_texts_are_paired_with_the_first_of_them():
    assert near_duplicates(["Equal texts!", "another one", "equal texts", "equal texts"]) == [
        (0, 2, 1.0),
        (0, 3, 1.0),
    ]
    assert near_duplicates(["", " ", ""]) == []
    assert near_duplicates([]) == []


def test_the_same_is_found_in_parts(monkeypatch):
    from sentune.workbench.rows import duplicates

    texts = random_texts(300)
    texts += [slip(text) for text in texts[:100]]
    whole = near_duplicates(texts)
    assert len(whole) >= 98
    assert sum(j - i == 300 for i, j, _ in whole) == len(whole)
    monkeypatch.setattr(duplicates, "_MOST_HASHES", 1000)
    assert near_duplicates(texts) == whole


def test_it_is_fast():
    texts = random_texts(10_000)
    start = time.perf_counter()
    assert len(near_duplicates([*texts, *map(slip, texts[:100])])) >= 98
    assert time.perf_counter() - start < 8  # 0.4 s on an idle machine


def test_normalised_text_keeps_what_tells_numbers_and_negations_apart():
    assert normalised(" I CAN'T  pay 1.50,- (or -5)!\n") == "i can not pay 1.50 or -5"
    assert normalised("won\u2019t, isn't; don't") == "will not is not do not"
    assert normalised(" ?! ") == "?!"
    assert normalised("\uff21\uff22\uff23 na\u00efve") == "abc na\u00efve"


def random_texts(count):
    generator = random.Random(0)
    words = ["".join(generator.choices(string.ascii_lowercase, k=8)) for _ in range(2000)]
    return [" ".join(generator.choices(words, k=10)).capitalize() for _ in range(count)]


def slip(text):
    """The text with the letters of its first word swapped."""
    return text[:3] + text[4] + text[3] + text[5:]


def test_of_some_texts_alone_the_same_near_duplicates_are_found():
    """Those between the first texts and the others, as among all pairs."""
    rng = random.Random(5)
    words = ["".join(rng.choices(string.ascii_lowercase, k=7)) for _ in range(400)]
    texts = [" ".join(rng.sample(words, rng.choice([4, 30]))) for _ in range(200)]
    changed = [text[:-1] if n % 2 else f"The {text}?" for n, text in enumerate(texts)]
    everything = [*texts[:100], *changed, *texts[100:]]
    wanted = {(i, j) for i, j, _ in near_duplicates(everything) if i < 100 <= j}
    found = {(i, j) for i, j, _ in near_duplicates(everything, first=100) if i < 100}
    assert found == wanted
    assert len(found) > 80
