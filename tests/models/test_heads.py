"""Dense, Normalize, LayerNorm, Dropout: from their definitions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sentune.errors import InputError, SettingError
from sentune.models.heads import TANH, Dense, Dropout, LayerNorm, Normalize
from tests.models.layouts import assert_leaves_its_input_alone, rebuilt

X = torch.tensor([[3.0, 4.0], [0.0, 0.0], [-1.0, 0.5]])


def of(x, key="sentence_embedding"):
    return {key: x}


# Dense --------------------------------------------------------------------------------------------


def test_dense_is_the_activation_of_a_linear_map():
    weight, bias = (
        torch.tensor([[1.0, 2.0], [0.0, -1.0], [0.5, 0.5]]),
        torch.tensor([0.1, 0.2, 0.3]),
    )
    dense = Dense(2, 3, init_weight=weight, init_bias=bias)
    out = dense(of(X))["sentence_embedding"]
    expected = [
        [torch.tanh(sum(weight[j][i] * x[i] for i in range(2)) + bias[j]) for j in range(3)]
        for x in X
    ]
    torch.testing.assert_close(out, torch.tensor(expected))
    assert dense.get_embedding_dimension() == dense.get_sentence_embedding_dimension() == 3


def test_dense_starts_from_copies_of_the_given_weights():
    weight = torch.ones(3, 2)
    dense = Dense(2, 3, init_weight=weight)
    nn.init.zeros_(dense.linear.weight)
    assert weight.sum() == 6


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, nn.Identity),
        ("torch.nn.modules.activation.GELU", nn.GELU),
        ("torch.nn.modules.linear.Identity", nn.Identity),
        ("torch.nn.ReLU", nn.ReLU),
        (nn.Sigmoid, nn.Sigmoid),
    ],
)
def test_the_activation_may_be_a_name_a_class_or_none(given, expected):
    assert type(Dense(2, 2, activation_function=given).activation_function) is expected


def test_any_callable_is_an_activation():
    dense = Dense(2, 2, bias=False, activation_function=torch.abs, init_weight=-torch.eye(2))
    torch.testing.assert_close(dense(of(X))["sentence_embedding"], X.abs())


@pytest.mark.parametrize(
    "name", ["os.system", "torch.load", "torch.nn.Linear", "torch.nn.Nonsense", "Tanh", "", 3]
)
def test_what_is_no_activation_of_torch_is_refused(name):
    with pytest.raises(SettingError, match="an activation must be"):
        Dense(2, 2, activation_function=name)


def test_residual_adds_the_input():
    dense = Dense(2, 2, use_residual=True, activation_function=None, init_weight=torch.zeros(2, 2))
    nn.init.zeros_(dense.linear.bias)
    torch.testing.assert_close(dense(of(X))["sentence_embedding"], X)
    assert "residual.weight" not in dense.state_dict()


def test_residual_between_widths_has_a_matrix_of_its_own():
    dense = Dense(2, 3, use_residual=True)
    assert set(dense.state_dict()) == {"linear.weight", "linear.bias", "residual.weight"}
    out = dense(of(X))["sentence_embedding"]
    torch.testing.assert_close(out, torch.tanh(dense.linear(X)) + X @ dense.residual.weight.T)


def test_dense_reads_and_writes_the_keys_it_is_told():
    tokens = torch.randn(2, 4, 2)
    dense = Dense(2, 3, module_input_name="token_embeddings", module_output_name="small")
    result = dense(of(tokens, "token_embeddings"))
    assert result["small"].shape == (2, 4, 3)
    assert result["token_embeddings"] is tokens


@pytest.mark.parametrize(
    "dense",
    [
        Dense(2, 3),
        Dense(2, 3, bias=False, activation_function=nn.GELU()),
        Dense(2, 3, use_residual=True, module_input_name="token_embeddings"),
        Dense(2, 2, module_output_name="other", activation_function=None),
    ],
)
def test_dense_is_rebuilt_from_its_settings(dense):
    twin = rebuilt(dense)
    features = {"sentence_embedding": X, "token_embeddings": X}
    for key, value in dense(features).items():
        torch.testing.assert_close(twin(features)[key], value)


def test_settings_of_a_plain_dense_are_those_that_every_reader_knows():
    expected = {"in_features": 2, "out_features": 3, "bias": True, "activation_function": TANH}
    assert Dense(2, 3).settings() == expected


def test_dense_says_what_width_it_got():
    with pytest.raises(InputError, match=r"width 5, got shape \(3, 2\); build it for 2"):
        Dense(5, 3)(of(X))


def test_dense_says_which_key_is_missing():
    with pytest.raises(InputError, match=r"reads 'sentence_embedding'.*\['input_ids'\]"):
        Dense(5, 3)({"input_ids": X})


@pytest.mark.parametrize("size", [0, -1, 2.0, True, None])
def test_sizes_must_be_positive(size):
    with pytest.raises(SettingError, match="out_features must be a whole number"):
        Dense(2, size)


def test_a_weight_of_another_shape_is_refused():
    with pytest.raises(SettingError, match=r"init_weight must have shape \(3, 2\), got \(2, 3\)"):
        Dense(2, 3, init_weight=torch.zeros(2, 3))


# The others ---------------------------------------------------------------------------------------


def test_normalize_gives_length_one_and_leaves_zero():
    out = Normalize()(of(X))["sentence_embedding"]
    torch.testing.assert_close(out[0], torch.tensor([0.6, 0.8]))
    torch.testing.assert_close(out.norm(dim=1), torch.tensor([1.0, 0.0, 1.0]))


def test_normalize_of_tokens_leaves_the_sentence_alone():
    normalize = Normalize("token_embeddings", "unit")
    result = normalize({"token_embeddings": X, "sentence_embedding": X})
    assert result["sentence_embedding"] is X
    torch.testing.assert_close(result["unit"][0], torch.tensor([0.6, 0.8]))
    assert rebuilt(normalize).module_output_name == "unit"


def test_normalize_without_its_input_does_nothing():
    assert Normalize()({"other": X}) == {"other": X}
    assert Normalize().settings() == {}


def test_layer_norm_brings_each_row_to_mean_0_and_variance_1():
    x = torch.tensor([[1.0, 2.0, 3.0, 6.0]])
    out = LayerNorm(4)(of(x))["sentence_embedding"]
    torch.testing.assert_close(out.mean(), torch.tensor(0.0), atol=1e-6, rtol=0)
    torch.testing.assert_close(out.var(correction=0), torch.tensor(1.0), atol=1e-4, rtol=0)
    assert set(LayerNorm(4).state_dict()) == {"norm.weight", "norm.bias"}
    assert rebuilt(LayerNorm(4)).get_embedding_dimension() == 4


def test_layer_norm_says_what_width_it_got():
    with pytest.raises(InputError, match="LayerNorm is made for 'sentence_embedding' of width 4"):
        LayerNorm(4)(of(X))


def test_dropout_drops_in_training_only():
    torch.manual_seed(0)
    x = torch.ones(100, 100)
    dropout = Dropout(0.3)
    thinned = dropout(of(x))["sentence_embedding"]
    assert thinned.eq(0).float().mean().item() == pytest.approx(0.3, abs=0.02)
    assert thinned.max().item() == pytest.approx(1 / 0.7)
    assert torch.equal(dropout.eval()(of(x))["sentence_embedding"], x)
    assert rebuilt(dropout).dropout == 0.3


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_dropout_is_a_share(share):
    with pytest.raises(SettingError, match="dropout must lie between 0 and 1"):
        Dropout(share)


@pytest.mark.parametrize("head", [Dense(2, 2), Normalize(), LayerNorm(2), Dropout()])
def test_heads_leave_their_input_alone_and_read_packed(head):
    assert_leaves_its_input_alone(head, of(X))
    assert head.reads_packed
