"""Folders written by hand as each generation of the format wrote them, and ways to compare."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from sentune.files import load as files_load
from sentune.hub.fetch import Access

WIDTH = 32
MODELS = "sentence_transformers.models."
BASE = "sentence_transformers.base.modules."
FRONT = "sentence_transformers.sentence_transformer.modules."
FLAGS = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")


def load(source, **options):
    """As `sentune.files.load.load`; what is for the Hub's `Access` goes there."""
    access = {
        field.name: options.pop(field.name) for field in fields(Access) if field.name in options
    }
    return files_load.load(source, Access(**access), **options)


def write(path: Path, content) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def read(path: Path):
    return json.loads(path.read_text(encoding="utf-8"))


def change(path: Path, **changes) -> None:
    write(path, {**read(path), **changes})


def without(path: Path, *names: str) -> None:
    write(path, {key: value for key, value in read(path).items() if key not in names})


def listed(*types_and_paths) -> list[dict]:
    return [
        {"idx": i, "name": str(i), "path": path, "type": kind}
        for i, (kind, path) in enumerate(types_and_paths)
    ]


def pooling_flags(*true: str, older: bool = False) -> dict:
    names = FLAGS if older else (*FLAGS, "weightedmean_tokens", "lasttoken")
    return {
        "word_embedding_dimension": WIDTH,
        **{f"pooling_mode_{name}": name in true for name in names},
    }


def dense(folder: Path, seed: int = 1, **config) -> None:
    torch.manual_seed(seed)
    write(
        folder / "config.json",
        {
            "in_features": WIDTH,
            "out_features": 8,
            "bias": True,
            "activation_function": "torch.nn.modules.activation.Tanh",
            **config,
        },
    )
    tensors = {"linear.weight": torch.randn(8, WIDTH), "linear.bias": torch.randn(8)}
    save_file(tensors, folder / "model.safetensors")


def v0(raw: Path, path: Path) -> Path:
    """The first releases: a class per architecture, its settings under its name."""
    shutil.copytree(raw, path / "0_BERT")
    write(path / "0_BERT/sentence_bert_config.json", {"max_seq_length": 20, "do_lower_case": False})
    write(path / "1_Pooling/config.json", pooling_flags("mean_tokens", older=True))
    write(
        path / "modules.json",
        listed((MODELS + "BERT", "0_BERT"), (MODELS + "Pooling", "1_Pooling")),
    )
    return path


def v1_roberta(raw: Path, path: Path) -> Path:
    """1.x and before: settings of a RoBERTa under a name of their own, pickled weights."""
    shutil.copytree(raw, path / "0_RoBERTa")
    home = path / "0_RoBERTa"
    torch.save(load_file(home / "model.safetensors"), home / "pytorch_model.bin")
    (home / "model.safetensors").unlink()
    write(home / "sentence_roberta_config.json", {"max_seq_length": 20})
    write(path / "1_Pooling/config.json", pooling_flags("mean_tokens", older=True))
    write(
        path / "modules.json",
        listed((MODELS + "RoBERTa", "0_RoBERTa"), (MODELS + "Pooling", "1_Pooling")),
    )
    return path


def v2(raw: Path, path: Path) -> Path:
    """2.x: the encoder in the model's folder; the folder of Normalize missing, as on the Hub."""
    shutil.copytree(raw, path)
    write(path / "sentence_bert_config.json", {"max_seq_length": 20, "do_lower_case": False})
    write(path / "1_Pooling/config.json", pooling_flags("mean_tokens", older=True))
    versions = {"sentence_transformers": "2.0.0", "transformers": "4.6.1", "pytorch": "1.8.1"}
    write(path / "config_sentence_transformers.json", {"__version__": versions})
    kinds = listed(
        (MODELS + "Transformer", ""),
        (MODELS + "Pooling", "1_Pooling"),
        (MODELS + "Normalize", "2_Normalize"),
    )
    write(path / "modules.json", kinds)
    return path


def v5(raw: Path, path: Path) -> Path:
    """2.4 to 5.3 with all that it could say."""
    shutil.copytree(raw, path)
    write(
        path / "sentence_bert_config.json",
        {
            "max_seq_length": 20,
            "do_lower_case": True,
            "model_args": {"trust_remote_code": True, "attn_implementation": "sdpa"},
            "tokenizer_args": {"trust_remote_code": True, "padding_side": "left"},
            "config_args": {"trust_remote_code": True, "classifier_dropout": 0.5},
        },
    )
    pooling = {**pooling_flags("cls_token", "max_tokens"), "include_prompt": False}
    write(path / "1_Pooling/config.json", pooling)
    dense(path / "2_Dense", in_features=2 * WIDTH)
    tensors = {"linear.weight": torch.ones(8, 2 * WIDTH), "linear.bias": torch.ones(8)}
    save_file(tensors, path / "2_Dense/model.safetensors")
    (path / "3_Normalize").mkdir()
    write(
        path / "config_sentence_transformers.json",
        {
            "__version__": {"sentence_transformers": "5.1.0"},
            "prompts": {"query": "query ", "document": ""},
            "default_prompt_name": "query",
            "similarity_fn_name": "dot",
            "truncate_dim": 4,
            "model_type": "SentenceTransformer",
        },
    )
    kinds = listed(
        (MODELS + "Transformer", ""),
        (MODELS + "Pooling", "1_Pooling"),
        (MODELS + "Dense", "2_Dense"),
        (MODELS + "Normalize", "3_Normalize"),
    )
    kinds[0]["kwargs"] = ["task"]
    write(path / "modules.json", kinds)
    return path


def v5_4(raw: Path, path: Path, normalize: str = FRONT + "normalize.Normalize") -> Path:
    """5.4 to 5.x: new type names, the length limit in the tokenizer's file alone."""
    shutil.copytree(raw, path)
    change(path / "tokenizer_config.json", model_max_length=20)
    write(
        path / "sentence_bert_config.json",
        {
            "transformer_task": "feature-extraction",
            "modality_config": {
                "text": {"method": "forward", "method_output_name": "last_hidden_state"}
            },
            "module_output_name": "token_embeddings",
        },
    )
    write(
        path / "1_Pooling/config.json",
        {"embedding_dimension": WIDTH, "pooling_mode": "mean", "include_prompt": True},
    )
    write(
        path / "config_sentence_transformers.json",
        {
            "__version__": {"sentence_transformers": "5.4.0"},
            "default_prompt_name": None,
            "model_type": "SentenceTransformer",
            "prompts": {"document": "", "query": ""},
            "similarity_fn_name": "cosine",
        },
    )
    kinds = listed(
        (BASE + "transformer.Transformer", ""),
        (FRONT + "pooling.Pooling", "1_Pooling"),
        (normalize, "2_Normalize"),
    )
    write(path / "modules.json", kinds)
    return path


def v6(raw: Path, path: Path) -> Path:
    """6.x: Normalize has moved and has a file."""
    v5_4(raw, path, BASE + "normalize.Normalize")
    names = dict.fromkeys(("module_input_name", "module_output_name"), "sentence_embedding")
    write(path / "2_Normalize/config.json", names)
    return path


def same_tensors(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    one, other = a.state_dict(), b.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def json_bytes(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.json")
    }
