"""Single sentences without labels: a denoising auto-encoder, then contrastive tension.

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
    logging.set_verbosity_error()  # the cross-attention of the decoder is new, as intended
    entries, held_out = load_entries(300, 200)
    sentences = [text for entry in entries for text in (entry.query, entry.document)]
    model = load_student()  # not yet trained to embed sentences
    print(f"Before: {search(model, held_out)}")

    # A decoder reconstructs the sentence from the embedding of a damaged copy.
    loader = DataLoader(DenoisingAutoEncoderDataset(sentences[:120]), shuffle=True, batch_size=8)
    loss = losses.DenoisingAutoEncoderLoss(model)
    model.fit([(loader, loss)], epochs=1, warmup_steps=5, optimizer_params={"lr": 3e-5})
    print(f"After the denoising auto-encoder: {search(model, held_out)}")

    # Two copies of the model must recognise the same sentence among the others of the batch.
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
