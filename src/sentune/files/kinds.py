"""What each kind of model is on disk and by default: one row each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sentune.folders import keys
from sentune.folders.keys import Kind

# What the files say of every model.
COMMON = {
    "model_type": keys.TEXT.or_null(),
    "prompts": keys.TEXT.or_null().dict().or_null(),
    "default_prompt_name": keys.TEXT.or_null(),
}


@dataclass(frozen=True)
class ModelKind:
    """A kind of model."""

    name: str  # of its class, and what its files are marked with
    owner: str  # whose models are looked for on the Hub under a plain name
    output: str  # key of the features that holds what it gives
    settings: Mapping[str, Kind] = field(default_factory=dict)  # besides `COMMON`
    always: tuple[str, ...] = ()  # settings that are written also where they are not set
    similarities: tuple[str, ...] = ()  # what its embeddings may be compared by
    is_here: bool = True  # whether sentune has it; the others are known by name

    @property
    def keys(self) -> dict[str, Kind]:
        """All settings in its files -> what they may hold."""
        return {**COMMON, **self.settings}


SENTENCE_TRANSFORMER = ModelKind(
    "SentenceTransformer",
    "sentence-transformers",
    "sentence_embedding",
    {"similarity_fn_name": keys.TEXT.or_null(), "truncate_dim": keys.SIZE.or_null()},
    ("similarity_fn_name",),
    ("cosine", "dot", "euclidean", "manhattan"),
)
CROSS_ENCODER = ModelKind(
    "CrossEncoder",
    "cross-encoder",
    "scores",
    {
        "activation_fn": keys.TEXT.or_null(),
        "activation_kwargs": keys.OBJECT.or_null(),
        "keep_in_fp32_modules": keys.TEXT.list().or_null(),
    },
    ("activation_fn",),
)
KINDS = {
    kind.name: kind
    for kind in (
        SENTENCE_TRANSFORMER,
        CROSS_ENCODER,
        ModelKind("SparseEncoder", "sparse-encoder", "sentence_embedding", is_here=False),
        ModelKind("MultiVectorEncoder", "multi-vector-encoder", "token_embeddings", is_here=False),
    )
}

# Where earlier releases kept the activation of a CrossEncoder: in the encoder's config.json, which
# marks the folder as one.
OLDEST_ACTIVATION = "sbert_ce_default_activation_function"
OLDER_SETTINGS = "sentence_transformers"  # an object with `activation_fn` and `version`
