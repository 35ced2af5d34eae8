"""Every mode against its definition in a loop, padded and packed."""

import math

import pytest
import torch

from sentune.engine import packing
from sentune.errors import InputError, SettingError
from sentune.models.pooling import MODES, Pooling
from sentune.text import layouts

LENGTHS = [3, 1, 5, 3, 2]
PROMPTS = [1, 0, 2, 3, 1]  # the fourth text is all prompt
WIDTH = 4


def by_loop(mode, rows, prompts):
    """From the definition: one text, one dimension at a time."""
    result = []
    for row, skip in zip(rows, prompts):
        kept = row[skip:]
        vector = []
        for k in range(WIDTH):
            values = [token[k].item() for token in kept]
            if mode == "cls":
                value = values[0] if values else row[0][k].item()
            elif mode == "lasttoken":
                value = values[-1] if values else 0.0
            elif mode == "max":
                value = max(values, default=-math.inf)
            elif mode == "mean":
                value = sum(values) / len(values) if values else 0.0
            elif mode == "mean_sqrt_len_tokens":
                value = sum(values) / math.sqrt(len(values)) if values else 0.0
            else:
                weights = range(skip + 1, len(row) + 1)
                total = sum(w * v for w, v in zip(weights, values))
                value = total / sum(weights) if values else 0.0
            vector.append(value)
        result.append(vector)
    return torch.tensor(result)


@pytest.fixture
def rows():
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(n, WIDTH, generator=generator) for n in LENGTHS]


def padded(rows, side="right"):
    width = max(map(len, rows))
    tokens = torch.full((len(rows), width, WIDTH), 99.0)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for i, row in enumerate(rows):
        place = slice(0, len(row)) if side == "right" else slice(width - len(row), width)
        tokens[i, place], mask[i, place] = row, 1
    return {"token_embeddings": tokens, "attention_mask": mask}


def packed(rows, prompts=None):
    ids = torch.arange(sum(LENGTHS))
    features = packing.pack(layouts.ragged(ids, LENGTHS, prompt_lengths=prompts))
    features["token_embeddings"] = torch.cat(rows)[features["input_ids"]]
    return features


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("with_prompt", [True, False])
def test_modes_follow_their_definition(mode, with_prompt, rows):
    pooling = Pooling(WIDTH, mode, include_prompt=with_prompt)
    expected = by_loop(mode, rows, [0] * len(rows) if with_prompt else PROMPTS)
    for features in (
        {**padded(rows), "prompt_lengths": PROMPTS},
        {**padded(rows, "left"), "prompt_lengths": PROMPTS},
        packed(rows, PROMPTS),
    ):
        result = pooling(features)["sentence_embedding"]
        rows_with_text = [0, 1, 2, 4] if mode == "cls" and not with_prompt else list(range(5))
        torch.testing.assert_close(
            result[rows_with_text], expected[rows_with_text], atol=1e-6, rtol=1e-6
        )


def test_a_tuple_of_modes_is_joined_in_the_given_order(rows):
    parts = [Pooling(WIDTH, m)(packed(rows))["sentence_embedding"] for m in ("mean", "cls")]
    both = Pooling(WIDTH, ("mean", "cls"))
    assert both.get_embedding_dimension() == 2 * WIDTH
    assert torch.equal(both(packed(rows))["sentence_embedding"], torch.cat(parts, dim=1))


def test_old_flags_are_joined_in_the_old_order(rows):
    old = Pooling(
        word_embedding_dimension=WIDTH,
        pooling_mode_mean_tokens=True,
        pooling_mode_cls_token=True,
        pooling_mode_max_tokens=False,
    )
    assert old.pooling_mode == ("cls", "mean")
    assert old.pooling_mode_mean_tokens is True and old.pooling_mode_max_tokens is False
    assert Pooling(WIDTH, pooling_mode_mean_tokens=False).pooling_mode == "mean"


def test_one_length_for_all_prompts_as_padded_batches_carry_it(rows):
    pooling = Pooling(WIDTH, include_prompt=False)
    expected = by_loop("mean", rows, [1] * len(rows))
    for length in (1, torch.tensor([1]), torch.tensor([1] * len(rows))):
        result = pooling({**padded(rows), "prompt_length": length})["sentence_embedding"]
        torch.testing.assert_close(result, expected, atol=1e-6, rtol=1e-6)


def test_weights_of_an_earlier_module_divide_the_sum(rows):
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    features = packed(rows)
    features["token_weights_sum"] = weights  # in the order of the caller
    result = Pooling(WIDTH)(features)["sentence_embedding"]
    expected = torch.stack([row.sum(0) for row in rows]) / weights[:, None]
    torch.testing.assert_close(result, expected)


def test_half_precision_is_summed_in_float32():
    tokens = torch.full((1, 4096, 1), 1.001, dtype=torch.bfloat16)
    result = Pooling(1)({"token_embeddings": tokens})["sentence_embedding"]
    assert result.dtype == torch.bfloat16
    assert result.item() == tokens[0, 0, 0].item()


def test_settings_rebuild_the_module():
    pooling = Pooling(WIDTH, ("max", "lasttoken"), include_prompt=False)
    assert Pooling(**pooling.settings()).settings() == pooling.settings()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((4, "average"), "'average'"),
        ((4, ()), "pooling_mode must be one of"),
        ((0,), "positive int, got 0"),
        ((), "positive int, got None"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(SettingError, match=message):
        Pooling(*arguments)


def test_an_unknown_argument_is_named():
    with pytest.raises(SettingError, match="pooling_mode_median"):
        Pooling(4, pooling_mode_median=True)


def test_another_width_says_what_to_build(rows):
    with pytest.raises(InputError, match=r"build it as Pooling\(4\)"):
        Pooling(8)(padded(rows))


def test_the_third_argument_is_whether_prompts_count():
    assert Pooling(8, "cls").include_prompt is True
    assert Pooling(8, "cls", False).include_prompt is False
    assert Pooling(8, ("cls", "mean"), False).settings()["include_prompt"] is False
    assert Pooling(8, False, True).modes == ("max",)  # the flags of earlier versions
    with pytest.raises(SettingError, match="takes 3 arguments by position, and got 4"):
        Pooling(8, "cls", False, True)


# Layouts of other libraries -----------------------------------------------------------------------


def flattened(rows):
    """Tokens of all rows end to end, as transformers lays them out for flash attention."""
    ends = torch.tensor([0, *LENGTHS], dtype=torch.int32).cumsum(0)
    return {"token_embeddings": torch.cat(rows)[None], "cu_seq_lens_q": ends}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("prompt", [0, 1])
def test_flattened_tokens_are_pooled_row_by_row(rows, mode, prompt):
    features = {**flattened(rows), **({"prompt_length": prompt} if prompt else {})}
    pooling = Pooling(WIDTH, mode, include_prompt=False)
    has_text = [len(row) > prompt for row in rows]
    found = pooling(features)["sentence_embedding"]
    expected = by_loop(mode, rows, [prompt] * len(rows))
    torch.testing.assert_close(found[has_text], expected[has_text], rtol=1e-5, atol=1e-6)
    assert features["token_embeddings"].shape == (1, sum(LENGTHS), WIDTH)  # as it was


@pytest.mark.parametrize("length", [1, torch.tensor([1]), torch.tensor([1] * len(LENGTHS))])
def test_the_length_of_a_prompt_may_be_a_number_or_a_tensor(rows, length):
    features = {**padded(rows), "prompt_length": length}
    found = Pooling(WIDTH, "mean", include_prompt=False)(features)["sentence_embedding"]
    expected = by_loop("mean", rows, [1] * len(rows))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


# Settings changed later ---------------------------------------------------------------------------


def test_the_mode_of_a_pooling_can_be_set(rows):
    pooling = Pooling(WIDTH)
    pooling.pooling_mode = "cls"
    assert torch.equal(
        pooling(padded(rows))["sentence_embedding"], torch.stack([r[0] for r in rows])
    )
    pooling.pooling_mode = ("max", "mean")
    assert pooling.get_embedding_dimension() == 2 * WIDTH
    with pytest.raises(SettingError, match="'middle'"):
        pooling.pooling_mode = "middle"


def test_the_flags_of_earlier_versions_can_be_set(rows):
    pooling = Pooling(WIDTH)
    pooling.pooling_mode_max_tokens = True
    assert pooling.pooling_mode == ("max", "mean")  # in the order that they always had
    pooling.pooling_mode_mean_tokens = pooling.pooling_mode_max_tokens = False
    with pytest.raises(SettingError, match="every pooling mode was switched off"):
        pooling(padded(rows))
    pooling.pooling_mode_cls_token = True
    assert pooling.pooling_mode == "cls"
    assert not pooling.pooling_mode_mean_tokens


def test_none_by_place_leaves_the_mode_to_the_old_flags():
    assert Pooling(8, None, pooling_mode_max_tokens=True).modes == ("max",)
    assert Pooling(8, None).modes == ("mean",)


def test_lengths_say_which_tokens_count_where_there_is_no_mask():
    tokens = torch.randn(2, 3, 8)
    pooled = Pooling(8)({"token_embeddings": tokens, "sentence_lengths": torch.tensor([3, 1])})
    want = torch.stack([tokens[0].mean(0), tokens[1, 0]])
    torch.testing.assert_close(pooled["sentence_embedding"], want)
