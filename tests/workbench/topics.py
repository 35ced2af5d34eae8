"""Small data that a tiny model can learn: texts about topics, each with words of its own."""

from __future__ import annotations

import csv
import random
from pathlib import Path

from tests.tiny import WORDS

TOPICS = 4
_OWN = 6  # words of a topic


def topics() -> list[list[str]]:
    """Words of each topic."""
    words = [word for word in WORDS if word.isalpha() and len(word) > 2]
    return [words[_OWN * n : _OWN * (n + 1)] for n in range(TOPICS)]


def text_about(topic: int, rng: random.Random) -> str:
    """Two words of the topic among others that say nothing."""
    words = [word for word in WORDS if word.isalpha() and len(word) > 2]
    rest = rng.choices(words[_OWN * TOPICS :], k=3)
    for word in rng.sample(topics()[topic], 2):
        rest.insert(rng.randrange(len(rest) + 1), word)
    return " ".join(rest)


def classes(n: int = 400, seed: int = 0) -> dict[str, list]:
    rng = random.Random(seed)
    labels = [rng.randrange(TOPICS) for _ in range(n)]
    return {"text": [text_about(label, rng) for label in labels], "label": labels}


def permuted(data: dict[str, list], seed: int = 0) -> dict[str, list]:
    labels = list(data["label"])
    random.Random(seed).shuffle(labels)
    return {**data, "label": labels}


def pairs(n: int = 300, seed: int = 0) -> dict[str, list]:
    rng = random.Random(seed)
    chosen = [rng.randrange(TOPICS) for _ in range(n)]
    return {
        "query": [text_about(topic, rng) for topic in chosen],
        "document": [text_about(topic, rng) for topic in chosen],
    }


def scored(n: int = 300, seed: int = 0, kind: str = "score") -> dict[str, list]:
    """Pairs; the label says whether the topics are equal, as score, 0 or 1, or class."""
    rng = random.Random(seed)
    first = [rng.randrange(TOPICS) for _ in range(n)]
    second = [one if rng.random() < 0.5 else rng.randrange(TOPICS) for one in first]
    same = [int(one == other) for one, other in zip(first, second)]
    label = {
        "score": ("score", [0.9 * one + 0.1 * rng.random() for one in same]),
        "match": ("label", same),
        "class": ("label", [2 if one else rng.randrange(2) for one in same]),
    }[kind]
    return {
        "sentence1": [text_about(one, rng) for one in first],
        "sentence2": [text_about(one, rng) for one in second],
        label[0]: label[1],
    }


def triplets(n: int = 300, seed: int = 0) -> dict[str, list]:
    rng = random.Random(seed)
    found: dict[str, list] = {"anchor": [], "positive": [], "negative": []}
    for _ in range(n):
        own, other = rng.sample(range(TOPICS), 2)
        for name, topic in zip(found, (own, own, other)):
            found[name].append(text_about(topic, rng))
    return found


def write(data: dict[str, list], path: Path) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(data)
        writer.writerows(zip(*data.values()))
    return path
