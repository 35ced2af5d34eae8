"""A folder of WordEmbeddings: a table of vectors and a tokenizer of words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from sentune.errors import ModelFileError, SettingError
from sentune.files.checkpoint import check_tokenizer
from sentune.files.layout import ModuleType
from sentune.files.modules.checkpoint import write_tokenizer
from sentune.files.modules.how import Reading, Writing
from sentune.files.plan import ModulePlan
from sentune.folders import keys, weights
from sentune.folders.folder import ModelFolder, write_json
from sentune.models import tokenizer as tokenizers

_VECTORS = "emb_layer.weight"
_TOKENIZER_KEYS = {
    "vocab": keys.TEXT.list(),
    "stop_words": keys.TEXT.list(),
    "do_lower_case": keys.FLAG,
    "ngram_separator": keys.TEXT.or_null(),
    "max_ngram_length": keys.SIZE,
}
_WRAPPER = tokenizers.TransformersTokenizerWrapper
# Class of a tokenizer -> the file that had it up to 5.3, which is part of the name that is written.
_FILES: dict[type[Any], str] = {
    tokenizers.WhitespaceTokenizer: "WhitespaceTokenizer",
    tokenizers.PhraseTokenizer: "PhraseTokenizer",
    _WRAPPER: "WordTokenizer",
}
_CLASSES = {kind.__name__: kind for kind in _FILES}


def read(plan: ModulePlan, how: Reading, kind: type[Any]) -> nn.Module:
    """WordEmbeddings."""
    tokenizer = _read_tokenizer(plan.settings["tokenizer_class"], plan.folder, plan.path)
    tensors, file = weights.need(plan.folder)
    if _VECTORS not in tensors:
        raise ModelFileError(f"{file} holds {sorted(tensors)}; the vectors must be in {_VECTORS!r}")
    options = {key: value for key, value in plan.settings.items() if key != "tokenizer_class"}
    return kind(tokenizer, tensors[_VECTORS], **options)


def write(row: ModuleType, module: nn.Module, folder: Path, how: Writing) -> None:
    """Write WordEmbeddings."""
    tokenizer: Any = module.tokenizer
    kind = type(tokenizer)
    if kind not in _FILES:
        raise SettingError(
            f"a tokenizer of class {kind.__name__} cannot be saved; use one of {sorted(_CLASSES)}"
        )
    written = f"sentence_transformers.models.tokenizer.{_FILES[kind]}.{kind.__name__}"
    settings: dict[str, Any] = module.settings()  # type: ignore[operator]
    write_json(folder / str(row.file), {"tokenizer_class": written, **settings})
    weights.write(module.state_dict(), folder, safe=how.safe)
    if isinstance(tokenizer, _WRAPPER):
        write_tokenizer(tokenizer.tokenizer, folder)
    else:
        write_json(folder / tokenizer.config_file_name, tokenizer.settings())


def _read_tokenizer(class_name: str, folder: ModelFolder, path: Path) -> Any:
    kind = _CLASSES.get(class_name.rpartition(".")[2])
    if kind is None or not class_name.startswith(("sentence_transformers.", "sentune.")):
        raise ModelFileError(
            f"{path}: 'tokenizer_class' is {class_name!r}; it must be one of "
            f"{sorted(_CLASSES)} of sentence_transformers"
        )
    if kind is _WRAPPER:
        check_tokenizer(folder)
        try:
            from transformers import AutoTokenizer

            return AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
        except Exception as error:  # whatever a damaged file sets off in it
            raise ModelFileError(f"{folder}: the tokenizer cannot be loaded: {error}") from error
    config = folder.need_json(kind.config_file_name, dict)
    file = folder.path / kind.config_file_name
    keys.need(config, ("vocab",), file)
    keys.check(config, _TOKENIZER_KEYS, file)
    keys.refuse_unknown(config, _TOKENIZER_KEYS, file)
    return kind(**{key: value for key, value in config.items() if key in _TOKENIZER_KEYS})
