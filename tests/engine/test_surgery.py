"""What people do to a model holds: its results are those of the same model, the engine off."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from sentune import SentenceTransformer, losses
from sentune.engine.tree import engine_off
from sentune.machine.device import multiplying_in
from sentune.models import Pooling, Transformer
from tests import uneven
from tests.precision import tolerance
from tests.tiny import make_folder

TEXTS = uneven.texts(16, seed=11, longest=60)
SIZE = 32


def layers(model):
    encoder = model[0].auto_model
    return encoder.transformer.layer if hasattr(encoder, "transformer") else encoder.encoder.layer


def query(model):
    attention = layers(model)[0].attention
    return (attention, "q_lin") if hasattr(attention, "q_lin") else (attention.self, "query")


def linears(model):
    found = [(n, m) for n, m in model[0].auto_model.named_modules() if type(m) is nn.Linear]
    return [(name, layer) for name, layer in found if "pooler" not in name]


def rates(p):
    def change(model):
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = p

    return change


def hook(model):
    layers(model)[0].register_forward_hook(lambda module, given, out: _scaled(out))


def _scaled(out):
    return out * 1.5 if torch.is_tensor(out) else (out[0] * 1.5, *out[1:])


def pre_hook(model):
    owner, name = query(model)
    getattr(owner, name).register_forward_pre_hook(lambda module, given: (given[0] * 0.7,))


class Wrapped(nn.Module):
    """As an adapter written by hand: another module in the place of a layer."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x) * 1.3


def replaced(model):
    owner, name = query(model)
    setattr(owner, name, Wrapped(getattr(owner, name)))


def cut(model):
    encoder = model[0].auto_model
    owner = encoder.transformer if hasattr(encoder, "transformer") else encoder.encoder
    owner.layer = owner.layer[:1]


def applied(model):
    model.apply(lambda module: setattr(module, "eps", 0.1) if hasattr(module, "eps") else None)


def other_norms(model):
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.LayerNorm:
                norm = nn.LayerNorm(SIZE, eps=0.2)
                norm.load_state_dict(child.state_dict())
                setattr(module, name, norm)


def edited_state(model):
    state = model.state_dict()
    for name in state:
        if name.endswith("weight") and state[name].ndim == 2:
            state[name][1:] *= 1.1
    model.load_state_dict(state)


def reloaded_state(model):
    state = {name: tensor * 0.9 for name, tensor in model.state_dict().items()}
    model.load_state_dict(state, assign=True)


class Doubled(nn.Linear):
    """A subclass with a forward of its own."""

    def forward(self, x):
        return 2 * super().forward(x)


def subclassed(model):
    owner, name = query(model)
    old = getattr(owner, name)
    new = Doubled(old.in_features, old.out_features)
    new.load_state_dict(old.state_dict())
    setattr(owner, name, new)


def own_class(model):
    owner, name = query(model)
    getattr(owner, name).__class__ = Doubled


def own_forward(model):
    owner, name = query(model)
    layer = getattr(owner, name)
    layer.forward = lambda x: nn.functional.linear(x, layer.weight) * 0.5


def weight_norm(model):
    for _, layer in linears(model):
        parametrizations.weight_norm(layer)
    with torch.no_grad():
        for _, parameter in model.named_parameters():
            if parameter.shape[-1:] == (1,):
                parameter.mul_(1.2)


def old_weight_norm(model):
    owner, name = query(model)
    torch.nn.utils.weight_norm(getattr(owner, name))


def pruned(model):
    for _, layer in linears(model):
        prune.l1_unstructured(layer, "weight", amount=0.5)


def lora(model):
    peft = pytest.importorskip("peft")
    names = ["query", "value", "q_lin", "v_lin"]
    config = peft.LoraConfig(r=4, target_modules=names, init_lora_weights=False, lora_dropout=0.0)
    torch.manual_seed(1)
    model.add_adapter(config)


def lora_around(model):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=4, target_modules=["query", "q_lin"], init_lora_weights=False)
    torch.manual_seed(1)
    model[0].auto_model = peft.get_peft_model(model[0].auto_model, config)


def data_parallel(model):
    model[0].auto_model = nn.DataParallel(model[0].auto_model)


class Around(nn.Module):
    """As accelerators wrap a module: everything is handed on."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, *args, **kwargs):
        return self.module(*args, **kwargs)


def wrapped(model):
    model[0].auto_model = Around(model[0].auto_model)


class Own(nn.Module):
    """A module in the encoder's place, in the signature that people write."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder, self.config = encoder, encoder.config

    def forward(self, input_ids, attention_mask, **kwargs):
        return self.encoder(input_ids=input_ids, attention_mask=attention_mask)


def own_encoder(model):
    model[0].auto_model = Own(model[0].auto_model)


def through_data(model):
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.data += 0.1
        elif parameter.ndim == 2:
            parameter.data[3:] *= 1.2


def frozen(model):
    for parameter in layers(model)[0].parameters():
        parameter.requires_grad_(False)


def checkpointing(model):
    model.gradient_checkpointing_enable()


def more_words(model):
    model.tokenizer.add_tokens(["zzz"])
    torch.manual_seed(3)
    model[0].auto_model.resize_token_embeddings(len(model.tokenizer))


def listened_to(model):
    model[0].register_forward_hook(lambda module, given, out: None)


SURGERIES = {
    "no dropout": rates(0.0),
    "all dropped": rates(1.0),
    **{
        change.__name__: change
        for change in (
            hook,
            pre_hook,
            replaced,
            cut,
            applied,
            other_norms,
            edited_state,
            reloaded_state,
            subclassed,
            own_class,
            own_forward,
            weight_norm,
            old_weight_norm,
            pruned,
            lora,
            lora_around,
            data_parallel,
            wrapped,
            own_encoder,
            through_data,
            frozen,
            checkpointing,
            more_words,
            listened_to,
        )
    },
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
}
# Those after which every number is another one.
CHANGES = set(SURGERIES) - {
    *("no dropout", "all dropped", "data_parallel", "wrapped", "frozen", "checkpointing"),
    *("listened_to", "deepcopy", "pickle", "more_words", "own_encoder", "old_weight_norm"),
}


@pytest.fixture(scope="module", params=["bert", "distilbert"])
def folder(request, tmp_path_factory):
    """A model of modules; the modules of a BERT are made when somebody looks at them."""
    folder = tmp_path_factory.mktemp("surgery") / request.param
    make_folder(folder, request.param, dropout=0.1)
    path = folder / "tokenizer_config.json"
    words = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    path.write_text(json.dumps({**json.loads(path.read_text()), **words}))
    return folder


def load(folder, *, is_used=False):
    model = SentenceTransformer(str(folder), device="cpu")
    assert model[0].is_deferred == (folder.name == "bert")
    if is_used:
        model.encode(TEXTS[:3])
        model.train()
        loss_of(model).backward()
        model.zero_grad()
        model.eval()
    return model


def loss_of(model):
    return losses.MultipleNegativesRankingLoss(model)([model.read(TEXTS), model.read(TEXTS)])


def opened(model):
    assert isinstance(model[0].auto_model, nn.Module)
    return model


def operated(change, model):
    found = change(model)
    return found if isinstance(found, SentenceTransformer) else model


def results(model):
    """Encode, forward, a training step without dropout left to chance, and encode after it."""
    encoded = model.encode(TEXTS, convert_to_tensor=True)
    with torch.no_grad():
        forward = model(model.tokenize(TEXTS))["sentence_embedding"]
    if not any(m.p not in (0, 1) for m in model.modules() if isinstance(m, nn.Dropout)):
        model.train()
    half = len(TEXTS) // 2
    columns = [model.tokenize(TEXTS[:half]), model.tokenize(TEXTS[half:])]
    loss = losses.MultipleNegativesRankingLoss(model, scale=1.0)(columns)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.05)
    loss.backward()
    gradients = [torch.zeros(1) if p.grad is None else p.grad.clone() for p in trained]
    optimizer.step()
    model.eval()
    after = model.encode(TEXTS, convert_to_tensor=True)
    return {"encode": encoded, "forward": forward, "loss": loss.detach(), "after": after}, gradients


@pytest.mark.filterwarnings("ignore:.*weight_norm.*")
@pytest.mark.parametrize("is_used", [False, True], ids=["fresh", "used"])
@pytest.mark.parametrize("name", SURGERIES)
def test_what_is_done_to_a_model_holds(folder, name, is_used):
    model = operated(SURGERIES[name], load(folder, is_used=is_used))
    own, gradients = results(model)
    plain = opened(load(folder))
    with engine_off():
        plain = operated(SURGERIES[name], plain)
        assert not plain.is_packed
        wanted, its_gradients = results(plain)
    for key, value in own.items():
        torch.testing.assert_close(
            value, wanted[key], atol=tolerance(1e-6), rtol=tolerance(1e-6), msg=key
        )
    assert len(gradients) == len(its_gradients) > 3
    scale = max(float(g.abs().max()) for g in its_gradients)
    for mine, other in zip(gradients, its_gradients, strict=True):
        torch.testing.assert_close(
            mine, other, atol=tolerance(1e-6) * max(scale, 1), rtol=tolerance(1e-5)
        )
    untouched = load(folder).encode(TEXTS, convert_to_tensor=True)
    if name in CHANGES:
        assert not torch.allclose(own["encode"], untouched, atol=1e-4), "it changes something"


@pytest.mark.parametrize("name", ["no dropout", "lora", "deepcopy", "edited_state", "frozen"])
def test_what_leaves_the_modules_as_they_are_stays_fast(folder, name):
    model = operated(SURGERIES[name], load(folder, is_used=True))
    assert model.is_packed


def test_dropout_rates_act_as_they_are_set(folder):
    model = load(folder, is_used=True)
    rates(0.5)(model)
    model.train()
    features = model.read(TEXTS)
    rows = torch.stack([model(features)["sentence_embedding"].detach() for _ in range(2)])
    assert not torch.equal(rows[0], rows[1])
    layers(model)[0].eval()
    torch.manual_seed(0)
    one = model(features)["sentence_embedding"]
    rates(0.0)(layers(model)[0])
    torch.manual_seed(0)
    assert torch.equal(one, model(features)["sentence_embedding"]), "each layer has its own mode"


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("is_used", [False, True], ids=["fresh", "used"])
def test_dynamic_quantization_converts_every_layer(folder, is_used):
    from torch.ao.quantization import quantize_dynamic

    found = []
    for off in (False, True):
        model = opened(load(folder)) if off else load(folder, is_used=is_used)
        small = quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
        kinds = [type(m) for m in small.modules()]
        count = kinds.count(torch.ao.nn.quantized.dynamic.Linear)
        assert count >= 12 and nn.Linear not in kinds
        if off:
            with engine_off():
                found.append(small.encode(TEXTS))
        else:
            found.append(small.encode(TEXTS))
    # The range that activations are rounded in is that of a batch, padding included.
    assert abs(found[0] - found[1]).max() < 0.05


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_dynamic_quantization_where_bfloat16_is_the_default(folder, monkeypatch):
    from torch.ao.quantization import quantize_dynamic

    monkeypatch.setenv("SENTUNE_DTYPE", "bfloat16")
    small = quantize_dynamic(load(folder), {nn.Linear}, dtype=torch.qint8)
    assert torch.isfinite(small.encode(TEXTS, convert_to_tensor=True)).all()


@pytest.mark.parametrize("is_used", [False, True], ids=["fresh", "used"])
def test_half(folder, is_used):
    model = load(folder, is_used=is_used).half()
    assert {p.dtype for p in model.parameters()} == {torch.float16}
    with engine_off():
        wanted = load(folder).half().encode(TEXTS, convert_to_tensor=True)
    torch.testing.assert_close(
        model.encode(TEXTS, convert_to_tensor=True), wanted, atol=5e-3, rtol=5e-3
    )


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_inference_mode_around_loading_and_encoding(folder, dtype, monkeypatch):
    if dtype is not None:
        monkeypatch.setenv("SENTUNE_DTYPE", "bfloat16")
    wanted = load(folder).encode(TEXTS)
    with torch.inference_mode():
        model = load(folder)
        inside = model.encode(TEXTS)
        assert (opened(model).encode(TEXTS) == inside).all()
    assert (inside == wanted).all() and (model.encode(TEXTS) == wanted).all()
    model.train()
    loss_of(model).backward()
    assert sum(p.grad is not None for p in model.parameters()) > 10


WRITES = {
    "rows behind the first": lambda layer: layer.weight.data[5:].mul_(3),
    "one number of the last row": lambda layer: layer.weight.data[-1, -1:].add_(3),
    "a bias": lambda layer: layer.bias.data.add_(torch.linspace(-3, 3, len(layer.bias))),
    "rows in another order": lambda layer: layer.weight.data.copy_(layer.weight.data.flip(0)),
    "columns in another order": lambda layer: layer.weight.data.copy_(layer.weight.data.flip(1)),
    "through numpy": lambda layer: layer.weight.detach().numpy().__imul__(2),
    "another tensor": lambda layer: setattr(layer.weight, "data", layer.weight.data * 0.5),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_write_that_leaves_no_trace_is_seen_by_kept_weights(folder, write, monkeypatch):
    monkeypatch.setenv("SENTUNE_DTYPE", "bfloat16")
    for number in (0, -1):  # of the query, which shares a product, and of one that does not
        used, fresh = load(folder), load(folder)
        before = opened(used).encode(TEXTS)
        for model in (used, fresh):
            WRITES[write](linears(model)[number][1])
        assert (used.encode(TEXTS) == fresh.encode(TEXTS)).all()
        assert abs(used.encode(TEXTS) - before).max() > 1e-4


def test_kept_weights_are_kept_and_go_when_training_begins(folder, monkeypatch):
    monkeypatch.setenv("SENTUNE_DTYPE", "bfloat16")
    model = load(folder)
    model.encode(TEXTS)
    kept = {key: entry[2] for key, entry in model[0]._engine.copies._kept.items()}
    assert kept and all(copy_.dtype == torch.bfloat16 for copy_ in kept.values())
    model.encode(TEXTS)
    again = {key: entry[2] for key, entry in model[0]._engine.copies._kept.items()}
    assert all(again[key] is kept[key] for key in kept)
    assert not copy.deepcopy(model)[0]._engine.copies._kept
    model.train()
    assert not model[0]._engine.copies._kept
    model.eval()
    with torch.no_grad(), multiplying_in(torch.bfloat16, "cpu"):
        model(model.read(TEXTS))
    assert not model[0]._engine.copies._kept, "outside of encode nothing is kept"


def test_the_tree_is_made_of_torch_and_transformers(folder):
    model = load(folder)
    homes = {type(m).__module__.partition(".")[0] for m in model[0].auto_model.modules()}
    assert homes == {"torch", "transformers"}
    assert all(type(m) is nn.Linear for m in model.modules() if isinstance(m, nn.Linear))


def test_switched_off_by_the_environment(folder, monkeypatch):
    monkeypatch.setenv("SENTUNE_ENGINE", "off")
    model = load(folder)
    assert not model.is_packed
    on = model.encode(TEXTS)
    monkeypatch.delenv("SENTUNE_ENGINE")
    assert model.is_packed and abs(model.encode(TEXTS) - on).max() < tolerance(1e-5)


class Padded(Pooling):
    """A module of the user's with a forward of its own, which expects `(b, t, d)`."""

    def forward(self, features, **kwargs):
        assert features["token_embeddings"].ndim == 3 and "attention_mask" in features
        return super().forward(features, **kwargs)


class Shifted(Transformer):
    """An encoder of the user's that works on padded tokens."""

    def forward(self, features, **kwargs):
        assert features["input_ids"].ndim == 2
        result = super().forward(features, **kwargs)
        return {**result, "token_embeddings": result["token_embeddings"] + 1}


def test_subclasses_with_a_forward_of_their_own_get_the_padded_layout(folder):
    own = SentenceTransformer(modules=[Shifted(str(folder)), Padded(SIZE)], device="cpu")
    assert not own.is_packed
    plain = SentenceTransformer(modules=[Transformer(str(folder)), Pooling(SIZE)], device="cpu")
    assert abs(own.encode(TEXTS) - plain.encode(TEXTS) - 1).max() < tolerance(1e-5)
