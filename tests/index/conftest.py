"""The model that indexes are made with."""

import pytest

from sentune import SentenceTransformer


@pytest.fixture(scope="module")
def model(tiny_bert_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    SentenceTransformer(str(tiny_bert_folder), device="cpu").save(folder)
    return folder
