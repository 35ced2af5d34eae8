"""Tiny tokenizers and encoders with random weights, made on the spot: no network, no files kept."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

WORDS = (
    "the a of to and in is it cat dog bird sat ran flew on over under mat tree river house red "
    "green small large quick slow song sings sleeps eats fish bread water light dark morning night "
    "query document passage search for read write file open close number string list sort"
).split()
LETTERS = [chr(code) for code in range(ord("a"), ord("z") + 1)] + [str(n) for n in range(10)]

SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
COMMON = {**SIZE, "intermediate_size": 48, "max_position_embeddings": 66}
ROBERTA = {"type_vocab_size": 1}
KINDS = {
    "bert": COMMON,
    "roberta": {**COMMON, **ROBERTA},
    "xlm-roberta": {**COMMON, **ROBERTA},
    "camembert": {**COMMON, **ROBERTA},
    "distilbert": {
        "dim": 32,
        "n_layers": 2,
        "n_heads": 4,
        "hidden_dim": 48,
        "max_position_embeddings": 66,
    },
    "electra": {**COMMON, "embedding_size": 16},
    "modernbert": {
        **COMMON,
        "local_attention": 8,
        "global_attn_every_n_layers": 2,
        "num_hidden_layers": 3,
        "reference_compile": False,
    },
    "albert": {**COMMON, "embedding_size": 16},
    "ernie": {**COMMON, "use_task_id": True},
    "eurobert": {**COMMON, "num_key_value_heads": 2, "head_dim": 8},
    "gte": COMMON,
    "jina_embeddings_v3": {**COMMON, **ROBERTA},
    "nomic_bert": {**COMMON, "head_dim": 8},
    "roberta-prelayernorm": {**COMMON, **ROBERTA},
    "xlm-roberta-xl": {**COMMON, **ROBERTA},
    "mpnet": COMMON,
}
# Kinds whose special tokens look like <s> and whose positions count from padding_idx + 1.
ROBERTA_KINDS = (
    "roberta",
    "xlm-roberta",
    "camembert",
    "roberta-prelayernorm",
    "xlm-roberta-xl",
    "mpnet",
)
# Kinds that sentune runs on packed sentences; the others are padded.
PACKED_KINDS = [kind for kind in KINDS if kind != "mpnet"]


def tokenizer(kind: str = "bert", max_length: int = 64) -> PreTrainedTokenizerFast:
    """A word-piece tokenizer over a few words and all letters."""
    is_roberta = kind in ROBERTA_KINDS
    if is_roberta:
        special = {"cls": "<s>", "pad": "<pad>", "sep": "</s>", "unk": "<unk>", "mask": "<mask>"}
    else:
        special = {"pad": "[PAD]", "cls": "[CLS]", "sep": "[SEP]", "unk": "[UNK]", "mask": "[MASK]"}
    pieces = [*special.values(), *WORDS, *LETTERS, *("##" + letter for letter in LETTERS)]
    vocab = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    core = Tokenizer(models.WordPiece(vocab, unk_token=special["unk"]))
    core.normalizer = normalizers.BertNormalizer()
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    cls, sep = special["cls"], special["sep"]
    second = "$B:0" if is_roberta else "$B:1"
    core.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=f"{cls} $A {sep} {second} {sep}:{second[-1]}",
        special_tokens=[(cls, vocab[cls]), (sep, vocab[sep])],
    )
    names = ["input_ids", "attention_mask"]
    if kind in ("bert", "electra", "albert", "ernie", "nomic_bert"):
        names.insert(1, "token_type_ids")
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        model_max_length=max_length,
        model_input_names=names,
        **{f"{name}_token": token for name, token in special.items()},
    )


RATES = ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout")


def make_folder(
    folder: Path,
    kind: str = "bert",
    *,
    dropout: float | dict[str, float] = 0.0,
    seed: int = 0,
    longest: int = 64,
) -> Path:
    """A checkpoint of a plain encoder, as the transformers library saves it.

    Args:
        folder: Where to.
        kind: One of `KINDS`.
        dropout: Of every kind, or by the name in the configuration.
        seed: Of the weights.
        longest: Most tokens of a text.
    """
    words = tokenizer(kind, longest)
    rates = dropout if isinstance(dropout, dict) else dict.fromkeys(RATES, dropout)
    config = AutoConfig.for_model(
        kind,
        vocab_size=len(words),
        **{**KINDS[kind], "max_position_embeddings": longest + 2},
        **{**dict.fromkeys(RATES, 0.0), **rates},
        **{f"{n}_token_id": getattr(words, f"{n}_token_id") for n in ("pad", "cls", "sep")},
        bos_token_id=words.cls_token_id,
        eos_token_id=words.sep_token_id,
    )
    torch.manual_seed(seed)
    encoder = AutoModel.from_config(config)
    with torch.no_grad():  # larger than by default, so that mistakes show in the numbers
        for parameter in encoder.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.2)
    encoder.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder
