"""Other names of functions that live elsewhere."""

from sentune.machine.distributed import is_ready, rank, world_size
from sentune.search.semantic import semantic_search
from sentune.vectors.similarity import cos_sim

get_rank = rank
is_dist_initialized = is_ready
get_world_size = world_size
information_retrieval = semantic_search
pytorch_cos_sim = cos_sim
