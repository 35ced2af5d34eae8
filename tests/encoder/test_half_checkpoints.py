"""A checkpoint in half precision stays in it where that is asked for, and doubles nowhere."""

import numpy as np
import pytest
import torch
from safetensors import safe_open

from sentune import SentenceTransformer, losses
from sentune.models import Dense, Pooling, Transformer
from tests import uneven
from tests.tiny import make_folder

peer = pytest.importorskip("sentence_transformers")

TEXTS = uneven.texts(12, seed=4, longest=40)
HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
AUTO = [{"dtype": "auto"}, {"torch_dtype": "auto"}]


@pytest.fixture(scope="module", params=["bert", "modernbert"])
def folder(request, tmp_path_factory):
    """A model with a trained module behind its encoder, in float32."""
    folder = tmp_path_factory.mktemp("half")
    torch.manual_seed(0)
    make_folder(folder / "encoder", request.param)
    modules = [Transformer(str(folder / "encoder")), Pooling(32), Dense(32, 16)]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder / "model"))
    return folder / "model"


def types_in(folder):
    found = {}
    for path in folder.rglob("*.safetensors"):
        with safe_open(path, "pt") as file:
            found[path.parent.name] = {file.get_tensor(name).dtype for name in file.keys()}
    return found


@pytest.mark.parametrize("options", AUTO, ids=["dtype", "torch_dtype"])
@pytest.mark.parametrize("name", HALVES)
def test_it_stays_as_it_is(folder, name, options, tmp_path):
    half = HALVES[name]
    made = SentenceTransformer(str(folder), device="cpu", dtype=name)
    made.save(str(tmp_path / "half"))
    model = SentenceTransformer(str(tmp_path / "half"), device="cpu", model_kwargs=options)
    assert {p.dtype for p in model.parameters()} == {half}, "the Dense follows the encoder"
    assert model.dtype == half and model.autocast_dtype is None and not model.is_auto_dtype
    assert (model.encode(TEXTS) == made.encode(TEXTS)).all()
    model.save(str(tmp_path / "again"))
    types = types_in(tmp_path / "again")
    assert len(types) == 2 and set().union(*types.values()) == {half}
    size = sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
    again = sum(path.stat().st_size for path in (tmp_path / "again").rglob("*.safetensors"))
    assert again < 0.75 * size
    plain = SentenceTransformer(str(tmp_path / "half"), device="cpu")
    assert plain.dtype == torch.float32, "the default is float32, as ever"


@pytest.mark.parametrize("name", HALVES)
def test_embeddings_are_the_peers(folder, name, tmp_path):
    SentenceTransformer(str(folder), device="cpu", dtype=name).save(str(tmp_path))
    ours = SentenceTransformer(str(tmp_path), device="cpu", model_kwargs={"dtype": "auto"})
    theirs = peer.SentenceTransformer(str(tmp_path), device="cpu", model_kwargs={"dtype": "auto"})
    assert theirs[0].auto_model.dtype == HALVES[name]
    exact = SentenceTransformer(str(tmp_path), device="cpu", dtype="float32").encode(TEXTS)
    found = ours.encode(TEXTS)
    wanted = theirs.to(HALVES[name]).encode(TEXTS, convert_to_tensor=True).float().numpy()
    assert found.dtype == (np.float16 if name == "float16" else np.float32), "as numpy has it"
    found = found.astype(np.float32)
    scale = abs(exact).max()
    bound = {"float16": 5e-3, "bfloat16": 4e-2}[name]
    assert abs(found - wanted).max() < bound * scale
    assert abs(found - exact).max() < bound * scale


def test_a_checkpoint_in_float32_multiplies_as_by_default(folder, monkeypatch):
    monkeypatch.setenv("SENTUNE_DTYPE", "bfloat16")
    model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": "auto"})
    assert model.dtype == torch.float32 and model.autocast_dtype == torch.bfloat16
    exact = SentenceTransformer(
        str(folder), device="cpu", dtype="float32", model_kwargs={"dtype": "auto"}
    )
    assert exact.autocast_dtype is None, "the constructor's own argument comes first"


def test_the_constructors_own_auto_keeps_what_model_kwargs_name(folder):
    for given in ({"dtype": torch.bfloat16}, {"torch_dtype": "bfloat16"}):
        model = SentenceTransformer(str(folder), device="cpu", dtype="auto", model_kwargs=given)
        assert model.dtype == torch.bfloat16


def test_it_is_trained_in_its_type(folder, tmp_path):
    SentenceTransformer(str(folder), device="cpu", dtype="bfloat16").save(str(tmp_path))
    model = SentenceTransformer(str(tmp_path), device="cpu", model_kwargs={"dtype": "auto"})
    model.train()
    before = model[2].linear.weight.detach().clone()
    columns = [model.read(TEXTS[:6]), model.read(TEXTS[6:])]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    losses.MultipleNegativesRankingLoss(model)(columns).backward()
    optimizer.step()
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert not torch.equal(model[2].linear.weight, before)
