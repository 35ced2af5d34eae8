"""Are the pairs that mean the same found among all pairs?"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from itertools import combinations
from typing import Any, TypeVar

import numpy as np

from sentune.errors import InputError
from sentune.evaluation import metrics as figures
from sentune.evaluation.base import SentenceEvaluator
from sentune.search.paraphrases import paraphrase_mining_embeddings
from sentune.tables import check_dicts, rows_of
from sentune.types import Encoder

Id = TypeVar("Id", bound=Hashable)


class ParaphraseMiningEvaluator(SentenceEvaluator):
    """Average precision and best F1 of paraphrase mining: `average_precision`.

    Args:
        name, batch_size, show_progress_bar, truncate_dim: As in `SentenceEvaluator`.
        sentences_map: Id -> sentence.
        duplicates_list: Pairs of ids that mean the same.
        duplicates_dict: The same as id -> id -> whether they do.
        add_transitive_closure: Whether what means the same as the same also means the same.
        query_chunk_size, corpus_chunk_size, max_pairs, top_k: As in `paraphrase_mining`.
        write_csv: Whether to write `paraphrase_mining_evaluation_{name}_results.csv`.
    """

    works_on_tensors = True

    def __init__(
        self,
        sentences_map: Mapping[Any, str],
        duplicates_list: Iterable[tuple[Any, Any]] | None = None,
        duplicates_dict: Mapping[Any, Mapping[Any, bool]] | None = None,
        add_transitive_closure: bool = False,
        query_chunk_size: int = 5000,
        corpus_chunk_size: int = 100000,
        max_pairs: int = 500000,
        top_k: int = 100,
        show_progress_bar: bool | None = False,
        batch_size: int | None = None,
        name: str = "",
        write_csv: bool = True,
        truncate_dim: int | None = None,
    ) -> None:
        check_dicts(sentences_map=sentences_map, duplicates_dict=duplicates_dict or {})
        if len(sentences_map) < 2:
            raise InputError(f"there is no pair among {len(sentences_map)} sentences; give two")
        self.ids = list(sentences_map)
        self.sentences = list(sentences_map.values())
        self._adds_closure = add_transitive_closure
        self.query_chunk_size = query_chunk_size
        self.corpus_chunk_size = corpus_chunk_size
        self.max_pairs = max_pairs
        self.top_k = top_k
        self._keep(name, write_csv, batch_size, show_progress_bar, truncate_dim)
        self._name_csv_file("paraphrase_mining_evaluation", name)
        self._name_csv_columns("precision", "recall", "f1", "threshold", "average_precision")
        self.primary_metric = "average_precision"

        given = () if duplicates_list is None else duplicates_list
        pairs = rows_of(given, "duplicates_list", width=2)
        same = [pair for pair in pairs if set(pair) <= sentences_map.keys()]
        for one, others in (duplicates_dict or {}).items():
            same += [(one, other) for other, is_same in others.items() if is_same]
        if add_transitive_closure:
            same = [pair for group in connected(same) for pair in combinations(group, 2)]
        self._pairs = self._numbered(same)
        self.total_num_duplicates = len(self._pairs)

    def _numbered(self, pairs: Iterable[tuple[Any, Any]]) -> np.ndarray:
        """Each pair of known ids as one number, i · b + j with i < j, each once."""
        place = {name: row for row, name in enumerate(self.ids)}
        rows = (sorted((place[a], place[b])) for a, b in pairs if a in place and b in place)
        numbers = {low * len(self.ids) + high for low, high in rows if low != high}
        return np.asarray(sorted(numbers), dtype=np.int64)

    def __call__(
        self, model: Encoder, output_path: str | None = None, epoch: int = -1, steps: int = -1
    ) -> dict[str, float]:
        """The metrics; arguments as in `SentenceEvaluator`."""
        found = paraphrase_mining_embeddings(
            self._embed(model, self.sentences),
            query_chunk_size=self.query_chunk_size,
            corpus_chunk_size=self.corpus_chunk_size,
            max_pairs=self.max_pairs,
            top_k=self.top_k,
        )
        scores, low, high = np.asarray(found, dtype=np.float64).T  # rows are exact up to 2^53
        is_same = np.isin((low * len(self.ids) + high).astype(np.int64), self._pairs)
        total = self.total_num_duplicates  # of these some may not have been found
        best = figures.best_f1(scores, is_same, total)
        row = {name: getattr(best, name) for name in ("precision", "recall", "f1", "threshold")}
        row["average_precision"] = figures.average_precision(scores, is_same, total)
        return self._report(model, row, row, output_path, epoch, steps)

    def get_config_dict(self) -> dict[str, Any]:
        """As the base's."""
        own: dict[str, Any] = {"add_transitive_closure": self._adds_closure}
        own |= {"max_pairs": self.max_pairs, "top_k": self.top_k}
        return {**own, **super().get_config_dict()}

    @property
    def duplicates(self) -> dict[Any, dict[Any, bool]]:
        """Id -> id -> True, for every two that mean the same, both ways."""
        found: dict[Any, dict[Any, bool]] = {}
        for number in self._pairs.tolist():
            one, other = (self.ids[place] for place in divmod(number, len(self.ids)))
            found.setdefault(one, {})[other] = True
            found.setdefault(other, {})[one] = True
        return found

    @staticmethod
    def add_transitive_closure(graph: dict[Any, dict[Any, bool]]) -> dict[Any, dict[Any, bool]]:
        """The graph, id -> id -> whether both mean the same, with what follows from it added."""
        pairs = [(one, other) for one in graph for other, is_same in graph[one].items() if is_same]
        for group in connected(pairs):
            for one, other in combinations(group, 2):
                graph.setdefault(one, {})[other] = graph.setdefault(other, {})[one] = True
        return graph


def connected(pairs: Iterable[tuple[Id, Id]]) -> list[list[Id]]:
    """The groups that pairs link together, in the order in which they are first met."""
    group_of: dict[Id, list[Id]] = {}
    for one, other in pairs:
        groups = [group_of.setdefault(member, [member]) for member in (one, other)]
        small, large = sorted(groups, key=len)
        if small is not large:
            large += small
            group_of.update(dict.fromkeys(small, large))
    return list({id(group): group for group in group_of.values()}.values())
