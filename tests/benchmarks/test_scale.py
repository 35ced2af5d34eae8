"""`benchmarks/scale.py` encodes a corpus in bounded memory and prints a row."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "scale.py"


@pytest.mark.slow
def test_it_prints_a_row(tmp_path, minilm_folder):
    command = [sys.executable, str(SCRIPT), "--rows", "3000", "--keep", str(tmp_path / "kept")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    row = done.stdout.strip()
    found = re.match(
        r"encode 3,000 short sentences, static model d=256, to Parquet: ([\d,]+) rows/s", row
    )
    assert found and int(found[1].replace(",", "")) > 10
    memory = re.search(r"([\d,]+) MB resident \(ok\)", row)
    assert memory and 100 < int(memory[1].replace(",", "")) < 1000
    lines = (tmp_path / "kept" / "corpus.jsonl").read_text().splitlines()
    assert len(lines) == len(set(lines)) == 3000
    assert (tmp_path / "kept" / "shards" / "complete.json").exists()
