"""Scores of vectors of tokens, and helpers for them, against sentence-transformers."""

import numpy as np
import pytest
import torch

peer = pytest.importorskip("sentence_transformers.util")

from sentune import util  # noqa: E402

NAMES = ["maxsim", "maxsim_pairwise", "mean_maxsim", "mean_maxsim_pairwise"]


def texts(lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(length, 8, generator=generator) for length in lengths]


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_the_same(name):
    mine, other = getattr(util, name), getattr(peer, name)
    a, b = texts([3, 1, 7, 2]), texts([5, 2, 1, 9], 1)
    pad = torch.nn.utils.rnn.pad_sequence
    padded = pad(a, batch_first=True), pad(b, batch_first=True)
    masks = (torch.rand(4, 7) > 0.3).float(), torch.rand(4, 9) > 0.3
    masks[1][:, 0] = True
    cases = [((a, b), {}), (padded, {}), ((padded[0].numpy(), padded[1].numpy()), {})]
    cases += [((*padded, *masks), {}), ((a, b), {"chunk_elements": 100}), ((a[:1], b[:1]), {})]
    cases += [((a, [*b[:3], torch.zeros(0, 8)]), {}), ((padded[0] * 0, padded[1]), {})]
    cases += [((a[0], b[0]), {}), ((*padded, masks[0] * 0.5), {})]
    for given, options in cases:
        torch.testing.assert_close(mine(*given, **options), other(*given, **options))


def test_token_embeddings_are_joined_alike():
    sizes = [(2, 3), (2, 5), (2, 4)]
    parts = [torch.randn(*size, 4) for size in sizes]
    masks = [torch.ones(*size, dtype=torch.bool) for size in sizes]
    for name in ("cat_padded_token_embeddings", "stack_padded_token_embeddings"):
        for here, there in zip(
            getattr(util, name)(parts, masks), getattr(peer, name)(parts, masks), strict=True
        ):
            assert torch.equal(here, there)
    for here, there in zip(
        util.all_gather_padded(parts[0], masks[0]),
        peer.all_gather_padded(parts[0], masks[0]),
        strict=True,
    ):
        assert torch.equal(here, there)


def test_packed_features_are_padded_alike():
    def features():
        return {
            "cu_seq_lens_q": torch.tensor([0, 3, 4, 9]),
            "token_embeddings": torch.arange(18.0).reshape(1, 9, 2),
            "input_ids": torch.arange(9)[None],
            "position_ids": torch.arange(9)[None],
            "other": 1,
        }

    mine, other = (
        util.repad_flattened_features(features()),
        peer.repad_flattened_features(features()),
    )
    assert mine.keys() == other.keys()
    for name in ("token_embeddings", "input_ids", "attention_mask"):
        assert torch.equal(mine[name], other[name])


def test_targets_of_a_teacher_are_checked_alike(caplog):
    logits = torch.tensor([[0.0, 300.0], [1.0, 2.0]])
    for package in (util, peer):
        with pytest.raises(ValueError, match="NaN"):
            package.check_teacher_targets(logits, logits * float("nan"), 1.0, "MyLoss")
        caplog.clear()
        package.check_teacher_targets(logits.softmax(-1), logits, 1.0, "MyLoss")
        package.check_teacher_targets(logits.softmax(-1), logits.log(), 1.0, "MyLoss")
        package.check_teacher_targets(torch.ones(2, 2), logits, 1.0, "MyLoss")
        if package is util:
            assert [r.message.count("MyLoss: 1 of 4") for r in caplog.records] == [1]


def test_models_of_transformers_have_the_same_names():
    assert util.ORIGINAL_TRANSFORMER_MODELS == peer.ORIGINAL_TRANSFORMER_MODELS


def test_save_to_hub_is_called_as_of_old_alike():
    class Mine:
        def save_to_hub(self, repo_id, organization=None, token=None, private=None):
            return repo_id, organization, token, private

    for package in (util, peer):
        save = package.save_to_hub_args_decorator(Mine.save_to_hub)
        assert save(Mine(), repo_name="a") == ("a", None, None, None)
        assert save(Mine(), "a", "b", True) == ("a", "b", None, True)
        assert save(Mine(), repo_id="a", repo_name="z") == ("a", None, None, None)


def test_angles_are_named_alike():
    x, y = np.random.default_rng(0).normal(size=(2, 3, 6)).astype("float32")
    torch.testing.assert_close(util.pairwise_angle_sim(x=x, y=y), peer.pairwise_angle_sim(x=x, y=y))
