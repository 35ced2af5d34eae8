"""The guide's script runs from end to end."""

import subprocess
import sys
from pathlib import Path

from sentune import SentenceTransformer

SCRIPT = Path(__file__).parents[2] / "examples" / "guide.py"


def test_the_guide_runs_and_saves_a_trained_model(tiny_bert_folder, tmp_path):
    output = tmp_path / "model"
    words = [str(tiny_bert_folder), "--output", str(output), "--examples", "24"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "'set': {'query':" in done.stdout
    for line in ("Before", "After TripletLoss", "After MultipleNegativesRankingLoss", "Saved in"):
        assert line in done.stdout
    trained, start = SentenceTransformer(str(output)), SentenceTransformer(str(tiny_bert_folder))
    weights = zip(trained.parameters(), start.parameters(), strict=True)
    assert any((new != old).any() for new, old in weights)
