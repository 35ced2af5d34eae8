"""Two texts and 1 or 0: does this document belong to that query?

python examples/pair_binary.py [MODEL]
"""

from __future__ import annotations

from _shared import load_entries, load_model
from torch.utils.data import DataLoader

from sentune import InputExample, losses
from sentune.demo.pydocs import Entry
from sentune.evaluation import BinaryClassificationEvaluator


def examples(entries: list[Entry]) -> list[InputExample]:
    """Each query with its own document, and with the next one, mostly of the same module."""
    right = [InputExample(texts=[one.query, one.document], label=1) for one in entries]
    pairs = zip(entries, [*entries[1:], entries[0]], strict=True)
    wrong = [InputExample(texts=[one.query, other.document], label=0) for one, other in pairs]
    return right + wrong


def main() -> None:
    entries, held_out = load_entries(300, 200)
    model = load_model()
    evaluator = BinaryClassificationEvaluator.from_input_examples(
        examples(held_out), write_csv=False
    )
    print(f"Before: average precision {evaluator(model)['cosine_ap']:.3f}")

    # OnlineContrastiveLoss uses the hard pairs of a batch, ContrastiveLoss all pairs.
    loader = DataLoader(examples(entries), shuffle=True, batch_size=32)
    loss = losses.OnlineContrastiveLoss(model)
    model.fit([(loader, loss)], epochs=1, warmup_steps=5, optimizer_params={"lr": 1e-4})
    print(f"After: average precision {evaluator(model)['cosine_ap']:.3f}")


if __name__ == "__main__":
    main()
