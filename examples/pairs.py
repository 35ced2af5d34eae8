"""Pairs of query and document, without labels: the other rows of a batch are the negatives.

python examples/pairs.py [MODEL]
"""

from __future__ import annotations

from _shared import arguments, load_entries, load_model, search
from datasets import Dataset

from sentune import SentenceTransformerTrainer, losses


def main() -> None:
    entries, held_out = load_entries(500, 200)
    dataset = Dataset.from_dict(
        {
            "query": [entry.query for entry in entries],
            "document": [entry.document for entry in entries],
        }
    )
    model = load_model()
    print(f"Before: {search(model, held_out)}")

    # "no_duplicates": a text that occurs twice in a batch would be a false negative.
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments("pairs", batch_sampler="no_duplicates"),
        train_dataset=dataset,
        loss=losses.MultipleNegativesRankingLoss(model),
    )
    trainer.train()
    print(f"After: {search(model, held_out)}")


if __name__ == "__main__":
    main()
