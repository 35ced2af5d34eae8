"""A text and its embedding by a teacher: a model with half the layers learns to reproduce it.

python examples/distill_embeddings.py [MODEL]
"""

from __future__ import annotations

from _shared import arguments, load_entries, load_model, load_student, search
from datasets import Dataset

from sentune import SentenceTransformerTrainer, losses
from sentune.evaluation import MSEEvaluator


def main() -> None:
    entries, held_out = load_entries(600, 200)
    teacher, student = load_model(), load_student()
    texts = [text for entry in entries for text in (entry.query, entry.document)]
    # If the teacher has another dimension: MSELoss(student, projection_dim=dimension).
    dataset = Dataset.from_dict({"text": texts, "label": teacher.encode(texts).tolist()})

    test = [entry.query for entry in held_out]
    evaluator = MSEEvaluator(test, test, teacher_model=teacher, write_csv=False)
    print(f"Teacher: {search(teacher, held_out)}")
    print(
        f"Before: {search(student, held_out)}, 100 · MSE {-evaluator(student)['negative_mse']:.4f}"
    )
    trainer = SentenceTransformerTrainer(
        model=student,
        args=arguments("distill_embeddings", learning_rate=5e-4),
        train_dataset=dataset,
        loss=losses.MSELoss(student),
    )
    trainer.train()
    print(
        f"After: {search(student, held_out)}, 100 · MSE {-evaluator(student)['negative_mse']:.4f}"
    )


if __name__ == "__main__":
    main()
