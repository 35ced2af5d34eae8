"""What must work where torch is not installed: files, the loop, texts, arrays of numpy."""

import subprocess
import sys
from pathlib import Path

import pytest

import sentune

SOURCE = Path(sentune.__file__).parent
# What needs torch by its nature: it computes with tensors.
WITH_TORCH = {
    *("vectors/maxsim.py", "vectors/similarity.py", "vectors/tensors.py"),
    "folders/weights.py",
}
PACKAGES = ("text", "flow", "vectors", "disk", "folders", "hub")
FILES = ("files/plan.py", "files/kinds.py", "machine/screen.py", "data/corpus.py")

BLOCK = """
import sys
class Blocked:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] in ("torch", "transformers", "datasets"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
"""


def run(code, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", BLOCK + code, *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def modules():
    found = [path for name in PACKAGES for path in sorted((SOURCE / name).rglob("*.py"))]
    found += [SOURCE / name for name in FILES]
    for path in found:
        relative = path.relative_to(SOURCE)
        if relative.as_posix() not in WITH_TORCH and path.name != "__init__.py":
            yield ".".join(("sentune", *relative.with_suffix("").parts))


def test_the_modules_import():
    names = list(modules())
    assert len(names) >= 20
    run("import importlib\nfor name in sys.argv[1:]: importlib.import_module(name)", *names)


LOOP = """
import numpy as np
from contextlib import nullcontext
from pathlib import Path
from tokenizers import Tokenizer
from sentune.files.plan import plan
from sentune.folders.source import local_folder
from sentune.flow import loop, sinks
from sentune.text.tokens import TokenReader
from sentune.vectors.finish import finish

planned = plan(local_folder(Path(sys.argv[1])))
limit = planned.modules["0"].settings["max_seq_length"]

class Words:
    backend_tokenizer = Tokenizer.from_file(sys.argv[1] + "/tokenizer.json")
    model_input_names = ("input_ids", "token_type_ids", "attention_mask")

class Lengths:
    reads_ragged = True
    reader = TokenReader(Words(), limit)
    def read(self, items): return self.reader.read(items)
    def tokens_per_batch(self): return 32
    def working(self): return nullcontext()
    def compute(self, features):
        assert type(features["input_ids"]) is np.ndarray
        return np.array([[n, n] for n in features["lengths"]], dtype=np.float32)
    def done(self, truncated, items): print(truncated, items)

texts = ["the cat", "", "a dog sat on the mat " * 50, "birds"] * 3000
rows = loop.run(iter(texts), Lengths(), sinks.Whole(len(texts)))
print(rows.shape, rows[:4, 0].tolist(), finish(rows[:4], "ubinary", to_numpy=True, to_tensor=False))
"""


def test_texts_go_through_the_loop_to_rows(tiny_model, tmp_path):
    tiny_model.save(tmp_path / "model")
    counted, shown = run(LOOP, str(tmp_path / "model")).splitlines()[:2]
    assert counted.endswith(" 12000")
    lengths = tiny_model.read(["the cat", "", "a dog sat on the mat " * 50, "birds"])["lengths"]
    assert shown.startswith(f"(12000, 2) {[float(n) for n in lengths]}")


def test_the_kind_of_a_folder_decides_which_class_loads_it(tiny_model, tmp_path):
    tiny_model.save(tmp_path / "vectors")
    assert type(sentune.load(tmp_path / "vectors", device="cpu")) is sentune.SentenceTransformer


def test_a_scorer_is_loaded_as_one(tmp_path):
    from tests.engine.test_classification_heads import classifier

    classifier(tmp_path / "base", "bert", 1)
    sentune.CrossEncoder(str(tmp_path / "base"), device="cpu").save(tmp_path / "scores")
    model = sentune.load(str(tmp_path / "scores"), device="cpu", max_length=12)
    assert type(model) is sentune.CrossEncoder and model.max_length == 12


def test_a_plain_encoder_becomes_an_encoder_of_texts(tiny_bert_folder):
    assert type(sentune.load(tiny_bert_folder, device="cpu")) is sentune.SentenceTransformer


def test_a_kind_that_is_not_here_is_refused(tiny_model, tmp_path):
    from tests.files.folders import change

    tiny_model.save(tmp_path / "model")
    change(tmp_path / "model" / "config_sentence_transformers.json", model_type="SparseEncoder")
    with pytest.raises(sentune.errors.ModelFileError, match="is a SparseEncoder"):
        sentune.load(tmp_path / "model")
