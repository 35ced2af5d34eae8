"""What a custom loss may give back, in the trainer and in fit, in training and in evaluation."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from sentune.data.example import InputExample
from sentune.errors import SettingError
from sentune.losses import Matryoshka2dLoss
from tests.training.tools import PAIRS, pairs, trainer


class Own(nn.Module):
    """A loss that gives back what a function makes of two columns of embeddings."""

    def __init__(self, model, give):
        super().__init__()
        self.model = model
        self.give = give

    def forward(self, sentence_features, labels=None):
        first, second = [self.model(x)["sentence_embedding"] for x in sentence_features]
        return self.give((first - second).pow(2))


WRONG = {
    "rows": (lambda x: x.mean(dim=1), r"Own gives float32 numbers of shape \(4,\): .*mean\(\)"),
    "tuple": (lambda x: (x.mean(), x), "Own gives a tuple: return the loss alone"),
    "number": (lambda x: x.mean().item(), "Own gives a float: return a tensor of one number"),
    "nothing": (lambda x: None, "Own gives a NoneType: return a tensor"),
    "integer": (lambda x: x.mean().long(), r"Own gives int64 numbers of shape \(\)"),
    "part": (lambda x: {"a": x.mean(), "b": x.mean(1)}, r"Own, 'b' gives float32 .* \(4,\)"),
    "no parts": (lambda x: {}, "gives a dict"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_loss_that_is_not_one_number_is_refused_at_the_first_step(kind, tiny_model, tmp_path):
    give, message = WRONG[kind]
    before = [weight.clone() for weight in tiny_model.parameters()]
    with pytest.raises(SettingError, match=message):
        trainer(tiny_model, tmp_path, loss=Own(tiny_model, give), bf16=False).train()
    examples = [InputExample(texts=list(texts)) for texts in zip(*PAIRS.values(), strict=True)]
    with pytest.raises(SettingError, match=message):
        tiny_model.fit(
            [(DataLoader(examples, batch_size=4), Own(tiny_model, give))],
            output_path=None,
            show_progress_bar=False,
            warmup_steps=0,
        )
    assert all(map(torch.equal, before, tiny_model.parameters()))


def test_a_loss_that_is_not_one_number_is_refused_in_evaluation(tiny_model, tmp_path):
    loss = Own(tiny_model, lambda x: x.mean() if torch.is_grad_enabled() else x.mean(dim=1))
    run = trainer(tiny_model, tmp_path, loss=loss, eval_dataset=pairs(), bf16=False)
    with pytest.raises(SettingError, match="Own gives float32 numbers of shape"):
        run.evaluate()


def test_one_number_in_any_shape_is_a_loss(tiny_model, tmp_path):
    logs = []
    for give in (
        lambda x: x.mean(),
        lambda x: x.mean().reshape(1, 1),
        lambda x: {"half": x.mean().reshape(1) / 2, "other": x.mean() / 2},
    ):
        state = {name: weight.clone() for name, weight in tiny_model.state_dict().items()}
        run = trainer(tiny_model, tmp_path, loss=Own(tiny_model, give), bf16=False)
        run.train()
        logs.append([row["loss"] for row in run.state.log_history if "loss" in row])
        tiny_model.load_state_dict(state)
    assert logs[0] and logs[1] == pytest.approx(logs[0]) and logs[2] == pytest.approx(logs[0])


class WithHead(Own):
    """A plain loss with a weight of its own."""

    def __init__(self, model):
        super().__init__(model, None)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, sentence_features, labels=None):
        first, second = [self.model(x)["sentence_embedding"] for x in sentence_features]
        return {"far": (self.scale * first - second).pow(2).mean(), "size": first.mean().abs()}


@pytest.mark.parametrize("bf16", [False, True])
def test_a_plain_loss_in_a_wrapper_is_trained_with_its_weights(bf16, tiny_model, tmp_path):
    own = WithHead(tiny_model)
    width = tiny_model.get_embedding_dimension()
    loss = Matryoshka2dLoss(tiny_model, own, [width, width // 2])
    before = [weight.clone() for weight in tiny_model.parameters()]
    run = trainer(tiny_model, tmp_path, loss=loss, bf16=bf16, save_strategy="steps", save_steps=1)
    run.train()
    assert own.scale != 1
    assert not all(map(torch.equal, before, tiny_model.parameters()))
    assert {"far", "size"} <= set(run.state.log_history[0])
    again = trainer(tiny_model, tmp_path, loss=loss, bf16=bf16, num_train_epochs=2)
    again.train(str(tmp_path / "checkpoint-3"))
    assert again.state.global_step == 6
    scale = own.scale.item()
    examples = [InputExample(texts=list(texts)) for texts in zip(*PAIRS.values(), strict=True)]
    loader = DataLoader(examples, batch_size=4)
    tiny_model.fit([(loader, loss)], show_progress_bar=False, warmup_steps=0)
    assert own.scale.item() != scale
