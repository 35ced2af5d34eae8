"""Code of models that imports sentence_transformers runs with sentune alone."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sentune import SentenceTransformer
from sentune.errors import (
    HubError,
    MissingDependencyError,
    ModelFileError,
    SentuneWarning,
    UntrustedCodeError,
)
from sentune.files.save import save
from sentune.models import BoW
from tests import uneven
from tests.files.folders import MODELS, listed, load, read, write
from tests.files.foreign_code import STYLES, make

SOURCE = Path(__file__).parents[2] / "src"
TEXTS = uneven.texts(9, seed=7, longest=60)

# Encodes with each model, saves it, and encodes with what was saved.
OURS = """
import importlib.util, pathlib, pickle, sys, warnings
import numpy as np

class Blocked:
    def find_spec(self, name, *args):
        if name.partition(".")[0] == "sentence_transformers":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
warnings.simplefilter("ignore")
from sentune import SentenceTransformer
home, texts = pathlib.Path(sys.argv[1]), TEXTS
for folder in sorted(home.iterdir()):
    options = dict(trust_remote_code=True, device="cpu", dtype="float32")
    model = SentenceTransformer(str(folder), **options)
    found = {"first": model.encode(texts, batch_size=4)}
    model.save(str(home.with_name("again") / folder.name))
    again = SentenceTransformer(str(home.with_name("again") / folder.name), **options)
    found["again"] = again.encode(texts, batch_size=4)
    found["pickled"] = pickle.loads(pickle.dumps(model)).encode(texts, batch_size=4)
    np.savez(home.with_name("ours") / folder.name, **found)
    assert not [name for name in sys.modules if name.startswith("sentence_transformers")]
assert not any(type(one).__module__.startswith("sentune") for one in sys.meta_path)
"""
THEIRS = """
import pathlib, sys, warnings
import numpy as np
warnings.simplefilter("ignore")
from sentence_transformers import SentenceTransformer
home, texts = pathlib.Path(sys.argv[1]), TEXTS
for folder in sorted(home.iterdir()):
    found = {}
    for name, path in (("first", folder), ("again", home.with_name("again") / folder.name)):
        model = SentenceTransformer(str(path), trust_remote_code=True, device="cpu")
        found[name] = model.encode(texts)
    np.savez(home.with_name("theirs") / folder.name, **found)
"""


def run(code, *arguments):
    code = code.replace("TEXTS", repr(TEXTS))
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.fixture(scope="module")
def home(tiny_bert_folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("foreign")
    for style in STYLES:
        make(style, tiny_bert_folder, path / "models" / style)
    for name in ("again", "ours", "theirs"):
        (path / name).mkdir()
    return path


@pytest.fixture(scope="module")
def ours(home):
    run(OURS, home / "models")
    return home / "ours"


@pytest.fixture(scope="module")
def theirs(home, ours):
    """What sentence-transformers 6.2.0 gives for the same folders, and for those sentune wrote."""
    pytest.importorskip("sentence_transformers")
    run(THEIRS, home / "models")
    return home / "theirs"


@pytest.mark.parametrize("style", STYLES)
def test_it_runs_without_the_library_and_comes_back(style, ours):
    found = np.load(ours / f"{style}.npz")
    assert found["first"].std() > 0.01
    for name in ("again", "pickled"):
        np.testing.assert_allclose(found[name], found["first"], atol=1e-6)


@pytest.mark.parametrize("style", STYLES)
def test_it_gives_what_the_library_gives(style, ours, theirs):
    expected = np.load(theirs / f"{style}.npz")
    for name in ("first", "again"):
        np.testing.assert_allclose(
            np.load(ours / f"{style}.npz")["first"], expected[name], atol=1e-5
        )


@pytest.mark.parametrize("style", STYLES)
def test_it_runs_only_when_trusted(style, tiny_bert_folder, tmp_path):
    folder = make(style, tiny_bert_folder, tmp_path / style)
    with pytest.raises(UntrustedCodeError, match=r"own\.\w+.*trust_remote_code=True"):
        SentenceTransformer(str(folder), device="cpu")


@pytest.fixture
def with_code(tmp_path):
    """Makes the folder of a BoW and a module of the given code."""

    def folder(code, name="model"):
        path = tmp_path / name
        write(path / "own.py", code)
        write(path / "0_BoW/config.json", {"vocab": ["a", "b"]})
        write(path / "1_Own/config.json", {})
        write(path / "modules.json", listed((MODELS + "BoW", "0_BoW"), ("own.Own", "1_Own")))
        return path

    return folder


OWN = """
{imports}
from sentence_transformers.models import Module

class Own(Module):
    found = {found}

    def forward(self, features, **kwargs):
        return features
"""


def own_of(folder):
    return load(folder, trust_remote_code=True).modules["1"]


@pytest.mark.filterwarnings("ignore:running the code")
@pytest.mark.parametrize(
    ("statement", "name", "expected"),
    [
        ("import sentence_transformers as st", "st.models.Pooling", "sentune.models.pooling"),
        ("import sentence_transformers.models as m", "m.Dense", "sentune.models.heads"),
        ("from sentence_transformers import util", "util.cos_sim", "sentune.vectors.similarity"),
        ("from sentence_transformers.util import *", "cos_sim", "sentune.vectors.similarity"),
        (
            "from sentence_transformers.SentenceTransformer import SentenceTransformer as S",
            "S",
            "sentune.encoder.sentence_transformers",
        ),
        (
            "from sentence_transformers.similarity_functions import SimilarityFunction as S",
            "S",
            "sentune.vectors.similarity",
        ),
        (
            "from sentence_transformers.cross_encoder import CrossEncoder as C",
            "C",
            "sentune.encoder.cross_encoder",
        ),
        ("from sentence_transformers.losses import MSELoss as L", "L", "sentune.losses.distill"),
        (
            "from sentence_transformers.base.modules.transformer import Transformer as T",
            "T",
            "sentune.models.transformer",
        ),
        (
            "from sentence_transformers.models.tokenizer import WhitespaceTokenizer as T",
            "T",
            "sentune.models.tokenizer",
        ),
    ],
)
def test_names_are_those_of_sentune_also_where_the_library_is_installed(
    statement, name, expected, with_code
):
    code = OWN.replace("{imports}", statement).replace("{found}", f"staticmethod({name})")
    found = own_of(with_code(code)).found
    assert getattr(found, "stands_for", found).__module__ == expected


@pytest.mark.filterwarnings("ignore:running the code")
def test_what_sentune_lacks_comes_from_the_library_where_that_is_installed(with_code):
    peer = pytest.importorskip("sentence_transformers")
    statement = "from sentence_transformers import SparseEncoder as S"
    assert own_of(with_code(OWN.format(imports=statement, found="S"))).found is peer.SparseEncoder
    statement = "from sentence_transformers.cross_encoder.losses import MSELoss as L"
    found = own_of(with_code(OWN.format(imports=statement, found="L"), "other")).found
    assert found is pytest.importorskip("sentence_transformers.cross_encoder.losses").MSELoss


class Blocked:
    def find_spec(self, name, *args):
        if name.partition(".")[0] == "sentence_transformers":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.fixture
def is_missing(monkeypatch):
    """As if the library was not installed."""
    for name in [one for one in sys.modules if one.partition(".")[0] == "sentence_transformers"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Blocked(), *sys.meta_path])


@pytest.mark.filterwarnings("ignore:running the code")
@pytest.mark.parametrize(
    "statement",
    [
        "from sentence_transformers import SparseEncoder as S",
        "from sentence_transformers.cross_encoder.losses import MSELoss as S",
        "import sentence_transformers.nonsense as S",
        "import sentence_transformers.models.nonsense as S",
    ],
)
def test_what_neither_has_says_so_and_can_be_caught(statement, with_code, is_missing):
    statement += "  # not there"  # another text: transformers keeps what it has run
    with pytest.raises(MissingDependencyError, match=r"modules.json.*own\.Own.*sentence_transf"):
        load(with_code(OWN.format(imports=statement, found="S")), trust_remote_code=True)
    caught = f"try:\n    {statement}\nexcept ImportError:\n    S = 'nothing'"
    assert own_of(with_code(OWN.format(imports=caught, found="S"), "caught")).found == "nothing"


@pytest.mark.filterwarnings("ignore:running the code")
def test_others_are_told_the_truth(with_code, is_missing):
    seen = "import importlib.util\ntry:\n    S = importlib.util.find_spec('sentence_transformers')"
    seen += "\nexcept ImportError:\n    S = None"
    sys.modules["sentence_transformers"] = None  # somebody forbids it
    assert own_of(with_code(OWN.format(imports=seen, found="S"))).found is None
    assert sys.modules.pop("sentence_transformers") is None
    with pytest.raises(ImportError):
        import sentence_transformers  # noqa: F401


@pytest.mark.filterwarnings("ignore:running the code")
def test_models_load_in_several_threads(with_code, is_missing):
    from concurrent.futures import ThreadPoolExecutor

    code = "import time\ntime.sleep(0.01)\nfrom sentence_transformers.util import dot_score"
    folders = [
        with_code(OWN.format(imports=f"{code}\nX = {i}", found="X"), f"model_{i}")
        for i in range(12)
    ]
    with ThreadPoolExecutor(6) as pool:
        assert [one.found for one in pool.map(own_of, folders)] == list(range(12))
    assert "sentence_transformers" not in sys.modules


READS = """
import torch
from sentence_transformers.models import Module
from sentence_transformers.util import load_dir_path, load_file_path, import_from_string

class Own(Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2))

    def forward(self, features, **kwargs):
        return features

    @classmethod
    def load(cls, model_name_or_path, subfolder="", **kwargs):
        {what}
"""


@pytest.mark.filterwarnings("ignore:running the code")
@pytest.mark.parametrize(
    ("what", "says"),
    [
        ('load_file_path(model_name_or_path, "../other.json")', "leads out of the model's folder"),
        ('load_dir_path(model_name_or_path, subfolder="../other")', "leads out of the model's"),
        ('import_from_string("Tanh")', "names no module"),
        ('import_from_string("torch.nn.Tank")', "no 'Tank' in torch.nn"),
        ('cls.load_torch_weights(model_name_or_path, "1_Own", model=cls())', "asks for"),
        ('cls.load_torch_weights(model_name_or_path, "0_BoW", model=cls())', "is missing"),
        ('cls.load_torch_weights(model_name_or_path, "2_More", model=cls())', "does not fit Own"),
    ],
)
def test_its_files_are_read_as_safely_as_sentunes(what, says, with_code):
    folder = with_code(READS.replace("{what}", f"return {what}"))
    torch.save({"weight": Print("run")}, folder / "1_Own/pytorch_model.bin")
    (folder / "2_More").mkdir()
    save_file({"other": torch.zeros(2)}, folder / "2_More/model.safetensors")
    with pytest.raises((ModelFileError, MissingDependencyError), match=says):
        load(folder, trust_remote_code=True)


class Print:
    """Runs code when it is unpickled as more than tensors."""

    def __init__(self, text):
        self.text = text

    def __reduce__(self):
        return print, (self.text,)


@pytest.mark.filterwarnings("ignore:running the code")
@pytest.mark.parametrize("safe", [True, False])
def test_a_module_without_save_and_load_comes_back(safe, with_code, tmp_path):
    code = READS.partition("    @classmethod")[0]
    folder = with_code(code)
    save_file({"weight": torch.ones(2)}, folder / "1_Own/model.safetensors")
    loaded = load(folder, trust_remote_code=True)
    loaded.modules["1"].weight.data += 1
    save(loaded.modules, {}, tmp_path / "again", safe_serialization=safe)
    assert own_of(tmp_path / "again").weight.tolist() == [2, 2]
    assert torch.equal(copy.deepcopy(loaded.modules["1"]).weight, loaded.modules["1"].weight)


@pytest.mark.filterwarnings("ignore:running the code")
def test_modules_that_such_code_makes_are_written_as_those_of_the_table(with_code, tmp_path):
    code = "from sentence_transformers.models import Asym, Dense, Normalize"
    make_them = "staticmethod(lambda: [Dense(2, 3), Normalize(), Asym({'query': [Normalize()]})])"
    modules = own_of(with_code(OWN.format(imports=code, found=make_them))).found()
    save({str(i): one for i, one in enumerate([BoW(["a", "b"]), *modules])}, {}, tmp_path / "made")
    kinds = [entry["type"] for entry in read(tmp_path / "made/modules.json")]
    assert kinds == [f"{MODELS}{name}" for name in ("BoW", "Dense", "Normalize", "Router")]
    assert load(tmp_path / "made").modules["1"].out_features == 3


@pytest.mark.filterwarnings("ignore:running the code")
def test_a_module_of_the_table_is_loaded_and_saved_by_itself(tiny_bert_folder, with_code, tmp_path):
    code = "from sentence_transformers.models import Transformer, Dense"
    transformer, dense = own_of(
        with_code(OWN.format(imports=code, found="(Transformer, Dense)"))
    ).found
    encoder = transformer.load(str(tiny_bert_folder), model_kwargs={"dtype": torch.bfloat16})
    assert encoder.model.dtype == torch.bfloat16 and encoder.processor is encoder.tokenizer
    (tmp_path / "dense").mkdir()
    made = dense(4, 3)
    made.save(str(tmp_path / "dense"))
    again = dense.load(str(tmp_path), "dense")
    assert type(again) is dense and torch.equal(again.linear.weight, made.linear.weight)
    with pytest.raises(HubError, match="'some/model' is not in the cache"):
        dense.load("some/model")


IS_MISSING = """
import importlib.util

def is_missing():
    try:
        return importlib.util.find_spec("sentence_transformers") is None
    except ImportError:
        return True
"""


def test_a_model_runs_in_other_processes(with_code, tmp_path, is_missing):
    code = OWN.format(imports=IS_MISSING, found="None")
    inside = (
        "from sentence_transformers.util import cos_sim\n        assert is_missing() and cos_sim"
    )
    folder = with_code(code.replace("return features", f"{inside}\n        return features"))
    with pytest.warns(SentuneWarning, match="running the code of .*own.py"):
        model = SentenceTransformer(str(folder), trust_remote_code=True, device="cpu")
    texts = ["a b", "b", "a", "none", ""] * 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{_hidden(tmp_path)}{os.pathsep}{SOURCE}")
        together = model.encode(texts, device=["cpu", "cpu"])
    np.testing.assert_array_equal(together, model.encode(texts))


def _hidden(path):
    """A folder from which a process is started in which the library is not installed."""
    hides = "import sys\nsys.modules['sentence_transformers'] = None\n"
    return write(path / "start/sitecustomize.py", hides).parent
