"""A query, documents and scores of a teacher: a model with half the layers learns to rank.

python examples/distill_scores.py [MODEL]
"""

from __future__ import annotations

from _shared import arguments, load_entries, load_model, load_student, search
from datasets import Dataset

from sentune import SentenceTransformerTrainer, losses


def main() -> None:
    entries, held_out = load_entries(400, 200)
    teacher, student = load_model(), load_student()
    print(f"Teacher: {search(teacher, held_out)}")
    print(f"Before: {search(student, held_out)}")

    # Any source of scores can be the teacher, such as a cross-encoder.
    queries = teacher.encode([entry.query for entry in entries])
    documents = teacher.encode([entry.document for entry in entries])
    scores = teacher.similarity(queries, documents)
    scores, order = scores.topk(4, dim=1)  # the documents with the highest scores
    columns = {
        f"document_{place + 1}": [entries[best].document for best in order[:, place].tolist()]
        for place in range(4)
    }
    dataset = Dataset.from_dict(
        {
            "query": [entry.query for entry in entries],
            **columns,
            "scores": scores.tolist(),
        }
    )
    print(f"Columns: {dataset.column_names}, scores of a row: {dataset[0]['scores']}")
    # Cosines differ little: a low temperature sharpens the distribution over the documents.
    trainer = SentenceTransformerTrainer(
        model=student,
        args=arguments("distill_scores", learning_rate=2e-4),
        train_dataset=dataset,
        loss=losses.DistillKLDivLoss(student, temperature=0.05),
    )
    trainer.train()
    print(f"After: {search(student, held_out)}")


if __name__ == "__main__":
    main()
