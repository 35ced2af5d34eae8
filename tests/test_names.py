"""Code of sentence-transformers' users runs with one word changed."""

import pytest

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
