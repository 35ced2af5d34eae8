"""Two texts and an integer: a classifier on both embeddings predicts how they are related.

python examples/pair_class.py [MODEL]
"""

from __future__ import annotations

from itertools import product

from _shared import load_model
from torch.utils.data import DataLoader

from sentune import InputExample, losses
from sentune.evaluation import LabelAccuracyEvaluator

# Each word with one of the same meaning and one of the opposite meaning.
WORDS = (
    ("big", "large", "small"),
    ("quick", "fast", "slow"),
    ("bright", "sunny", "dark"),
    ("quiet", "silent", "loud"),
    ("old", "ancient", "new"),
    ("wet", "soaked", "dry"),
)
THINGS = "house river garden street train boat city bridge park market tower hotel".split()
HELD_OUT = "station forest school harbour".split()
SAME, OPPOSITE, UNRELATED = 0, 1, 2


def examples(things: list[str]) -> list[InputExample]:
    rows = []
    for place, (thing, (word, same, opposite)) in enumerate(product(things, WORDS)):
        text, (other, *_) = f"The {thing} is {word}.", WORDS[(place + 1) % len(WORDS)]
        rows.append(InputExample(texts=[text, f"A {same} {thing}."], label=SAME))
        rows.append(InputExample(texts=[text, f"A {opposite} {thing}."], label=OPPOSITE))
        rows.append(InputExample(texts=[text, f"A {other} {thing}."], label=UNRELATED))
    return rows


def main() -> None:
    model = load_model()
    # The classifier is part of the loss: saved in checkpoints, but not in the saved model.
    loss = losses.SoftmaxLoss(model, num_labels=3)
    test = DataLoader(examples(HELD_OUT), batch_size=64, collate_fn=list)
    evaluator = LabelAccuracyEvaluator(test, softmax_model=loss, write_csv=False)
    print(f"Before: accuracy {evaluator(model)['accuracy']:.3f}")

    # The classifier starts with random weights and needs a higher learning rate than the model.
    loader = DataLoader(examples(THINGS), shuffle=True, batch_size=16)
    model.fit([(loader, loss)], epochs=3, warmup_steps=4, optimizer_params={"lr": 5e-4})
    print(f"After: accuracy {evaluator(model)['accuracy']:.3f}")


if __name__ == "__main__":
    main()
