"""How much of what a model knew is still there: its agreement with the start on other texts.

Pairs of texts that are related to different degrees get a cosine from the start and one from the
trained model; the check is Spearman's correlation of the two. It measures movement, not harm: a
model that has moved and become better fails it too. So "never worse" means "not measurably worse on
this check".

The built-in pairs are made from templates: everyday life, work, science, questions, instructions.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sentune.evaluation.metrics import spearman
from sentune.types import Encoder

# At 0.975 a model trained on natural language inference lost 0.0085 of Spearman on STS pairs.
THRESHOLD = 0.985  # agreement that a mix must keep
_OWN_PAIRS = 100
_BUILT_IN_PAIRS = 200
_SEED = 7

# Subject, what it is more generally, verb phrase, the same in other words, another deed, where.
_SCENES = """
a young woman|a person|is cutting onions|slices some onions|is painting a fence|in the kitchen
the mechanic|the worker|repaired the engine|fixed the motor|sold the truck|behind the garage
two children|some kids|are building a sandcastle|make a castle out of sand|sleep|at the beach
an old fisherman|a man|mends his nets|is repairing fishing nets|reads a newspaper|by the harbour
the orchestra|the musicians|rehearsed a symphony|practised a symphony|went on strike|on Monday
a nurse|a hospital employee|measures the patient's blood pressure|checks the blood pressure of \
the patient|writes a complaint|on the second floor
the committee|the group|rejected the proposal|voted against the plan|ordered lunch|after a debate
a black dog|an animal|chases a ball|runs after a ball|is sleeping|across the lawn
the programmer|the engineer|fixed a memory leak|removed a bug that lost memory|drank coffee|at \
night
a tourist|a visitor|asks for directions|wants to know the way|takes a photograph|near the station
the volcano|the mountain|erupted without warning|broke out suddenly|attracts hikers|last spring
several cyclists|people on bikes|climb a steep road|ride up a steep hill|drink water|in the rain
the bank|the company|raised its interest rates|put up the cost of loans|closed a branch|this week
a violinist|a musician|is playing for a crowd|performs before an audience|tunes a guitar|outdoors
the farmer|the landowner|harvests wheat|brings in the wheat crop|feeds the pigs|before the storm
researchers|scientists|discovered a new species of frog|found an unknown frog|counted votes|in \
Peru
the teacher|the lecturer|explains fractions|shows how fractions work|collects money|to the class
a goalkeeper|a football player|stopped the penalty|saved a penalty kick|argued with fans|in Rome
the baker|the shopkeeper|bakes bread|makes loaves of bread|sweeps the floor|early in the morning
astronauts|the crew|repaired the space station|mended the station in orbit|grew lettuce|for weeks
the judge|the court|sentenced the thief to prison|sent the robber to jail|retired|in the capital
a grey cat|a pet|is watching birds|looks at some birds|licks a plate|from the window sill
the ferry|the ship|arrived two hours late|was delayed by two hours|burned|on Sunday evening
my neighbour|someone I know|waters her plants|gives her flowers water|plays the drums|every day
the bacteria|the microbes|became resistant to the drug|no longer respond to the pill|glow|in \
tests
""".replace("\\\n", "").strip()

# A question or an instruction, the same in other words, a near one, one on the same subject.
_REQUESTS = """
How do I reset my password?|What should I do if I forgot my password?|How do I change my user \
name?|Why are long passwords safer?
When does the next train to Vienna leave?|What time is the next departure for Vienna?|When does \
the train from Vienna arrive?|How long is the railway line to Vienna?
Please cancel my order.|I would like to call off my purchase.|Please change my order.|Where is \
my order?
What is the capital of Australia?|Which city is Australia's capital?|What is the largest city of \
Australia?|How many people live in Australia?
How can I lose weight quickly?|What is a fast way to get thinner?|How can I gain weight \
quickly?|Is it healthy to skip breakfast?
Turn the lights off in the bedroom.|Switch off the bedroom lights.|Turn the lights on in the \
bedroom.|Paint the bedroom white.
Who invented the telephone?|Which person is the inventor of the telephone?|Who invented the \
television?|How does a telephone work?
Sort a list of numbers in Python.|Put a Python list of numbers in order.|Reverse a list of \
numbers in Python.|Install Python on a laptop.
My parcel arrived damaged.|The package was broken when it came.|My parcel has not arrived.|How \
do I send a parcel abroad?
Why is the sky blue?|What makes the sky look blue?|Why is the sea salty?|Why does the sun set in \
the west?
Boil the pasta for ten minutes.|Cook the noodles in hot water for ten minutes.|Boil the pasta \
for two minutes.|Serve the pasta with a tomato sauce.
How much does a passport cost?|What is the price of a new passport?|How long is a passport \
valid?|Do I need a visa for Japan?
The stock market fell sharply.|Share prices dropped a lot.|The stock market rose \
sharply.|Investors wait for the next report.
What are the symptoms of flu?|Which signs does influenza have?|How is flu treated?|Are vaccines \
tested on animals?
Open an account for a minor.|Set up a bank account for a child.|Close an account for a \
minor.|Teach children about money.
""".replace("\\\n", "").strip()


@dataclass(frozen=True)
class Check:
    """Pairs of texts, and their cosines before training.

    Attributes:
        first: One text of each pair, the built-in ones first.
        second: The other.
        before: Cosines of the start, `(pairs,)`.
        built_in: How many of the pairs are built in.
    """

    first: Sequence[str]
    second: Sequence[str]
    before: np.ndarray
    built_in: int

    @classmethod
    def of(cls, start: Encoder, own: Sequence[str]) -> Check:
        """The check for a start and some of the user's own texts, of which it makes pairs."""
        pairs = [*built_in(), *_own_pairs(start, own)]
        first, second = ([pair[side] for pair in pairs] for side in (0, 1))
        return cls(first, second, cosines(start, first, second), _BUILT_IN_PAIRS)

    def agreement(self, model: Encoder) -> float:
        """Spearman's correlation of the cosines before and after, of the built-in pairs."""
        return self._compared(model, slice(self.built_in))

    def own_agreement(self, model: Encoder) -> float:
        """The same of the pairs of the user's own texts; these training is meant to move."""
        return self._compared(model, slice(self.built_in, None))

    def _compared(self, model: Encoder, part: slice) -> float:
        first, second = self.first[part], self.second[part]
        if len(first) < 2:
            return float("nan")
        return float(spearman(self.before[part], cosines(model, first, second)))


def cosines(model: Encoder, first: Sequence[str], second: Sequence[str]) -> np.ndarray:
    """The cosine of each pair, `(pairs,)`."""
    texts = list(dict.fromkeys([*first, *second]))
    place = {text: row for row, text in enumerate(texts)}
    rows = model.encode(texts, normalize_embeddings=True, show_progress_bar=False)
    left, right = (rows[[place[text] for text in side]] for side in (first, second))
    return np.asarray((left * right).sum(axis=1))


def built_in() -> list[tuple[str, str]]:
    """The built-in pairs, the same in every run, from equal in meaning to unrelated."""
    scenes = [line.split("|") for line in _SCENES.splitlines()]
    requests = [line.split("|") for line in _REQUESTS.splitlines()]
    pairs = [pair for place in range(len(scenes)) for pair in _of_scene(scenes, place)]
    for place, (text, *others) in enumerate(requests):
        stranger = requests[(place + 4) % len(requests)][0]
        pairs += [(text, other) for other in (*others, stranger)]
    return random.Random(_SEED).sample(pairs, _BUILT_IN_PAIRS)


def _of_scene(scenes: Sequence[Sequence[str]], place: int) -> list[tuple[str, str]]:
    """Pairs of one scene: other words, more general, less detail, another deed, actor, place."""
    who, kind, does, same, else_, where = scenes[place]
    other, _, does_other, *_, elsewhere = scenes[(place + 3) % len(scenes)]
    text = _sentence(who, does, where)
    return [
        (text, _sentence(who, same, where)),
        (text, _sentence(kind, same, "")),
        (text, _sentence(who, does, "")),
        (text, _sentence(who, else_, where)),
        (text, _sentence(other, does, where)),
        (text, _sentence(who, does, elsewhere)),
        (_sentence(kind, does, ""), _sentence(other, does_other, where)),
    ]


def _sentence(*parts: str) -> str:
    text = " ".join(part for part in parts if part)
    return f"{text[0].upper()}{text[1:]}."


def _own_pairs(start: Encoder, texts: Sequence[str]) -> list[tuple[str, str]]:
    """Texts of the user's, each with one that the start finds near: of the nearest 10 by turns."""
    texts = sorted(set(texts))
    if len(texts) < 20:
        return []
    rows = start.encode(texts, normalize_embeddings=True, show_progress_bar=False)
    scores = np.asarray(rows) @ np.asarray(rows).T
    np.fill_diagonal(scores, -np.inf)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    chosen = random.Random(_SEED).sample(range(len(texts)), min(_OWN_PAIRS, len(texts)))
    return [(texts[row], texts[order[row, turn % 10]]) for turn, row in enumerate(chosen)]
