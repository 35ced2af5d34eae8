import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from sentune.errors import InputError, ModelFileError, SentuneWarning, SettingError
from sentune.losses import DenoisingAutoEncoderLoss, MatryoshkaLoss
from tests import tiny
from tests.losses.tools import TableModel

WHOLE = ["the cat sat on the mat", "a dog", "birds sleep in the morning light"]
DAMAGED = ["cat on mat", "dog", "birds the light"]


def features(model):
    return [model.read(DAMAGED), model.read(WHOLE)]


@pytest.fixture
def gpt_folder(tmp_path):
    """A decoder with a tokenizer of its own that knows other words and has no padding token."""
    words = tiny.tokenizer()
    words.add_tokens(["elsewhere"])
    words.pad_token, words.eos_token = None, "[SEP]"
    config = AutoConfig.for_model(
        "gpt2",
        vocab_size=len(words),
        n_embd=32,
        n_layer=1,
        n_head=2,
        bos_token_id=words.cls_token_id,
        eos_token_id=words.sep_token_id,
        pad_token_id=None,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    return tmp_path


def test_the_decoder_shares_the_encoders_weights(tiny_model):
    encoder = tiny_model[0].auto_model
    before = {name: weight.clone() for name, weight in encoder.named_parameters()}
    loss = DenoisingAutoEncoderLoss(tiny_model)
    own = {id(weight) for weight in encoder.parameters()}
    not_shared = [name for name, weight in loss.decoder.named_parameters() if id(weight) not in own]
    assert all("crossattention" in name or name.startswith("cls") for name in not_shared)
    words = encoder.get_input_embeddings().weight
    assert loss.decoder.get_output_embeddings().weight is words
    for name, weight in encoder.named_parameters():
        torch.testing.assert_close(weight, before[name])
    assert not encoder.config.is_decoder


def test_the_loss_is_the_mean_over_the_tokens_that_are_to_be_written(tiny_model):
    loss = DenoisingAutoEncoderLoss(tiny_model).eval()
    damaged, whole = features(tiny_model)
    rows = tiny_model(damaged)["sentence_embedding"]
    losses = []
    for row, ids in zip(rows, whole["input_ids"].split(whole["lengths"]), strict=True):
        logits = loss.decoder(
            input_ids=ids[None, :-1],
            encoder_hidden_states=row[None, None],
            use_cache=False,
        ).logits[0]
        losses += [-step.log_softmax(0)[token] for step, token in zip(logits, ids[1:], strict=True)]
    torch.testing.assert_close(loss([damaged, whole]), sum(losses) / len(losses))


@pytest.mark.parametrize("size", [None, 2])
def test_the_encoder_learns_from_it(tiny_model, size):
    loss = DenoisingAutoEncoderLoss(tiny_model, mini_batch_size=size).eval()
    value = loss(features(tiny_model))
    value.backward()
    weights = dict(tiny_model[0].auto_model.named_parameters())
    assert weights["encoder.layer.0.attention.self.query.weight"].grad.any()
    with torch.no_grad():
        for weight in loss.parameters():
            if weight.grad is not None:
                weight -= 0.1 * weight.grad
    assert loss(features(tiny_model)) < value


def test_padded_features_made_by_hand_mean_the_same(tiny_model):
    loss = DenoisingAutoEncoderLoss(tiny_model).eval()
    padded = [tiny_model.tokenize(DAMAGED), tiny_model.tokenize(WHOLE)]
    torch.testing.assert_close(loss(padded), loss(features(tiny_model)))


def test_another_decoder_reads_the_texts_itself(tiny_model, gpt_folder):
    loss = DenoisingAutoEncoderLoss(tiny_model, str(gpt_folder), tie_encoder_decoder=False).eval()
    target = loss.context(features(tiny_model))["target"]
    texts = loss.tokenizer.batch_decode(target, skip_special_tokens=True)
    # (The tiny tokenizer writes word pieces apart.)
    assert [text.replace(" ", "") for text in texts] == [text.replace(" ", "") for text in WHOLE]
    value = loss(features(tiny_model))
    value.backward()
    assert value.isfinite()
    assert tiny_model[0].auto_model.embeddings.word_embeddings.weight.grad.any()
    assert loss.settings() == {
        "decoder_name_or_path": str(gpt_folder),
        "tie_encoder_decoder": False,
    }


def test_an_encoder_without_files_gets_a_decoder_of_its_kind(tiny_model):
    tiny_model[0].auto_model.config._name_or_path = ""
    loss = DenoisingAutoEncoderLoss(tiny_model)
    assert type(loss.decoder).__name__ == "BertLMHeadModel"
    assert loss(features(tiny_model)).isfinite()


def test_autocast_is_left_on_for_the_decoder(tiny_model):
    loss = DenoisingAutoEncoderLoss(tiny_model).eval()
    seen = []
    loss.decoder.register_forward_hook(lambda *_: seen.append(torch.is_autocast_enabled("cpu")))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(features(tiny_model))
    assert seen == [True] and value.dtype == torch.float32 and value.isfinite()


def test_it_can_be_wrapped(tiny_model):
    loss = DenoisingAutoEncoderLoss(tiny_model).eval()
    wrapped = MatryoshkaLoss(tiny_model, loss, [32]).eval()
    assert not wrapped.is_computed_in_full
    assert wrapped(features(tiny_model)).isfinite()


def test_what_does_not_fit_is_refused(tiny_model, gpt_folder, tmp_path):
    with pytest.raises(SettingError, match="first module is a Transformer, got TableModel"):
        DenoisingAutoEncoderLoss(TableModel())
    with pytest.raises(SettingError, match="needs a decoder_name_or_path"):
        DenoisingAutoEncoderLoss(tiny_model, tie_encoder_decoder=False)
    with pytest.warns(SentuneWarning, match="is not read with tie_encoder_decoder=True"):
        DenoisingAutoEncoderLoss(tiny_model, str(gpt_folder))
    with pytest.raises(ModelFileError, match="cannot be loaded as a decoder"):
        DenoisingAutoEncoderLoss(tiny_model, str(tmp_path / "none"), tie_encoder_decoder=False)
    wide = AutoConfig.from_pretrained(gpt_folder, n_embd=48)
    AutoModelForCausalLM.from_config(wide).save_pretrained(tmp_path / "wide")
    with pytest.raises(SettingError, match="width 48 is not the encoder's 32"):
        DenoisingAutoEncoderLoss(tiny_model, str(tmp_path / "wide"), tie_encoder_decoder=False)
    loss = DenoisingAutoEncoderLoss(tiny_model)
    with pytest.raises(InputError, match="wants 2 columns .damaged sentence, sentence., got 1"):
        loss(features(tiny_model)[:1])
    with pytest.raises(InputError, match="wants the tokens of the whole sentences"):
        loss.compute([torch.randn(3, 32)])


def test_its_parts_have_the_names_of_other_libraries(tiny_model, gpt_folder):
    tied = DenoisingAutoEncoderLoss(tiny_model)
    assert tied.encoder is tiny_model
    assert tied.tokenizer_encoder is tied.tokenizer_decoder is tiny_model.tokenizer
    assert not tied.need_retokenization
    other = DenoisingAutoEncoderLoss(tiny_model, str(gpt_folder), tie_encoder_decoder=False)
    assert other.need_retokenization
    assert "elsewhere" in other.tokenizer_decoder.get_vocab()
