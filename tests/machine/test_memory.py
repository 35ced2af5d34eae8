"""Freed memory stays with the process for the next batch."""

import platform
import subprocess
import sys

import pytest

ROUNDS = """
import resource, sys, torch
from sentune import SentenceTransformer, models
if sys.argv[1] == "keep":
    SentenceTransformer(modules=[models.BoW(["a"])], device="cpu")
def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for turn in range(6):
    before = pages()
    blocks = [torch.zeros(1 << 20) for _ in range(8)]
    del blocks
print(pages() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries do as they please")
def test_a_batch_takes_the_memory_of_the_one_before():
    def new_pages(how):
        command = [sys.executable, "-c", ROUNDS, how]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert new_pages("keep") < min(200, 1 + new_pages("leave"))
