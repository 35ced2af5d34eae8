"""Code of models in the styles of the Hub, written for sentence-transformers, and its folders."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.files.folders import MODELS, WIDTH, change, listed, pooling_flags, write

# As of 3.x: a torch module that knows nothing of the library, with a `load` of one argument.
PLAIN = """
import json
import os

import torch
from transformers import AutoModel, AutoTokenizer


class Encoder(torch.nn.Module):
    save_in_root = True

    def __init__(self, folder, max_seq_length=None, do_lower_case=False):
        super().__init__()
        self.auto_model = AutoModel.from_pretrained(folder)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.max_seq_length = max_seq_length

    def tokenize(self, texts):
        return self.tokenizer(texts, padding=True, truncation=True,
                              max_length=self.max_seq_length, return_tensors="pt")

    def forward(self, features):
        names = ("input_ids", "attention_mask", "token_type_ids")
        output = self.auto_model(**{name: features[name] for name in names if name in features})
        features["token_embeddings"] = 2 * output[0]
        return features

    def get_word_embedding_dimension(self):
        return self.auto_model.config.hidden_size

    def save(self, output_path, safe_serialization=True):
        self.auto_model.save_pretrained(output_path, safe_serialization=safe_serialization)
        self.tokenizer.save_pretrained(output_path)
        with open(os.path.join(output_path, "sentence_bert_config.json"), "w") as file:
            json.dump({"max_seq_length": self.max_seq_length}, file)

    @staticmethod
    def load(input_path):
        with open(os.path.join(input_path, "sentence_bert_config.json")) as file:
            return Encoder(input_path, **json.load(file))
"""

# The same with the constructor of a Transformer: made by the library itself, not by its `load`.
OLD_ENCODER = PLAIN.replace(
    "folder, max_seq_length=None, do_lower_case=False)",
    "model_name_or_path, max_seq_length=None, model_args=None, tokenizer_args=None,\n"
    "                 config_args=None, cache_dir=None, do_lower_case=False, **kwargs)",
).replace(
    "AutoModel.from_pretrained(folder)",
    "AutoModel.from_pretrained(model_name_or_path, **(model_args or {}))",
)
OLD_ENCODER = OLD_ENCODER.replace("(folder)", "(model_name_or_path)").replace(
    "with open(os.path.join(input_path",
    "raise RuntimeError\n        with open(os.path.join(input_path",
)

SCALE = """
import torch
from {home} import Module


class Scale(Module):
    config_keys = ["size", "times"]

    def __init__(self, size, times=1.0):
        super().__init__()
        self.size, self.times = size, times
        self.weight = torch.nn.Parameter(torch.ones(size))

    def forward(self, features, **kwargs):
        scaled = features["sentence_embedding"] * self.weight * self.times
        features.update({"sentence_embedding": scaled})
        return features

    def save(self, output_path, *args, safe_serialization=True, **kwargs):
        self.save_config(output_path)
        self.save_torch_weights(output_path, safe_serialization=safe_serialization)

    @classmethod
    def load(cls, model_name_or_path, subfolder="", token=None, cache_folder=None, revision=None,
             local_files_only=False, **kwargs):
        where = dict(subfolder=subfolder, token=token, cache_folder=cache_folder,
                     revision=revision, local_files_only=local_files_only)
        config = cls.load_config(model_name_or_path=model_name_or_path, **where)
        return cls.load_torch_weights(model_name_or_path=model_name_or_path, model=cls(**config),
                                      **where)
"""

INPUT = """
import torch
from sentence_transformers.base.modules.input_module import InputModule
from transformers import AutoTokenizer


class Words(InputModule):
    config_keys = ["rows", "width"]
    config_file_name = "words_config.json"
    save_in_root = False

    def __init__(self, rows, width, tokenizer=None):
        super().__init__()
        self.rows, self.width, self.tokenizer = rows, width, tokenizer
        self.table = torch.nn.Embedding(rows, width)

    def {method}:
        {body}

    def forward(self, features, **kwargs):
        tokens = self.table(features["input_ids"])
        features["token_embeddings"] = tokens
        return features

    def get_embedding_dimension(self):
        return self.width

    def save(self, output_path, *args, safe_serialization=True, **kwargs):
        self.save_config(output_path)
        self.save_tokenizer(output_path)
        self.save_torch_weights(output_path, safe_serialization=safe_serialization)

    @classmethod
    def load(cls, model_name_or_path, subfolder="", **kwargs):
        config = cls.load_config(model_name_or_path, subfolder)
        path = cls.load_dir_path(model_name_or_path, subfolder=subfolder)
        assert cls.load_file_path(model_name_or_path, "none.json", subfolder=subfolder) is None
        module = cls(**config, tokenizer=AutoTokenizer.from_pretrained(path))
        return cls.load_torch_weights(model_name_or_path, subfolder, model=module)
"""
PREPROCESS = INPUT.replace("{method}", "preprocess(self, inputs, prompt=None, **kwargs)").replace(
    "{body}",
    """texts = [prompt + text for text in inputs] if prompt else inputs
        return dict(self.tokenizer(texts, padding=True, return_tensors="pt"))""",
)
TOKENIZE = INPUT.replace("{method}", "tokenize(self, texts, **kwargs)").replace(
    "{body}",
    """return dict(self.tokenizer(texts, padding=True, return_tensors="pt"))""",
)

TRANSFORMER = """
import sentence_transformers
from sentence_transformers import models


class Encoder(models.Transformer):
    def forward(self, features, **kwargs):
        features = super().forward(features, **kwargs)
        features["token_embeddings"] = features["token_embeddings"] + 1
        return features


class AnyArguments(sentence_transformers.models.Transformer):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        assert self.auto_model.config.hidden_size == self.get_word_embedding_dimension()

    def forward(self, features, **kwargs):
        return super().forward(features, **kwargs)


class OldArguments(models.Transformer):
    def __init__(self, model_name_or_path, max_seq_length=None, model_args=None,
                 tokenizer_args=None, config_args=None, do_lower_case=False, **kwargs):
        super().__init__(model_name_or_path, max_seq_length=max_seq_length,
                         do_lower_case=do_lower_case, **kwargs)


class OwnLoad(models.Transformer):
    @classmethod
    def load(cls, model_name_or_path, subfolder="", token=None, **kwargs):
        config = cls.load_config(model_name_or_path, subfolder=subfolder)
        return cls(model_name_or_path, max_seq_length=config.get("max_seq_length"))


class OldLoad(models.Transformer):
    @staticmethod
    def load(input_path):
        raise RuntimeError("the library calls the constructor in its place")


class SuperLoad(models.Transformer):
    @classmethod
    def load(cls, *args, **kwargs):
        module = super().load(*args, **kwargs)
        module.note = "loaded"
        return module

    def forward(self, features, **kwargs):
        assert self.note == "loaded"
        return super().forward(features, **kwargs)
"""

# A layer beside the encoder, kept by a `save` and a `load` that call those of the class above.
PROJECTED = """
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers.models import Transformer


class Projected(Transformer):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.more = torch.nn.Linear(32, 32)

    def forward(self, features, **kwargs):
        features = super().forward(features, **kwargs)
        features["token_embeddings"] = self.more(features["token_embeddings"])
        return features

    def save(self, output_path, *args, safe_serialization=True, **kwargs):
        super().save(output_path, safe_serialization=safe_serialization, **kwargs)
        save_file(self.more.state_dict(), f"{output_path}/more.safetensors")

    @classmethod
    def load(cls, model_name_or_path, subfolder="", **kwargs):
        module = super().load(model_name_or_path, subfolder=subfolder, **kwargs)
        path = cls.load_file_path(model_name_or_path, "more.safetensors", subfolder=subfolder)
        module.more.load_state_dict(load_file(path))
        return module
"""

POOLING = """
import torch
from sentence_transformers.models import Pooling


class Weighted(Pooling):
    config_keys = [*Pooling.config_keys, "power"]

    def __init__(self, *args, power=1.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.power = power

    def forward(self, features):
        mask = features["attention_mask"][:, :, None].float()
        tokens = features["token_embeddings"] * mask
        features["sentence_embedding"] = tokens.sum(1) / mask.sum(1) ** self.power
        return features
"""

INSIDE = """
import torch
from sentence_transformers.models import Module


class Inside(Module):
    def forward(self, features, **kwargs):
        import sentence_transformers.util as util
        from sentence_transformers import SentenceTransformer, __version__
        from sentence_transformers.util import cos_sim

        assert SentenceTransformer.__name__ == "SentenceTransformer" and __version__
        vectors = features["sentence_embedding"]
        fixed = torch.linspace(-1, 1, vectors.shape[1])[None]
        first = cos_sim(vectors, fixed) + util.dot_score(vectors, fixed)
        features["sentence_embedding"] = vectors * first[:, :1]
        return features

    def save(self, output_path, *args, **kwargs):
        self.save_config(output_path)
"""

RELATIVE = "from .steps import Doubled\n\n\nclass Step(Doubled):\n    pass\n"
STEPS = """
from sentence_transformers.models import Module


class Doubled(Module):
    def forward(self, features, **kwargs):
        from .numbers_of import TWO
        features["sentence_embedding"] = features["sentence_embedding"] * TWO
        return features

    def save(self, output_path, *args, **kwargs):
        self.save_config(output_path)
"""
NUMBERS = (
    "from sentence_transformers.models import Dense\n\nTWO = 2 * (Dense.__name__ == 'Dense')\n"
)

STATIC = """
import torch
from sentence_transformers.models import StaticEmbedding
from tokenizers import Tokenizer


class Weighted(StaticEmbedding):
    def __init__(self, tokenizer, embedding_weights=None, embedding_dim=None, **kwargs):
        super().__init__(tokenizer, embedding_weights, embedding_dim, **kwargs)
        self.factors = torch.nn.Parameter(torch.zeros(self.embedding.weight.shape[0]))
        self.embedding.mode = "sum"

    def tokenize(self, texts, **kwargs):
        rows = self.tokenizer.encode_batch(texts, add_special_tokens=False)
        rows = [torch.tensor(row.ids[:20], dtype=torch.long) for row in rows]
        return {"input_ids": torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)}

    preprocess = tokenize

    def forward(self, features, **kwargs):
        ids = features["input_ids"]
        factors = torch.sigmoid(self.factors[ids]) * (ids > 0)
        features["sentence_embedding"] = self.embedding(ids, per_sample_weights=factors)
        return features

    @classmethod
    def load(cls, model_name_or_path, subfolder="", token=None, cache_folder=None, revision=None,
             local_files_only=False, **kwargs):
        where = dict(subfolder=subfolder, token=token, cache_folder=cache_folder,
                     revision=revision, local_files_only=local_files_only)
        path = cls.load_file_path(model_name_or_path, filename="tokenizer.json", **where)
        weights = cls.load_torch_weights(model_name_or_path=model_name_or_path, **where)
        module = cls(Tokenizer.from_file(path), embedding_weights=weights["embedding.weight"])
        return cls.load_torch_weights(model=module, model_name_or_path=model_name_or_path, **where)
"""

# The base classes where they have been in turn, and a class with the name of one of the table.
FALLBACK = """
import torch
try:
    from sentence_transformers.base.modules.no_such_file import Module
except ImportError:
    from sentence_transformers.models import Module


class Normalize(Module):
    def __init__(self):
        super().__init__()
        self._rounded = torch.nn.Identity()

    def forward(self, features, levels=127, **kwargs):
        features["sentence_embedding"] = torch.tanh(self._rounded(features["sentence_embedding"]))
        return features

    @classmethod
    def load(cls, model_name_or_path, subfolder="", token=None, cache_folder=None, revision=None,
             local_files_only=False, **kwargs):
        return cls()

    def save(self, output_path, *args, **kwargs):
        return
"""

POOL = (MODELS + "Pooling", "1_Pooling")
ENCODER = (MODELS + "Transformer", "")
# Name -> the files of code, and the modules.
STYLES = {
    "plain": ({"own": PLAIN}, [("own.Encoder", ""), POOL]),
    "old_encoder": ({"own": OLD_ENCODER}, [("own.Encoder", ""), POOL]),
    **{
        f"module_{number}": (
            {"own": SCALE.replace("{home}", home)},
            [ENCODER, POOL, ("own.Scale", "2_Scale")],
        )
        for number, home in enumerate(
            (
                "sentence_transformers.models",
                "sentence_transformers.models.Module",
                "sentence_transformers.base.modules",
                "sentence_transformers.base.modules.module",
                "sentence_transformers.sentence_transformer.modules",
            )
        )
    },
    "preprocess": ({"own": PREPROCESS}, [("own.Words", "0_Words"), POOL]),
    "tokenize": ({"own": TOKENIZE}, [("own.Words", "0_Words"), POOL]),
    **{
        kind: ({"own": TRANSFORMER}, [(f"own.{kind}", ""), POOL])
        for kind in ("Encoder", "AnyArguments", "OldArguments", "OwnLoad", "OldLoad", "SuperLoad")
    },
    "projected": ({"own": PROJECTED}, [("own.Projected", ""), POOL]),
    "pooling": ({"own": POOLING}, [ENCODER, ("own.Weighted", "1_Weighted")]),
    "static": ({"own": STATIC}, [("own.Weighted", "0_Static")]),
    "fallback": ({"own": FALLBACK}, [ENCODER, POOL, ("own.Normalize", "2_Normalize")]),
    "inside": ({"own": INSIDE}, [ENCODER, POOL, ("own.Inside", "2_Inside")]),
    "relative": (
        {"own": RELATIVE, "steps": STEPS, "numbers_of": NUMBERS},
        [ENCODER, POOL, ("own.Step", "2_Step")],
    ),
}


def make(style: str, encoder: Path, path: Path) -> Path:
    """The folder of a model in a style."""
    code, modules = STYLES[style]
    shutil.copytree(encoder, path)
    for name, text in code.items():
        write(path / f"{name}.py", text)
    write(path / "sentence_bert_config.json", {"max_seq_length": 20, "do_lower_case": False})
    change(path / "tokenizer_config.json", model_max_length=20)
    write(path / "modules.json", listed(*modules))
    torch.manual_seed(1)
    for _, folder in modules:
        _fill(path, folder, encoder)
    return path


def _fill(path: Path, folder: str, encoder: Path) -> None:
    """The files of a module."""
    home, pooling = path / folder, pooling_flags("mean_tokens")
    if folder == "1_Pooling":
        write(home / "config.json", pooling)
    elif folder == "1_Weighted":
        write(home / "config.json", {**pooling, "power": 0.5})
    elif folder == "2_Scale":
        write(home / "config.json", {"size": WIDTH, "times": 3.0})
        save_file({"weight": torch.rand(WIDTH)}, home / "model.safetensors")
    elif folder == "0_Static":
        write(home / "tokenizer.json", (encoder / "tokenizer.json").read_text())
        vectors = {"embedding.weight": torch.rand(300, WIDTH), "factors": torch.rand(300)}
        save_file(vectors, home / "model.safetensors")
    elif folder == "0_Words":
        for name in ("tokenizer.json", "tokenizer_config.json"):
            write(home / name, (encoder / name).read_text())
        write(home / "words_config.json", {"rows": 300, "width": WIDTH})
        save_file({"table.weight": torch.rand(300, WIDTH)}, home / "model.safetensors")
    elif folder:
        write(home / "config.json", {})
    else:
        more = {"weight": torch.rand(WIDTH, WIDTH), "bias": torch.rand(WIDTH)}
        save_file(more, path / "more.safetensors")
