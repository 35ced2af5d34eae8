"""The file format: file names, type names both ways, the keys of each module's file.

One row of `MODULES` describes a module. What is written is what the most readers understand: the
type names and keys of the format's long middle age (2.x to 5.3); what is read is every generation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from torch import nn

from sentune.files import keys
from sentune.files.keys import Kind

MODULES_FILE = "modules.json"
MODEL_FILE = "config_sentence_transformers.json"
SAFETENSORS = "model.safetensors"
PICKLE = "pytorch_model.bin"
TOKENIZER = "tokenizer.json"
README = "README.md"

# Names under which the settings of a Transformer have been kept, the one that is written first.
TRANSFORMER_FILES = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)

# The release that the written files name as theirs: the first that reads all that they say (prompts
# came with 2.4, the similarity with 3.0). Readers warn when the files name a newer one than theirs.
WRITTEN_AS = "3.0.0"

_WRITTEN_PREFIX = "sentence_transformers.models."
# Packages that the classes have lived in; below them, any submodule.
_READ_PREFIXES = (
    _WRITTEN_PREFIX,
    "sentence_transformers.base.modules.",
    "sentence_transformers.sentence_transformer.modules.",
    "sentune.models.",
)


@dataclass(frozen=True)
class ModuleType:
    """How a module is kept in files.

    Args:
        name: The class's name in `sentune.models`.
        keys: Settings in its file -> what they may hold.
        needs: Settings that the file must have.
        file: Name of its file; None if it has none.
        older_files: Names the file has had.
        renamed: Older key -> key.
        weights: Whether its folder holds weights: "yes", "no", or "maybe" where older writers
            left them out because they follow from the settings.
        is_lenient: Whether its file may be missing, or hold things that are not for it.
    """

    name: str
    keys: Mapping[str, Kind] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    file: str | None = "config.json"
    older_files: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    weights: Literal["yes", "no", "maybe"] = "no"
    is_lenient: bool = False

    @property
    def written_name(self) -> str:
        """The type name that is written."""
        return _WRITTEN_PREFIX + self.name

    def load_class(self) -> type[nn.Module]:
        """The class."""
        return getattr(import_module("sentune.models"), self.name)


# The old flags of Pooling, in the order in which their results were joined.
POOLING_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_MODE = keys.one_of(*POOLING_FLAGS.values())
_KEYS_IN_AND_OUT = {"module_input_name": keys.TEXT, "module_output_name": keys.TEXT.or_null()}

MODULES = {
    row.name: row
    for row in (
        ModuleType(
            "Transformer",
            {"max_seq_length": keys.SIZE.or_null(), "do_lower_case": keys.FLAG.or_null()},
            file=TRANSFORMER_FILES[0],
            older_files=TRANSFORMER_FILES[1:],
            renamed={
                "model_args": "model_kwargs",
                "tokenizer_args": "processor_kwargs",
                "config_args": "config_kwargs",
            },
            weights="yes",
            is_lenient=True,
        ),
        ModuleType(
            "Pooling",
            {
                "embedding_dimension": keys.SIZE,
                "pooling_mode": _MODE.either(_MODE.list()),
                "include_prompt": keys.FLAG,
            },
            needs=("embedding_dimension",),
            renamed={"word_embedding_dimension": "embedding_dimension"},
        ),
        # Up to 5.3 it had no file, and the Hub keeps no empty folder.
        ModuleType("Normalize", _KEYS_IN_AND_OUT, is_lenient=True),
        ModuleType(
            "Dense",
            {
                "in_features": keys.SIZE,
                "out_features": keys.SIZE,
                "bias": keys.FLAG,
                "activation_function": keys.TEXT.or_null(),
                "use_residual": keys.FLAG,
                **_KEYS_IN_AND_OUT,
            },
            needs=("in_features", "out_features"),
            weights="yes",
        ),
        ModuleType("LayerNorm", {"dimension": keys.SIZE}, needs=("dimension",), weights="yes"),
        ModuleType("Dropout", {"dropout": keys.SHARE}),
        ModuleType(
            "CNN",
            {
                "in_embedding_dimension": keys.SIZE,
                "out_channels": keys.SIZE,
                "kernel_sizes": keys.SIZE.list(),
                "stride_sizes": keys.SIZE.list().or_null(),
            },
            needs=("in_embedding_dimension",),
            file="cnn_config.json",
            renamed={"in_word_embedding_dimension": "in_embedding_dimension"},
            weights="yes",
        ),
        ModuleType(
            "LSTM",
            {
                "embedding_dimension": keys.SIZE,
                "hidden_dim": keys.SIZE,
                "num_layers": keys.FEW,
                "dropout": keys.SHARE,
                "bidirectional": keys.FLAG,
            },
            needs=("embedding_dimension", "hidden_dim"),
            file="lstm_config.json",
            renamed={"word_embedding_dimension": "embedding_dimension"},
            weights="yes",
        ),
        ModuleType(
            "WeightedLayerPooling",
            {
                "embedding_dimension": keys.SIZE,
                "num_hidden_layers": keys.FEW,
                "layer_start": keys.COUNT,
            },
            needs=("embedding_dimension",),
            renamed={"word_embedding_dimension": "embedding_dimension"},
            weights="yes",
        ),
        ModuleType(
            "WordWeights",
            {
                "vocab": keys.TEXT.list(),
                "word_weights": keys.NUMBER.dict(),
                "unknown_word_weight": keys.NUMBER,
            },
            needs=("vocab", "word_weights"),
            weights="maybe",
        ),
        ModuleType(
            "BoW",
            {
                "vocab": keys.TEXT.list(),
                "word_weights": keys.NUMBER.dict(),
                "unknown_word_weight": keys.NUMBER,
                "cumulative_term_frequency": keys.FLAG,
            },
            needs=("vocab",),
        ),
        ModuleType(
            "WordEmbeddings",
            {
                "tokenizer_class": keys.TEXT,
                "update_embeddings": keys.FLAG,
                "max_seq_length": keys.SIZE,
            },
            needs=("tokenizer_class",),
            file="wordembedding_config.json",
            weights="yes",
        ),
        ModuleType("StaticEmbedding", file=None, weights="yes"),
        ModuleType(
            "Router",
            {
                "default_route": keys.TEXT.or_null(),
                "allow_empty_key": keys.FLAG,
                "route_mappings": keys.TEXT.dict().or_null(),
            },
            file="router_config.json",
            older_files=("config.json",),
        ),
    )
}

# Class names of earlier times -> name. The first releases had a class per architecture.
_OLD_NAMES = {
    "Asym": "Router",
    **dict.fromkeys(
        ("BERT", "RoBERTa", "DistilBERT", "ALBERT", "CamemBERT", "XLMRoBERTa", "XLNet"),
        "Transformer",
    ),
}


def type_named(type_name: str) -> ModuleType | None:
    """The row of the table for a type name of any generation; None if it has none.

    Args:
        type_name: As in a file: `sentence_transformers.models.Pooling`, or
            `sentence_transformers.sentence_transformer.modules.pooling.Pooling`, and so on.
    """
    if not type_name.startswith(_READ_PREFIXES):
        return None
    name = type_name.rpartition(".")[2]
    return MODULES.get(_OLD_NAMES.get(name, name))


def type_of(module: nn.Module) -> ModuleType | None:
    """The row of the table for a module; None if its class is not one of `sentune.models`."""
    kind = type(module)
    if not kind.__module__.startswith("sentune.models."):
        return None
    return MODULES.get(_OLD_NAMES.get(kind.__name__, kind.__name__))


def settings_in(row: ModuleType, config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The settings in a module's file, checked, under the names of today.

    Where a file has a key under its old and its new name, the new one counts.

    Args:
        row: What kind of module it is.
        config: What the file holds.
        path: The file, for the error.

    Raises:
        ModelFileError: Naming the file and the key that is missing or wrong.
    """
    named = {row.renamed.get(key, key): value for key, value in config.items()}
    settings = {**named, **{key: config[key] for key in config if key not in row.renamed}}
    if row.name == "Pooling":
        keys.check(settings, dict.fromkeys(POOLING_FLAGS, keys.FLAG), path)
        settings = _modes_of_flags(settings)
    keys.need(settings, row.needs, path)
    # Before they are renamed, so that an error names the key that stands in the file.
    older = {
        old: row.keys[new]
        for old, new in row.renamed.items()
        if new in row.keys and new not in config
    }
    keys.check(config, {**row.keys, **older}, path)
    return settings


def config_of(row: ModuleType, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a module's file is to hold, under the older names of its keys.

    Args:
        row: What kind of module it is.
        settings: The module's settings.
    """
    if row.name == "Pooling":
        return _flags_of_modes(settings)
    older = {key: name for name, key in row.renamed.items()}
    return {older.get(key, key): value for key, value in settings.items()}


def _modes_of_flags(settings: Mapping[str, Any]) -> dict[str, Any]:
    modes = [mode for flag, mode in POOLING_FLAGS.items() if settings.get(flag)]
    rest = {key: value for key, value in settings.items() if key not in POOLING_FLAGS}
    if "pooling_mode" not in rest:
        rest["pooling_mode"] = modes[0] if len(modes) == 1 else modes or "mean"
    return rest


def _flags_of_modes(settings: Mapping[str, Any]) -> dict[str, Any]:
    given = settings["pooling_mode"]
    modes = [given] if isinstance(given, str) else list(given)
    flags = {flag: mode in modes for flag, mode in POOLING_FLAGS.items()}
    config = {
        "word_embedding_dimension": settings["embedding_dimension"],
        **flags,
        "include_prompt": settings["include_prompt"],
    }
    if modes != [mode for mode in POOLING_FLAGS.values() if mode in modes]:
        # The flags cannot say this order. Old readers refuse the key, which is better than a
        # vector whose parts have changed places.
        config["pooling_mode"] = modes
    return config
