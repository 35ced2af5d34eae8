"""Few-shot training of a classifier."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.ecosystem.texts import LABELS, TEXTS, model_folder

LIBRARY = "setfit"
NEEDS, BARE = ("setfit",), ()
JOB = "20 training steps on pairs of 24 labelled texts, then a classifier; saved and loaded"
NOTE = ""
COUNTED = ("encode", "compute_loss")
TOLERANCE = 1e-4
STEPS = 20


def run(room: Path) -> dict[str, np.ndarray]:
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer
    from setfit import SetFitModel, Trainer, TrainingArguments
    from sklearn.linear_model import LogisticRegression

    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    body = SentenceTransformer(model_folder(), device="cpu", config_kwargs=no_dropout)
    before = body.encode(TEXTS)
    labels = ["cooking", "astronomy", "cycling"]
    model = SetFitModel(model_body=body, model_head=LogisticRegression(), labels=labels)
    rows = Dataset.from_dict({"text": TEXTS, "label": LABELS})
    train = rows.select([row for row in range(len(TEXTS)) if row % 3])
    test = rows.select(range(0, len(TEXTS), 3))
    arguments = TrainingArguments(
        output_dir=str(room / "run"),
        batch_size=8,
        max_steps=STEPS,
        body_learning_rate=2e-5,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        seed=3,
    )
    trainer = Trainer(
        model=model, args=arguments, train_dataset=train, eval_dataset=test, metric="accuracy"
    )
    trainer.train()
    after = body.encode(TEXTS)
    assert np.abs(after - before).max() > 1e-2, "nothing was trained"
    model.save_pretrained(room / "model")
    logged = trainer.st_trainer.state.log_history
    again = SetFitModel.from_pretrained(str(room / "model"))
    return {
        "after": after,
        "losses": np.array(
            [entry["embedding_loss"] for entry in logged if "embedding_loss" in entry]
        ),
        "probabilities": model.predict_proba(TEXTS, as_numpy=True),
        "probabilities after loading": again.predict_proba(TEXTS, as_numpy=True),
        "labels": np.array(model.predict(TEXTS)),
    }
