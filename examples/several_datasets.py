"""Several datasets with a loss each, evaluation during training, and the best checkpoint kept.

python examples/several_datasets.py [MODEL]
"""

from __future__ import annotations

from _shared import arguments, load_entries, load_model, search, search_evaluator
from datasets import Dataset

from sentune import SentenceTransformerTrainer, losses


def main() -> None:
    entries, held_out = load_entries(400, 200)
    queries, documents = [one.query for one in entries], [one.document for one in entries]
    others = [*documents[1:], documents[0]]
    datasets = {
        "pairs": Dataset.from_dict({"query": queries, "document": documents}),
        "judged": Dataset.from_dict(
            {
                "query": queries[:100] * 2,
                "document": documents[:100] + others[:100],
                "label": [1] * 100 + [0] * 100,
            }
        ),
    }
    model = load_model()
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments(
            "several_datasets",
            multi_dataset_batch_sampler="proportional",  # to their sizes; or "round_robin"
            prompts={"pairs": {"query": "search: "}},  # put before the texts of one column
            eval_strategy="steps",
            eval_steps=8,
            save_strategy="steps",
            save_steps=8,
            save_total_limit=1,
            load_best_model_at_end=True,
            metric_for_best_model="cosine_mrr@10",
        ),
        train_dataset=datasets,
        eval_dataset={name: dataset.select(range(32)) for name, dataset in datasets.items()},
        loss={
            "pairs": losses.MultipleNegativesRankingLoss(model),
            "judged": losses.OnlineContrastiveLoss(model),
        },
        evaluator=search_evaluator(held_out[:100]),
    )
    print(f"Before: {search(model, held_out)}")
    trainer.train()
    print(f"Best checkpoint: {trainer.state.best_model_checkpoint}")
    print(f"After: {search(model, held_out)}")


if __name__ == "__main__":
    main()
