from sentune._version import __version__ as __version__

from . import bulk as bulk
from . import datasets as datasets
from . import errors as errors
from . import evaluation as evaluation
from . import index as index
from . import losses as losses
from . import models as models
from . import quantization as quantization
from . import readers as readers
from . import search as search
from . import training as training
from . import util as util
from .data.example import InputExample as InputExample
from .datasets import ParallelSentencesDataset as ParallelSentencesDataset
from .datasets import SentencesDataset as SentencesDataset
from .encoder.cross_encoder import CrossEncoder as CrossEncoder
from .encoder.load import load as load
from .encoder.sentence_transformers import SentenceTransformer as SentenceTransformer
from .errors import SentuneError as SentuneError
from .index.index import Index as Index
from .search.negatives import mine_hard_negatives as mine_hard_negatives
from .share.data import CrossEncoderModelCardData as CrossEncoderModelCardData
from .share.data import SentenceTransformerModelCardData as SentenceTransformerModelCardData
from .training.arguments import (
    SentenceTransformerTrainingArguments as SentenceTransformerTrainingArguments,
)
from .training.samplers import DefaultBatchSampler as DefaultBatchSampler
from .training.samplers import MultiDatasetDefaultBatchSampler as MultiDatasetDefaultBatchSampler
from .training.trainer import SentenceTransformerTrainer as SentenceTransformerTrainer
from .util import LoggingHandler as LoggingHandler
from .util import resolve_ids as resolve_ids
from .vectors.quantize import quantize_embeddings as quantize_embeddings
from .vectors.similarity import SimilarityFunction as SimilarityFunction
