"""Single sentences, no pairs and no labels: damaged sentences, then two models that must agree.

python examples/sentences.py [MODEL]
"""

from __future__ import annotations

from _shared import arguments, load_entries, load_student, search
from datasets import Dataset
from torch.utils.data import DataLoader
from transformers import logging

from sentune import SentenceTransformerTrainer, losses
from sentune.datasets import DenoisingAutoEncoderDataset


def main() -> None:
    logging.set_verbosity_error()  # the decoder's attention to the embedding is new: no surprise
    entries, held_out = load_entries(300, 200)
    sentences = [text for entry in entries for text in (entry.query, entry.document)]
    model = load_student()  # one that does not know how to embed sentences yet
    print(f"Before: {search(model, held_out)}")

    # A decoder has to write the sentence from the embedding of what is left of it.
    loader = DataLoader(DenoisingAutoEncoderDataset(sentences[:120]), shuffle=True, batch_size=8)
    loss = losses.DenoisingAutoEncoderLoss(model)
    model.fit([(loader, loss)], epochs=1, warmup_steps=5, optimizer_params={"lr": 3e-5})
    print(f"After the denoising auto-encoder: {search(model, held_out)}")

    # Two copies of the model have to find a sentence again among the others of the batch.
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments("sentences", learning_rate=1e-4),
        train_dataset=Dataset.from_dict({"text": sentences}),
        loss=losses.ContrastiveTensionLossInBatchNegatives(model),
    )
    trainer.train()
    print(f"After contrastive tension: {search(model, held_out)}")


if __name__ == "__main__":
    main()
