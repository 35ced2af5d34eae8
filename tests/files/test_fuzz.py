"""Any content of a model's json files: it loads, or a SentuneError says why; nothing else happens.

SENTUNE_FUZZ=5000 python -m pytest tests/files/test_fuzz.py     # to look for longer
"""

import copy
import json
import os
import resource
import shutil
import sys
import sysconfig
import warnings
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sentune import models
from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.errors import SentuneError
from sentune.files.save import save
from sentune.models.tokenizer import WhitespaceTokenizer
from tests import tiny
from tests.files import folders

EXAMPLES = int(os.environ.get("SENTUNE_FUZZ", "150"))
MOST_BYTES = 2**31

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-2, 70),
    st.floats(),
    st.text(max_size=8),
)
NASTY = st.sampled_from(
    [
        "..",
        "../..",
        "/etc",
        "/etc/passwd",
        "../outside.json",
        "C:\\outside",
        "\\\\host\\share",
        "file:///etc/passwd",
        "http://127.0.0.1:9/x",
        "owner/model",
        "owner/model--file.Class",
        "os.system",
        "builtins.eval",
        "torch.nn.modules.activation.Tanh",
        "torch.load",
        "torch.hub.load",
        "subprocess.Popen",
        "sentence_transformers.models.Transformer",
        "sentence_transformers.models.Router",
        "sentence_transformers.models.StaticEmbedding",
        "sentune.models.Pooling",
        "config.json",
        "tokenizer.json",
        "\0",
        "\ud800",
        2**31,
        2**63,
        10**400,
        -1,
        0,
        1e308,
        {"__class__": "os.system"},
        [[[[[[[[]]]]]]]],
    ]
)
VALUES = st.one_of(
    NASTY,
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
        max_leaves=8,
    ),
)
# Keys that somebody reads.
KEYS = st.sampled_from(
    [
        "auto_map",
        "_name_or_path",
        "trust_remote_code",
        "attn_implementation",
        "_attn_implementation",
        "quantization_config",
        "tokenizer_class",
        "tokenizer_file",
        "vocab_file",
        "vocab",
        "fast_tokenizer_files",
        "chat_template",
        "model_args",
        "tokenizer_args",
        "config_args",
        "requirements",
        "kwargs",
        "model_type",
        "architectures",
        "dtype",
        "torch_dtype",
        "num_labels",
        "id2label",
        "is_encoder_decoder",
        "max_seq_length",
        "truncate_dim",
        "use_safetensors",
        "gguf_file",
        "base_model_name_or_path",
        "name_or_path",
        "init_inputs",
        "added_tokens_decoder",
        "extra_special_tokens",
        "transformers_weights",
        "backend",
        "subfolder",
    ]
)


class Watch:
    """What Python's own audit sees while it is on: files opened, processes, connections, code."""

    def __init__(self):
        self.is_on, self.seen = False, []
        sys.addaudithook(self.hook)

    def hook(self, event, args):
        if not self.is_on:
            return
        if event == "open" and isinstance(args[0], (str, bytes, os.PathLike)):
            self.seen.append((event, os.path.realpath(os.fsdecode(args[0]))))
        elif event in (
            "os.mkdir",
            "os.remove",
            "os.rename",
            "os.rmdir",
            "os.listdir",
            "os.scandir",
        ):
            if isinstance(args[0], (str, bytes, os.PathLike)):
                self.seen.append((event, os.path.realpath(os.fsdecode(args[0]))))
        elif event in ("subprocess.Popen", "os.system", "socket.connect", "os.exec", "os.spawn"):
            self.seen.append((event, str(args[0])))

    def outside(self, folder):
        own = {folder, *map(os.path.realpath, [*sysconfig.get_paths().values(), sys.base_prefix])}
        own |= {"/proc", "/sys", "/dev", os.path.realpath(Path(models.__file__).parents[1])}
        return [
            (event, path)
            for event, path in self.seen
            if not any(path == home or path.startswith(home + os.sep) for home in own)
            # An import looks through the folders that Python has its modules in.
            and not (event == "os.listdir" and path in map(os.path.realpath, sys.path))
        ]


WATCH = Watch()


@contextmanager
def bounded_memory():
    """Room for what a tiny model needs; an allocation of a size that a file names fails."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + MOST_BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture(scope="module")
def originals(tmp_path_factory, tiny_bert_folder):
    """A folder of each kind of model, inside another folder."""
    root = tmp_path_factory.mktemp("fuzz")
    made = {"v2": folders.v2(tiny_bert_folder, root / "v2")}
    folders.dense(made["v2"] / "2_Dense")
    entries = folders.read(made["v2"] / "modules.json")
    entries[2] = {"idx": 2, "name": "2", "path": "2_Dense", "type": folders.MODELS + "Dense"}
    folders.write(made["v2"] / "modules.json", entries)
    made["v6"] = folders.v6(tiny_bert_folder, root / "v6")
    made["raw"] = root / "raw"
    shutil.copytree(tiny_bert_folder, made["raw"])
    encoder = models.Transformer(tiny_bert_folder)
    routes = {
        "query": [encoder, models.Pooling(32)],
        "document": [encoder, models.Pooling(32, "cls"), models.Dense(32, 32)],
    }
    words = models.WordEmbeddings(WhitespaceTokenizer(["cat", "dog"]), torch.randn(2, 8))
    parts = {
        "router": [models.Router(routes, "query"), models.LayerNorm(32), models.Dropout(0.1)],
        "words": [
            words,
            models.WordWeights(["cat", "dog"], {"cat": 0.5}),
            models.LSTM(8, 4),
            models.CNN(8, 4),
            models.Pooling(12),
        ],
        "bow": [models.BoW(["cat", "dog"], {"cat": 2.0})],
        "static": [models.StaticEmbedding(tiny.tokenizer().backend_tokenizer, embedding_dim=8)],
    }
    for name, modules in parts.items():
        made[name] = root / name
        save({str(place): module for place, module in enumerate(modules)}, {}, made[name])
    return made


def places(content, path=()):
    """Paths to all values in a json content."""
    yield path
    if isinstance(content, (dict, list)):
        items = content.items() if isinstance(content, dict) else enumerate(content)
        for key, value in list(items)[:40]:
            yield from places(value, (*path, key))


def at(content, path):
    for key in path:
        content = content[key]
    return content


@st.composite
def changes(draw, original):
    """A json file of the folder, and bytes to put there."""
    files = sorted(path.relative_to(original) for path in original.rglob("*.json"))
    name = draw(st.sampled_from(files))
    data = (original / name).read_bytes()
    how = draw(st.sampled_from(["value", "value", "value", "key", "drop", "whole", "cut", "bytes"]))
    if how == "cut":
        return name, data[: draw(st.integers(0, len(data)))]
    if how == "bytes":
        return name, draw(st.binary(max_size=40))
    if how == "whole":
        return name, json.dumps(draw(VALUES)).encode()
    content = copy.deepcopy(json.loads(data))
    path = draw(st.sampled_from(list(places(content))[1:] or [()]))
    home = at(content, path[:-1])
    if how == "drop" and path:
        del home[path[-1]]
    elif how == "key" and isinstance(home, dict):
        home[draw(KEYS | st.text(max_size=6))] = draw(VALUES)
    elif path:
        home[path[-1]] = draw(VALUES)
    return name, json.dumps(content).encode()


def load(folder):
    with warnings.catch_warnings(), bounded_memory():
        warnings.simplefilter("ignore")
        WATCH.seen, WATCH.is_on = [], True
        try:
            return SentenceTransformer(str(folder), device="cpu")
        finally:
            WATCH.is_on = False


KINDS = ("v2", "v6", "raw", "router", "words", "bow", "static")


@pytest.mark.parametrize("kind", KINDS)
def test_the_folder_loads_as_it_is(kind, originals):
    load(originals[kind])  # what is only imported once is imported now
    assert load(originals[kind])
    assert WATCH.outside(str(originals[kind])) == []
    assert any(event == "open" for event, _ in WATCH.seen)


@pytest.mark.parametrize("kind", KINDS)
def test_only_sentunes_errors_come_out_and_nothing_else_is_touched(kind, originals, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(originals[kind], folder)
    (tmp_path / "outside.json").write_text("{}")
    before = sorted(tmp_path.rglob("*"))

    @settings(
        max_examples=EXAMPLES // len(KINDS),
        deadline=None,
        derandomize="SENTUNE_FUZZ" not in os.environ,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(changes(originals[kind]))
    def fuzz(change):
        name, data = change
        (folder / name).write_bytes(data)
        try:
            load(folder)
        except SentuneError as error:
            assert "memory" not in str(error).lower(), error
        finally:
            shutil.copyfile(originals[kind] / name, folder / name)
        assert WATCH.outside(str(folder)) == []
        assert sorted(tmp_path.rglob("*")) == before

    fuzz()
