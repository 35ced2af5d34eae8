"""Anchor, positive and several negatives: the model itself finds hard negatives.

python examples/negatives.py [MODEL]
"""

from __future__ import annotations

from _shared import arguments, load_entries, load_model, search
from datasets import Dataset

from sentune import SentenceTransformerTrainer, losses, mine_hard_negatives


def main() -> None:
    entries, held_out = load_entries(400, 200)
    pairs = Dataset.from_dict(
        {
            "query": [entry.query for entry in entries],
            "document": [entry.document for entry in entries],
        }
    )
    model = load_model()
    print(f"Before: {search(model, held_out)}")

    dataset = mine_hard_negatives(pairs, model, num_negatives=3, output_format="n-tuple")
    print(f"Columns: {dataset.column_names}")
    # With hard negatives and in-batch negatives, each query is scored against 16 · 4 documents.
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments("negatives", per_device_train_batch_size=16),
        train_dataset=dataset,
        loss=losses.MultipleNegativesRankingLoss(model),
    )
    trainer.train()
    print(f"After: {search(model, held_out)}")


if __name__ == "__main__":
    main()
