"""Which rows come together in a batch, and in which order datasets take turns."""

import random
from collections import Counter
from itertools import chain

import pytest
import torch
from datasets import Dataset, Image
from hypothesis import given, settings
from hypothesis import strategies as st

from sentune.errors import DatasetError, SettingError
from sentune.training.dataset_rows import NumberedRows
from sentune.training.row_values import Hashing, numbered_values
from sentune.training.samplers import (
    DefaultBatchSampler,
    GroupByLabelBatchSampler,
    NoDuplicatesBatchSampler,
    ProportionalBatchSampler,
    RoundRobinBatchSampler,
)


def rows(n=10, **columns):
    return Dataset.from_dict({"text": [f"text {place}" for place in range(n)], **columns})


def values_of(dataset, batch):
    """All values of the rows, each row's once."""
    return list(chain.from_iterable(set(dataset[row].values()) for row in batch))


# The default ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [4, 4, 2]), (True, [4, 4])])
def test_all_rows_come_once_in_batches(drop_last, sizes):
    batches = list(DefaultBatchSampler(rows(), 4, drop_last))
    assert [len(batch) for batch in batches] == sizes
    assert len(set(chain.from_iterable(batches))) == sum(sizes)


def test_epochs_differ_and_each_is_the_same_again():
    sampler = DefaultBatchSampler(rows(50), 4, seed=3)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert first != second
    again = DefaultBatchSampler(rows(50), 4, seed=3)
    again.set_epoch(1)
    assert list(again) == second


def test_the_order_is_that_of_the_seed_and_the_epoch():
    sampler = DefaultBatchSampler(rows(), 10, seed=5)
    sampler.set_epoch(2)
    expected = torch.randperm(10, generator=torch.Generator().manual_seed(7)).tolist()
    assert list(sampler) == [expected]


def test_without_shuffle_rows_keep_their_order():
    assert list(DefaultBatchSampler(rows(5), 2, shuffle=False)) == [[0, 1], [2, 3], [4]]


# No duplicates ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_no_text_comes_twice_in_a_batch_whatever_its_column(seed):
    # Rows 1 and 3 have the text of row 0's first column in their second.
    dataset = Dataset.from_dict({"a": ["x", "y", "z", "u"], "b": ["1", "x", "2", "x"]})
    batches = list(NoDuplicatesBatchSampler(dataset, 2, seed=seed))
    assert not {0, 1} <= set(batches[0])
    for batch in batches:
        assert max(Counter(values_of(dataset, batch)).values()) == 1


def test_a_row_with_a_repeated_text_goes_to_the_next_batch():
    # In the drawn order, rows 0 and 1 would stand in the first batch; row 1 has to wait.
    dataset = Dataset.from_dict({"a": ["x", "x", "y", "z"]})
    sampler = NoDuplicatesBatchSampler(dataset, 2, shuffle=False)
    assert list(sampler) == [[0, 2], [1, 3]]


def test_a_row_may_repeat_its_own_text():
    dataset = Dataset.from_dict({"a": ["x", "y"], "b": ["x", "y"]})
    assert [sorted(batch) for batch in NoDuplicatesBatchSampler(dataset, 2)] == [[0, 1]]


def test_labels_and_the_name_of_the_dataset_may_repeat():
    dataset = rows(4, label=[1, 1, 1, 1], dataset_name=["d"] * 4)
    assert len(list(NoDuplicatesBatchSampler(dataset, 4))) == 1


def test_lists_count_as_values():
    dataset = Dataset.from_dict({"a": ["x", "y"], "b": [["n", "m"], ["n", "m"]]})
    assert sorted(map(len, NoDuplicatesBatchSampler(dataset, 1))) == [1, 1]
    batches = list(NoDuplicatesBatchSampler(dataset, 2))
    assert batches == [batches[0]]
    assert len(batches[0]) == 1


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 30)), min_size=1, max_size=40),
    st.integers(1, 6),
    st.booleans(),
    st.integers(0, 3),
)
def test_batches_are_clean_for_any_rows(cells, batch_size, drop_last, epoch):
    dataset = [{"a": f"a{a}", "b": f"b{b}"} for a, b in cells]
    sampler = NoDuplicatesBatchSampler(dataset, batch_size, drop_last)
    sampler.set_epoch(epoch)
    batches = list(sampler)
    for batch in batches:
        assert 0 < len(batch) <= batch_size
        assert max(Counter(values_of(dataset, batch)).values()) == 1
    assert len(batches) == len(sampler)
    if drop_last:
        assert all(len(batch) == batch_size for batch in batches)
    else:
        taken = list(chain.from_iterable(batches))
        assert len(taken) == len(set(taken))


def test_rows_are_left_out_only_where_they_cannot_fill_batches(caplog):
    dataset = [{"a": "same", "b": f"b{place}"} for place in range(100)]
    sampler = NoDuplicatesBatchSampler(dataset, 4)
    assert [len(batch) for batch in sampler] == [1] * 25
    assert "75 of 100 rows are left out" in caplog.text


def test_with_drop_last_missing_batches_are_drawn_anew():
    # Three values of eight rows each: a pass fills eight batches of three, or fewer if the draw is
    # unlucky; with a batch of 4 no batch can be full.
    dataset = [{"a": f"a{place % 3}"} for place in range(24)]
    assert len(list(NoDuplicatesBatchSampler(dataset, 3, drop_last=True))) == 8
    assert list(NoDuplicatesBatchSampler(dataset, 4, drop_last=True)) == []


def crowded(rows, seed=0, values=6, others=1000):
    """Rows whose first value is one of a few."""
    draw = random.Random(seed)
    return [
        {"a": f"a{draw.randrange(values)}", "b": f"b{draw.randrange(others)}"} for _ in range(rows)
    ]


@pytest.mark.parametrize("rows", [30, 47, 64])
@pytest.mark.parametrize("batch_size", [3, 5, 6, 7])
def test_every_epoch_has_as_many_batches_as_the_length_says(rows, batch_size):
    dataset = crowded(rows)
    sampler = NoDuplicatesBatchSampler(dataset, batch_size, drop_last=True, seed=3)
    for epoch in range(12):
        sampler.set_epoch(epoch)
        batches = list(sampler)
        assert len(batches) == len(sampler)
        for batch in batches:
            assert len(batch) == batch_size
            assert max(Counter(values_of(dataset, batch)).values()) == 1
    again = NoDuplicatesBatchSampler(dataset, batch_size, drop_last=True, seed=3)
    again.set_epoch(11)
    assert list(again) == batches and len(again) == len(batches)  # whichever is asked first


def test_an_epoch_that_draws_fewer_batches_is_filled_up():
    lengths = set()
    for seed in range(40):
        sampler = NoDuplicatesBatchSampler(crowded(16, seed, 5, 5), 5, drop_last=True, seed=seed)
        for epoch in range(6):
            sampler.set_epoch(epoch)
            drawn = sampler._full(len(sampler), torch.Generator().manual_seed(seed + epoch))
            lengths.add(len(drawn) - len(sampler))
            assert len(list(sampler)) == len(sampler)
    assert min(lengths) < 0  # else nothing had to be filled up


@pytest.mark.parametrize("order", [RoundRobinBatchSampler, ProportionalBatchSampler])
@pytest.mark.parametrize("in_a_row", [1, 2])
def test_several_datasets_have_as_many_batches_as_the_length_says(order, in_a_row):
    datasets = {name: crowded(rows, rows, 4) for name, rows in (("x", 32), ("y", 41))}
    numbered = NumberedRows(datasets)
    samplers = [
        NoDuplicatesBatchSampler(dataset, 4, drop_last=True) for dataset in numbered.datasets
    ]
    assert any(len(sampler) < len(sampler.dataset) // 4 for sampler in samplers)
    both = order(numbered, samplers, seed=2, in_a_row=in_a_row)
    for epoch in range(5):
        both.set_epoch(epoch)
        assert len(list(both)) == len(both) > 0


@pytest.mark.parametrize("processes", [None, 2])
def test_hashes_tell_values_apart_as_the_values_do(processes):
    rows = crowded(60)
    columns = {"a": [row["a"] for row in rows], "b": [row["b"] for row in rows]}
    lists = {"c": [[k // 2, 1] for k in range(60)], "label": [1] * 60}
    dataset = Dataset.from_dict({**columns, **lists})
    plain = NoDuplicatesBatchSampler(dataset, 4, True)
    options = {"precompute_num_proc": processes, "precompute_batch_size": 7}
    hashed = NoDuplicatesBatchSampler(dataset, 4, True, precompute_hashes=True, **options)
    assert list(hashed) == list(plain)
    assert list(NoDuplicatesBatchSampler(rows, 4, True, precompute_hashes=True)) == list(
        NoDuplicatesBatchSampler(rows, 4, True)
    )
    with pytest.raises(SettingError, match="precompute_batch_size"):
        NoDuplicatesBatchSampler(rows, 4, True, precompute_batch_size=0)


def batches_with_hashes(dataset):
    hashed = list(NoDuplicatesBatchSampler(dataset, 2, precompute_hashes=True))
    assert hashed == list(NoDuplicatesBatchSampler(dataset, 2))
    return hashed


def test_what_is_hashed_is_what_a_transform_gives():
    dataset = Dataset.from_dict({"a": ["x", "X", "y", "z"], "b": ["k", "l", "m", "n"]})
    upper = dataset.with_transform(
        lambda rows: {name: ["the " + value.upper() for value in rows[name]] for name in rows}
    )
    for seed in range(4):
        batches = batches_with_hashes(upper.shuffle(seed=seed))
        names = [[upper.shuffle(seed=seed)[row]["a"] for row in batch] for batch in batches]
        assert ["the X", "the X"] not in names and max(map(len, names)) == 2


def test_columns_of_images_are_hashed():
    image = pytest.importorskip("PIL.Image")
    pictures = [image.new("RGB", (2, 2), (color, 0, 0)) for color in (0, 0, 7, 9)]
    dataset = Dataset.from_dict({"image": pictures, "text": list("abcd")})
    dataset = dataset.cast_column("image", Image())
    assert not any({0, 1} <= set(batch) for batch in batches_with_hashes(dataset))


@pytest.mark.parametrize("kind", ["torch", "numpy", None])
@pytest.mark.parametrize("vectors", [[[1.5, 2], [1.5, 2], [0, 1]], [1.5, 1.5, 2]])
def test_equal_vectors_are_the_same_value_in_each_format(kind, vectors):
    dataset = Dataset.from_dict({"vector": vectors, "text": list("abc")}).with_format(kind)
    for hashing in (None, Hashing(2)):
        first, second, third = numbered_values(dataset, [], hashing)
        assert first[0] == second[0] != third[0]


@pytest.mark.parametrize(
    "values", [("1.5", 1.5), ("[1]", [1]), ("None", None), ([["a"]], ["['a']"]), (b"a", "b'a'")]
)
@pytest.mark.parametrize("hashing", [None, Hashing(2)])
def test_a_text_is_not_what_it_describes(values, hashing):
    numbers = numbered_values([{"a": value} for value in values], [], hashing)
    assert numbers[0] != numbers[1]


class Picture:
    """As images: not comparable, with its address in its `repr`."""

    def __init__(self, color):
        self.color = color


def test_equal_images_are_the_same_value():
    dataset = [{"image": Picture(color)} for color in (0, 0, 7, 9)]
    batches = list(NoDuplicatesBatchSampler(dataset, 2))
    assert not any({0, 1} <= set(batch) for batch in batches)
    assert sorted(map(len, batches)) == [2, 2]


def test_many_rows_with_few_repeats_are_placed_quickly_and_all():
    dataset = [{"a": f"a{place % 19_000}", "b": f"b{place}"} for place in range(20_000)]
    batches = list(NoDuplicatesBatchSampler(dataset, 64))
    taken = list(chain.from_iterable(batches))
    assert len(set(taken)) >= 19_990
    assert all(len({dataset[row]["a"] for row in batch}) == len(batch) for batch in batches)


# Group by label ---------------------------------------------------------------------------------


def classes(*sizes):
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    return rows(len(labels), label=labels)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=2, max_size=6),
    st.sampled_from([4, 6, 8]),
    st.booleans(),
    st.integers(0, 3),
)
def test_each_batch_has_several_rows_of_several_classes(sizes, batch_size, drop_last, epoch):
    if sum(size >= 2 for size in sizes) < 2:
        return
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    dataset = [{"text": "t", "label": label} for label in labels]
    sampler = GroupByLabelBatchSampler(dataset, batch_size, drop_last)
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    taken = list(chain.from_iterable(batches))
    assert len(taken) == len(set(taken))
    for batch in batches:
        counts = Counter(labels[row] for row in batch)
        assert len(counts) >= 2
        assert min(counts.values()) >= 2
        assert len(batch) == batch_size or (not drop_last and batch is batches[-1])


def test_classes_are_used_up_evenly():
    dataset = classes(10, 10, 10)
    batches = list(GroupByLabelBatchSampler(dataset, 6))
    assert [sorted(dataset[row]["label"] for row in batch) for batch in batches] == [
        [0, 0, 1, 1, 2, 2]
    ] * 5


@pytest.mark.parametrize("batch_size", [2, 5])
def test_a_batch_too_small_or_odd_is_refused(batch_size):
    with pytest.raises(SettingError, match=f"even batch size of at least 4, got {batch_size}"):
        GroupByLabelBatchSampler(classes(4, 4), batch_size)


def test_too_few_classes_are_refused():
    with pytest.raises(DatasetError, match="of the 3 classes here, 1 have that many"):
        GroupByLabelBatchSampler(classes(4, 1, 1), 4)


def test_missing_labels_are_named():
    with pytest.raises(DatasetError, match=r"the dataset has \['text'\]"):
        GroupByLabelBatchSampler(rows(), 4)


# Several datasets -------------------------------------------------------------------------------


def several(*sizes, batch_size=2):
    datasets = [rows(size) for size in sizes]
    samplers = [DefaultBatchSampler(dataset, batch_size) for dataset in datasets]
    return NumberedRows(dict(enumerate(datasets))), samplers


def source(rows_, batch):
    names = {rows_[row]["dataset_name"] for row in batch}
    assert len(names) == 1, "a batch must come from one dataset"
    return names.pop()


def test_round_robin_stops_with_the_smallest():
    together, samplers = several(10, 4, 6)
    sampler = RoundRobinBatchSampler(together, samplers)
    assert [source(together, batch) for batch in sampler] == [0, 1, 2] * 2
    assert len(sampler) == 6


def test_proportional_uses_every_row():
    together, samplers = several(10, 3, 7)
    sampler = ProportionalBatchSampler(together, samplers, seed=1)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 5 + 2 + 4
    assert sorted(chain.from_iterable(batches)) == list(range(20))
    order = [source(together, batch) for batch in batches]
    assert order != sorted(order)
    sampler.set_epoch(1)
    assert [source(together, batch) for batch in sampler] != order


@pytest.mark.parametrize("kind", [RoundRobinBatchSampler, ProportionalBatchSampler])
def test_processes_work_on_the_same_dataset_at_a_time(kind):
    together, samplers = several(20, 14)
    sampler = kind(together, samplers, in_a_row=3)
    order = [source(together, batch) for batch in sampler]
    assert len(order) == len(sampler)
    for start in range(0, len(order), 3):
        assert len(set(order[start : start + 3])) == 1


def test_the_epoch_reaches_every_sampler():
    together, samplers = several(6, 6)
    RoundRobinBatchSampler(together, samplers).set_epoch(4)
    assert [sampler.epoch for sampler in samplers] == [4, 4]


def test_samplers_and_datasets_must_match():
    together, samplers = several(6, 6)
    with pytest.raises(SettingError, match="2 datasets and 1 samplers"):
        RoundRobinBatchSampler(together, samplers[:1])
