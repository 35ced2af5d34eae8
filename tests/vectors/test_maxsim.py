"""Scores of texts with a vector per token, against a loop over tokens."""

import numpy as np
import pytest
import torch

from sentune import SimilarityFunction
from sentune.errors import InputError, InputTypeError, SettingError
from sentune.vectors.maxsim import maxsim, maxsim_pairwise, mean_maxsim, mean_maxsim_pairwise


def texts(*lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(length, 6, generator=generator) for length in lengths]


def loop(query, document):
    if not len(document):
        return -1e9
    return sum(max(float(x @ y) for y in document) for x in query)


QUERIES, DOCUMENTS = texts(1, 5, 3, 2), texts(4, 1, 9, 2, seed=1)
ALL = torch.tensor([[loop(q, d) for d in DOCUMENTS] for q in QUERIES])


@pytest.mark.parametrize("chunk_elements", [None, 1, 60, 300])
def test_scores_are_sums_of_the_best_tokens(chunk_elements):
    for kind in (list, lambda x: [one.numpy() for one in x], lambda x: [one.tolist() for one in x]):
        found = maxsim(kind(QUERIES), kind(DOCUMENTS), chunk_elements=chunk_elements)
        torch.testing.assert_close(found, ALL)
        pairs = maxsim_pairwise(kind(QUERIES), kind(DOCUMENTS), chunk_elements=chunk_elements)
        torch.testing.assert_close(pairs, ALL.diagonal())


def test_the_mean_divides_by_the_tokens_of_the_query():
    counts = torch.tensor([len(query) for query in QUERIES])
    torch.testing.assert_close(mean_maxsim(QUERIES, DOCUMENTS), ALL / counts[:, None])
    torch.testing.assert_close(mean_maxsim_pairwise(QUERIES, DOCUMENTS), ALL.diagonal() / counts)
    torch.testing.assert_close(mean_maxsim(QUERIES, DOCUMENTS, length_normalize=False), ALL)


def test_padding_never_wins():
    """All real similarities are negative here, and rows of zeros would have 0."""
    queries, documents = [-one.abs() for one in QUERIES], [one.abs() for one in DOCUMENTS]
    want = torch.tensor([[loop(q, d) for d in documents] for q in queries])
    pad = torch.nn.utils.rnn.pad_sequence
    a, b = pad(queries, batch_first=True), pad(documents, batch_first=True)
    torch.testing.assert_close(maxsim(a, b), want)
    torch.testing.assert_close(maxsim(a.numpy(), b.numpy()), want)
    torch.testing.assert_close(mean_maxsim(a, b), mean_maxsim(queries, documents))


def test_masks_leave_tokens_out():
    a, b = torch.stack(texts(4, 4)), torch.stack(texts(5, 5, seed=3))
    a_mask = torch.tensor([[1, 1, 0, 0], [0, 1, 1, 1]])
    b_mask = torch.tensor([[True] * 2 + [False] * 3, [True] * 5])
    kept = [[t[m.bool()] for t, m in zip(x, y)] for x, y in ((a, a_mask), (b, b_mask))]  # noqa: B905
    want = torch.tensor([[loop(q, d) for d in kept[1]] for q in kept[0]])
    for masks in ((a_mask, b_mask), (a_mask.numpy(), list(b_mask)), (list(a_mask), b_mask.float())):
        torch.testing.assert_close(maxsim(a, b, *masks), want)
        torch.testing.assert_close(maxsim(list(a), list(b), *masks, chunk_elements=1), want)
        torch.testing.assert_close(maxsim_pairwise(a, b, *masks), want.diagonal())
        torch.testing.assert_close(mean_maxsim(a, b, *masks), want / torch.tensor([[2.0], [3.0]]))


def test_a_document_without_tokens_comes_last():
    empty = torch.zeros(0, 6)
    found = maxsim(QUERIES, [DOCUMENTS[0], empty])
    assert found[:, 1].tolist() == [-1e9] * 4 and torch.equal(
        found[:, :1], maxsim(QUERIES, DOCUMENTS[:1])
    )
    assert maxsim_pairwise(QUERIES[:2], [empty, empty]).tolist() == [-1e9, -1e9]
    assert maxsim([], DOCUMENTS).shape == (0, 4) and maxsim(QUERIES, []).shape == (4, 0)
    assert maxsim_pairwise([], []).shape == (0,)


def test_one_text_is_a_batch_of_one():
    torch.testing.assert_close(maxsim(QUERIES[1], DOCUMENTS), ALL[1:2])
    torch.testing.assert_close(maxsim(QUERIES, DOCUMENTS[2].numpy()), ALL[:, 2:3])
    mask = torch.tensor([1, 0, 0, 0, 0])
    want = maxsim(QUERIES[1][:1], DOCUMENTS)
    torch.testing.assert_close(maxsim(QUERIES[1], DOCUMENTS, mask), want)


def test_half_precision_is_summed_in_float32():
    queries, documents = ([one.bfloat16() for one in texts(40, 40, seed=seed)] for seed in (4, 5))
    found = maxsim(queries, documents)
    assert found.dtype == torch.float32
    want = [[loop(q.float(), d.float()) for d in documents] for q in queries]
    torch.testing.assert_close(found, torch.tensor(want), rtol=0.01, atol=0.1)
    assert (found * 8 % 1 != 0).any()  # not on the grid that bfloat16 has there
    whole = maxsim([torch.tensor([[1, 2]], dtype=torch.int8)], [np.int8([[3, 4]])])
    assert whole.tolist() == [[11.0]]


def test_gradients_flow_to_both_sides():
    queries = [one.clone().requires_grad_() for one in QUERIES]
    documents = [one.clone().requires_grad_() for one in DOCUMENTS]
    maxsim(queries, documents, chunk_elements=50).sum().backward()
    copies = [[one.detach().clone().requires_grad_() for one in x] for x in (queries, documents)]
    sum((q @ d.T).max(dim=1).values.sum() for q in copies[0] for d in copies[1]).backward()
    for found, want in zip([*queries, *documents], [*copies[0], *copies[1]], strict=True):
        torch.testing.assert_close(found.grad, want.grad)


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="4 with 3"):
        maxsim_pairwise(QUERIES, DOCUMENTS[:3])
    with pytest.raises(InputError, match="a_mask covers 3 tokens.*longest text has 5"):
        maxsim(QUERIES, DOCUMENTS, torch.ones(4, 3))
    with pytest.raises(InputTypeError, match="b_mask must be"):
        maxsim(QUERIES, DOCUMENTS, b_mask={"a"})
    with pytest.raises(InputError, match=r"list of \(tokens, d\)"):
        maxsim(torch.zeros(3), DOCUMENTS)


def test_the_names_are_for_vectors_of_tokens_only(tiny_model):
    assert SimilarityFunction("maxsim").to_similarity_fn("maxsim") is maxsim
    assert SimilarityFunction.to_similarity_pairwise_fn("meanmaxsim") is mean_maxsim_pairwise
    with pytest.raises(SettingError, match="vector per token"):
        tiny_model.similarity_fn_name = "maxsim"
