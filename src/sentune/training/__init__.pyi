from .arguments import BatchSamplers as BatchSamplers
from .arguments import MultiDatasetBatchSamplers as MultiDatasetBatchSamplers
from .arguments import (
    SentenceTransformerTrainingArguments as SentenceTransformerTrainingArguments,
)
from .collate import SentenceTransformerDataCollator as SentenceTransformerDataCollator
from .samplers import DefaultBatchSampler as DefaultBatchSampler
from .samplers import GroupByLabelBatchSampler as GroupByLabelBatchSampler
from .samplers import MultiDatasetDefaultBatchSampler as MultiDatasetDefaultBatchSampler
from .samplers import NoDuplicatesBatchSampler as NoDuplicatesBatchSampler
from .samplers import ProportionalBatchSampler as ProportionalBatchSampler
from .samplers import RoundRobinBatchSampler as RoundRobinBatchSampler
from .trainer import SentenceTransformerTrainer as SentenceTransformerTrainer
from .training_step import TrainingStep as TrainingStep
