"""The file format: file names, type names both ways, the keys of each module's file.

One row of `MODULES` describes a module, and names what reads and writes it. What is written is what
the most readers understand: the type names and keys of the format's long middle age (2.x to 5.3);
what is read is every generation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from sentune.errors import MissingModelError
from sentune.files import checkpoint, settings
from sentune.folders import keys, weight_files
from sentune.folders.folder import ModelFolder
from sentune.folders.keys import COUNT, FEW, FLAG, NUMBER, OBJECT, SHARE, SIZE, TEXT, Kind
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


def _check_weights(row: Any, folder: ModelFolder, is_trusted: bool) -> None:
    """Raise if a module needs weights and its folder has none, or damaged ones."""
    if row.weights == "yes":
        weight_files.need(folder)
        weight_files.count(folder)


def _check_encoder(row: Any, folder: ModelFolder, is_trusted: bool) -> None:
    """Raise if there is something wrong with an encoder's folder; an adapter's is checked later."""
    if folder.file(ENCODER_FILE) is not None or folder.file(ADAPTER_FILE) is None:
        checkpoint.check(folder, is_trusted=is_trusted)


def _check_vectors(row: Any, folder: ModelFolder, is_trusted: bool) -> None:
    """Raise if a StaticEmbedding has no tokenizer or no weights."""
    if folder.text_file(TOKENIZER) is None:
        raise MissingModelError(f"{folder.path / TOKENIZER} is missing; the model needs it")
    _check_weights(row, folder, is_trusted)


@dataclass(frozen=True)
class ModuleType:
    """How a module is kept in files."""

    name: str  # the class's name in `sentune.models`
    keys: Mapping[str, Kind] = field(default_factory=dict)  # settings -> what they may hold
    needs: tuple[str, ...] = ()  # settings that the file must have
    file: str | None = "config.json"  # name of its file; None if it has none
    older_files: tuple[str, ...] = ()  # names the file has had
    renamed: Mapping[str, str] = field(default_factory=dict)  # older key -> key
    # "maybe": older writers left them out, because they follow from the settings.
    weights: Literal["yes", "no", "maybe"] = "no"
    is_lenient: bool = False  # whether its file may be missing, or hold things that are not for it
    home: str = "sentune.models"  # the package that has the class
    written_home: str = "sentence_transformers.models"  # the package that files say has it
    # In `sentune.files.modules`, with `read` and `write`, and `check` and `restore` if needed.
    format: str = "plain"
    understood: settings.Understood = settings.plain  # file of any generation -> settings
    said: Callable[[Mapping[str, Any]], dict[str, Any]] = dict  # settings -> file
    parts: str | None = None  # key of an object with the types of modules in folders of its own
    check: Callable[[Any, ModelFolder, bool], None] = (
        _check_weights  # looks at the other files in its folder
    )

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
_KEYS_IN_AND_OUT = {"module_input_name": TEXT, "module_output_name": TEXT.or_null()}
_WORDS = {"vocab": TEXT.list(), "word_weights": NUMBER.dict(), "unknown_word_weight": NUMBER}
_WIDTH = "embedding_dimension"
_OLD_KWARGS = ("model_args", "tokenizer_args", "config_args")
_OLD_WIDTH = {"word_embedding_dimension": _WIDTH}

MODULES = {
    row.name: row
    for row in (
        ModuleType(
            "Transformer",
            {"max_seq_length": SIZE.or_null(), "do_lower_case": FLAG.or_null()},
            file=TRANSFORMER_FILES[0],
            older_files=TRANSFORMER_FILES[1:],
            renamed=dict(zip(_OLD_KWARGS, settings.KWARGS, strict=True)),
            weights="yes",
            is_lenient=True,
            format="transformer",
            understood=settings.of_transformer,
            check=_check_encoder,
        ),
        ModuleType(
            "Pooling",
            {_WIDTH: SIZE, "pooling_mode": _MODE.either(_MODE.list()), "include_prompt": FLAG},
            needs=(_WIDTH,),
            renamed=_OLD_WIDTH,
            understood=settings.of_pooling,
            said=settings.flags_of_modes,
        ),
        # Up to 5.3 it had no file, and the Hub keeps no empty folder.
        ModuleType("Normalize", _KEYS_IN_AND_OUT, is_lenient=True),
        ModuleType(
            "Dense",
            {
                "in_features": SIZE,
                "out_features": SIZE,
                "bias": FLAG,
                "activation_function": TEXT.or_null(),
                "activation_kwargs": OBJECT.or_null(),
                "use_residual": FLAG,
                **_KEYS_IN_AND_OUT,
            },
            needs=("in_features", "out_features"),
            weights="yes",
            format="dense",
        ),
        ModuleType(
            "LogitScore",
            {"true_token_id": COUNT, "false_token_id": COUNT.or_null(), "module_input_name": TEXT},
            needs=("true_token_id",),
            written_home="sentence_transformers.cross_encoder.modules.logit_score",
        ),
        ModuleType("LayerNorm", {"dimension": SIZE}, needs=("dimension",), weights="yes"),
        ModuleType("Dropout", {"dropout": SHARE}),
        ModuleType(
            "CNN",
            {
                "in_embedding_dimension": SIZE,
                "out_channels": SIZE,
                "kernel_sizes": SIZE.list(),
                "stride_sizes": SIZE.list().or_null(),
            },
            needs=("in_embedding_dimension",),
            file="cnn_config.json",
            renamed={"in_word_embedding_dimension": "in_embedding_dimension"},
            weights="yes",
        ),
        ModuleType(
            "LSTM",
            {
                _WIDTH: SIZE,
                "hidden_dim": SIZE,
                "num_layers": FEW,
                "dropout": SHARE,
                "bidirectional": FLAG,
            },
            needs=(_WIDTH, "hidden_dim"),
            file="lstm_config.json",
            renamed=_OLD_WIDTH,
            weights="yes",
        ),
        ModuleType(
            "WeightedLayerPooling",
            {_WIDTH: SIZE, "num_hidden_layers": FEW, "layer_start": COUNT},
            needs=(_WIDTH,),
            renamed=_OLD_WIDTH,
            weights="yes",
        ),
        ModuleType("WordWeights", _WORDS, needs=("vocab", "word_weights"), weights="maybe"),
        ModuleType("BoW", {**_WORDS, "cumulative_term_frequency": FLAG}, needs=("vocab",)),
        ModuleType(
            "WordEmbeddings",
            {"tokenizer_class": TEXT, "update_embeddings": FLAG, "max_seq_length": SIZE},
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
                "default_route": TEXT.or_null(),
                "allow_empty_key": FLAG,
                "route_mappings": TEXT.dict().or_null(),
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
_ARCHITECTURES = ("BERT", "RoBERTa", "DistilBERT", "ALBERT", "CamemBERT", "XLMRoBERTa", "XLNet")
_OLD_NAMES = {"Asym": "Router", **dict.fromkeys(_ARCHITECTURES, "Transformer")}


def type_named(type_name: str) -> ModuleType | None:
    """The row of the table for a type name in a file of any generation; None if it has none."""
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
