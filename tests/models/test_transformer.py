"""Packed equals padded equals one by one, values and gradients, for each architecture."""

import pickle

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from sentune import SentenceTransformer
from sentune.engine import packing
from sentune.engine.slots import Layout
from sentune.errors import HubError, InputTypeError, ModelFileError, SettingError
from sentune.machine.device import multiplying_in
from sentune.models.pooling import Pooling
from sentune.models.transformer import Transformer
from tests.tiny import KINDS, PACKED_KINDS

WIDTH = 32


def embed(transformer, features):
    pooling = Pooling(WIDTH)
    return pooling(transformer(features))["sentence_embedding"]


@pytest.fixture(params=PACKED_KINDS)
def packed_transformer(request, tiny_folders):
    return Transformer(tiny_folders(request.param))


@pytest.mark.parametrize("kind", KINDS)
def test_which_architectures_run_packed(kind, tiny_folders):
    assert Transformer(tiny_folders(kind)).reads_packed == (kind in PACKED_KINDS)


def test_packed_equals_padded_and_one_by_one(packed_transformer, texts):
    ragged = packed_transformer.read(texts)
    packed = embed(packed_transformer, packing.pack(ragged))
    padded = embed(packed_transformer, packed_transformer.pad(ragged))
    alone = [embed(packed_transformer, packed_transformer.tokenize([text])) for text in texts]
    assert packed.shape == (len(texts), WIDTH)
    torch.testing.assert_close(packed, padded, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(packed, torch.cat(alone), atol=1e-5, rtol=1e-5)


def test_packed_equals_the_encoder_of_transformers(packed_transformer, texts):
    """The oracle: transformers' own loading, tokenising, padding and eager attention."""
    folder = packed_transformer.config._name_or_path
    encoder = AutoModel.from_pretrained(folder, attn_implementation="eager")
    batch = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    states = encoder(**batch).last_hidden_state
    mask = batch["attention_mask"][:, :, None]
    expected = (states * mask).sum(1) / mask.sum(1)
    packed = embed(packed_transformer, packing.pack(packed_transformer.read(texts)))
    torch.testing.assert_close(packed, expected, atol=1e-5, rtol=1e-5)


def test_gradients_packed_equal_padded(packed_transformer, texts):
    ragged = packed_transformer.read(texts)
    target = torch.randn(len(texts), WIDTH, generator=torch.Generator().manual_seed(0))
    gradients = []
    for features in (packing.pack(ragged), packed_transformer.pad(ragged)):
        packed_transformer.zero_grad()
        (embed(packed_transformer, features) * target).sum().backward()
        gradients.append(
            {
                n: p.grad.clone()
                for n, p in packed_transformer.named_parameters()
                if p.grad is not None
            }
        )
    assert gradients[0].keys() == gradients[1].keys() and len(gradients[0]) >= 15
    for name, gradient in gradients[0].items():
        scale = gradients[1][name].abs().max().item()
        torch.testing.assert_close(
            gradient, gradients[1][name], atol=1e-5 * max(scale, 1), rtol=1e-4
        )


def test_tokens_added_for_round_sizes_change_nothing(packed_transformer, texts, monkeypatch):
    features = packing.pack(packed_transformer.read(texts))
    target = torch.randn(len(texts), WIDTH, generator=torch.Generator().manual_seed(0))
    found = []
    for is_to_measure in (False, True):
        monkeypatch.setattr(Transformer, "_multiplies_to_measure", lambda *_, x=is_to_measure: x)
        packed_transformer.zero_grad()
        output = packed_transformer(features, output_hidden_states=True)
        assert {len(layer) for layer in output["all_layer_embeddings"]} == {
            len(output["input_ids"])
        }
        rows = Pooling(WIDTH)(output)["sentence_embedding"]
        (rows * target).sum().backward()
        gradients = [p.grad for p in packed_transformer.parameters() if p.grad is not None]
        found.append([rows, *gradients])
    assert packing.spare(len(features["input_ids"])) > 0
    for plain, longer in zip(*found, strict=True):
        torch.testing.assert_close(longer, plain, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("is_trained", [False, True])
def test_half_precision_sees_few_numbers_of_tokens(tiny_folders, is_trained):
    transformer = Transformer(tiny_folders("bert"))
    seen = set()
    layer = transformer.auto_model.encoder.layer[0].intermediate.dense
    layer.register_forward_pre_hook(lambda _, inputs: seen.add(inputs[0].shape[-2]))
    for dtype, expected in ((None, 20), (torch.bfloat16, 7)):
        seen.clear()
        for number in range(1, 21):
            features = packing.pack(transformer.read(["cat dog red"] * number))
            with torch.set_grad_enabled(is_trained), multiplying_in(dtype, "cpu"):
                assert len(transformer(features)["token_embeddings"]) == 5 * number
        assert len(seen) == expected
    assert seen == {16 * number for number in range(1, 8)}


@pytest.mark.parametrize(("row", "word", "other"), [(3, "fish", "bird"), (1, "dog", "cat")])
def test_no_sentence_sees_another(packed_transformer, texts, row, word, other):
    """Neither a long one, nor a short one that shares its width in attention with others."""
    changed = [*texts]
    changed[row] = changed[row].replace(word, other)  # same number of tokens
    rows = [
        embed(packed_transformer, packing.pack(packed_transformer.read(t)))
        for t in (texts, changed)
    ]
    others = [place for place in range(len(texts)) if place != row]
    assert torch.equal(rows[0][others], rows[1][others])
    assert not torch.equal(rows[0][row], rows[1][row])


@pytest.mark.parametrize(
    "batch",
    [["red"], ["red"] * 5, [""], ["", ""], ["cat " * 200], ["cat " * 200, "a", ""]],
    ids=["one", "equal", "empty", "all empty", "longest", "mixed"],
)
def test_packed_equals_padded_at_the_edges(packed_transformer, batch):
    ragged = packed_transformer.read(batch)
    assert max(ragged["lengths"]) <= packed_transformer.max_seq_length
    packed = embed(packed_transformer, packing.pack(ragged))
    padded = embed(packed_transformer, packed_transformer.pad(ragged))
    torch.testing.assert_close(packed, padded, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_pairs_carry_their_segments(kind, tiny_folders):
    transformer = Transformer(tiny_folders(kind))
    pairs = [("the cat", "a dog sat"), ("red", ""), ("the cat sat on", "green")]
    ragged = transformer.read(pairs)
    assert ("token_type_ids" in ragged) == (kind == "bert")
    expected = AutoTokenizer.from_pretrained(tiny_folders(kind))(
        [p[0] for p in pairs], [p[1] for p in pairs], padding=True, return_tensors="pt"
    )
    padded = transformer.pad(ragged)
    for key in expected:
        assert torch.equal(padded[key], expected[key]), key
    packed = embed(transformer, packing.pack(ragged))
    torch.testing.assert_close(packed, embed(transformer, padded), atol=1e-5, rtol=1e-5)


def test_dropout_acts_in_training_and_not_in_evaluation(tmp_path, texts):
    from tests.tiny import make_folder

    transformer = Transformer(make_folder(tmp_path / "dropout", dropout=0.5))
    features = packing.pack(transformer.read(texts))
    transformer.eval()
    assert torch.equal(embed(transformer, features), embed(transformer, features))
    transformer.train()
    samples = torch.stack([embed(transformer, features).detach() for _ in range(3)])
    assert samples.std(dim=0).min() > 0


@pytest.mark.parametrize("window", [None, 3])
def test_attention_with_dropout_is_right_on_average(window):
    from sentune.engine.attention import packed_attention

    torch.manual_seed(0)
    q, k, v = torch.randn(3, 1, 2, 15, 8)
    options = {"layout": Layout([3, 6, 6], shares=True), "sliding_window": window}
    exact, _ = packed_attention(None, q, k, v, None, **options)
    samples = [packed_attention(None, q, k, v, None, dropout=0.2, **options)[0] for _ in range(800)]
    mean, spread = torch.stack(samples).mean(0), torch.stack(samples).std(0)
    assert spread.mean() > 0.1
    torch.testing.assert_close(mean, exact, atol=0.15, rtol=0)


def test_all_layer_embeddings_on_request(packed_transformer, texts):
    features = packing.pack(packed_transformer.read(texts))
    output = packed_transformer(features, output_hidden_states=True)
    layers = output["all_layer_embeddings"]
    assert len(layers) == packed_transformer.config.num_hidden_layers + 1
    assert all(layer.shape == output["token_embeddings"].shape for layer in layers)
    assert "all_layer_embeddings" not in packed_transformer(features)


def test_features_are_never_changed_in_place(packed_transformer, texts):
    features = packing.pack(packed_transformer.read(texts))
    before = dict(features)
    embed(packed_transformer, features)
    assert features.keys() == before.keys()
    assert all(features[key] is before[key] for key in before)


def test_nothing_of_packed_attention_is_saved(packed_transformer, tmp_path):
    packed_transformer.auto_model.save_pretrained(tmp_path)
    assert "packed" not in (tmp_path / "config.json").read_text()


def test_a_padded_call_of_the_encoder_itself_is_right(packed_transformer, texts):
    tokens = packed_transformer.tokenize(texts)
    states = packed_transformer.auto_model(**tokens).last_hidden_state
    alone = packed_transformer.auto_model(
        **packed_transformer.tokenize(texts[:1])
    ).last_hidden_state
    torch.testing.assert_close(states[0, : alone.shape[1]], alone[0], atol=1e-5, rtol=1e-5)


def test_attention_asked_for_by_the_user_is_kept(tiny_bert_folder):
    transformer = Transformer(tiny_bert_folder, model_kwargs={"attn_implementation": "eager"})
    assert transformer.config._attn_implementation == "eager"
    assert not transformer.reads_packed


def test_the_limit_follows_the_tokenizer_and_the_position_table(tiny_folders, caplog):
    assert Transformer(tiny_folders("bert")).max_seq_length == 64
    roberta = Transformer(tiny_folders("roberta"), max_seq_length=999)
    assert roberta.max_seq_length == 64  # 66 positions, the first two are not for text
    assert "999" in caplog.text


@pytest.mark.parametrize("value", [0, -1, 2.5, "many"])
def test_a_limit_that_is_none_is_refused(tiny_bert_folder, value):
    transformer = Transformer(tiny_bert_folder)
    with pytest.raises(SettingError, match="max_seq_length must be a positive int"):
        transformer.max_seq_length = value


@pytest.mark.parametrize("kind", ["bert", "roberta", "mpnet"])
def test_no_limit_is_that_of_the_positions(tiny_folders, kind):
    transformer = Transformer(tiny_folders(kind))
    transformer.max_seq_length = None
    assert transformer.max_seq_length == {"bert": 66}.get(kind, 64)
    tokens = transformer.read(["cat " * 500])
    assert tokens["lengths"] == [transformer.max_seq_length]
    assert transformer(transformer.pad(tokens))["token_embeddings"].isfinite().all()


def test_positions_that_never_end_need_no_limit(tiny_folders):
    transformer = Transformer(tiny_folders("modernbert"))
    transformer.max_seq_length = None
    assert transformer.read(["cat " * 500])["lengths"] == [502]


def test_a_limit_without_room_for_the_special_tokens(tiny_bert_folder):
    transformer = Transformer(tiny_bert_folder, max_seq_length=2)
    assert transformer.read(["cat"])["lengths"] == [2]
    with pytest.raises(SettingError, match="max_seq_length=1 leaves no space for the 2 special"):
        transformer.max_seq_length = 1


def test_a_new_limit_counts_at_once(tiny_bert_folder):
    transformer = Transformer(tiny_bert_folder)
    text = "cat " * 50
    assert transformer.read([text])["lengths"] == [52]
    transformer.max_seq_length = 10
    assert transformer.read([text])["lengths"] == [10]
    assert transformer.read([text, "cat"])["truncated"] == 1


def test_added_tokens_count_at_once(tiny_bert_folder):
    transformer = Transformer(tiny_bert_folder)
    before = transformer.read(["sentune"])["lengths"]
    transformer.tokenizer.add_tokens(["sentune"])
    transformer.auto_model.resize_token_embeddings(len(transformer.tokenizer))
    assert transformer.read(["sentune"])["lengths"] == [3] != before


def test_the_tokenizer_itself_stays_as_it_was(tiny_bert_folder):
    transformer = Transformer(tiny_bert_folder, max_seq_length=8)
    core = transformer.tokenizer.backend_tokenizer
    before = (core.truncation, core.padding)
    transformer.read(["cat " * 50])
    assert (core.truncation, core.padding) == before


def test_a_copy_by_pickle_reads_the_same(tiny_bert_folder, texts):
    transformer = Transformer(tiny_bert_folder)
    lengths = transformer.read(texts)["lengths"]
    assert pickle.loads(pickle.dumps(transformer)).read(texts)["lengths"] == lengths


def test_lower_casing(tmp_path):
    from tests.tiny import make_folder, tokenizer

    folder = make_folder(tmp_path / "cased")
    words = tokenizer()
    words.backend_tokenizer.normalizer = None
    words.save_pretrained(folder)
    plain, lower = Transformer(folder), Transformer(folder, do_lower_case=True)
    assert plain.read(["CAT"])["input_ids"].tolist() != plain.read(["cat"])["input_ids"].tolist()
    assert lower.read(["CAT"])["input_ids"].tolist() == plain.read(["cat"])["input_ids"].tolist()


def test_a_folder_that_is_no_model(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelFileError, match="config.json"):
        Transformer(tmp_path / "empty")


def test_a_name_that_is_nowhere():
    with pytest.raises(HubError, match="no folder here"):
        Transformer("nobody/has-this-model")


def test_loading_from_a_folder_is_quiet_and_keeps_the_users_setting(tiny_bert_folder, capfd):
    from transformers.utils import logging

    was_on = logging.is_progress_bar_enabled()
    Transformer(tiny_bert_folder)
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""
    assert logging.is_progress_bar_enabled() == was_on


LONG = "the cat sat on the mat and the dog ran"


def loaded(folder, how):
    """The module as it is made from a folder, or as a model of that folder holds it."""
    if how == "made":
        return Transformer(folder)
    return SentenceTransformer(str(folder), device="cpu")[0]


@pytest.mark.parametrize("how", ["made", "held"])
def test_the_tokenizer_names_the_same_limit(how, tiny_bert_folder):
    transformer = loaded(tiny_bert_folder, how)
    transformer.max_seq_length = 5
    assert transformer.tokenizer.model_max_length == 5
    transformer.tokenizer.model_max_length = 4  # set there, it counts here
    assert transformer.max_seq_length == 4
    assert transformer.read([LONG])["lengths"] == [4]
    transformer.tokenizer.model_max_length = 10**30  # none, so that the one set here counts
    assert transformer.max_seq_length == 5
    transformer.tokenizer.model_max_length = 1000
    assert transformer.max_seq_length == 66  # positions of this encoder


def test_a_tokenizer_in_the_place_of_another_brings_its_limit(tiny_bert_folder):
    transformer = Transformer(tiny_bert_folder, max_seq_length=5)
    transformer.tokenizer = AutoTokenizer.from_pretrained(tiny_bert_folder, model_max_length=6)
    assert transformer.read([LONG])["lengths"] == [6]


def test_a_limit_set_on_the_tokenizer_is_saved(tiny_bert_folder, tmp_path):
    model = SentenceTransformer(str(tiny_bert_folder), device="cpu")
    model.tokenizer.model_max_length = 4
    model.save(tmp_path)
    assert SentenceTransformer(str(tmp_path), device="cpu").max_seq_length == 4


@pytest.mark.parametrize("wrong", [5, None, np.zeros((2, 2, 3)), ["a", 5]])
def test_what_is_no_text_is_refused_by_the_module_too(tiny_bert_folder, wrong):
    transformer = Transformer(tiny_bert_folder)
    for read in (transformer.read, transformer.preprocess):
        with pytest.raises(InputTypeError, match="row 1 is"):
            read(["a cat", wrong])


def test_what_is_read_of_the_encoder_cannot_be_set_in_place(tiny_model):
    with pytest.raises(TypeError):
        tiny_model[0].modality_config["text"]["method_output_name"] = "pooler_output"
