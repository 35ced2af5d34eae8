"""Datasets and the loader that scripts for `model.fit` use."""

import gzip
import random
from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from sentune import datasets
from sentune.data.example import InputExample
from sentune.errors import DatasetError
from sentune.losses import MultipleNegativesRankingLoss
from sentune.training.fit import fit


def examples(*sizes):
    return [
        InputExample(texts=[f"text {label} {number}"], label=label)
        for label, size in enumerate(sizes)
        for number in range(size)
    ]


def test_a_list_of_examples():
    rows = examples(2)
    dataset = datasets.SentencesDataset(rows, model=None)
    assert len(dataset) == 2
    assert dataset[1] is rows[1]


# Sentences with a class -------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_classes_take_turns_in_groups(seed):
    random.seed(seed)
    dataset = datasets.SentenceLabelDataset(examples(4, 7, 1, 6), samples_per_label=2)
    rows = list(dataset)
    assert len(rows) == len(dataset) == 4 + 6 + 6
    assert len({id(row) for row in rows}) == len(rows)
    groups = [rows[start].label for start in range(0, len(rows), 2)]
    assert groups == [rows[start + 1].label for start in range(0, len(rows), 2)]
    for turn in (groups[:3], groups[3:6]):
        assert sorted(turn) == [0, 1, 3]


def test_with_replacement_as_many_are_drawn_as_there_are():
    dataset = datasets.SentenceLabelDataset(examples(2, 9), 2, with_replacement=True)
    rows = list(dataset)
    assert len(rows) == len(dataset) == 11
    assert Counter(row.label for row in rows)[0] > 2


def test_classes_with_too_few_rows_are_refused():
    with pytest.raises(DatasetError, match="none of the 2 classes has 3 examples"):
        datasets.SentenceLabelDataset(examples(2, 1), samples_per_label=3)


def test_grouped_sentences_are_trained_on(tiny_model):
    seen = []

    class Loss(MultipleNegativesRankingLoss):
        min_columns = 1

        def compute(self, columns, labels=None, **context):
            seen.append(Counter(labels.tolist()))
            return columns[0].square().mean()

    loader = DataLoader(datasets.SentenceLabelDataset(examples(4, 4, 4)), batch_size=6)
    fit(tiny_model, [(loader, Loss(tiny_model))], show_progress_bar=False)
    assert seen == [{0: 2, 1: 2, 2: 2}] * 2


# No duplicates ----------------------------------------------------------------------------------


def pairs(n=20):
    return [InputExample(texts=[f"Anchor {k % 7}", f"positive {k}"]) for k in range(n)]


def test_no_text_comes_twice_in_a_batch():
    rows = pairs()
    rows[3] = InputExample(texts=[" anchor 4", "positive 3"])
    loader = datasets.NoDuplicatesDataLoader(rows, batch_size=4)
    batches = list(loader)
    assert len(batches) == len(loader) == 5
    for batch in batches:
        texts = [text.strip().lower() for example in batch for text in example.texts]
        assert len(batch) == 4
        assert len(set(texts)) == len(texts)
    assert loader.train_examples is rows


def test_each_pass_has_its_own_order_drawn_from_torchs_seed():
    loader = datasets.NoDuplicatesDataLoader(pairs(), batch_size=4)

    def order():
        return [example.texts[1] for batch in loader for example in batch]

    torch.manual_seed(0)
    first, second = order(), order()
    assert first != second
    torch.manual_seed(0)
    assert order() == first


def test_uneven_examples_are_refused():
    with pytest.raises(DatasetError, match=r"as many texts each, got \[1, 2\]"):
        datasets.NoDuplicatesDataLoader([*pairs(2), InputExample(texts=["a"])], 2)


def test_the_loader_is_trained_on(tiny_model):
    sizes = []

    class Loss(MultipleNegativesRankingLoss):
        def compute(self, columns, labels=None, **context):
            sizes.append(len(columns[0]))
            return super().compute(columns, labels)

    loader = datasets.NoDuplicatesDataLoader(pairs(), batch_size=4)
    fit(tiny_model, [(loader, Loss(tiny_model))], epochs=2, show_progress_bar=False)
    assert sizes == [4] * 10


# Noise ------------------------------------------------------------------------------------------


def test_words_are_left_out():
    random.seed(0)
    text = "one two three four five six seven eight nine ten"
    dataset = datasets.DenoisingAutoEncoderDataset([text])
    assert len(dataset) == 1
    kept = []
    for _ in range(200):
        noisy, whole = dataset[0].texts
        assert whole == text
        words = noisy.split()
        assert words == [word for word in text.split() if word in words], "the order stays"
        kept.append(len(words))
    assert 0.3 < np.mean(kept) / 10 < 0.5
    assert min(kept) >= 1


@pytest.mark.parametrize(("text", "kept"), [("word", "word"), ("", ""), (" ", "")])
def test_at_least_one_word_stays(text, kept):
    assert datasets.DenoisingAutoEncoderDataset.delete(text, del_ratio=1.0) == kept


def test_noise_of_ones_own():
    dataset = datasets.DenoisingAutoEncoderDataset(["abc"], noise_fn=lambda text: text[::-1])
    assert dataset[0].texts == ["cba", "abc"]


# Translations -----------------------------------------------------------------------------------


class Teacher:
    def __init__(self):
        self.seen = []

    def encode(self, texts, **options):
        self.seen += texts
        return np.array([[len(text), ord(text[0])] for text in texts], dtype=np.float32)


def test_translations_have_the_embedding_of_the_original(tmp_path):
    teacher = Teacher()
    dataset = datasets.ParallelSentencesDataset(None, teacher)
    with gzip.open(tmp_path / "talks.tsv.gz", "wt", encoding="utf-8") as file:
        file.write("hello\thallo\thola\nthank you\tdanke\n" + "x" * 200 + "\ty\n")
    dataset.load_data(tmp_path / "talks.tsv.gz", weight=2)
    dataset.add_dataset([["yes", "ja"]], weight=1)
    assert len(dataset) == 3 + 2 + 2
    rows = {example.texts[0]: example.label for example in (dataset[0] for _ in range(7))}
    assert set(rows) == {"hello", "hallo", "hola", "thank you", "danke", "yes", "ja"}
    for text in ("hello", "hallo", "hola"):
        assert rows[text].tolist() == [5, ord("h")]
    assert rows["ja"].tolist() == [3, ord("y")]
    for _ in range(14):
        assert dataset[0].texts
    assert sorted(teacher.seen) == ["hello", "thank you", "yes"], "each is embedded once"


def test_without_a_cache_originals_are_embedded_again():
    teacher = Teacher()
    dataset = datasets.ParallelSentencesDataset(None, teacher, use_embedding_cache=False)
    dataset.add_dataset([["yes", "ja"]], weight=1)
    for _ in range(4):
        assert dataset[0].label.tolist() == [3, ord("y")]
    assert teacher.seen == ["yes", "yes"]


def test_the_number_of_entries_can_be_limited():
    dataset = datasets.ParallelSentencesDataset(None, Teacher())
    dataset.add_dataset([["a", "b"], ["c", "d"], ["e", "f"]], max_sentences=2)
    assert len(dataset) == 4


def test_parts_of_the_translations_can_be_overridden():
    class Own(datasets.ParallelSentencesDataset):
        def next_entry(self, data_idx):
            original, texts = super().next_entry(data_idx)
            return original, [text.upper() for text in texts]

        def get_embeddings(self, sentences):
            return [embedding + 1 for embedding in super().get_embeddings(sentences)]

    dataset = Own(None, Teacher())
    dataset.add_dataset([["yes", "ja"]], weight=2)
    assert dataset.dataset_indices == [0, 0] and dataset.datasets == [[("yes", ["yes", "ja"])]]
    dataset.generate_data()
    assert sorted(example.texts[0] for example in dataset.cache) == ["JA", "JA", "YES", "YES"]
    assert dataset[0].label.tolist() == [4, ord("y") + 1]
    assert len(dataset.cache) == 3
