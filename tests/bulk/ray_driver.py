"""Encodes a corpus with a slow model on a Ray cluster: the driver, as a process to be killed.

python -m tests.bulk.ray_driver ADDRESS SOURCE OUTPUT ROWS
"""

import json
import sys

from sentune import bulk
from sentune.bulk import ray
from tests.bulk.small import slow

if __name__ == "__main__":
    address, source, output, rows = sys.argv[1:]
    ray._PAUSES = (0, 0.2)
    reading = bulk.CorpusOptions(shard_rows=int(rows))
    found = bulk.encode_on_ray(
        source, slow(), output, reading=reading, address=address, progress=sys.stderr
    )
    sys.stdout.write(json.dumps(found._asdict()) + "\n")
