"""A small cross-encoder, made on the spot with random weights and the tokenizer of the model."""

from __future__ import annotations

from pathlib import Path

from tests.ecosystem.texts import model_folder


def scorer_folder(room: Path) -> str:
    """A classifier with one label, as transformers saves it."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    folder = str(room / "scorer")
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = AutoConfig.from_pretrained(
        model_folder(), **sizes, intermediate_size=64, num_labels=1, initializer_range=0.3
    )
    torch.manual_seed(0)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(model_folder()).save_pretrained(folder)
    return folder
