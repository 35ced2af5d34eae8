"""Query, key and value in one product: for which layers, and when it must not be."""

import copy
import pickle

import pytest
import torch

from sentune.engine import packing
from sentune.engine.joint_qkv import JointAttention
from sentune.models.pooling import Pooling
from sentune.models.transformer import Transformer
from tests.tiny import KINDS

LIKE_BERT = {"bert", "camembert", "electra", "ernie", "roberta", "xlm-roberta"}
LIKE_BERT |= {"roberta-prelayernorm", "xlm-roberta-xl"}


def layers(transformer):
    return [m for m in transformer.modules() if isinstance(m, JointAttention)]


def embed(transformer, texts):
    with torch.no_grad():
        features = transformer(packing.pack(transformer.read(texts)))
        return Pooling(32)(features)["sentence_embedding"]


@pytest.fixture
def transformer(tiny_folders):
    return Transformer(tiny_folders("bert"))


@pytest.mark.parametrize("kind", KINDS)
def test_which_architectures_have_it(kind, tiny_folders):
    found = Transformer(tiny_folders(kind))
    expected = found.config.num_hidden_layers if kind in LIKE_BERT else 0
    assert len(layers(found)) == expected


def test_a_layer_is_still_one_of_its_kind(transformer):
    from transformers.models.bert.modeling_bert import BertSelfAttention

    assert all(isinstance(layer, BertSelfAttention) for layer in layers(transformer))
    assert type(layers(transformer)[0]).__name__ == "BertSelfAttention"
    transformer.auto_model.set_attn_implementation("eager")
    output = transformer.auto_model(**transformer.tokenize(["a cat"]), output_attentions=True)
    assert len(output.attentions) == len(layers(transformer))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_it_can_be_copied_and_sent(transformer, texts, duplicate):
    expected = embed(transformer, texts)
    twin = duplicate(transformer)
    assert len(layers(twin)) == len(layers(transformer))
    assert not any(layer._copies._kept for layer in layers(twin)), "copies are made where needed"
    assert torch.equal(embed(twin, texts), expected)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert torch.equal(embed(transformer, texts), expected)


def test_what_is_kept_follows_the_weights_and_goes_when_training_begins(transformer, texts):
    before = embed(transformer, texts)
    layer = layers(transformer)[0]
    with torch.no_grad():
        layer.key.weight.mul_(3)
    after = embed(transformer, texts)
    assert not torch.allclose(before, after)
    layer.key.weight.data.div_(3)
    torch.testing.assert_close(embed(transformer, texts), before)
    with torch.autocast("cpu", torch.bfloat16):
        embed(transformer, texts)
    assert layer._copies._kept[2][0].dtype == torch.bfloat16
    transformer.train()
    assert layer._copies._kept is None


def test_a_listener_hears_each_product(transformer, texts):
    expected, heard = embed(transformer, texts), []
    layer = layers(transformer)[0]
    for name in ("query", "key", "value"):
        layer.get_submodule(name).register_forward_hook(lambda *_, name=name: heard.append(name))
    torch.testing.assert_close(embed(transformer, texts), expected)
    assert heard == ["query", "key", "value"]


def test_an_adapter_on_one_of_them_acts(transformer, texts):
    peft = pytest.importorskip("peft")
    before = embed(transformer, texts)
    config = peft.LoraConfig(target_modules=["value"], init_lora_weights=False)
    transformer.auto_model = peft.get_peft_model(transformer.auto_model, config)
    assert not torch.allclose(embed(transformer.eval(), texts), before)
