"""Anchor, positive, negative: triplets made from rows with lists, as many datasets have them.

python examples/triplet.py [MODEL]
"""

from __future__ import annotations

from _shared import arguments, load_entries, load_model
from datasets import Dataset

from sentune import SentenceTransformerTrainer, losses
from sentune.data import spread
from sentune.demo.pydocs import Entry
from sentune.evaluation import TripletEvaluator
from sentune.losses import TripletDistanceMetric


def triplets(entries: list[Entry]) -> Dataset:
    """The entries before each entry, mostly of the same module, are its negatives."""
    rows = []
    for place, entry in enumerate(entries):
        negatives = [entries[place - 1].document, entries[place - 2].document]
        rows.append({"query": entry.query, "pos": [entry.document], "neg": negatives})
    return spread(Dataset.from_list(rows))


def main() -> None:
    entries, held_out = load_entries(400, 200)
    dataset, test = triplets(entries), triplets(held_out)
    print(f"Columns: {dataset.column_names}")
    model = load_model()
    # Counts a triplet if the positive is nearer than the negative by a margin.
    evaluator = TripletEvaluator(
        test["query"], test["pos"], test["neg"], margin=0.2, write_csv=False
    )
    print(f"Before: accuracy {evaluator(model)['cosine_accuracy']:.3f}")

    # The default margin, 5, is larger than any distance between embeddings of length 1.
    loss = losses.TripletLoss(
        model, distance_metric=TripletDistanceMetric.COSINE, triplet_margin=0.5
    )
    trainer = SentenceTransformerTrainer(
        model=model, args=arguments("triplet"), train_dataset=dataset, loss=loss
    )
    trainer.train()
    print(f"After: accuracy {evaluator(model)['cosine_accuracy']:.3f}")


if __name__ == "__main__":
    main()
