"""Twenty training steps of autotrain's trainer of sentence transformers."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np

from tests.ecosystem.texts import LABELS, TEXTS, model_folder

LIBRARY = "autotrain-advanced"
NEEDS, BARE = ("loguru", "requests", "pydantic"), ("autotrain-advanced",)
JOB = "20 training steps on scored pairs, evaluated each epoch, the best model kept"
NOTE = "`--no-deps`: it asks for transformers 4.48 and sentence-transformers 3.3.1"
COUNTED = ("encode", "compute_loss")
TOLERANCE = 1e-4
STEPS, EPOCHS, BATCH = 20, 2, 8


def run(room: Path) -> dict[str, np.ndarray]:
    from autotrain.trainers.sent_transformers.__main__ import train
    from datasets import Dataset, DatasetDict
    from sentence_transformers import SentenceTransformer

    os.chdir(room)  # where the project's folder is made, whose name may have no slash
    start = Path("start")
    shutil.copytree(model_folder(), start)
    config = json.loads((start / "config.json").read_text(encoding="utf-8"))
    config.update(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    (start / "config.json").write_text(json.dumps(config), encoding="utf-8")
    project = Path("project")
    rows = DatasetDict(
        train=Dataset.from_dict(pairs(BATCH * STEPS // EPOCHS)), valid=Dataset.from_dict(pairs(24))
    )
    rows.save_to_disk(project / "autotrain-data")
    train(
        {
            "data_path": f"{project}/autotrain-data",
            "model": str(start),
            "project_name": str(project),
            "epochs": EPOCHS,
            "batch_size": BATCH,
            "lr": 5e-5,
            "train_split": "train",
            "valid_split": "valid",
            "trainer": "pair_score",
            "target_column": "score",
            "logging_steps": 1,
        }
    )
    state = json.loads(next(project.glob("checkpoint-*/trainer_state.json")).read_text())
    assert state["global_step"] == STEPS
    before = SentenceTransformer(str(start), device="cpu").encode(TEXTS)
    after = SentenceTransformer(str(project), device="cpu").encode(TEXTS)
    assert np.abs(after - before).max() > 1e-2, "nothing was trained"
    logged = state["log_history"]
    return {
        "after": after,
        "losses": np.array([entry["loss"] for entry in logged if "loss" in entry]),
        "evaluated": np.array(
            [entry["eval_valid_spearman_cosine"] for entry in logged if "eval_loss" in entry]
        ),
    }


def pairs(count: int) -> dict[str, list]:
    """Pairs of texts that are alike if they are of one subject."""
    some = [(row, (7 * row + 5) % len(TEXTS)) for row in range(len(TEXTS))]
    some += [(row, (row + 1) % len(TEXTS)) for row in range(len(TEXTS))]
    some += [(row, (row + 2) % len(TEXTS)) for row in range(len(TEXTS))]
    some = some[:: len(some) // count] if count < len(some) else some
    return {
        "sentence1": [TEXTS[left] for left, _ in some[:count]],
        "sentence2": [TEXTS[right] for _, right in some[:count]],
        "score": [float(LABELS[left] == LABELS[right]) for left, right in some[:count]],
    }
