"""Code of sentence-transformers' users runs with one word changed."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import sentune
from sentune.compat.addresses import every, row_of

SOURCE = Path(sentune.__file__).parent

LINES = """
from sentune import SentenceTransformer, InputExample, losses, models, util, evaluation
from sentune import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentune import SimilarityFunction, LoggingHandler, quantize_embeddings
from sentune import SentencesDataset, ParallelSentencesDataset, mine_hard_negatives
from sentune.losses import MultipleNegativesRankingLoss, CoSENTLoss, TripletDistanceMetric
from sentune.evaluation import EmbeddingSimilarityEvaluator, InformationRetrievalEvaluator
from sentune.models import Transformer, Pooling, Dense, Normalize, StaticEmbedding, Router, Asym
from sentune.training_args import BatchSamplers, MultiDatasetBatchSamplers
from sentune.trainer import SentenceTransformerTrainer
from sentune import CrossEncoder
from sentune.cross_encoder import CrossEncoder
from sentune.similarity_functions import SimilarityFunction
from sentune.model_card import SentenceTransformerModelCardData
from sentune import SentenceTransformerModelCardData
from sentune.sampler import DefaultBatchSampler
from sentune.data_collator import SentenceTransformerDataCollator
from sentune.quantization import quantize_embeddings
from sentune.util import cos_sim, semantic_search, paraphrase_mining, community_detection
from sentune.datasets import NoDuplicatesDataLoader, SentenceLabelDataset
from sentune.readers import InputExample, STSBenchmarkDataReader
"""


@pytest.mark.parametrize("line", LINES.strip().splitlines())
def test_the_import_works(line):
    exec(line, {})


def known_addresses():
    """Every address that the installed release has itself or keeps from older ones."""
    import pkgutil

    import sentence_transformers as peer
    from sentence_transformers.util.deprecated_import import DEPRECATED_MODULE_PATHS as older

    prefix = f"{peer.__name__}."
    now = [found.name for found in pkgutil.walk_packages(peer.__path__, prefix)]
    return sorted(name.removeprefix(prefix) for name in {*now, *older})


# What no embedding model has: other kinds of models, programs that run exported ones, and what
# only the library's own files use.
OTHERS = ("backend", "cross_encoder.", "multi_vector_encoder", "sparse_encoder")
INSIDE = {
    "sentence_transformer.deprecated_model_card_templates",
    *("util.deprecated_import",),
}


def test_every_address_of_the_library_is_one_here():
    missing = [address for address in known_addresses() if row_of(address) is None]
    assert [a for a in missing if not a.startswith(OTHERS)] == sorted(INSIDE)


def test_no_address_hides_a_file():
    for address in every():
        path = SOURCE / address.replace(".", "/")
        is_own = f"sentune.{address}" in row_of(address).homes
        assert is_own or not (path.is_dir() or path.with_suffix(".py").exists()), address


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("losses.CosineSimilarityLoss", "CosineSimilarityLoss"),
        ("losses.TripletLoss", "TripletDistanceMetric"),
        ("losses.CachedMultipleNegativesRankingLoss", "RandContext"),
        ("sentence_transformer.losses.matryoshka", "shrink"),
        ("sentence_transformer.losses.mse", "MSELoss"),
        ("sentence_transformer.losses", "MSELoss"),
        ("base.modules.transformer", "Transformer"),
        ("base.evaluation", "BaseEvaluator"),
        ("models.tokenizer.WhitespaceTokenizer", "WhitespaceTokenizer"),
        ("util.similarity", "pairwise_dot_score"),
        ("SentenceTransformer", "SentenceTransformer"),
        ("cross_encoder.model", "CrossEncoder"),
    ],
)
def test_an_address_has_the_names_and_hides_no_class(address, name):
    code = f"""
import importlib, importlib.util, sentune
assert importlib.util.find_spec("sentune.{address}") is not None
from sentune.{address} import {name} as one
import sentune.{address} as two
module = importlib.import_module("sentune.{address}")
assert module.{name} is one and "{name}" in dir(module)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_class_stays_where_it_is_named():
    code = """
import sentune.losses.CosineSimilarityLoss
from sentune import losses
assert isinstance(losses.CosineSimilarityLoss, type)
import sys
assert "torch" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_address_is_not_there():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("sentune.losses.NoSuchLoss")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("sentune.sentence_transformer.losses.no_such")
