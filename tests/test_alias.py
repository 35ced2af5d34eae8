"""`import sentence_transformers` gives sentune: in one process, and in an environment."""

import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import sentune
from sentune.cli import main
from sentune.compat import alias
from sentune.compat.addresses import row_of

SOURCE = Path(sentune.__file__).parents[1]
HIDE = """
import sys
class Hidden:  # as if sentence-transformers were not installed
    def find_distributions(self, context=None):
        return ()
import importlib.metadata as metadata
_all = metadata.distributions
def distributions(**options):
    return (one for one in _all(**options)
            if options.get("name") != "sentence-transformers"
            or (one.read_text("INSTALLER") or "").strip() == "sentune")
metadata.distributions = distributions
"""


def python(code, *, site=None, hide=False):
    start = f"import site; site.addsitedir({str(site)!r})\n" if site else ""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(
        [sys.executable, "-c", start + (HIDE if hide else "") + code],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


NAMES = """
import importlib.metadata, importlib.util, pickle
import sentence_transformers
from sentence_transformers import SentenceTransformer, CrossEncoder, SparseEncoder, losses, util
from sentence_transformers.losses.CosineSimilarityLoss import CosineSimilarityLoss
from sentence_transformers.sentence_transformer.losses.mse import MSELoss
from sentence_transformers.cross_encoder.losses import MSELoss as OfScores
from sentence_transformers.sparse_encoder.SparseEncoder import SparseEncoder as Again
from sentence_transformers.base.modality import Modality, infer_modality
import sentence_transformers.util.similarity as similarity
import sentune
assert SentenceTransformer is sentune.SentenceTransformer
assert CrossEncoder is sentune.CrossEncoder and SparseEncoder is Again
assert losses.CosineSimilarityLoss is CosineSimilarityLoss is sentune.losses.CosineSimilarityLoss
assert infer_modality("a") == "text" and Modality
assert MSELoss is sentune.losses.MSELoss and OfScores is not MSELoss
assert similarity.cos_sim is util.cos_sim is sentune.util.cos_sim
assert sentence_transformers.__version__ == "6.2.0"
assert importlib.metadata.version("sentence-transformers") == "6.2.0"
assert "sentence-transformers" in importlib.metadata.packages_distributions()[
    "sentence_transformers"
]
asked = importlib.metadata.distribution("sentence-transformers")
assert asked.requires == ["sentune", 'sentune[train]; extra == "train"']  # what pip installs
assert "sentence-transformers" in {one.name for one in importlib.metadata.distributions()}
assert importlib.util.find_spec("sentence_transformers") is not None
assert importlib.util.find_spec("sentence_transformers.losses") is not None
assert not isinstance(SentenceTransformer, SparseEncoder)
assert pickle.loads(pickle.dumps(CosineSimilarityLoss)) is CosineSimilarityLoss
named = b"csentence_transformers.losses\\nCosineSimilarityLoss\\n."  # a pickle of the other library
assert pickle.loads(named) is CosineSimilarityLoss
"""


def test_a_process_has_the_names_after_install_and_not_after_uninstall():
    code = "import sentune.compat\nsentune.compat.install(shadow=True)\n" + NAMES
    after = """
asked = importlib.metadata.distribution("sentence-transformers")
assert asked.read_text("INSTALLER") == "sentune\\n" and asked.version == "6.2.0"
sentune.compat.uninstall()
asked = importlib.metadata.distribution("sentence-transformers")
assert asked.read_text("INSTALLER") != "sentune\\n"
import sentence_transformers
assert SentenceTransformer is not sentence_transformers.SentenceTransformer
assert sentence_transformers.__file__.endswith("__init__.py")
"""
    python(code + after)


def test_install_refuses_where_the_library_is_installed_or_imported():
    for first, says in (
        ("", "sentence-transformers 6.2.0 is installed; uninstall it, or pass shadow=True"),
        ("import sentence_transformers\n", "was imported before"),
    ):
        shadow = bool(first)
        code = f"""
{first}import sentune.compat
try:
    sentune.compat.install(shadow={shadow})
except ValueError as error:
    print(error)
"""
        assert says in python(code)


@pytest.mark.parametrize("hide", [False, True])
def test_an_environment_has_it_and_has_not(hide, tmp_path, capsys, monkeypatch):
    if hide:
        monkeypatch.setattr(alias, "installed", lambda: None)
    folder = ["--folder", str(tmp_path)]
    before = sorted(tmp_path.rglob("*"))
    assert main(["alias", "status", *folder]) == 1
    if not hide:
        assert main(["alias", "on", *folder]) == 2
        assert "is installed; uninstall it, or use --shadow" in capsys.readouterr().err
        assert sorted(tmp_path.rglob("*")) == before
    assert main(["alias", "on", *folder, *([] if hide else ["--shadow"])]) == 0
    assert main(["alias", "status", *folder]) == 0
    assert "import sentence_transformers gives sentune" in capsys.readouterr().out
    python(NAMES, site=tmp_path, hide=hide)
    assert main(["alias", "off", *folder]) == 0
    assert sorted(tmp_path.rglob("*")) == before
    python("import sentence_transformers\nassert sentence_transformers.backend", site=tmp_path)


def test_processes_that_a_program_starts_have_it(tmp_path):
    assert main(["alias", "on", "--shadow", "--folder", str(tmp_path)]) == 0
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SOURCE), str(tmp_path)])}
    (tmp_path / "sitecustomize.py").write_text(
        f"import site; site.addsitedir({str(tmp_path)!r})", encoding="utf-8"
    )
    (tmp_path / "program.py").write_text(
        """
from concurrent.futures import ProcessPoolExecutor
import multiprocessing

def where(_):
    from sentence_transformers import SentenceTransformer
    return SentenceTransformer.__module__

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        print(list(pool.map(where, [0])))
""",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, str(tmp_path / "program.py")],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert "sentune.encoder.sentence_transformers" in done.stdout, done.stderr


def test_what_is_lacking_is_lacking_and_every_other_name_is_there():
    """Walks the installed release: each public name of each address is here, or on the list."""
    import sentence_transformers as peer

    rows = alias._rows()
    wrong = []
    for found in pkgutil.iter_modules(peer.__path__, f"{peer.__name__}."):
        theirs = importlib.import_module(found.name)
        address = found.name.partition(".")[2]
        row = row_of(address, alias._rows())
        ours = alias.Alias(alias.PEER, address, row)
        for name in getattr(theirs, "__all__", ()):
            if getattr(ours, name, None) is None:
                wrong.append(f"{address}.{name}")
    assert wrong == KNOWN
    for address, row in rows.items():
        real = alias.Address(alias.PEER, address, row)
        there = [name for name in row.lacking if real.own(name) is not None]
        assert there == [], f"{address}: no longer lacking"


def test_a_lacking_class_says_so():
    lacking = alias.Alias(alias.PEER, "", alias._rows()[""]).SparseEncoder
    with pytest.raises(NotImplementedError, match="this release of sentune has no SparseEncoder"):
        lacking("name")


# Not there yet, or what the library calls of itself. To become shorter.
KNOWN = """
backend._save_pretrained_wrapper backend.backend_should_export backend.backend_warn_to_save
backend.save_or_push_to_hub_model
""".split()
