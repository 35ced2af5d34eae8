"""Rows become a batch of ragged columns and labels."""

import random

import numpy as np
import pytest
import torch
from datasets import Dataset, Features, IterableDataset, Value
from torch.utils.data import DataLoader

from sentune.data.example import InputExample
from sentune.errors import DatasetError
from sentune.text.store import Budget
from sentune.training.collate import SentenceTransformerDataCollator, for_column, where
from sentune.training.dataset_rows import DATASET_NAME, ROW_NUMBER
from sentune.training.fit_loaders import LoaderBatches, LoaderRows
from tests.training.tools import trainer


def read(texts, prompt=None, task=None):
    return {"texts": list(texts), "prompt": prompt, "task": task}


def collate(rows, **options):
    return SentenceTransformerDataCollator(read, **options)(rows)


def test_columns_keep_their_order_and_rows_their_numbers():
    rows = [
        {"b": "1", "a": "2", ROW_NUMBER: 7},
        {"b": "3", "a": "4", ROW_NUMBER: 3},
    ]
    batch = collate(rows)
    assert list(batch) == ["rows", "columns"]
    assert batch["rows"].tolist() == [7, 3]
    assert list(batch["columns"]) == ["b", "a"]
    assert batch["columns"]["a"]["texts"] == ["2", "4"]


def test_rows_without_numbers_are_counted():
    assert collate([{"a": "1"}, {"a": "2"}])["rows"].tolist() == [0, 1]


def test_the_name_of_the_dataset_goes_with_the_batch():
    batch = collate([{"a": "1", DATASET_NAME: "news"}])
    assert batch["dataset_name"] == "news"
    assert list(batch["columns"]) == ["a"]


@pytest.mark.parametrize("column", ["label", "labels", "score", "scores"])
def test_labels_are_found_by_name(column):
    batch = collate([{"a": "1", column: 0.5}, {"a": "2", column: 1.0}])
    assert list(batch["columns"]) == ["a"]
    assert batch["labels"].tolist() == [0.5, 1.0]
    assert batch["labels"].dtype == torch.float32


@pytest.mark.parametrize(
    ("values", "dtype", "shape"),
    [
        ([1, 0], torch.int64, (2,)),
        ([[0.5, 1.0], [0.0, 1.0]], torch.float32, (2, 2)),
        ([np.float64(0.5), np.float64(1.0)], torch.float32, (2,)),
        ([np.ones(3), np.ones(3)], torch.float32, (2, 3)),
        ([torch.ones(3), torch.ones(3)], torch.float32, (2, 3)),
    ],
)
def test_kinds_of_labels(values, dtype, shape):
    labels = collate([{"a": "x", "label": value} for value in values])["labels"]
    assert (labels.dtype, tuple(labels.shape)) == (dtype, shape)


@pytest.mark.parametrize("values", [["yes", "no"], [None, 1], [[1.0], [1.0, 2.0]]])
def test_labels_that_are_no_numbers_are_named_with_their_rows(values):
    rows = [{"a": "x", "label": value, ROW_NUMBER: place + 5} for place, value in enumerate(values)]
    with pytest.raises(DatasetError, match=r"column 'label' must be numbers.*rows 5, 6"):
        collate(rows)


def test_a_column_that_is_not_in_all_rows_is_named():
    with pytest.raises(DatasetError, match=r"column 'b' is not in all of rows 0, 1 of"):
        collate([{"a": "1", "b": "2", DATASET_NAME: "d"}, {"a": "1", DATASET_NAME: "d"}])


def test_a_cell_that_cannot_be_read_is_named(tiny_model):
    collator = SentenceTransformerDataCollator(tiny_model.read)
    rows = [{"a": "good", ROW_NUMBER: 7}, {"a": "\ud800", ROW_NUMBER: 8}]
    with pytest.raises(DatasetError, match="column 'a' of row 8: has a lone surrogate"):
        collator(rows)


@pytest.mark.parametrize("cell", [None, 7, float("nan"), ["a", "b", "c"]])
def test_a_cell_that_is_no_text_is_named(tiny_model, cell):
    collator = SentenceTransformerDataCollator(tiny_model.read)
    rows = [{"a": "good", ROW_NUMBER: 7}, {"a": cell, ROW_NUMBER: 8}]
    with pytest.raises(DatasetError, match=r"column 'a' of row 8: is .*Drop such rows"):
        collator(rows)


def test_texts_are_read_as_the_model_reads_them(tiny_model):
    batch = SentenceTransformerDataCollator(tiny_model.read, prompts="query: ")(
        [{"a": "the cat"}, {"a": "a"}]
    )
    features = batch["columns"]["a"]
    assert features["lengths"] == [6, 5]  # [CLS] query : ... [SEP]
    assert features["prompt_lengths"] == [3, 3]
    assert len(features["input_ids"]) == 11


PROMPTS = [
    ("p: ", None, "p: "),
    ({"a": "p: "}, None, "p: "),
    ({"b": "p: "}, None, None),
    ({"d": "p: "}, "d", "p: "),
    ({"d": {"a": "p: "}}, "d", "p: "),
    ({"d": {"b": "p: "}}, "d", None),
    ({"other": {"a": "p: "}}, "d", None),
    ({"a": "p: "}, "d", "p: "),
    (None, "d", None),
    ({}, None, None),
]


@pytest.mark.parametrize(("setting", "dataset", "expected"), PROMPTS)
def test_prompts_and_routes_per_column_and_dataset(setting, dataset, expected):
    assert for_column(setting, "a", dataset) == expected
    mark = {} if dataset is None else {DATASET_NAME: dataset}
    batch = collate([{"a": "1", **mark}], prompts=setting, router_mapping=setting)
    assert batch["columns"]["a"]["prompt"] == expected
    assert batch["columns"]["a"]["task"] == expected


def test_rows_in_words():
    assert where([1, 2]) == "rows 1, 2"
    assert where(range(12), "news", most=3) == "rows 0, 1, 2 and 9 more of dataset 'news'"


def test_rows_can_be_changed_on_their_way():
    class Upper(SentenceTransformerDataCollator):
        def __call__(self, rows):
            return super().__call__([{**row, "a": row["a"].upper()} for row in rows])

    assert Upper(read)([{"a": "x", ROW_NUMBER: 4}])["columns"]["a"]["texts"] == ["X"]


def test_a_collator_that_keeps_tokens_reads_each_row_of_each_dataset_once():
    asked = []

    def ragged(texts, prompt=None, task=None):
        asked.extend(texts)
        ids = torch.tensor([len(text) for text in texts])
        return {"input_ids": ids, "lengths": [1] * len(texts)}

    plain = SentenceTransformerDataCollator(ragged)
    keeping = plain.keeping_tokens()
    rows = [{"a": "x", "b": "yy", ROW_NUMBER: 5}, {"a": "zzz", "b": "x", ROW_NUMBER: 2}]
    other = [{**row, DATASET_NAME: "other", "a": "four"} for row in rows]
    for batch in (rows, rows[::-1], other, other[:1]):
        kept = keeping(batch)["columns"]
        for column, features in kept.items():
            expected = [len(row[column]) for row in batch]
            assert features["input_ids"].tolist() == expected
    assert len(asked) == 8
    assert plain._stores is None


def kept(run, epochs):
    """Tokens that the loader of a training keeps after so many epochs."""
    loader = run.get_train_dataloader()
    for _ in range(epochs):
        for _batch in loader:
            pass
    stores = (loader.collate_fn._stores or {}).values()
    return sum(sum(map(len, store._pieces[:-1])) + store._used for store in stores)


def test_of_a_stream_no_tokens_are_kept(tiny_model, tmp_path):
    features = Features({"a": Value("string"), "b": Value("string")})
    rows = [{"a": f"the cat {n}", "b": f"a dog {n}"} for n in range(40)]
    stream = IterableDataset.from_generator(lambda: iter(rows), features=features)
    assert kept(trainer(tiny_model, tmp_path, stream, max_steps=10), 1) == 0
    assert kept(trainer(tiny_model, tmp_path, Dataset.from_list(rows)), 1) > 400


def test_of_a_loader_without_a_length_no_tokens_are_kept(tiny_model, tmp_path):
    rows = [InputExample(texts=[f"the cat {n}", f"a dog {n}"]) for n in range(40)]
    batches = DataLoader(rows, batch_size=4, collate_fn=list)
    stream = LoaderRows(iter(batches))
    known = LoaderRows(batches)
    assert stream.is_stream and not known.is_stream
    options = {"batch_sampler": lambda dataset, **_: LoaderBatches(dataset, 10, 0)}
    assert kept(trainer(tiny_model, tmp_path, stream, **options), 1) == 0
    assert kept(trainer(tiny_model, tmp_path, known, **options), 1) > 400


def test_texts_drawn_anew_in_each_epoch_take_the_room_of_one_version(tiny_model, tmp_path):
    drawn = random.Random(0)
    words = "the cat dog sat ran bird fish red blue".split()
    rows = Dataset.from_dict({"a": ["x"] * 60, "b": [f"a dog {n}" for n in range(60)]})

    def draw(batch):
        return {**batch, "a": [" ".join(drawn.sample(words, 6)) for _ in batch["a"]]}

    rows.set_transform(draw)
    run = trainer(tiny_model, tmp_path, rows)
    assert kept(run, 12) < 1.75 * kept(run, 1)


def test_all_columns_share_one_budget():
    budget = Budget(1 << 20, 0)
    keeping = SentenceTransformerDataCollator(
        lambda texts, **_: {"input_ids": np.arange(len(texts)), "lengths": [1] * len(texts)}
    ).keeping_tokens(budget)
    for name in ("one", "two"):
        keeping([{"a": "x", "b": "y", DATASET_NAME: name}])
    stores = list(keeping._stores.values())
    assert len(stores) == 4 and all(store.budget is budget for store in stores)
    used = sum(piece.nbytes for store in stores for piece in [*store._pieces, store._known])
    assert budget.memory_bytes == (1 << 20) - used


@pytest.mark.parametrize("keeps", [False, True])
def test_texts_may_be_cut_shorter_than_the_model_does(keeps, tiny_model):
    collator = SentenceTransformerDataCollator(tiny_model.preprocess, max_length=4)
    collator = collator.keeping_tokens() if keeps else collator
    batch = collator([{"a": "the cat sat on the mat"}, {"a": "a"}])
    assert batch["columns"]["a"]["lengths"] == [4, 3]
    assert batch["columns"]["a"]["input_ids"][3] == tiny_model.tokenizer.sep_token_id
    assert tiny_model.max_seq_length == 64


def test_a_length_may_go_with_a_task():
    asked = []

    def preprocess(texts, prompt=None, task=None, **options):
        asked.append((task, options))
        return {"input_ids": torch.zeros(1)}

    mapping = {"a": "query", "b": "document"}
    SentenceTransformerDataCollator(preprocess, ["label"], mapping, "p: ", {"query": 8})(
        [{"a": "1", "b": "2", "c": "3"}]
    )
    assert asked == [("query", {"max_length": 8}), ("document", {}), (None, {})]
