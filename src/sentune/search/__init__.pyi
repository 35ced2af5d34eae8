from .communities import community_detection as community_detection
from .negatives import mine_hard_negatives as mine_hard_negatives
from .paraphrases import most_similar_pairs as most_similar_pairs
from .paraphrases import paraphrase_mining as paraphrase_mining
from .paraphrases import paraphrase_mining_embeddings as paraphrase_mining_embeddings
from .report import MiningReport as MiningReport
from .semantic import semantic_search as semantic_search
