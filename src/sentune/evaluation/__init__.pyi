from sentune.vectors.similarity import SimilarityFunction as SimilarityFunction

from . import metrics as metrics
from .base import BaseEvaluator as BaseEvaluator
from .base import SentenceEvaluator as SentenceEvaluator
from .binary_classification import BinaryClassificationEvaluator as BinaryClassificationEvaluator
from .embedding_similarity import EmbeddingSimilarityEvaluator as EmbeddingSimilarityEvaluator
from .information_retrieval import InformationRetrievalEvaluator as InformationRetrievalEvaluator
from .label_accuracy import LabelAccuracyEvaluator as LabelAccuracyEvaluator
from .mse import MSEEvaluator as MSEEvaluator
from .mse import MSEEvaluatorFromDataFrame as MSEEvaluatorFromDataFrame
from .nano_beir import NanoBEIREvaluator as NanoBEIREvaluator
from .paraphrase_mining import ParaphraseMiningEvaluator as ParaphraseMiningEvaluator
from .reranking import RerankingEvaluator as RerankingEvaluator
from .sequential import SequentialEvaluator as SequentialEvaluator
from .translation import TranslationEvaluator as TranslationEvaluator
from .triplet import TripletEvaluator as TripletEvaluator
