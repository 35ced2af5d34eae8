"""Classification heads on the rows they need: equal to the library's own run, pair by pair."""

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification

from sentune.engine import heads, packing
from sentune.engine.tree import engine_off
from sentune.errors import SettingError
from sentune.models import Transformer
from tests import tiny, uneven

LIMIT = 200
KINDS = {
    **{kind: (kind, {}) for kind in tiny.KINDS},
    "modernbert-mean": ("modernbert", {"classifier_pooling": "mean"}),
    "eurobert-mean": ("eurobert", {"classifier_pooling": "mean"}),
    "eurobert-bos": ("eurobert", {"classifier_pooling": "bos"}),
}
PADDED = ("mpnet", "eurobert")  # whose head is given all tokens
pytestmark = pytest.mark.filterwarnings("ignore")


def classifier(folder, kind, labels=3):
    """A folder with a classifier of random weights, and it."""
    kind, options = KINDS[kind]
    tokenizer = tiny.tokenizer(kind, LIMIT)
    sizes = {**tiny.KINDS[kind], "max_position_embeddings": LIMIT + 10}
    config = AutoConfig.for_model(
        kind,
        vocab_size=len(tokenizer),
        num_labels=labels,
        pad_token_id=tokenizer.pad_token_id,
        **sizes,
        **options,
    )
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def one_by_one(module, model, pairs):
    """What the library gives for each pair alone, `(b, labels)`."""
    rows = []
    for first, second in pairs:
        tokens = module.tokenize([(first, second)])
        rows.append(model(**tokens).logits)
    return torch.cat(rows)


@pytest.fixture
def pairs():
    return list(zip(*uneven.columns(2, 12), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_the_library(tmp_path, kind, pairs):
    model = classifier(tmp_path, kind)
    module = Transformer(tmp_path, transformer_task="sequence-classification").eval()
    assert module.reads_packed == (kind not in PADDED)
    features = module.read(pairs)
    expected = one_by_one(module, model, pairs)
    layout = packing.pack(features) if module.reads_packed else module.pad(features)
    for grad in (torch.no_grad(), torch.enable_grad()):
        with grad:
            found = module(layout)["scores"]
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert expected.std(dim=0).min() > 0.01


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "modernbert-mean", "albert"])
def test_gradients_are_those_of_the_library(tmp_path, kind, pairs):
    model = classifier(tmp_path, kind)
    module = Transformer(tmp_path, transformer_task="sequence-classification").eval()
    weights = torch.randn(len(pairs), 3, generator=torch.Generator().manual_seed(1))
    (one_by_one(module, model, pairs) * weights).sum().backward()
    (module(packing.pack(module.read(pairs)))["scores"] * weights).sum().backward()
    ours = dict(module.auto_model.named_parameters())
    whole = torch.cat([p.grad.flatten() for p in model.parameters()]).norm()
    for name, parameter in model.named_parameters():
        error = (ours[name].grad - parameter.grad).norm()
        assert error <= 1e-4 * parameter.grad.norm() + 1e-6 * whole, name
    heads_own = [p for name, p in ours.items() if name.startswith("classifier")]
    assert heads_own and all(p.grad.norm() > 0 for p in heads_own)


def test_a_hook_on_the_head_sees_what_the_library_gives_it(tmp_path, pairs):
    model = classifier(tmp_path, "roberta")
    module = Transformer(tmp_path, transformer_task="sequence-classification").eval()
    seen = []
    module.auto_model.classifier.register_forward_hook(lambda m, i, o: seen.append(i[0].shape[1]))
    assert not module.reads_packed
    padded = module.pad(module.read(pairs))
    torch.testing.assert_close(
        module(padded)["scores"], one_by_one(module, model, pairs), atol=1e-5, rtol=1e-5
    )
    assert seen == [padded["input_ids"].shape[1]]


def test_the_engine_can_be_switched_off(tmp_path):
    classifier(tmp_path, "bert")
    module = Transformer(tmp_path, transformer_task="sequence-classification").eval()
    with engine_off():
        assert not module.reads_packed


def test_the_model_itself_is_not_changed(tmp_path, pairs):
    classifier(tmp_path, "bert")
    module = Transformer(tmp_path, transformer_task="sequence-classification").eval()
    before = {name: id(child) for name, child in module.named_modules()}
    module(packing.pack(module.read(pairs)))
    assert before == {name: id(child) for name, child in module.named_modules()}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_layer_can_compute_in_full_precision(dtype):
    torch.manual_seed(0)
    layer = nn.Linear(16, 1).to(dtype)
    x = torch.randn(4, 16, dtype=dtype)
    heads.compute_in_float32(layer, wanted=True)
    heads.compute_in_float32(layer, wanted=True)  # once is enough
    exact = x.float() @ layer.weight.float().T + layer.bias.float()
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.float32
    torch.testing.assert_close(layer(x), exact)
    heads.compute_in_float32(layer, wanted=False)
    assert layer(x).dtype == dtype
    assert not layer._forward_hooks


def test_an_unknown_task_is_refused(tmp_path):
    with pytest.raises(SettingError, match="transformer_task must be one of .*'fill'"):
        Transformer(tmp_path, transformer_task="fill")
