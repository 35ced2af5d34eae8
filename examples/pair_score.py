"""Two texts and a float: the closer their temperatures, the higher the similarity.

python examples/pair_score.py [MODEL]
"""

from __future__ import annotations

import random

from _shared import arguments, load_model
from datasets import Dataset

from sentune import SentenceTransformerTrainer, losses
from sentune.evaluation import EmbeddingSimilarityEvaluator

SENTENCES = (
    "The lake had {} degrees this morning.",
    "We measured {} degrees at the harbour.",
    "It was {} degrees when the train arrived.",
    "They expect {} degrees for the afternoon.",
)
HOTTEST = 40


def pairs(n: int, seed: int) -> Dataset:
    draw = random.Random(seed)
    rows = []
    for _ in range(n):
        one, other = draw.randint(0, HOTTEST), draw.randint(0, HOTTEST)
        first, second = draw.sample(SENTENCES, 2)
        score = 1 - abs(one - other) / HOTTEST
        rows.append({"a": first.format(one), "b": second.format(other), "score": score})
    return Dataset.from_list(rows)


def main() -> None:
    model, dataset, test = load_model(), pairs(640, seed=1), pairs(200, seed=2)
    print(f"A row: {dataset[0]}")
    evaluator = EmbeddingSimilarityEvaluator(test["a"], test["b"], test["score"], write_csv=False)
    print(f"Before: Spearman {evaluator(model)['spearman_cosine']:.3f}")

    # CoSENTLoss reads only the order of the scores, CosineSimilarityLoss their values.
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments("pair_score"),
        train_dataset=dataset,
        loss=losses.CoSENTLoss(model),
    )
    trainer.train()
    print(f"After: Spearman {evaluator(model)['spearman_cosine']:.3f}")


if __name__ == "__main__":
    main()
