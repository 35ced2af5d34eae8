"""A model run padded by the transformers library alone: the oracle for packed runs."""

from __future__ import annotations

import torch
from torch import nn
from transformers import AutoModel

from sentune.text import layouts


class ByTransformers(nn.Module):
    """Ragged features in, the mean of each text's tokens out; transformers' eager attention.

    Args:
        folder: A checkpoint.
        transformer: The sentune module of that checkpoint, for how it pads.
        include_prompt: Whether the tokens of a prompt count in the mean.
    """

    def __init__(self, folder, transformer, *, include_prompt: bool = True):
        super().__init__()
        self.encoder = AutoModel.from_pretrained(folder, attn_implementation="eager")
        self.pad, self.tokenizer = transformer.pad, transformer.tokenizer
        self.max_seq_length = transformer.max_seq_length
        self.include_prompt = include_prompt

    def forward(self, features, output_hidden_states=False):
        padded = self.pad(features)
        prompts = layouts.prompts_in(padded, len(padded["input_ids"]))
        padded = {key: padded[key] for key in padded if not key.startswith("prompt_length")}
        padded.pop("truncated", None)
        output = self.encoder(**padded, output_hidden_states=output_hidden_states)
        mask = padded["attention_mask"].bool()
        if prompts is not None and not self.include_prompt:
            mask = mask & (mask.cumsum(1) > torch.tensor(prompts)[:, None])
        result = {**features, "sentence_embedding": mean(output.last_hidden_state, mask)}
        if output_hidden_states:
            layers = [mean(layer, mask) for layer in output.hidden_states]
            result["layer_sentence_embeddings"] = torch.stack(layers, dim=1)
        return result

    @property
    def device(self):
        return self.encoder.device

    def get_embedding_dimension(self):
        return self.encoder.config.hidden_size


def mean(states, mask):
    weights = mask[:, :, None].to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1).clamp(min=1e-9)


def gradients(encoder) -> dict[str, torch.Tensor]:
    """Gradients by name, of those parameters that have one."""
    return {
        name: weight.grad.clone()
        for name, weight in encoder.named_parameters()
        if weight.grad is not None
    }


def norm(tensors) -> float:
    return sum(float(x.double().pow(2).sum()) for x in tensors) ** 0.5


def assert_close(own, wanted, share=1e-4, least=10):
    """Each gradient is within a share of its norm, or of a hundredth of the norm of all.

    The gradient of a key's bias is 0, and its rounding has no size to compare with.
    """
    assert own.keys() == wanted.keys() and len(own) >= least
    whole = norm(wanted.values())
    assert whole > 0
    for name, gradient in own.items():
        allowed = share * max(norm([wanted[name]]), 1e-2 * whole)
        error = norm([gradient - wanted[name]])
        assert error <= allowed, f"{name}: {error:.3g}, allowed {allowed:.3g}, all {whole:.3g}"
