"""The end of a process that is one of several."""

import os
import sys

from torch import distributed


def leave() -> None:
    """End this process once all are done, at once and with success.

    gloo's threads outlive `destroy_process_group` while DDP modules hold on to the group, and one
    that is told of a lost connection while the interpreter is taken down can abort the process.
    """
    distributed.barrier()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
