"""Texts that have nothing to do with the task, and a price for moving them.

A model that is trained on one task forgets others: its embeddings of all texts move. Here some
texts are in every batch whose embeddings must stay what they were before training (learning
without forgetting: Li and Hoiem 2016, https://arxiv.org/abs/1606.09282, on embeddings in place of
the outputs of a classifier). The gradient of the task is then free where it does no harm.

The texts are plain sentences in which some words are drawn from the model's own vocabulary: they
are read as language, and they reach words that no list of sentences has.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from sentune.losses.base import Loss, LossValue, full_precision
from sentune.losses.embed import Embedder, select
from sentune.types import Features
from sentune.workbench.rows import roles

IN_A_BATCH = 8  # unless it is chosen
WEIGHT = 5.0
_SEED = 11
_MOST, _FEWEST = 1000, 64  # texts in all
_REPLACED = 0.4  # share of the words
_LETTERS = 4  # of a word that is replaced, at least
_MARKS = "Ġ▁"  # how tokenizers mark the beginning of a word

_SENTENCES = """
The old bridge was closed because the river had risen again.
Can someone explain how a heat pump works in winter?
She bought two tickets for the concert and forgot them at home.
Prices of coffee went up after a bad harvest in the south.
Press the green button and wait until the light stops blinking.
A boy in a red jacket is climbing over a low wall.
Our support team answers every message within one day.
What is the difference between a lake and a pond?
The minister denied that taxes would be raised next year.
Mix the flour with the eggs before you add any milk.
I have been waiting for my refund since the first of May.
The experiment showed that light bends near heavy objects.
Two dogs are running along the shore at sunset.
Where can I find the settings for the printer?
He scored twice in the final and was carried off the field.
The contract ends on the last day of the month unless it is renewed.
Several people are sitting around a table in a small garden.
Nobody knows why the ship left the harbour that night.
The new phone is thinner, but its battery is weaker.
How many bones does an adult have?
This function returns the position of the first match in a list.
Rain is expected in the north, with strong wind near the coast.
My sister teaches chemistry at a school outside the town.
The painting was sold for twice what anyone had expected.
Please send me the invoice for the order of last week.
Some birds fly thousands of miles without a rest.
The train was late, so we missed the beginning of the film.
A woman is playing the piano while a man listens.
Which vaccine is given to children before they travel?
The company will open three factories and hire more workers.
Keep the medicine in a dry place, away from children.
The film is too long, and its ending makes no sense.
Who wrote the first book about the history of glass?
Water boils at a lower temperature on high mountains.
The police are looking for a driver who did not stop.
An error occurred while the file was being saved.
I cannot log in to my account since the last update.
Fans cheered when the singer came back on the stage.
The museum shows tools that farmers used long ago.
Is it cheaper to rent a house or to buy one?
Cells divide faster when the tissue is damaged.
The child is afraid of the dark and of loud noise.
Turn left after the church and follow the narrow road.
The court decided that the law was older than the claim.
Fresh bread smells better than anything else in the morning.
The team lost its captain and most of its money.
Choose a strong password and never share it with others.
The forest burned for nine days before it rained.
""".strip().splitlines()


@dataclass(frozen=True)
class Anchors:
    """Texts that are to stay where they are.

    Attributes:
        texts: n texts.
        targets: `(n, d)`, their embeddings before training, at length 1.
        in_a_batch: How many of them are in every batch.
    """

    texts: Sequence[str]
    targets: Tensor
    in_a_batch: int

    @classmethod
    def of(cls, start: Any, in_a_batch: int, wanted: int) -> Anchors:
        """As many as are wanted, within limits, with what a model gives for them."""
        texts = sentences(start, min(max(wanted, _FEWEST, in_a_batch), _MOST))
        rows = start.encode(
            texts, normalize_embeddings=True, convert_to_tensor=True, show_progress_bar=False
        )
        return cls(texts, rows.float().cpu(), in_a_batch)


def sentences(model: Any, count: int) -> list[str]:
    """Sentences with words of the model's vocabulary, the same for the same model and count."""
    words = vocabulary(model)
    draw = random.Random(_SEED)
    return [_varied(draw.choice(_SENTENCES), words, draw) for _ in range(count)]


def vocabulary(model: Any) -> list[str]:
    """The whole words among the tokens of a model, in order; none if it does not say."""
    try:
        tokens = model.tokenizer.get_vocab()
    except (AttributeError, NotImplementedError, TypeError):
        return []
    words = {str(token).lstrip(_MARKS) for token in tokens}
    return sorted(word for word in words if word.isalpha() and len(word) >= _LETTERS)


def _varied(sentence: str, words: Sequence[str], draw: random.Random) -> str:
    parts = sentence.split()
    for place, part in enumerate(parts):
        if words and len(part) >= _LETTERS and draw.random() < _REPLACED:
            parts[place] = draw.choice(words)
    return " ".join(parts)


class AnchoredLoss(Loss):
    """A loss and a price for moving other texts.

        loss = task + weight · |task| · mean over the anchors of a batch (1 - cos(now, before))

    where no gradient goes through |task|: so the price is as large as the task, whatever the loss.

    Args:
        model: That of the inner loss.
        loss: The inner loss.
        anchors: The texts.
        weight: Of the price.
    """

    option_names = ("loss", "weight")

    def __init__(self, model: Any, loss: Any, anchors: Anchors, weight: float = WEIGHT) -> None:
        super().__init__(model, loss=loss)
        self.anchors, self.weight = anchors, weight
        # As `encode` reads a text, by which the targets were made.
        prompt = roles.prompt_of(model, "text") or None
        routes = roles.routes_of(model, {"anchor": "text"}) or {}
        self._features = model.read(list(anchors.texts), prompt, routes.get("anchor"))
        self._targets = anchors.targets
        self._drawn: list[int] = []

    def embed(self, features: Sequence[Features], embedder: Embedder | None = None) -> list[Tensor]:
        """The columns of the inner loss, and the anchors as a last one."""
        run = embedder or self.embedder()
        texts = len(self.anchors.texts)
        # From Python's random numbers, which a checkpoint holds: a resumed run draws the same.
        self._drawn = random.sample(range(texts), min(self.anchors.in_a_batch, texts))
        device = next(x for x in features[0].values() if isinstance(x, Tensor)).device
        others = {
            name: value.to(device) if isinstance(value, Tensor) else value
            for name, value in select(self._features, self._drawn).items()
        }
        if type(self._inner).embed is Loss.embed and self._inner.loss is None:
            return run(self.model, [*features, others])  # in one pass
        return [*self._inner.embed(features, run), *run(self.model, [others])]

    def compute(
        self, columns: Sequence[Tensor], labels: Tensor | None = None, *args: Any, **context: Any
    ) -> LossValue:
        """The loss of the task and the price, as two parts."""
        *own, others = columns
        task = self._inner.compute(own, labels, *args, **context)
        parts = task if isinstance(task, dict) else {"task": task}
        now = F.normalize(full_precision(others), dim=1)
        moved = 1 - (now * self._targets[self._drawn].to(now.device)).sum(dim=1)
        scale = sum(part.detach().abs() for part in parts.values())
        return {**parts, "other_texts": self.weight * scale * moved.mean()}
