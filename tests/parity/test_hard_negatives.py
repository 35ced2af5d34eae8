"""Mined negatives are those of sentence-transformers 6.2.0."""

import random

import numpy as np
import pytest
import torch
from datasets import Dataset

from sentune.search import mine_hard_negatives
from tests.fake_encoder import FakeEncoder, sentences

peer = pytest.importorskip("sentence_transformers.util")


class CrossEncoder:
    """Scores by the length that texts share, with noise of their own."""

    def predict(self, pairs, batch_size, convert_to_tensor=True, pool=None):
        assert batch_size == 32
        encoder = FakeEncoder()
        scores = [float(encoder.vector(q)[0] * encoder.vector(d)[0]) for q, d in pairs]
        return torch.tensor(scores)


@pytest.fixture(scope="module")
def dataset():
    answers = sentences(120, words=4)
    questions = [f"{text} w1" for text in answers]
    questions[10:14] = [questions[9]] * 4  # one question, five answers
    answers[20] = answers[19]
    questions[30], answers[30] = questions[29], answers[29]  # the same row again
    return Dataset.from_dict({"question": questions, "answer": answers, "id": list(range(120))})


OPTIONS = [
    {},
    {"num_negatives": 5, "range_min": 2, "range_max": 30},
    {"absolute_margin": 0.1},
    {"relative_margin": 0.2, "max_score": 0.9, "min_score": 0.2},
    {"corpus": sentences(200, seed=5), "query_prompt": "w3 ", "corpus_prompt": "w4 "},
    {"sampling_strategy": "random", "range_max": 20},
    {"sampling_strategy": "random", "min_score": 0.7, "range_max": 20},
    {"cross_encoder": CrossEncoder(), "max_score": 1.0},
    {"cross_encoder": CrossEncoder(), "min_score": 0.0, "relative_margin": 0.05},
    {"cross_encoder": CrossEncoder()},
    {"include_positives": True, "num_negatives": 4},
    {"num_negatives": 60, "range_max": 300, "faiss_batch_size": 50},
    {"margin": 0.1, "as_triplets": False},
    {"margin": 0.1, "absolute_margin": 0.5},
]


@pytest.mark.parametrize("output_scores", [False, True])
@pytest.mark.parametrize("output_format", ["triplet", "n-tuple", "labeled-pair", "labeled-list"])
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: ",".join(options) or "default")
@pytest.mark.filterwarnings("ignore")
def test_the_dataset_is_the_same(dataset, options, output_format, output_scores):
    found = []
    for mine in (mine_hard_negatives, peer.mine_hard_negatives):
        random.seed(3)
        result = mine(
            dataset,
            FakeEncoder(),
            output_format=output_format,
            output_scores=output_scores,
            verbose=False,
            **({"exclude_same_text": False} if mine is mine_hard_negatives else {}),
            **options,
        )
        found.append(result.to_dict())
    ours, theirs = found
    assert list(ours) == list(theirs)
    assert len(ours["question"]) > 0
    for name in ours:
        if name.startswith("score"):
            flat = [np.concatenate([np.atleast_1d(x) for x in side[name]]) for side in found]
            assert flat[0] == pytest.approx(flat[1], abs=1e-5)
        else:
            assert ours[name] == theirs[name]
