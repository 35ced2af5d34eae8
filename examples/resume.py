"""A run that is stopped and resumed ends with the same weights as one without a stop.

python examples/resume.py [MODEL]
"""

from __future__ import annotations

from typing import Any

from _shared import arguments, load_model
from datasets import Dataset
from transformers import TrainerCallback

from sentune import SentenceTransformer, SentenceTransformerTrainer, losses

TOPICS = ["a list", "a file", "a string", "a number", "the morning", "the river", "bread", "light"]


class StopAfter(TrainerCallback):
    """Stops the run after a step, as a crash would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop = state.global_step == self.step


def main() -> None:
    rows = [
        {"question": f"what does {verb} {topic} do?", "answer": f"to {verb} {topic} takes a moment"}
        for topic in TOPICS
        for verb in ("open", "close", "find", "sort", "share", "draw")
    ]

    def trainer(name: str, stop: int | None = None) -> SentenceTransformerTrainer:
        model = load_model()
        return SentenceTransformerTrainer(
            model=model,
            args=arguments(
                name, per_device_train_batch_size=8, save_strategy="steps", save_steps=2
            ),
            train_dataset=Dataset.from_list(rows),
            loss=losses.MultipleNegativesRankingLoss(model),
            callbacks=[StopAfter(stop)] if stop else [],
        )

    unbroken = trainer("unbroken")
    unbroken.train()
    broken = trainer("broken", stop=3)
    broken.train()
    # It works the same in a new process. True means the last checkpoint in the folder.
    resumed = trainer("broken")
    resumed.train(resume_from_checkpoint=True)

    def largest_difference(one: SentenceTransformer, other: SentenceTransformer) -> float:
        weights = zip(one.parameters(), other.parameters(), strict=True)
        return max((a - b).abs().max().item() for a, b in weights)

    print(f"Stopped after step 3: {largest_difference(broken.model, unbroken.model)}")
    print(f"Resumed from step 2: {largest_difference(resumed.model, unbroken.model)}")


if __name__ == "__main__":
    main()
