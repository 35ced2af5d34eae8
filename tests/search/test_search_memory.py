"""The memory of a search does not grow with the matrix of scores."""

import subprocess
import sys

_CODE = """
import resource, torch
from sentune.search import most_similar_pairs, paraphrase_mining_embeddings, semantic_search

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # MB

rows = torch.nn.functional.normalize(torch.randn(60_000, 16))
semantic_search(rows[:2000], rows[:2000])
most_similar_pairs(rows[:2000])
before = peak()
semantic_search(rows[:10_000], rows, top_k=3)  # 2.4 GB of scores
print(round(peak() - before))
most_similar_pairs(rows[:40_000])  # 6.4 GB
paraphrase_mining_embeddings(rows[:20_000], max_pairs=1000, top_k=3)
print(round(peak() - before))
wide = torch.randn(9_000, 4096)
before = peak()
semantic_search(wide, wide[:3000], top_k=3)
most_similar_pairs(wide[:6000])
print(round(peak() - before))
"""


def test_what_is_held_does_not_grow_with_the_scores():
    done = subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    search, pairs, wide = map(int, done.stdout.split())
    assert search < 60 and pairs < 100 and wide < 300
