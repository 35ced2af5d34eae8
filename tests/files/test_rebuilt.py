"""What is done to a model: saved and loaded equal, or refused with the reason."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from sentune import SentenceTransformer, SentenceTransformerTrainer, losses
from sentune.errors import SettingError
from sentune.models import Pooling, Transformer
from sentune.training.arguments import SentenceTransformerTrainingArguments
from tests import tiny, uneven

TEXTS = uneven.texts(9, seed=3, longest=60)


class OtherLinear(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class Encoder(nn.Module):
    """An encoder of somebody's own."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, input_ids, attention_mask, **kwargs):
        return self.inner(input_ids=input_ids, attention_mask=attention_mask)


class More(Transformer):
    """With a tensor beside the encoder."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.scale = nn.Parameter(torch.ones(1))


def cut(encoder):
    encoder.encoder.layer = encoder.encoder.layer[:1]


def cut_by_config(encoder):
    cut(encoder)
    encoder.config.num_hidden_layers = 1


def grown(encoder):
    encoder.encoder.layer.append(nn.Identity())


def replaced(encoder):
    old = encoder.encoder.layer[0].output.dense
    encoder.encoder.layer[0].output.dense = OtherLinear(old.in_features, old.out_features)


def narrowed(encoder):
    encoder.pooler = None
    encoder.encoder.layer[0].intermediate.dense = nn.Linear(32, 40)
    encoder.encoder.layer[0].output.dense = nn.Linear(40, 32)


def normed(encoder):
    parametrizations.weight_norm(encoder.encoder.layer[0].output.dense)


def pruned(encoder):
    prune.l1_unstructured(encoder.encoder.layer[0].output.dense, "weight", amount=0.5)


def quantized(encoder):
    torch.ao.quantization.quantize_dynamic(encoder, {nn.Linear}, inplace=True)


REFUSED = {
    cut: "there is no encoder.layer.1.*num_hidden_layers",
    grown: "encoder.layer.2 was added",
    replaced: "encoder.layer.0.output.dense is a .*OtherLinear and not a Linear",
    narrowed: r"encoder.layer.0.intermediate.dense.weight has the shape \(40, 32\)",
    normed: "remove_parametrizations",
    pruned: "prune.remove",
    quantized: "quantized.* and not a Linear",
}


@pytest.fixture
def model(tiny_bert_folder):
    encoder = Transformer(tiny_bert_folder)
    return SentenceTransformer(modules=[encoder, Pooling(32)], device="cpu")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("change", REFUSED, ids=lambda change: change.__name__)
def test_what_would_come_back_as_another_model_is_refused(model, tmp_path, change):
    change(model[0].auto_model)
    with pytest.raises(SettingError, match=REFUSED[change]):
        model.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def edited(encoder):
    with torch.no_grad():
        encoder.encoder.layer[0].output.dense.weight *= 1.5


def frozen(encoder):
    encoder.requires_grad_(False)


def without_pooler(encoder):
    encoder.pooler = None


def undone(encoder):
    pruned(encoder)
    prune.remove(encoder.encoder.layer[0].output.dense, "weight")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "change",
    [cut_by_config, edited, frozen, without_pooler, undone],
    ids=lambda change: change.__name__,
)
def test_what_the_config_says_comes_back(model, tmp_path, change):
    change(model[0].auto_model)
    expected = model.encode(TEXTS)
    model.save(tmp_path / "model")
    again = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    np.testing.assert_allclose(again.encode(TEXTS), expected, atol=1e-6)


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_every_family_comes_back_after_new_words(tiny_folders, tmp_path, kind):
    encoder = Transformer(tiny_folders(kind))
    encoder.tokenizer.add_tokens(["zebra", "yak"])
    encoder.auto_model.resize_token_embeddings(len(encoder.tokenizer))
    model = SentenceTransformer(modules=[encoder, Pooling(32)], device="cpu")
    texts = [*TEXTS, "the zebra and the yak"]
    expected = model.encode(texts)
    model.save(tmp_path / "model")
    again = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    np.testing.assert_allclose(again.encode(texts), expected, atol=1e-6)


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile], ids=["parallel", "compiled"])
def test_what_is_inside_a_wrapper_is_saved(model, tmp_path, wrap):
    expected = model.encode(TEXTS)
    model[0].auto_model = wrap(model[0].auto_model)
    model.save(tmp_path / "model")
    again = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    np.testing.assert_allclose(again.encode(TEXTS), expected, atol=1e-6)


def test_an_encoder_of_ones_own_is_refused(model, tmp_path):
    model[0].auto_model = Encoder(model[0].auto_model)
    with pytest.raises(SettingError, match="a Encoder with no `config` or no `save_pretrained`"):
        model.save(tmp_path / "model")


def test_tensors_beside_the_encoder_are_refused(tiny_bert_folder, tmp_path):
    model = SentenceTransformer(modules=[More(tiny_bert_folder), Pooling(32)], device="cpu")
    with pytest.raises(SettingError, match=r"More has the tensors \['scale'\] beside its encoder"):
        model.save(tmp_path / "model")


def test_a_class_inside_a_function_is_refused(tiny_bert_folder, tmp_path):
    class Hidden(Pooling):
        pass

    model = SentenceTransformer(modules=[Transformer(tiny_bert_folder), Hidden(32)], device="cpu")
    with pytest.raises(SettingError, match="Hidden of a module is defined inside of a function"):
        model.save(tmp_path / "model")


def trainer(model, folder, strategy):
    from datasets import Dataset

    rows = Dataset.from_dict({"a": ["the cat", "a dog"] * 8, "b": ["cat", "dog"] * 8})
    args = SentenceTransformerTrainingArguments(
        output_dir=str(folder), max_steps=1, save_strategy=strategy, report_to="none"
    )
    loss = losses.MultipleNegativesRankingLoss(model)
    return SentenceTransformerTrainer(model, args, rows, loss=loss)


def test_a_run_that_could_not_save_says_so_before_its_first_step(model, tmp_path):
    cut(model[0].auto_model)
    with pytest.warns(UserWarning, match="saving the model will fail.*num_hidden_layers"):
        with pytest.raises(Exception, match="num_hidden_layers"):
            trainer(model, tmp_path, "steps").train()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer(model, tmp_path, "no").train()
