"""Embeddings that can be truncated, trained with a large batch in little memory.

python examples/matryoshka.py [MODEL]
"""

from __future__ import annotations

from _shared import arguments, load_entries, load_model, search
from datasets import Dataset

from sentune import SentenceTransformerTrainer, losses


def main() -> None:
    entries, held_out = load_entries(400, 200)
    dataset = Dataset.from_dict(
        {
            "query": [entry.query for entry in entries],
            "document": [entry.document for entry in entries],
        }
    )
    model = load_model()
    full = model.get_embedding_dimension()
    widths = [full, full // 4, full // 16]

    def report(when: str) -> None:
        for width in widths:
            model.truncate_dim = width
            print(f"{when}, {width} dimensions: {search(model, held_out)}")
        model.truncate_dim = None

    report("Before")
    # 100 rows are compared with each other; the model sees 25 of them at a time.
    inner = losses.CachedMultipleNegativesRankingLoss(model, mini_batch_size=25)
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments("matryoshka", per_device_train_batch_size=100, learning_rate=2e-4),
        train_dataset=dataset,
        loss=losses.MatryoshkaLoss(model, inner, matryoshka_dims=widths),
    )
    trainer.train()
    report("After")


if __name__ == "__main__":
    main()
