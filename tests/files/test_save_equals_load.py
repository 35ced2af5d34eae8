"""What `save` accepts, `load` gives back equal; the rest is refused with the reason.

Every change of `tests/engine/test_surgery.py` is made, the model saved and loaded again. Nothing in
between may happen: a save without an error whose model gives other numbers.
"""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, BertModel

from sentune import SentenceTransformer, models
from sentune.errors import SettingError
from sentune.files import save as files_save
from sentune.files.modules import rebuilt
from sentune.models import Pooling, Transformer
from tests.engine import test_surgery as surgery
from tests.engine.test_surgery import TEXTS
from tests.engine.test_surgery import folder as two_families  # noqa: F401
from tests.tiny import KINDS, make_folder

# Change -> what the refusal must name; None where it is saved.
EXPECTED = {
    "replaced": "Wrapped",
    "cut": "num_hidden_layers",
    "applied": "eps",
    "other_norms": "eps",
    "subclassed": "Doubled",
    "own_class": "Doubled",
    "own_forward": "`forward`",
    "weight_norm": "remove_parametrizations",
    "old_weight_norm": "remove_weight_norm",
    "pruned": r"prune\.remove",
    "own_encoder": "save_pretrained",
}


def without_hooks(model):
    for module in model.modules():
        for name in ("_forward_hooks", "_forward_pre_hooks"):
            getattr(module, name).clear()
    return model


@pytest.mark.filterwarnings("ignore:.*weight_norm.*")
@pytest.mark.parametrize("name", surgery.SURGERIES)
def test_every_surgery_is_loaded_equal_or_refused(two_families, name, tmp_path):  # noqa: F811
    model = surgery.operated(surgery.SURGERIES[name], surgery.load(two_families))
    reason = EXPECTED.get(name)
    if reason is not None:
        with pytest.raises(SettingError, match=reason):
            model.save(str(tmp_path / "saved"))
        assert not (tmp_path / "saved").exists()
        return
    model.save(str(tmp_path / "saved"))
    if name in ("hook", "pre_hook"):
        model = without_hooks(model)
    again = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    np.testing.assert_allclose(again.encode(TEXTS), model.encode(TEXTS), atol=1e-6, rtol=1e-6)


def of_kind(kind, folder):
    encoder = Transformer(str(make_folder(folder / "encoder", kind)))
    modules = [encoder, Pooling(encoder.get_embedding_dimension())]
    return SentenceTransformer(modules=modules, device="cpu")


@pytest.fixture
def model(tmp_path):
    return of_kind("bert", tmp_path)


def assert_saved_equal(model, folder, **options):
    model.save(str(folder))
    again = SentenceTransformer(str(folder), device="cpu", **options)
    assert again.dtype == model.dtype
    found, wanted = again.encode(TEXTS), model.encode(TEXTS)
    np.testing.assert_allclose(found.astype(float), wanted.astype(float), atol=1e-6, rtol=1e-6)
    return again


def assert_refused(model, folder, match):
    with pytest.raises(SettingError, match=match):
        model.save(str(folder))
    assert not folder.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_every_family_in_half_precision(kind, tmp_path):
    for dtype in (torch.float16, torch.bfloat16):
        model = of_kind(kind, tmp_path / str(dtype)).to(dtype)
        model.save(str(tmp_path / str(dtype) / "saved"))
        options = {"model_kwargs": {"dtype": "auto"}}
        again = SentenceTransformer(str(tmp_path / str(dtype) / "saved"), device="cpu", **options)
        assert again.dtype == dtype
        for name, tensor in model.state_dict().items():
            assert torch.equal(again.state_dict()[name], tensor), name
        found, wanted = again.encode(TEXTS), model.encode(TEXTS)
        # Frequencies of rotary positions are no weights; `to` rounds them, and loading does not.
        bound = 0.1 * abs(wanted.astype(float)).max()
        assert abs(found.astype(float) - wanted).max() < bound


@pytest.mark.parametrize("kind", KINDS)
def test_fewer_layers_in_every_family(kind, tmp_path):
    if kind in ("albert", "jina_embeddings_v3"):
        pytest.skip("its layers are one, or listed elsewhere")
    model = of_kind(kind, tmp_path)
    encoder = model[0].auto_model
    places = [
        (parent, name)
        for parent in encoder.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.ModuleList) and len(child) == encoder.config.num_hidden_layers
    ]
    assert len(places) == 1
    owner, name = places[0]
    setattr(owner, name, getattr(owner, name)[:-1])
    assert_refused(model, tmp_path / "refused", "num_hidden_layers")
    encoder.config.num_hidden_layers -= 1
    if getattr(encoder.config, "layer_types", None):  # one for each layer
        assert_refused(model, tmp_path / "half", "layer_types")
        encoder.config.layer_types = encoder.config.layer_types[:-1]
    assert_saved_equal(model, tmp_path / "saved")


class Other(BertModel):
    """A class of the user's own, of which no reader of the file knows."""

    def forward(self, *args, **kwargs):
        output = super().forward(*args, **kwargs)
        output.last_hidden_state = output.last_hidden_state * 2
        return output


def test_a_class_that_the_config_does_not_name(model, tmp_path):
    encoder = model[0].auto_model
    other = Other(encoder.config)
    other.load_state_dict(encoder.state_dict())
    model[0].auto_model = other.eval()
    assert_refused(model, tmp_path / "saved", "Other and not a BertModel")


def test_a_model_with_a_head_in_the_encoders_place(model, tmp_path):
    head = AutoModelForMaskedLM.from_pretrained(str(tmp_path / "encoder"))
    model[0].auto_model = head
    assert_refused(model, tmp_path / "saved", "BertForMaskedLM and not a BertModel")


class Projected(nn.Module):
    """A wrapper that adds something to what it wraps."""

    def __init__(self, module):
        super().__init__()
        self.module, self.project = module, nn.Linear(32, 32)

    def forward(self, **features):
        return (self.project(self.module(**features)[0]),)


def test_a_wrapper_with_tensors_of_its_own(model, tmp_path):
    model[0].auto_model = Projected(model[0].auto_model)
    assert_refused(model, tmp_path / "saved", r"model\.project\.weight")


def test_settings_that_no_longer_describe_the_modules(model, tmp_path):
    encoder = model[0].auto_model
    encoder.config.num_attention_heads = 2
    assert_refused(model, tmp_path / "saved", "num_attention_heads=4, and 2 by its config")
    encoder.config.num_attention_heads = 5
    assert_refused(model, tmp_path / "saved", "not a multiple")
    encoder.config.num_attention_heads, encoder.config.hidden_act = 4, "relu"
    assert_refused(model, tmp_path / "saved", "GELUActivation and not a ReLU")


def test_dropout_that_was_switched_off_does_not_matter(model, tmp_path):
    surgery.rates(0.0)(model)
    assert_saved_equal(model, tmp_path / "saved")


T5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}


@pytest.fixture
def t5(tmp_path):
    words = Transformer(str(make_folder(tmp_path / "words", "bert"))).tokenizer
    config = AutoConfig.for_model("t5", vocab_size=len(words), **T5)
    AutoModel.from_config(config).save_pretrained(tmp_path / "t5")
    words.save_pretrained(tmp_path / "t5")
    modules = [Transformer(str(tmp_path / "t5")), Pooling(32)]
    return SentenceTransformer(modules=modules, device="cpu")


def test_tied_weights(t5, tmp_path):
    assert_saved_equal(t5, tmp_path / "saved")
    encoder = t5[0].auto_model
    assert encoder.shared.weight is encoder.encoder.embed_tokens.weight
    encoder.encoder.embed_tokens = nn.Embedding(*encoder.shared.weight.shape)
    assert_refused(t5, tmp_path / "refused", "embed_tokens.weight is a tensor by itself")


def test_one_tensor_under_two_names(model, tmp_path):
    first, second = model[0].auto_model.encoder.layer
    second.output.dense.weight = first.output.dense.weight
    assert_refused(model, tmp_path / "refused", "shares its tensor")


def test_a_module_that_several_routes_share(tmp_path):
    encoder = Transformer(str(make_folder(tmp_path / "encoder", "distilbert")))
    routes = [[encoder, Pooling(32)], [encoder, Pooling(32, "cls")]]
    router = models.Router.for_query_document(*routes)
    model = SentenceTransformer(modules=[router], device="cpu")
    model.save(str(tmp_path / "saved"))
    again = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    parts = again[0].sub_modules
    assert parts["query"][0] is parts["document"][0]
    for encode in ("encode_query", "encode_document"):
        found, wanted = (getattr(one, encode)(TEXTS) for one in (again, model))
        np.testing.assert_allclose(found, wanted, atol=1e-6)
    layers = encoder.auto_model.transformer
    layers.layer = layers.layer[:1]
    assert_refused(model, tmp_path / "refused", "num_hidden_layers")


def test_layers_cut_below_an_adapter(model, tmp_path):
    pytest.importorskip("peft")
    surgery.cut(model)
    surgery.lora(model)
    assert_refused(model, tmp_path / "refused", "num_hidden_layers")


def test_weights_of_a_checkpoint_go_into_a_wrapped_encoder(model, tmp_path):
    from sentune.training.checkpoints import load_weights

    wanted = model.encode(TEXTS)
    model.save(str(tmp_path / "saved"))
    model[0].auto_model = nn.DataParallel(model[0].auto_model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    load_weights(model, tmp_path / "saved")
    np.testing.assert_allclose(model.encode(TEXTS), wanted, atol=1e-6)


def test_the_check_opens_nothing_and_draws_no_random_number(two_families, tmp_path):  # noqa: F811
    model = surgery.load(two_families)
    rebuilt.check(model[0])
    assert model[0].is_deferred == (two_families.name == "bert")
    surgery.opened(model)
    state = torch.get_rng_state()
    rebuilt.check(model[0])
    assert torch.equal(torch.get_rng_state(), state)


def test_the_check_of_a_bert_base_is_fast():
    with torch.device("meta"):
        encoder = BertModel(AutoConfig.for_model("bert"))
    module = Transformer.__new__(Transformer)
    nn.Module.__init__(module)
    module.auto_model = encoder
    times = []
    for _ in range(5):
        start = time.perf_counter()
        rebuilt.check(module)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.1


def test_fit_says_before_its_first_step_that_it_cannot_save(model, tmp_path):
    from torch.utils.data import DataLoader

    from sentune import InputExample, losses

    surgery.cut(model)
    rows = [InputExample(texts=["the cat", "a cat"]), InputExample(texts=["a dog", "the dog"])]
    loader = DataLoader(rows, batch_size=2)
    loss = losses.MultipleNegativesRankingLoss(model)
    with pytest.warns(UserWarning, match="will fail.*num_hidden_layers"):
        with pytest.raises(SettingError, match="num_hidden_layers"):
            model.fit([(loader, loss)], epochs=1, output_path=str(tmp_path / "out"))


class Writes(Transformer):
    """A Transformer with a tensor of its own, which it writes and reads itself."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.scale = nn.Parameter(torch.ones(1))

    def save(self, folder):
        self.auto_model.save_pretrained(folder)

    @classmethod
    def load(cls, folder):
        return cls(folder)


def test_what_writes_itself_is_left_to_itself(tmp_path):
    module = Writes(str(make_folder(tmp_path / "encoder", "bert")))
    files_save.check({"0": module})
    with pytest.raises(SettingError, match="scale"):
        rebuilt.check(module)
