"""Arguments and attributes of modules, and files of tokenizers of words, in both libraries."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from sentence_transformers.sentence_transformer import modules as theirs
from sentence_transformers.sentence_transformer.modules import tokenizer as their_tokenizers

from sentune import SentenceTransformer
from sentune import models as ours
from sentune.errors import SettingError
from sentune.models import tokenizer as our_tokenizers
from tests import tiny

pytestmark = pytest.mark.filterwarnings("ignore")


def test_pooling_is_made_as_there():
    here, there = (inspect.signature(m.Pooling).parameters for m in (ours, theirs))
    assert list(here)[:3] == list(there)
    assert here["pooling_mode"].default == there["pooling_mode"].default
    assert ours.Pooling.POOLING_MODES == theirs.Pooling.POOLING_MODES
    assert ours.Pooling.config_key_renames == theirs.Pooling.config_key_renames
    for arguments in ((8,), (8, "cls"), (8, "max", False), (8, ("cls", "mean")), (8, ["mean"])):
        a, b = ours.Pooling(*arguments), theirs.Pooling(*arguments)
        for name in ("pooling_mode", "include_prompt", "pooling_output_dimension"):
            assert getattr(a, name) == getattr(b, name)
    older = ours.Pooling(8, True, False, include_prompt=False)
    assert (older.modes, older.include_prompt) == (("cls",), False)
    assert ours.Pooling(8, "max", pooling_mode_cls_token=True).modes == ("max",)


def test_a_transformer_has_the_attributes_of_text_models(tiny_bert_folder):
    here, there = (m.Transformer(str(tiny_bert_folder)) for m in (ours, theirs))
    names = "backend document_length modalities modality_config module_output_name "
    names += "processing_kwargs query_expansion query_length transformer_task unpad_inputs"
    for name in names.split():
        assert getattr(here, name) == getattr(there, name), name
    given = {name: getattr(there, name) for name in names.split() if name != "modalities"}
    ours.Transformer(str(tiny_bert_folder), **given)  # what changes nothing is taken


@pytest.mark.parametrize(
    "argument",
    [
        {"processing_kwargs": {"text": {"max_length": 8}}},
        {"modality_config": {"image": {"method": "forward", "method_output_name": "x"}}},
        {"module_output_name": "sentence_embedding"},
        {"query_length": 8},
        {"document_length": 8},
        {"query_expansion": {"strategy": "fixed", "length": 8}},
        {"backend": "onnx"},
    ],
)
def test_what_would_have_no_effect_is_refused(tiny_bert_folder, argument):
    with pytest.raises(SettingError, match=next(iter(argument))):
        ours.Transformer(str(tiny_bert_folder), **argument)


def test_unpad_inputs_pads(tiny_bert_folder):
    texts = ["the cat", "a dog sat on the mat", ""]
    found = []
    for unpad in (None, True, False):
        first = ours.Transformer(str(tiny_bert_folder), unpad_inputs=unpad)
        assert first.can_flatten_inputs is first.reads_packed is (unpad is not False)
        seen = []
        first.register_forward_hook(lambda m, inputs, out, seen=seen: seen.append(inputs[0]))
        if unpad is False:
            model = SentenceTransformer(modules=[first, ours.Pooling(32)], device="cpu")
            found.append(model.encode(texts))
            assert all("attention_mask" in features for features in seen)
        else:
            first._forward_hooks.clear()
            model = SentenceTransformer(modules=[first, ours.Pooling(32)], device="cpu")
            found.append(model.encode(texts))
    np.testing.assert_allclose(found[0], found[2], atol=1e-2)


def test_a_transformer_is_loaded_with_arguments_by_position(tmp_path, tiny_model):
    tiny_model.save(str(tmp_path))
    here = inspect.signature(ours.Transformer.load).parameters
    assert list(here) == list(inspect.signature(theirs.Transformer.load).parameters)
    place = str(tmp_path)
    options = {"model_max_length": 7}
    again = ours.Transformer.load(place, "", None, None, None, True, False, {}, options, {})
    assert again.max_seq_length == 7
    with pytest.raises(SettingError, match="backend"):
        ours.Transformer.load(place, backend="openvino")


WORDS = ["cat", "the", "dog", "Dog"]


@pytest.mark.parametrize("name", ["WhitespaceTokenizer", "PhraseTokenizer"])
def test_tokenizers_of_words_are_saved_and_loaded(tmp_path, name):
    if name == "PhraseTokenizer":
        pytest.importorskip("nltk")
    here, there = (getattr(m, name) for m in (our_tokenizers, their_tokenizers))
    for writer, reader in ((here, there), (there, here), (here, here)):
        writer(WORDS, stop_words=["the"], do_lower_case=True).save(str(tmp_path))
        again = reader.load(str(tmp_path))
        assert list(again.get_vocab()) == WORDS
        assert (set(again.stop_words), again.do_lower_case) == ({"the"}, True)


def test_a_wrapped_tokenizer_is_saved_and_loaded(tmp_path):
    here = our_tokenizers.TransformersTokenizerWrapper(tiny.tokenizer())
    here.save(str(tmp_path))
    again = type(here).load(str(tmp_path))
    assert again.tokenize(sentence="the cat") == here.tokenize("the cat")
    assert again.get_vocab(None) == here.get_vocab()
