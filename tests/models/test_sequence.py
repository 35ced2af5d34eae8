"""CNN, LSTM, WeightedLayerPooling: from their definitions, and packed as padded."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sentune.engine import packing
from sentune.errors import InputError, SettingError
from sentune.models.sequence import CNN, LSTM, WeightedLayerPooling
from sentune.text import layouts
from tests.models.layouts import (
    LENGTHS,
    assert_leaves_its_input_alone,
    assert_same_in_both_layouts,
    in_both_layouts,
    rebuilt,
    rows_in_caller_order,
)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def alone(features):
    """Each text as a padded batch of its own."""
    for row in rows_in_caller_order(features):
        yield {"token_embeddings": row[None], "attention_mask": torch.ones(1, len(row))}


# CNN ----------------------------------------------------------------------------------------------


def test_a_convolution_sees_its_neighbours_and_zeros_beyond_the_ends():
    cnn = CNN(1, 1, kernel_sizes=[3])
    with torch.no_grad():
        cnn.convs[0].weight.copy_(torch.tensor([[[1.0, 10.0, 100.0]]]))
        cnn.convs[0].bias.zero_()
    features = {
        "token_embeddings": torch.tensor([[[1.0], [2.0], [3.0]], [[4.0], [5.0], [777.0]]]),
        "attention_mask": torch.tensor([[1, 1, 1], [1, 1, 0]]),
    }
    out = cnn(features)["token_embeddings"][:, :, 0]
    assert out[0].tolist() == [0 + 10 + 200, 1 + 20 + 300, 2 + 30 + 0]
    assert out[1, :2].tolist() == [0 + 40 + 500, 4 + 50 + 0]  # the padding reads as zero


def test_cnn_is_the_same_packed_and_padded():
    cnn = CNN(4, 3, kernel_sizes=[1, 3, 5])
    assert cnn.reads_packed
    assert_same_in_both_layouts(cnn, 4)


def test_cnn_gives_a_text_the_same_in_a_batch_as_alone():
    cnn = CNN(4, 3, kernel_sizes=[3, 5])
    packed, _ = in_both_layouts(4)
    for row, single in zip(rows_in_caller_order(cnn(packed)), alone(packed), strict=True):
        if len(row):
            torch.testing.assert_close(row, cnn(single)["token_embeddings"][0])


@pytest.mark.parametrize("options", [{"kernel_sizes": [2]}, {"stride_sizes": [1, 1, 2]}])
def test_cnn_that_shortens_texts_does_not_claim_to_read_packed(options):
    assert not CNN(4, 3, **options).reads_packed


def test_cnn_with_a_stride_shortens_the_text():
    cnn = CNN(4, 3, kernel_sizes=[1], stride_sizes=[2])
    _, padded = in_both_layouts(4, [4, 3])
    assert cnn(padded)["token_embeddings"].shape == (2, 2, 3)


def test_cnn_of_texts_without_tokens():
    packed, padded = in_both_layouts(4, [0, 0])
    assert CNN(4, 3)(packed)["token_embeddings"].shape == (0, 9)
    assert CNN(4, 3)(padded)["token_embeddings"].shape == (2, 0, 9)


def test_cnn_settings_and_old_names():
    cnn = CNN(in_word_embedding_dimension=4, out_channels=3, kernel_sizes=(1, 3))
    assert cnn.settings() == {
        "in_embedding_dimension": 4,
        "out_channels": 3,
        "kernel_sizes": [1, 3],
        "stride_sizes": [1, 1],
    }
    assert cnn.get_word_embedding_dimension() == 6
    rebuilt(cnn)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_sizes": []},
        {"kernel_sizes": [1, 3], "stride_sizes": [1]},
        {"kernel_sizes": [0]},
        {"stride_sizes": [1, 1, 0]},
        {"out_channels": 0},
    ],
)
def test_cnn_refuses_sizes_that_do_not_fit(options):
    with pytest.raises(SettingError):
        CNN(4, **options)


# LSTM ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("lengths", [LENGTHS, [2, 2, 2], [1], [4, 1, 4, 2]])
def test_lstm_is_the_same_packed_and_padded(bidirectional, lengths):
    lstm = LSTM(4, 3, num_layers=2, bidirectional=bidirectional)
    assert lstm.reads_packed
    assert_same_in_both_layouts(lstm, 4, lengths)


def test_lstm_gives_a_text_the_same_in_a_batch_as_alone():
    lstm = LSTM(4, 3)
    packed, _ = in_both_layouts(4)
    for row, single in zip(rows_in_caller_order(lstm(packed)), alone(packed), strict=True):
        if len(row):
            expected = lstm.encoder(single["token_embeddings"])[0][0]
            torch.testing.assert_close(row, expected)


def test_lstm_reads_texts_padded_on_the_left():
    lstm = LSTM(4, 3)
    packed, _ = in_both_layouts(4, [3, 1])
    left = packing.pad(layouts.ragged(torch.arange(4), [3, 1]), side="left")
    x = torch.zeros(2, 3, 4)
    rows = rows_in_caller_order(packed)
    x[left["attention_mask"].bool()] = torch.cat(rows)
    out = lstm({**left, "token_embeddings": x})["token_embeddings"]
    torch.testing.assert_close(out[1, 2:], lstm.encoder(rows[1][None])[0][0])
    assert out[1, :2].eq(0).all()


def test_lstm_of_texts_without_tokens():
    packed, padded = in_both_layouts(4, [0, 0])
    assert LSTM(4, 3)(packed)["token_embeddings"].shape == (0, 6)
    assert LSTM(4, 3)(padded)["token_embeddings"].shape == (2, 0, 6)


def test_lstm_settings_and_old_names():
    lstm = LSTM(word_embedding_dimension=4, hidden_dim=3, bidirectional=False)
    assert lstm.settings() == {
        "embedding_dimension": 4,
        "hidden_dim": 3,
        "num_layers": 1,
        "dropout": 0,
        "bidirectional": False,
    }
    assert lstm.get_embedding_dimension() == 3
    assert LSTM(4, 3).get_embedding_dimension() == 6
    rebuilt(lstm)


@pytest.mark.parametrize("options", [{"hidden_dim": 0}, {"hidden_dim": 2, "dropout": 2}])
def test_lstm_refuses_sizes_that_do_not_fit(options):
    with pytest.raises(SettingError):
        LSTM(4, **options)


@pytest.mark.parametrize("module", [CNN(5, 2), LSTM(5, 2)])
def test_a_wrong_width_of_tokens_is_named(module):
    packed, _ = in_both_layouts(4)
    with pytest.raises(InputError, match="made for 'token_embeddings' of width 5"):
        module(packed)


@pytest.mark.parametrize("module", [CNN(4, 2), LSTM(4, 2)])
def test_inputs_are_left_alone(module):
    for features in in_both_layouts(4):
        assert_leaves_its_input_alone(module, features)


# WeightedLayerPooling -----------------------------------------------------------------------------


def test_layers_are_averaged_by_their_weights():
    layers = [torch.full((1, 2, 1), float(value)) for value in (100, 1, 2, 6)]
    pooling = WeightedLayerPooling(1, num_hidden_layers=3, layer_start=1, layer_weights=[1, 1, 2])
    out = pooling({"all_layer_embeddings": layers})["token_embeddings"]
    assert out.flatten().tolist() == [(1 + 2 + 2 * 6) / 4] * 2


def test_layers_are_averaged_equally_at_first_in_either_layout():
    pooling = WeightedLayerPooling(5, num_hidden_layers=2, layer_start=0)
    for shape in ((2, 3, 5), (6, 5)):
        layers = tuple(torch.randn(shape) for _ in range(3))
        out = pooling({"all_layer_embeddings": layers})["token_embeddings"]
        torch.testing.assert_close(out, sum(layers) / 3)
    assert pooling.reads_packed


def test_the_weights_of_the_layers_are_trained():
    pooling = WeightedLayerPooling(1, num_hidden_layers=2, layer_start=1)
    layers = [torch.zeros(1, 1, 1), torch.ones(1, 1, 1), 3 * torch.ones(1, 1, 1)]
    pooling({"all_layer_embeddings": layers})["token_embeddings"].sum().backward()
    # d/dw of (w1 + 3 w2) / (w1 + w2) at w = (1, 1): (1 - 2) / 2 and (3 - 2) / 2
    assert pooling.layer_weights.grad.tolist() == [-0.5, 0.5]


def test_a_parameter_given_as_weights_stays_the_same_object():
    weights = nn.Parameter(torch.ones(2))
    assert WeightedLayerPooling(1, 2, 1, layer_weights=weights).layer_weights is weights


def test_without_layers_the_features_pass():
    features = {"token_embeddings": torch.ones(1)}
    assert WeightedLayerPooling(1)(features) == features


def test_layer_settings_and_old_names():
    pooling = WeightedLayerPooling(word_embedding_dimension=4, num_hidden_layers=3, layer_start=2)
    expected = {"embedding_dimension": 4, "layer_start": 2, "num_hidden_layers": 3}
    assert pooling.settings() == expected
    assert pooling.get_embedding_dimension() == 4
    rebuilt(pooling)


def test_another_number_of_layers_is_named():
    with pytest.raises(InputError, match="got 2 layers; build it with num_hidden_layers=1"):
        WeightedLayerPooling(1)({"all_layer_embeddings": [torch.ones(1), torch.ones(1)]})


@pytest.mark.parametrize("options", [{"layer_start": 13}, {"layer_weights": [1.0, 2.0]}])
def test_layers_that_do_not_fit_are_refused(options):
    with pytest.raises(SettingError):
        WeightedLayerPooling(4, **options)


# Batches that other code has made ------------------------------------------


@pytest.mark.parametrize("module", [CNN(3, 2), LSTM(3, 2)])
def test_lengths_of_the_rows_do_where_there_is_no_mask(module):
    tokens, lengths = torch.randn(2, 6, 3), torch.tensor([2, 6])
    found = module({"token_embeddings": tokens, "sentence_lengths": lengths})["token_embeddings"]
    for row, length in enumerate(lengths):
        short = {"token_embeddings": tokens[row : row + 1, :length]}
        alone = module(short)["token_embeddings"][0]  # and with neither, every token counts
        torch.testing.assert_close(found[row, :length], alone)
