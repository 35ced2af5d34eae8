"""The end of a process that belongs to a group of several."""

import subprocess
import sys

import pytest

# Sums whose tensors gloo's threads let go of when Python ends; a fork saves importing torch again.
_ENDS = """
import atexit, os, sys, tempfile, time
import torch
from torch import distributed
from sentune.machine.distributed import leave_group_at_exit

def sum_at_the_end():
    for tensor in tensors:
        distributed.all_reduce(tensor, async_op=True)
    end = time.perf_counter() + 0.05
    while time.perf_counter() < end:  # keeps the GIL
        pass

for _ in range(8):
    child = os.fork()
    if not child:
        leave_group_at_exit()
        store = distributed.FileStore(tempfile.mktemp(), 1)
        distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
        group = distributed.group.WORLD  # as a module that is trained in parallel keeps it
        sys.setswitchinterval(100)
        tensors = [torch.ones(4_000_000) for _ in range(2)]
        atexit.register(sum_at_the_end)
        sys.exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the threads of gloo are looked at in /proc")
def test_a_process_ends_well_while_gloo_still_lets_go_of_tensors():
    done = subprocess.run([sys.executable, "-c", _ENDS], capture_output=True, text=True)
    assert done.stdout.split() == ["0"] * 8, done.stderr
