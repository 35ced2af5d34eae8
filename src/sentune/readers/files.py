"""Readers of files of examples: a folder or files in, a list of `InputExample`s out.

Files that end in .gz are unpacked. For new scripts, `sentune.data` reads csv, json and the like.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO

from sentune.data.example import InputExample
from sentune.disk import pointers
from sentune.errors import DatasetError

NLI_LABELS = {"contradiction": 0, "entailment": 1, "neutral": 2}


class LabelSentenceReader:
    """Lines with a class name and a sentence -> sentences with class numbers; columns from 0."""

    def __init__(
        self,
        folder: str | Path,
        label_col_idx: int = 0,
        sentence_col_idx: int = 1,
        separator: str = "\t",
    ) -> None:
        self.folder = Path(folder)
        self.columns = label_col_idx, sentence_col_idx
        self.separator = separator
        self.label_map: dict[str, int] = {}

    def get_examples(self, filename: str, max_examples: int = 0) -> list[InputExample]:
        """The examples of a file, at most `max_examples` (0: all); a class gets the next number."""
        with _opened(self.folder / filename) as file:
            rows = (line.strip().split(self.separator) for line in file)
            cells = _cells(rows, self.columns, filename)
            return [
                InputExample(f"{filename}-{number}", [text], self._number(label))
                for number, (label, text) in enumerate(islice(cells, max_examples or None))
            ]

    def _number(self, label: str) -> int:
        return self.label_map.setdefault(label, len(self.label_map))


class NLIDataReader:
    """Pairs of sentences and what follows from what: s1.X, s2.X and labels.X, packed with gzip."""

    def __init__(self, dataset_folder: str | Path) -> None:
        self.dataset_folder = Path(dataset_folder)

    def get_examples(self, filename: str, max_examples: int = 0) -> list[InputExample]:
        """The examples of a part, such as "train.gz", at most `max_examples`; 0 for all."""
        parts = (self.dataset_folder / f"{part}.{filename}" for part in ("s1", "s2", "labels"))
        lines = zip(*map(_lines, parts), strict=False)
        return [
            InputExample(f"{filename}-{number}", [first, second], self.map_label(label))
            for number, (first, second, label) in enumerate(islice(lines, max_examples or None))
        ]

    @staticmethod
    def get_labels() -> dict[str, int]:
        """Class name -> number."""
        return dict(NLI_LABELS)

    def get_num_labels(self) -> int:
        """How many classes there are."""
        return len(NLI_LABELS)

    def map_label(self, label: str) -> int:
        """The number of a class; DatasetError if there is none of that name."""
        name = label.strip().lower()
        if name not in NLI_LABELS:
            raise DatasetError(f"the label must be one of {list(NLI_LABELS)}, got {label!r}")
        return NLI_LABELS[name]


class PairedFilesReader:
    """Files whose lines belong together -> examples of a line from each, with label 1."""

    def __init__(self, filepaths: Sequence[str | Path]) -> None:
        self.filepaths = [Path(path) for path in filepaths]

    def get_examples(self, max_examples: int = 0) -> list[InputExample]:
        """The examples, until the shortest file ends, at most `max_examples`; 0 for all."""
        lines = zip(*map(_lines, self.filepaths), strict=False)
        return [
            InputExample(str(number), list(texts), 1)
            for number, texts in enumerate(islice(lines, max_examples or None))
        ]


class STSDataReader:
    """Lines with two sentences and a score -> pairs with a score from 0 to 1.

    Args:
        dataset_folder: Where the files are.
        s1_col_idx, s2_col_idx, score_col_idx: Columns of the sentences and the score, from 0.
        delimiter: Between columns.
        quoting: One of csv's constants.
        normalize_scores: Whether scores are brought to 0 to 1.
        min_score: The score that becomes 0.
        max_score: The score that becomes 1.
    """

    def __init__(
        self,
        dataset_folder: str | Path,
        s1_col_idx: int = 0,
        s2_col_idx: int = 1,
        score_col_idx: int = 2,
        delimiter: str = "\t",
        quoting: int = csv.QUOTE_NONE,
        normalize_scores: bool = True,
        min_score: float = 0,
        max_score: float = 5,
    ) -> None:
        self.dataset_folder = Path(dataset_folder)
        self.columns = s1_col_idx, s2_col_idx, score_col_idx
        self.format = {"delimiter": delimiter, "quoting": quoting}
        self.normalize_scores = normalize_scores
        self.min_score = min_score
        self.max_score = max_score

    def get_examples(self, filename: str, max_examples: int = 0) -> list[InputExample]:
        """The examples of a file in the folder, at most `max_examples`; 0 for all."""
        with _opened(self.dataset_folder / filename) as file:
            rows = csv.reader(file, **self.format)  # type: ignore[arg-type]
            cells = _cells(rows, self.columns, filename)
            return [
                InputExample(f"{filename}{number}", [first, second], self._score(float(score)))
                for number, (first, second, score) in enumerate(islice(cells, max_examples or None))
            ]

    def _score(self, score: float) -> float:
        if not self.normalize_scores:
            return score
        return (score - self.min_score) / (self.max_score - self.min_score)


class STSBenchmarkDataReader(STSDataReader):
    """As `STSDataReader`, with the columns of the STS benchmark's files."""

    def __init__(
        self,
        dataset_folder: str | Path,
        s1_col_idx: int = 5,
        s2_col_idx: int = 6,
        score_col_idx: int = 4,
        delimiter: str = "\t",
        quoting: int = csv.QUOTE_NONE,
        normalize_scores: bool = True,
        min_score: float = 0,
        max_score: float = 5,
    ) -> None:
        columns = (s1_col_idx, s2_col_idx, score_col_idx)
        scores = (normalize_scores, min_score, max_score)
        super().__init__(dataset_folder, *columns, delimiter, quoting, *scores)


class TripletReader:
    """Lines with an anchor, a positive and a negative -> triplets.

    The columns of the three are counted from 0; `quoting` is one of csv's constants.
    """

    def __init__(
        self,
        dataset_folder: str | Path,
        s1_col_idx: int = 0,
        s2_col_idx: int = 1,
        s3_col_idx: int = 2,
        has_header: bool = False,
        delimiter: str = "\t",
        quoting: int = csv.QUOTE_NONE,
    ) -> None:
        self.dataset_folder = Path(dataset_folder)
        self.columns = s1_col_idx, s2_col_idx, s3_col_idx
        self.has_header = has_header
        self.format = {"delimiter": delimiter, "quoting": quoting}

    def get_examples(self, filename: str, max_examples: int = 0) -> list[InputExample]:
        """The examples of a file in the folder, at most `max_examples`; 0 for all."""
        with _opened(self.dataset_folder / filename) as file:
            rows = csv.reader(file, **self.format)  # type: ignore[arg-type]
            cells = islice(_cells(rows, self.columns, filename), int(self.has_header), None)
            return [InputExample(texts=list(row)) for row in islice(cells, max_examples or None)]


def _cells(
    rows: Iterable[Sequence[str]], columns: Sequence[int], filename: str
) -> Iterator[tuple[str, ...]]:
    """The cells of some columns, row by row."""
    for number, row in enumerate(rows, 1):
        try:
            yield tuple(row[column] for column in columns)
        except IndexError:
            raise DatasetError(
                f"{filename}, line {number} has {len(row)} columns, the columns {list(columns)} "
                f"(from 0) are asked for: {list(row)!r:.80}"
            ) from None


def _lines(path: Path) -> Iterator[str]:
    with _opened(path) as file:
        for line in file:
            yield line.rstrip("\r\n")


def _opened(path: Path) -> IO[str]:
    if found := pointers.advice(path):
        raise DatasetError(found)
    opener = gzip.open if path.suffix == ".gz" else open
    return opener(path, "rt", encoding="utf-8", newline="")
