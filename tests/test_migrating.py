"""The table of docs/migrating.md: what a user of a name gets that is otherwise on purpose."""

import re
from pathlib import Path

import numpy as np
import pytest

from sentune import SentenceTransformer, models, util
from sentune.errors import InputTypeError, SettingError

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "migrating.md"
MOST_ROWS = 25


def rows() -> list[list[str]]:
    """The cells of each row of the table."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]


def patterns() -> list[str]:
    """The names in the table."""
    return [name for row in rows() for name in re.findall(r"`([^`]+)`", row[4])]


def test_the_table_is_short_and_whole():
    assert 10 < len(rows()) <= MOST_ROWS
    for row in rows():
        assert len(row) == 5 and all(row[:4]), row


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:40])
def test_each_row_names_a_test_that_there_is(row):
    path, name = row[3].strip("`").split("::")
    assert f"\ndef {name}(" in (ROOT / path).read_text(encoding="utf-8"), row[3]


def test_other_backends_are_refused(tiny_bert_folder):
    with pytest.raises(SettingError, match="backend must be 'torch'"):
        SentenceTransformer(str(tiny_bert_folder), backend="onnx")


def test_what_is_no_text_is_refused(tiny_model):
    for image in (np.zeros((8, 8, 3)), {"array": np.zeros(9), "sampling_rate": 9}):
        with pytest.raises((InputTypeError, SettingError)):
            tiny_model.encode([image])


def test_helpers_of_files_are_not_there():
    with pytest.raises(AttributeError, match="distributed_evaluation"):
        _ = util.distributed.distributed_evaluation


def test_unknown_arguments_are_refused(tiny_bert_folder):
    tokenizer = SentenceTransformer(str(tiny_bert_folder)).tokenizer
    with pytest.raises(TypeError, match="embeding_dim"):
        models.StaticEmbedding(tokenizer, embedding_dim=8, embeding_dim=16)


def test_modules_give_a_new_dict(tiny_model):
    features = tiny_model.tokenize(["a text", "one more text"])
    known = set(features)
    tokens = tiny_model[0](features)
    assert "token_embeddings" in tokens and set(features) == known
    assert "sentence_embedding" in tiny_model[1](tokens) and "sentence_embedding" not in tokens
