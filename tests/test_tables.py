"""What is read where rows are wanted: never the names of columns, keys or letters."""

import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from datasets import Dataset

from sentune import tables, util
from sentune.data.profile import profile
from sentune.datasets import DenoisingAutoEncoderDataset
from sentune.errors import InputTypeError
from sentune.evaluation import (
    EmbeddingSimilarityEvaluator,
    InformationRetrievalEvaluator,
    MSEEvaluatorFromDataFrame,
    ParaphraseMiningEvaluator,
    RerankingEvaluator,
    TripletEvaluator,
)
from sentune.losses import ContrastiveTensionDataLoader
from sentune.search import mine_hard_negatives
from sentune.text import inputs
from sentune.vectors import similarity
from tests.fake_encoder import FakeEncoder

TEXTS = ["a cat", "a dog", "the sun"]
# Halves, quarters ...: the same in float32 and float64, in whose steps of int8 they differ else.
VECTORS = np.random.default_rng(0).integers(-64, 64, (6, 4)) / np.float32(64)


class FakePolars:
    """A table like one of polars: `columns` is a list; a column has neither index nor tolist."""

    def __init__(self, data):
        self.data, self.columns = data, list(data)
        self.shape = (len(next(iter(data.values()))), len(data))

    def __getitem__(self, name):
        return tuple(self.data[name])

    def __iter__(self):
        return iter(self.data.values())

    def __len__(self):
        return self.shape[0]

    def to_numpy(self):
        return pd.DataFrame(self.data).to_numpy()


TABLES = [pd.DataFrame, FakePolars, pa.table, Dataset.from_dict]
every_table = pytest.mark.parametrize("table", TABLES, ids=lambda t: t.__qualname__)


@every_table
def test_a_table_of_one_column_is_that_column(table):
    assert inputs.as_items(table({"text": TEXTS})) == (TEXTS, False)
    assert list(inputs.stream_of(table({"text": TEXTS}))) == TEXTS


@every_table
def test_a_table_of_several_columns_is_refused_with_their_names(table):
    with pytest.raises(InputTypeError, match=r"columns text, label; .*\['text'\]\.tolist\(\)"):
        inputs.as_items(table({"text": TEXTS, "label": [0, 1, 2]}))


@every_table
def test_a_table_of_pairs_is_read_where_pairs_are_wanted(table):
    found = tables.rows_of(table({"a": TEXTS, "b": TEXTS}), "inputs", width=2)
    assert found == list(zip(TEXTS, TEXTS, strict=True))
    assert tables.records_of(table({"a": ["x"], "b": ["y"]}), "rows") == [{"a": "x", "b": "y"}]


@every_table
def test_a_profile_reads_a_table(table):
    assert profile(table({"text": TEXTS, "label": [0, 1, 2]})).rows == 3


def test_a_column_is_read_by_place_not_by_its_index():
    column = pd.Series(TEXTS, index=[2, 0, 1])
    assert inputs.as_items(column) == (TEXTS, False)
    assert TripletEvaluator(column, column, column).anchors == TEXTS
    assert inputs.as_items(pa.chunked_array([TEXTS])) == (TEXTS, False)


def test_an_array_of_one_text_is_that_text():
    assert inputs.as_items(np.array("hello")) == (["hello"], True)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("one text", r"give \[\.\.\.\] around it"),
        (np.array("one text"), r"give \[\.\.\.\] around it"),
        ({"a": "x", "b": "y"}, r"give list\(sentences\.values\(\)\)"),
        ({"x", "y"}, r"no order; give sorted\(sentences\)"),
        (3, "got a single int"),
    ],
)
def test_what_holds_no_rows_is_refused(given, says):
    with pytest.raises(InputTypeError, match=says):
        tables.rows_of(given, "sentences")
    for use in (DenoisingAutoEncoderDataset, lambda x: util.paraphrase_mining(FakeEncoder(), x)):
        with pytest.raises(InputTypeError, match=says):
            use(given)
    with pytest.raises(InputTypeError, match=says):
        ContrastiveTensionDataLoader(given, 8)


def test_a_set_of_texts_has_no_order():
    for use in (inputs.as_items, inputs.stream_of):
        with pytest.raises(InputTypeError, match=r"sorted\(inputs\)"):
            use({"x", "y"})


def numbers_in(found):
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?(?:e-\d+)?", str(found))]


def by_column(values):
    return dict(enumerate(values.T.tolist()))


ALL_PAIRS = [util.cos_sim, util.dot_score, util.euclidean_sim, util.manhattan_sim]
PAIRWISE = [
    util.pairwise_cos_sim,
    util.pairwise_dot_score,
    util.pairwise_euclidean_sim,
    util.pairwise_manhattan_sim,
    util.pairwise_angle_sim,
]
OF_ONE = [
    util.normalize_embeddings,
    lambda x: similarity.truncate_embeddings(x, 2),
    lambda x: util.quantize_embeddings(x, "int8"),
    lambda x: util.quantize_embeddings(VECTORS, "int8", calibration_embeddings=x),
    lambda x: util.semantic_search(x, x),
    lambda x: util.paraphrase_mining_embeddings(x),
    lambda x: util.community_detection(x, min_community_size=1, threshold=0.1),
    *(lambda x, f=f: f(x, x) for f in ALL_PAIRS + PAIRWISE),
]


@pytest.mark.parametrize("use", OF_ONE)
@pytest.mark.parametrize(
    "given",
    [
        pd.DataFrame(VECTORS),
        FakePolars(by_column(VECTORS)),
        pd.Series(list(VECTORS), index=range(6, 0, -1)),
        pd.DataFrame({"embedding": list(VECTORS)}),
        pd.Series(list(VECTORS)).to_numpy(),
        pa.table({"embedding": VECTORS.tolist()}),
        Dataset.from_dict({"embedding": VECTORS.tolist()}),
    ],
    ids=["pandas", "polars", "Series", "column", "objects", "pyarrow", "datasets"],
)
def test_a_table_of_numbers_is_a_matrix_of_embeddings(use, given):
    # In double precision: tables of python's numbers have no other.
    found, expected = use(given), use(VECTORS.astype(float))
    if isinstance(expected, list):
        assert numbers_in(found) == pytest.approx(numbers_in(expected), abs=1e-6)
    else:
        np.testing.assert_allclose(np.asarray(found), np.asarray(expected), atol=1e-6)


@pytest.mark.parametrize("use", OF_ONE)
@pytest.mark.parametrize(
    "given",
    [
        dict(enumerate(VECTORS)),
        pd.DataFrame({"id": ["a", "b"], "x": [0.1, 0.2]}),
        Dataset.from_dict({"x": [0.1, 0.2], "y": [0.1, 0.2]}),
        "text",
    ],
    ids=["dict", "pandas", "datasets", "text"],
)
def test_what_holds_no_embeddings_is_refused(use, given):
    with pytest.raises(InputTypeError, match="embeddings"):
        use(given)


@pytest.mark.parametrize("number", [np.array(0.5), torch.tensor(0.5)])
def test_a_single_number_is_no_embedding(number):
    with pytest.raises(ValueError, match="must be vectors, got the single number 0.5"):
        util.cos_sim(number, number)


def test_evaluators_read_columns_of_tables_and_refuse_tables():
    table = pd.DataFrame({"a": TEXTS, "b": TEXTS, "score": [0.1, 0.2, 0.3]}, index=[3, 1, 2])
    made = EmbeddingSimilarityEvaluator(table["a"], table[["b"]], table["score"])
    assert (made.sentences1, made.sentences2, made.scores) == (TEXTS, TEXTS, [0.1, 0.2, 0.3])
    with pytest.raises(InputTypeError, match="sentences1 is a table"):
        EmbeddingSimilarityEvaluator(table, table["b"], table["score"])
    with pytest.raises(InputTypeError, match="scores must be a list, got a dict"):
        EmbeddingSimilarityEvaluator(TEXTS, TEXTS, {0: 1, 1: 1, 2: 1})
    for wrong in (table, TEXTS):
        with pytest.raises(InputTypeError, match="corpus must be a dict whose keys are ids"):
            InformationRetrievalEvaluator({"q": "x"}, wrong, {"q": {"a"}})
        with pytest.raises(InputTypeError, match="sentences_map must be a dict"):
            ParaphraseMiningEvaluator(wrong)


def test_evaluators_read_tables_of_pairs_and_of_samples():
    pairs = pd.DataFrame({"one": ["a", "b"], "other": ["b", "c"]})
    made = ParaphraseMiningEvaluator({"a": "x", "b": "y", "c": "z"}, pairs)
    assert made.total_num_duplicates == 2
    samples = pd.DataFrame({"query": ["q"], "positive": ["p"], "negative": [["n1", "n2"]]})
    assert RerankingEvaluator(samples).samples == [
        {"query": "q", "positive": ["p"], "negative": ["n1", "n2"]}
    ]
    table = pd.DataFrame({"en": ["a", "b"], "de": ["c", " "]})
    made = MSEEvaluatorFromDataFrame(table, FakeEncoder(), [("en", "de")])
    assert made.data == {("en", "de"): (["a"], ["c"])}


class Numbers(FakeEncoder):
    def vector(self, text):
        return np.array([float(number) for number in text.split()])

    encode_query = FakeEncoder.encode


def test_negatives_are_mined_from_tables():
    pairs = {"q": ["1 0", "0 1"], "a": ["4 3", "0 2"]}
    options = {"num_negatives": 1, "verbose": False}
    expected = mine_hard_negatives(
        Dataset.from_dict(pairs), Numbers(), corpus=["24 7"], **options
    ).to_dict()
    table, corpus = pd.DataFrame(pairs, index=[5, 4]), pd.DataFrame({"text": ["24 7"]})
    assert mine_hard_negatives(table, Numbers(), corpus=corpus, **options).to_dict() == expected
    with pytest.raises(InputTypeError, match=r"list\(corpus.values\(\)\)"):
        mine_hard_negatives(table, Numbers(), corpus={"id": "24 7"}, **options)
    with pytest.raises(InputTypeError, match="dataset must be a datasets.Dataset, got a dict"):
        mine_hard_negatives(pairs, Numbers(), **options)
