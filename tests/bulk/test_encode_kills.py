"""Killed at any time and started again, the output is that of an unbroken run."""

import os
import re
import subprocess
import sys

import pytest


@pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are forks")
@pytest.mark.parametrize(("form", "kills"), [("parquet", 25), ("npy", 8)])
def test_an_output_survives_kills(form, kills):
    command = [sys.executable, "-m", "tests.bulk.kills", "--kills", str(kills), "--format", form]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", done.stdout)}
    assert found["kills"] >= kills and found["outputs"] >= 1
    assert found["most_again"] <= 1 and found["drafts"] >= 1
