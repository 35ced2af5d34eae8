"""Encoders of encoder-decoders: the class, the numbers, and the round trip of every checkpoint.

The reference is the transformers library: its whole model, or the encoder taken from it, on one
text at a time. sentence-transformers 6.2.0 must agree wherever it loads the weights of the file.
"""

from __future__ import annotations

import json
import logging
from importlib import import_module

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoConfig, AutoModel

from sentune import SentenceTransformer
from sentune.errors import ModelFileError
from tests import uneven
from tests.tiny import tokenizer

peer = pytest.importorskip("sentence_transformers")

TEXTS = uneven.texts(12, seed=5, longest=40)
WORDS = tokenizer("bert")
IDS = {
    "vocab_size": len(WORDS),
    "pad_token_id": WORDS.pad_token_id,
    "bos_token_id": WORDS.cls_token_id,
    "eos_token_id": WORDS.sep_token_id,
}
T5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
SIDES = {
    f"{side}_{name}": size
    for side in ("encoder", "decoder")
    for name, size in {"layers": 2, "attention_heads": 4, "ffn_dim": 48}.items()
}
BART = {"d_model": 32, **SIDES, "max_position_embeddings": 66, "dropout": 0.0}
GEMMA = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 66,
    **IDS,
}
EXPERTS = {"num_experts": 2, "expert_capacity": 64}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "image_size": 28,
    "patch_size": 14,
}
PROPHET = {
    "hidden_size": 32,
    "num_encoder_layers": 2,
    "num_decoder_layers": 2,
    "num_encoder_attention_heads": 4,
    "num_decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 66,
}
LED = {
    "max_encoder_position_embeddings": 66,
    "max_decoder_position_embeddings": 66,
    "attention_window": 8,
}
# Name -> type, sizes; the encoder's class; whether a whole checkpoint runs as encoder alone.
FAMILIES = {
    "t5": ("t5", T5, "T5EncoderModel", True),
    "mt5": ("mt5", T5, "MT5EncoderModel", True),
    "umt5": ("umt5", T5, "UMT5EncoderModel", True),
    "longt5": ("longt5", {**T5, "local_radius": 7}, "LongT5EncoderModel", True),
    "switch": (
        "switch_transformers",
        {**T5, **EXPERTS, "num_sparse_encoder_layers": 1, "num_sparse_decoder_layers": 1},
        "SwitchTransformersEncoderModel",
        True,
    ),
    "t5gemma": ("t5gemma", {"encoder": GEMMA, "decoder": GEMMA}, "T5GemmaEncoderModel", True),
    "t5gemma2": (
        "t5gemma2",
        {"encoder": {"text_config": GEMMA, "vision_config": VISION}, "decoder": GEMMA},
        "T5Gemma2Encoder",
        True,
    ),
    "prophetnet": ("prophetnet", PROPHET, "ProphetNetEncoder", True),
    "m2m_100": ("m2m_100", BART, "M2M100Encoder", True),
    "marian": ("marian", BART, "MarianEncoder", True),
    "pegasus": ("pegasus", BART, "PegasusEncoder", True),
    "pegasus_x": ("pegasus_x", {**BART, "block_size": 8}, "PegasusXEncoder", True),
    "blenderbot": ("blenderbot", BART, "BlenderbotEncoder", True),
    "nllb-moe": (
        "nllb-moe",
        {**BART, **EXPERTS, "encoder_sparse_step": 2, "decoder_sparse_step": 2},
        "NllbMoeEncoder",
        True,
    ),
    "bart": ("bart", BART, "BartEncoder", False),
    "mbart": ("mbart", BART, "MBartEncoder", False),
    "led": ("led", {**BART, **LED}, "LEDEncoder", False),
    "mvp": ("mvp", BART, "MvpEncoder", False),
}
# The peer gives these encoders random weights: it does not find them under a whole model's names.
RANDOM_WHOLE = {"prophetnet", "m2m_100", "marian", "pegasus", "pegasus_x", "blenderbot"}
# It loads the whole model for the encoder alone, with a random decoder.
RANDOM_ALONE = {"bart", "mbart", "led", "mvp"}
# It asks for an image processor, or runs a decoder without its input.
FAILS = {"t5gemma2", "nllb-moe"}


def config_of(family):
    kind, sizes, *_ = FAMILIES[family]
    if "encoder" in sizes:
        return AutoConfig.for_model(kind, **sizes)
    start = {"decoder_start_token_id": WORDS.cls_token_id}
    return AutoConfig.for_model(kind, **IDS, **start, **sizes)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Family, kind of checkpoint -> its folder and what the reference gives; made once."""
    made = {}

    def make(family, is_whole):
        if (family, is_whole) not in made:
            folder = tmp_path_factory.mktemp("pairs") / family
            made[family, is_whole] = folder, make_checkpoint(folder, family, is_whole)
        return made[family, is_whole]

    return make


def make_checkpoint(folder, family, is_whole):
    torch.manual_seed(0)
    whole = AutoModel.from_config(config_of(family)).eval()
    with torch.no_grad():
        for parameter in whole.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.2)
    WORDS.save_pretrained(folder)
    encoder = whole.get_encoder()
    _, _, name, runs_alone = FAMILIES[family]
    if is_whole:
        whole.save_pretrained(folder)
        return expected(encoder if runs_alone else whole)
    config = whole.config
    if family == "t5gemma2":
        config = config.encoder
    elif family == "t5gemma":
        config.is_encoder_decoder = False
    alone = getattr(import_module(type(whole).__module__), name)(config).eval()
    inner = alone.encoder if name.endswith("EncoderModel") else alone
    inner.load_state_dict(encoder.state_dict())
    alone.save_pretrained(folder)
    return expected(encoder)


def expected(model):
    """Mean of the last hidden state, of one text at a time."""
    rows = []
    for text in TEXTS:
        ids = torch.tensor([WORDS(text)["input_ids"]])
        with torch.no_grad():
            output = model(input_ids=ids, attention_mask=torch.ones_like(ids))
        rows.append(output.last_hidden_state.mean(1)[0])
    return torch.stack(rows).numpy()


def load(folder):
    return SentenceTransformer(str(folder), device="cpu", dtype="float32")


def assert_equal(a, b):
    np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("is_whole", [True, False], ids=["whole", "alone"])
@pytest.mark.parametrize("family", FAMILIES)
def test_numbers_and_round_trip(family, is_whole, checkpoints, tmp_path):
    folder, wanted = checkpoints(family, is_whole)
    model = load(folder)
    _, _, name, runs_alone = FAMILIES[family]
    assert (type(model[0].auto_model).__name__ == name) == (runs_alone or not is_whole)
    assert_equal(model.encode(TEXTS), wanted)
    with torch.no_grad():
        padded = model(model.tokenize(TEXTS))["sentence_embedding"]
    assert_equal(padded.numpy(), wanted)
    model.save(str(tmp_path / "saved"))
    again = load(tmp_path / "saved")
    assert type(again[0].auto_model) is type(model[0].auto_model)
    assert_equal(again.encode(TEXTS), wanted)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("is_whole", [True, False], ids=["whole", "alone"])
@pytest.mark.parametrize("family", [family for family in FAMILIES if family not in FAILS])
def test_the_peer_agrees_and_its_files_are_read(family, is_whole, checkpoints, tmp_path):
    folder, wanted = checkpoints(family, is_whole)
    theirs = peer.SentenceTransformer(str(folder), device="cpu")
    one_by_one = np.concatenate([theirs.encode([text]) for text in TEXTS])
    is_random = family in (RANDOM_WHOLE if is_whole else RANDOM_ALONE)
    assert (abs(one_by_one - wanted).max() > 0.1) == is_random, "as recorded of the peer"
    if not is_random:
        assert_equal(one_by_one, wanted)
        assert theirs.max_seq_length == load(folder).max_seq_length
    theirs.save(str(tmp_path / "theirs"))
    assert_equal(load(tmp_path / "theirs").encode(TEXTS), one_by_one)
    if is_whole or not is_random:  # of the others it does not read its own files
        load(folder).save(str(tmp_path / "ours"))
        again = peer.SentenceTransformer(str(tmp_path / "ours"), device="cpu")
        assert_equal(np.concatenate([again.encode([text]) for text in TEXTS]), wanted)


@pytest.mark.parametrize("name", ["M2M100ForConditionalGeneration", "BartForConditionalGeneration"])
def test_a_checkpoint_with_a_head_for_generation(name, tmp_path):
    torch.manual_seed(0)
    config = config_of("m2m_100" if name.startswith("M2M") else "bart")
    whole = getattr(transformers, name)(config).eval()
    whole.save_pretrained(tmp_path)
    WORDS.save_pretrained(tmp_path)
    run = whole.get_encoder() if name.startswith("M2M") else whole.model
    assert_equal(load(tmp_path).encode(TEXTS), expected(run))


def test_settings_of_two_models_are_refused_with_what_to_do(tmp_path, tiny_bert_folder):
    pair = transformers.EncoderDecoderModel.from_encoder_decoder_pretrained(
        str(tiny_bert_folder), str(tiny_bert_folder)
    )
    pair.save_pretrained(tmp_path)
    WORDS.save_pretrained(tmp_path)
    with pytest.raises(ModelFileError, match=r"'encoder-decoder'.*get_encoder\(\)"):
        load(tmp_path)
    pair.get_encoder().save_pretrained(tmp_path / "encoder")
    WORDS.save_pretrained(tmp_path / "encoder")
    assert load(tmp_path / "encoder").encode(TEXTS).shape == (len(TEXTS), 32)


@pytest.mark.parametrize(
    ("kind", "needs"), [("udop", "bbox"), ("whisper", "input_features")], ids=["pages", "sound"]
)
def test_an_encoder_of_something_else_than_texts_is_refused(kind, needs, tmp_path):
    sizes = T5 if kind == "udop" else BART
    config = AutoConfig.for_model(kind, **IDS, **sizes)
    config.architectures = [f"{kind.title()}Model"]
    config.save_pretrained(tmp_path)
    WORDS.save_pretrained(tmp_path)
    with pytest.raises(ModelFileError, match=f"needs '{needs}' as input"):
        load(tmp_path)


def test_a_checkpoint_without_its_encoder_is_refused(checkpoints, tmp_path, caplog):
    folder, _ = checkpoints("bart", False)
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": ["BartModel"]}))
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    WORDS.save_pretrained(tmp_path)
    with caplog.at_level(logging.ERROR), pytest.raises(ModelFileError, match="would be random"):
        load(tmp_path)
