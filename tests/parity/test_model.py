"""Equal numbers to sentence-transformers 6.2.0 for the same weights and texts, in float32."""

import numpy as np
import pytest
import torch

from sentune.encoder.sentence_transformers import SentenceTransformer
from sentune.models.heads import Dense, LayerNorm, Normalize
from sentune.models.pooling import MODES, Pooling
from sentune.models.transformer import Transformer
from tests import uneven
from tests.by_transformers import assert_close, gradients
from tests.tiny import KINDS

peer = pytest.importorskip("sentence_transformers")
peer_models = pytest.importorskip("sentence_transformers.models")

WIDTH = 32
PROMPTS = {"query": "query ", "document": "the passage ", "empty": ""}


def both(folder, mode="mean", include_prompt=True, **options):
    ours = SentenceTransformer(
        modules=[Transformer(folder), Pooling(WIDTH, mode, include_prompt=include_prompt)],
        device="cpu",
        **options,
    )
    theirs = peer.SentenceTransformer(
        modules=[
            peer_models.Transformer(str(folder)),
            peer_models.Pooling(WIDTH, mode, include_prompt=include_prompt),
        ],
        device="cpu",
        **options,
    )
    return ours, theirs


def assert_equal(a, b):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=1e-5, rtol=1e-5)


@pytest.fixture(scope="module")
def bert_models(tiny_folders):
    return both(tiny_folders("bert"), prompts=PROMPTS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_architecture(kind, tiny_folders, texts):
    ours, theirs = both(tiny_folders(kind))
    assert_equal(ours.encode(texts), theirs.encode(texts))
    assert ours.max_seq_length == theirs.max_seq_length
    assert ours.get_embedding_dimension() == theirs.get_embedding_dimension()


@pytest.mark.parametrize("mode", [*MODES, ("mean", "max"), ("lasttoken", "cls", "weightedmean")])
@pytest.mark.parametrize("include_prompt", [True, False])
def test_every_pooling_mode(mode, include_prompt, tiny_bert_folder, texts):
    ours, theirs = both(tiny_bert_folder, mode, include_prompt, prompts=PROMPTS)
    some = [text for text in texts if text]  # the peer gives -inf for a text that is all prompt
    for options in ({}, {"prompt_name": "query"}, {"prompt": "the bird "}):
        assert_equal(ours.encode(some, **options), theirs.encode(some, **options))


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 3},
        {"normalize_embeddings": True},
        {"truncate_dim": 7},
        {"truncate_dim": 7, "normalize_embeddings": True},
        {"prompt": "cat "},
        {"prompt_name": "document"},
        {"prompt_name": "empty"},
        {"convert_to_tensor": True},
        {"convert_to_numpy": False},
        {"precision": "int8"},
        {"precision": "ubinary"},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:Computing int8 quantization buckets")
def test_every_option_of_encode(bert_models, texts, options):
    ours, theirs = bert_models
    a, b = ours.encode(texts, **options), theirs.encode(texts, **options)
    assert type(a) is type(b) and len(a) == len(b)
    if isinstance(a, list):
        a, b = torch.stack(a), torch.stack(b)
    assert a.dtype == b.dtype and a.shape == b.shape
    if options.get("precision") == "int8":  # a rounding step apart at most
        assert np.abs(a.astype(int) - b.astype(int)).max() <= 1
    else:
        assert_equal(a, b)


def test_queries_and_documents(bert_models, texts):
    ours, theirs = bert_models
    assert_equal(ours.encode_query(texts), theirs.encode_query(texts))
    assert_equal(ours.encode_document(texts), theirs.encode_document(texts))
    assert not np.allclose(ours.encode_query(texts), ours.encode_document(texts))


def test_token_embeddings(bert_models, texts):
    ours, theirs = bert_models
    pairs = zip(
        ours.encode(texts, output_value="token_embeddings"),
        theirs.encode(texts, output_value="token_embeddings"),
    )
    for a, b in pairs:
        assert a.shape == b.shape
        assert_equal(a, b)


def test_pairs_of_texts(bert_models):
    ours, theirs = bert_models
    pairs = [("the cat sat", "a dog"), ("red", "green tree on the house")]
    assert_equal(ours.encode(pairs), theirs.encode(pairs))


@pytest.mark.filterwarnings("ignore::sentune.errors.SentuneWarning")
def test_texts_longer_than_the_limit(bert_models):
    ours, theirs = bert_models
    long = ["cat dog bird " * 60, "short", ("fish " * 50, "bread " * 60)]
    assert_equal(ours.encode(long), theirs.encode(long))


def test_tokenize_gives_the_same_tensors(bert_models, texts):
    ours, theirs = bert_models
    a, b = ours.tokenize(texts), theirs.tokenize(texts)
    for key in ("input_ids", "attention_mask", "token_type_ids"):
        assert torch.equal(a[key], b[key]), key


@pytest.mark.parametrize("name", ["cosine", "dot", "euclidean", "manhattan"])
def test_similarities(tiny_bert_folder, texts, name):
    ours, theirs = both(tiny_bert_folder, similarity_fn_name=name)
    vectors = ours.encode(texts)
    assert_equal(ours.similarity(vectors, vectors), theirs.similarity(vectors, vectors))
    assert_equal(
        ours.similarity_pairwise(vectors, vectors[::-1].copy()),
        theirs.similarity_pairwise(vectors, vectors[::-1].copy()),
    )
    assert ours.similarity_fn_name == theirs.similarity_fn_name


def test_heads_and_their_gradients(tiny_folders):
    texts = uneven.texts(24, seed=1)
    ours, theirs = both(tiny_folders("bert", 256))
    heads = [Dense(WIDTH, 16), LayerNorm(16), Normalize()]
    peer_heads = [peer_models.Dense(WIDTH, 16), peer_models.LayerNorm(16), peer_models.Normalize()]
    for head, other in zip(heads, peer_heads):
        other.load_state_dict(head.state_dict())
    ours = SentenceTransformer(modules=[*ours, *heads], device="cpu")
    theirs = peer.SentenceTransformer(modules=[*theirs, *peer_heads], device="cpu")
    assert ours.is_packed
    assert_equal(ours.encode(texts), theirs.encode(texts))
    target = torch.randn(len(texts), 16, generator=torch.Generator().manual_seed(0))
    for model, features in ((ours, ours.read(texts)), (theirs, theirs.tokenize(texts))):
        (model(features)["sentence_embedding"] * target).sum().backward()
    wanted = gradients(theirs)
    assert_close(gradients(ours), wanted, least=20)


@pytest.mark.filterwarnings("ignore::sentune.errors.SentuneWarning")
def test_the_real_all_minilm(minilm_folder, texts):
    ours = SentenceTransformer(str(minilm_folder), device="cpu")
    theirs = peer.SentenceTransformer(str(minilm_folder), device="cpu")
    assert ours.max_seq_length == theirs.max_seq_length == 256
    hard = [*texts, "😀 emoji", "שלום עולם", "   ", "word " * 400, "naïve café — ‘quoted’"]
    assert_equal(ours.encode(hard), theirs.encode(hard))
