"""A BERT folder -> a Transformer that does not load the transformers library yet.

Where any setting is not standard, the library itself reads the folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer

from sentune.engine.deferred import Deferred, Shape, WordPieces
from sentune.engine.tasks import FEATURES
from sentune.folders import weights
from sentune.folders.folder import ModelFolder
from sentune.folders.names import ENCODER_FILE, SAFETENSORS, TOKENIZER, TOKENIZER_FILE
from sentune.models.transformer import Transformer

# Standard settings, which both libraries understand alike: value by key, where the key is there.
_PLAIN_CONFIG = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
    "output_hidden_states": False,
    "chunk_size_feed_forward": 0,
}
_ODD_CONFIG = {"auto_map", "quantization_config", "pruned_heads", "attn_implementation", "adapters"}
_CLASSES = {None, "BertTokenizer", "BertTokenizerFast"}
# Options of the tokenizer's class, and where its core has them.
_NORMALIZER = {
    "do_lower_case": ("lowercase", True),
    "strip_accents": ("strip_accents", None),
    "tokenize_chinese_chars": ("handle_chinese_chars", True),
}
_SPECIAL = {"unk": "[UNK]", "sep": "[SEP]", "pad": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"}
_SPECIAL_KEYS = {"extra_special_tokens", "additional_special_tokens", "split_special_tokens"}
_ODD_WORDS = {"auto_map", *_SPECIAL_KEYS}
# A tensor of a checkpoint that is not a weight.
_NO_WEIGHT = "embeddings.position_ids"


def read(folder: ModelFolder, settings: Mapping[str, Any]) -> Transformer | None:
    """The Transformer in a folder that was checked; None if the library has to read it."""
    if settings.get("transformer_task", FEATURES) != FEATURES or folder.file(SAFETENSORS) is None:
        return None
    config = folder.read_json(ENCODER_FILE, dict)
    words = folder.read_json(TOKENIZER_FILE, dict)
    core = folder.read_json(TOKENIZER, dict)
    if not config or words is None or not core:
        return None
    if not _is_plain(config) or not _is_read_alike(words, core, folder):
        return None
    path = folder.path
    stored = weights.read_file(path / SAFETENSORS)
    tensors = {name: tensor.float() for name, tensor in stored.items() if name != _NO_WEIGHT}
    try:
        shape = Shape(**{name: config[name] for name in Shape.__dataclass_fields__})
        is_whole = {name: tuple(x.shape) for name, x in tensors.items()} == shape.tensors
        tokenizer = Tokenizer.from_str((path / TOKENIZER).read_text(encoding="utf-8"))
    except Exception:  # the library knows what is wrong, and says it
        return None
    if not is_whole or shape.hidden_size % shape.num_attention_heads:
        return None
    known = WordPieces(
        tokenizer,
        int(words.get("model_max_length", 10**30)),
        ("input_ids", "token_type_ids", "attention_mask"),
        [i for token in _SPECIAL.values() if (i := tokenizer.token_to_id(token)) is not None],
    )
    files = {
        file.name: file.read_bytes()
        for file in path.iterdir()
        if file.suffix in (".json", ".txt") and file.is_file()
    }
    encoder = Deferred(str(path), known, files, shape, tensors)
    return Transformer.deferred(encoder, settings["max_seq_length"], settings["do_lower_case"])


def _is_plain(config: Mapping[str, Any]) -> bool:
    """Whether a config.json asks for an ordinary BERT in float32."""
    if config.get("model_type") != "bert" or _ODD_CONFIG & config.keys():
        return False
    if "ForCausalLM" in str(config.get("architectures")):
        return False
    return all(config.get(key, value) == value for key, value in _PLAIN_CONFIG.items())


def _is_read_alike(words: Mapping[str, Any], core: Mapping[str, Any], folder: ModelFolder) -> bool:
    """Whether the tokenizer's core does all that its class would do."""
    if words.get("tokenizer_class") not in _CLASSES or _ODD_WORDS & words.keys():
        return False
    special = {**words, **(folder.read_json("special_tokens_map.json", dict) or {})}
    for name, token in _SPECIAL.items():
        given = special.get(f"{name}_token", token)
        if (given.get("content") if isinstance(given, dict) else given) != token:
            return False
    normalizer = core.get("normalizer") or {}
    for option, (key, default) in _NORMALIZER.items():
        if normalizer.get(key) != words.get(option, default):
            return False
    added = {token["content"] for token in core.get("added_tokens") or ()}
    more = {token["content"] for token in (words.get("added_tokens_decoder") or {}).values()}
    return (
        normalizer.get("type") == "BertNormalizer"
        and (core.get("pre_tokenizer") or {}).get("type") == "BertPreTokenizer"
        and (core.get("model") or {}).get("type") == "WordPiece"
        and json.dumps(core.get("post_processor")).count('"[SEP]"') > 0
        and added == set(_SPECIAL.values())
        and more <= added
        and folder.file("added_tokens.json") is None
        and words.get("truncation_side", "right") == "right"
    )
