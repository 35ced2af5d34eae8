"""What a checkpoint of the transformers library is used for; files ask for it without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sentune.types import OutputKind


@dataclass(frozen=True)
class Task:
    """A use of a checkpoint."""

    loader: str  # the library's class that loads it
    given: str  # key under which the library's output is kept
    kind: OutputKind
    field: str  # the library's name for the output


# By the name that files use.
TASKS: Mapping[str, Task] = {
    "feature-extraction": Task("AutoModel", "token_embeddings", "token", "last_hidden_state"),
    "sequence-classification": Task(
        "AutoModelForSequenceClassification", "scores", "row", "logits"
    ),
    "text-generation": Task("AutoModelForCausalLM", "causal_logits", "row", "logits"),
}
FEATURES, CLASSES, GENERATION = TASKS
