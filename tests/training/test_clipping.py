"""Clipping is torch's, in value and effect, whatever the gradients are."""

import copy

import pytest
import torch
from torch import nn

from sentune import SentenceTransformerTrainer, losses
from sentune.training.arguments import SentenceTransformerTrainingArguments
from sentune.training.optimizer import clip_gradients


def parameters(size=1.0, dtype=torch.float32):
    torch.manual_seed(0)
    made = [nn.Parameter(torch.zeros(shape, dtype=dtype)) for shape in ((300, 700), (5,), (2, 3))]
    for parameter in made[:2]:
        parameter.grad = torch.randn(parameter.shape, dtype=dtype) * size
    return made  # the last one has no gradient


def clipped_by(clip, made, limit):
    made = copy.deepcopy(made)
    norm = clip(made, limit)
    return norm, [p.grad if p.grad is None else p.grad.to_dense() for p in made]


@pytest.mark.parametrize("limit", [0.5, 1e9])
@pytest.mark.parametrize("kind", ["usual", "transposed", "half", "sparse", "mixed", "nan"])
def test_it_is_torchs(kind, limit):
    made = parameters(dtype=torch.bfloat16 if kind == "half" else torch.float32)
    if kind == "transposed":
        made[0].grad = torch.randn(700, 300).T
    if kind == "sparse":
        made = [nn.Parameter(torch.zeros(9, 4))]
        made[0].grad = torch.randn(9, 4).to_sparse(1)
        made[0].grad = made[0].grad.coalesce()
    if kind == "mixed":
        made.append(nn.Parameter(torch.zeros(3, dtype=torch.float64)))
        made[-1].grad = torch.ones(3, dtype=torch.float64)
    if kind == "nan":
        made[0].grad[3, 4] = float("nan")
    expected = clipped_by(nn.utils.clip_grad_norm_, made, limit)
    found = clipped_by(clip_gradients, made, limit)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7, equal_nan=True)


def test_there_may_be_nothing_to_clip():
    assert clip_gradients([nn.Parameter(torch.ones(2))], 1.0) == 0


def test_many_numbers_are_summed_up_more_exactly_than_by_torch():
    parameter = nn.Parameter(torch.zeros(30_000, 300))
    parameter.grad = torch.full_like(parameter, 0.1)
    assert clip_gradients([parameter], 1e9).item() == pytest.approx(300.0, rel=1e-4), "torch: 297.8"


def test_the_trainer_clips_by_it(tiny_model, tmp_path, monkeypatch):
    rows = [{"a": f"the {w} sat", "b": f"a {w}"} for w in ("cat", "dog", "bird", "fish")]
    args = SentenceTransformerTrainingArguments(
        tmp_path,
        max_steps=1,
        learning_rate=0,
        max_grad_norm=1e-3,
        logging_steps=1,
        report_to="none",
        use_cpu=True,
        per_device_train_batch_size=4,
    )
    seen, limits = [], []

    def spy(parameters, limit):
        limits.append(limit)
        return clip_gradients(parameters, limit)

    monkeypatch.setattr("sentune.training.trainer.clip_gradients", spy)

    class Trainer(SentenceTransformerTrainer):
        def create_optimizer(self, *a, **k):
            optimizer = super().create_optimizer(*a, **k)
            optimizer.register_step_pre_hook(lambda *_: seen.append(self._norm_of_all()))
            return optimizer

        def _norm_of_all(self):
            found = [p.grad for p in self.step.parameters() if p.grad is not None]
            return torch.cat([g.flatten() for g in found]).norm().item()

    loss = losses.MultipleNegativesRankingLoss(tiny_model)
    trainer = Trainer(tiny_model, args, rows, loss=loss)
    trainer.train()
    assert limits == [1e-3]
    assert seen == [pytest.approx(1e-3, rel=1e-3)]
    assert trainer.state.log_history[0]["grad_norm"] > 1e-2
