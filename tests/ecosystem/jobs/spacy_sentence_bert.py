"""Vectors of spaCy's documents, spans and tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.ecosystem.texts import TEXTS, model_folder

LIBRARY = "spacy-sentence-bert"
NEEDS, BARE = ("spacy-sentence-bert",), ()
JOB = "vectors and similarities of documents, sentences and words in a pipeline"
NOTE = ""
COUNTED = ("encode",)
TOLERANCE = 1e-5


def run(room: Path) -> dict[str, np.ndarray]:
    import spacy
    import spacy_sentence_bert  # noqa: F401  (registers its part of pipelines)

    pipeline = spacy.blank("en")
    pipeline.add_pipe("sentencizer")
    pipeline.add_pipe("sentence_bert", config={"model_name": model_folder()})
    documents = list(pipeline.pipe(TEXTS[:12]))
    whole = pipeline(" ".join(TEXTS[:4]))
    return {
        "documents": np.array([document.vector for document in documents]),
        "sentences": np.array([sentence.vector for sentence in whole.sents]),
        "words": np.array([token.vector for token in documents[0]]),
        "similarities": np.array([documents[0].similarity(other) for other in documents]),
    }
