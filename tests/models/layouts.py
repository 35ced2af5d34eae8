"""Features of made-up numbers in each layout, and checks that every module must pass."""

from __future__ import annotations

import json

import torch

from sentune.engine import packing
from sentune.text import layouts

LENGTHS = [3, 1, 5, 0, 2, 3]


def ragged(lengths=LENGTHS, vocabulary=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, vocabulary, (sum(lengths),), generator=generator)
    return layouts.ragged(ids, list(lengths))


def in_both_layouts(width, lengths=LENGTHS, seed=0):
    """The same token embeddings packed, and padded with padding vectors that are not zero."""
    features = ragged(lengths, seed=seed)
    table = torch.randn(7, width, generator=torch.Generator().manual_seed(seed))
    packed, padded = packing.pack(features), packing.pad(features)
    for layout in (packed, padded):
        layout["token_embeddings"] = table[layout["input_ids"]].requires_grad_()
    return packed, padded


def rows_in_caller_order(features, key="token_embeddings"):
    """The vectors of each row without padding, rows in the caller's order."""
    values = features[key]
    if "lengths" not in features:
        mask = features["attention_mask"].bool()
        return [row[keep] for row, keep in zip(values, mask, strict=True)]
    rows = values.split(features["lengths"])
    return [rows[place] for place in torch.argsort(features["order"])]


def assert_same_in_both_layouts(module, width, lengths=LENGTHS, atol=1e-6):
    """Values at the real tokens, and the gradients of weights and inputs, are equal."""
    gradients = []
    results = []
    for features in in_both_layouts(width, lengths):
        module.zero_grad()
        rows = rows_in_caller_order(module(features))
        # Another weight for each entry, so that swapped rows or tokens would show.
        values = torch.cat(rows).flatten()
        (values * torch.linspace(-1, 1, len(values))).sum().backward()
        results.append(values)
        tokens = features["token_embeddings"]
        source = rows_in_caller_order({**features, "token_embeddings": tokens.grad})
        gradients.append([torch.cat(source), *(p.grad.clone() for p in module.parameters())])
    assert len(results[0])
    torch.testing.assert_close(*results, atol=atol, rtol=1e-5)
    assert gradients[0][0].abs().sum() > 0
    for packed, padded in zip(*gradients, strict=True):
        torch.testing.assert_close(packed, padded, atol=10 * atol, rtol=1e-4)


def assert_leaves_its_input_alone(module, features):
    before = {
        key: value.clone() if torch.is_tensor(value) else value for key, value in features.items()
    }
    result = module(features)
    assert result is not features
    assert features.keys() == before.keys()
    for key, value in before.items():
        same = (
            torch.equal(features[key], value) if torch.is_tensor(value) else features[key] == value
        )
        assert same, key


def rebuilt(module, **more):
    """A module of the settings, as they come back from a json file, with the same weights."""
    settings = json.loads(json.dumps(module.settings()))
    twin = type(module)(**settings, **more)
    twin.load_state_dict(module.state_dict())
    assert twin.settings() == module.settings()
    return twin.eval()
