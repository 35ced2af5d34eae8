"""The file format: file names, type names both ways, the keys of each module's file.

One row of `MODULES` describes a module, and names what reads and writes it. What is written is what
the most readers understand: the type names and keys of the format's long middle age (2.x to 5.3);
what is read is every generation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, Protocol

from sentune.errors import MissingModelError
from sentune.files import checkpoint, settings
from sentune.folders import keys, weight_files
from sentune.folders.folder import ModelFolder
from sentune.folders.keys import Kind
from sentune.folders.names import ADAPTER_FILE, ENCODER_FILE, TOKENIZER

if TYPE_CHECKING:
    from torch import nn

# Names under which the settings of a Transformer have been kept, the one that is written first.
TRANSFORMER_FILES = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)

# The release that the written files name as theirs: the first that reads all that they say (prompts
# came with 2.4, the similarity with 3.0). Readers warn when the files name a newer one than theirs.
WRITTEN_AS = "3.0.0"

# Packages that the classes have lived in; below them, any submodule.
_READ_PREFIXES = (
    "sentence_transformers.models.",
    "sentence_transformers.base.modules.",
    "sentence_transformers.sentence_transformer.modules.",
    "sentence_transformers.cross_encoder.modules.",
    "sentune.models.",
)


def _check_weights(row: Any, folder: ModelFolder, *, is_trusted: bool) -> None:
    """Raise if a module needs weights and its folder has none, or damaged ones."""
    if row.weights == "yes":
        weight_files.need(folder)
        weight_files.count(folder)


def _check_encoder(row: Any, folder: ModelFolder, *, is_trusted: bool) -> None:
    """Raise if there is something wrong with an encoder's folder; an adapter's is checked later."""
    if folder.file(ENCODER_FILE) is not None or folder.file(ADAPTER_FILE) is None:
        checkpoint.check(folder, is_trusted=is_trusted)


def _check_vectors(row: Any, folder: ModelFolder, *, is_trusted: bool) -> None:
    """Raise if a StaticEmbedding has no tokenizer or no weights."""
    if folder.text_file(TOKENIZER) is None:
        raise MissingModelError(f"{folder.path / TOKENIZER} is missing; the model needs it")
    _check_weights(row, folder, is_trusted=is_trusted)


class Check(Protocol):
    """Raises if there is something wrong with the files of a module."""

    def __call__(self, row: Any, folder: ModelFolder, *, is_trusted: bool) -> None:
        """Look at the files in a folder."""


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
        home: The package that has the class.
        written_home: The package that files say has it.
        format: The file in `sentune.files.modules` with `read` and `write` for it, and `check`,
            `stored` and `restore` where a module needs them.
        understood: Makes settings of today of what a file of any generation holds.
        said: Makes of settings what a file is to hold.
        parts: Key of an object that names the types of modules in folders of its own.
        check: Looks at the other files in its folder.
    """

    name: str
    keys: Mapping[str, Kind] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    file: str | None = "config.json"
    older_files: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    weights: Literal["yes", "no", "maybe"] = "no"
    is_lenient: bool = False
    home: str = "sentune.models"
    written_home: str = "sentence_transformers.models"
    format: str = "plain"
    understood: settings.Understood = settings.plain
    said: Callable[[Mapping[str, Any]], dict[str, Any]] = dict
    parts: str | None = None
    check: Check = _check_weights

    @property
    def written_name(self) -> str:
        """The type name that is written."""
        return f"{self.written_home}.{self.name}"

    def load_class(self) -> type[nn.Module]:
        """The class."""
        return getattr(import_module(self.home), self.name)

    def load_format(self) -> Any:
        """What reads and writes it."""
        return import_module(f"sentune.files.modules.{self.format}")

    def config_of(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """What its file is to hold, under the older names of its keys."""
        older = {key: name for name, key in self.renamed.items()}
        return {older.get(key, key): value for key, value in self.said(settings).items()}


_MODE = keys.one_of(*settings.POOLING_FLAGS.values())
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
            format="transformer",
            understood=settings.of_transformer,
            check=_check_encoder,
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
            understood=settings.of_pooling,
            said=settings.flags_of_modes,
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
                "activation_kwargs": keys.OBJECT.or_null(),
                "use_residual": keys.FLAG,
                **_KEYS_IN_AND_OUT,
            },
            needs=("in_features", "out_features"),
            weights="yes",
            format="dense",
        ),
        ModuleType(
            "LogitScore",
            {
                "true_token_id": keys.COUNT,
                "false_token_id": keys.COUNT.or_null(),
                "module_input_name": keys.TEXT,
            },
            needs=("true_token_id",),
            written_home="sentence_transformers.cross_encoder.modules.logit_score",
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
            format="word_embeddings",
        ),
        ModuleType(
            "StaticEmbedding",
            file=None,
            weights="yes",
            format="static_embedding",
            check=_check_vectors,
        ),
        ModuleType(
            "Router",
            {
                "default_route": keys.TEXT.or_null(),
                "allow_empty_key": keys.FLAG,
                "route_mappings": keys.TEXT.dict().or_null(),
            },
            file="router_config.json",
            older_files=("config.json",),
            format="router",
            understood=settings.of_router,
            parts="types",
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
    name = type_name.rpartition(".")[2]
    row = MODULES.get(_OLD_NAMES.get(name, name))
    is_ours = type_name.startswith(_READ_PREFIXES)
    return row if row and (is_ours or type_name == row.written_name) else None


def type_of(module: nn.Module) -> ModuleType | None:
    """The row of the table for a module; None if its class is in no row."""
    return _row_of(type(module))


def base_type_of(kind: type) -> ModuleType | None:
    """The row of the next class above that has one, or of the class itself; None if none has."""
    return next((row for one in kind.__mro__ if (row := _row_of(one)) is not None), None)


def _row_of(kind: type) -> ModuleType | None:
    row = MODULES.get(_OLD_NAMES.get(kind.__name__, kind.__name__))
    is_it = row is not None and f"{kind.__module__}.".startswith(f"{row.home}.")
    return row if is_it else None
