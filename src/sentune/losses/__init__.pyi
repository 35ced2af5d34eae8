from .base import Loss as Loss
from .classify import SoftmaxLoss as SoftmaxLoss
from .contrast import CachedMultipleNegativesRankingLoss as CachedMultipleNegativesRankingLoss
from .contrast import (
    CachedMultipleNegativesSymmetricRankingLoss as CachedMultipleNegativesSymmetricRankingLoss,
)
from .contrast import MultipleNegativesRankingLoss as MultipleNegativesRankingLoss
from .contrast import MultipleNegativesSymmetricRankingLoss as MultipleNegativesSymmetricRankingLoss
from .denoising import DenoisingAutoEncoderLoss as DenoisingAutoEncoderLoss
from .distill import EmbedDistillLoss as EmbedDistillLoss
from .distill import MSELoss as MSELoss
from .distill_scores import DistillKLDivLoss as DistillKLDivLoss
from .distill_scores import MarginMSELoss as MarginMSELoss
from .layers import AdaptiveLayerLoss as AdaptiveLayerLoss
from .layers import Matryoshka2dLoss as Matryoshka2dLoss
from .mining import BatchAllTripletLoss as BatchAllTripletLoss
from .mining import BatchHardSoftMarginTripletLoss as BatchHardSoftMarginTripletLoss
from .mining import BatchHardTripletLoss as BatchHardTripletLoss
from .mining import BatchHardTripletLossDistanceFunction as BatchHardTripletLossDistanceFunction
from .mining import BatchSemiHardTripletLoss as BatchSemiHardTripletLoss
from .negatives import CachedGISTEmbedLoss as CachedGISTEmbedLoss
from .negatives import GISTEmbedLoss as GISTEmbedLoss
from .negatives import MegaBatchMarginLoss as MegaBatchMarginLoss
from .nested import MatryoshkaLoss as MatryoshkaLoss
from .ordering import AnglELoss as AnglELoss
from .ordering import CoSENTLoss as CoSENTLoss
from .pairs import ContrastiveLoss as ContrastiveLoss
from .pairs import CosineSimilarityLoss as CosineSimilarityLoss
from .pairs import OnlineContrastiveLoss as OnlineContrastiveLoss
from .pairs import SiameseDistanceMetric as SiameseDistanceMetric
from .regularize import GlobalOrthogonalRegularizationLoss as GlobalOrthogonalRegularizationLoss
from .supervised import SupervisedContrastiveLoss as SupervisedContrastiveLoss
from .triplets import TripletDistanceMetric as TripletDistanceMetric
from .triplets import TripletLoss as TripletLoss
from .unsupervised import ContrastiveTensionDataLoader as ContrastiveTensionDataLoader
from .unsupervised import ContrastiveTensionLoss as ContrastiveTensionLoss
from .unsupervised import (
    ContrastiveTensionLossInBatchNegatives as ContrastiveTensionLossInBatchNegatives,
)
