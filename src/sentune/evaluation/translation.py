"""Is the translation of a sentence the nearest one in the other language?"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from sentune.evaluation.base import SentenceEvaluator, checked_columns
from sentune.search.semantic import nearest
from sentune.types import Encoder
from sentune.vectors.similarity import dot_score, normalize_embeddings, to_rows

CHUNK = 8192  # sentences compared with 1024 others at a time
SHOWN = 5


class TranslationEvaluator(SentenceEvaluator):
    """The part of the sentences whose nearest one is their translation: `mean_accuracy`.

    Nearest by cosine. Where a translation occurs several times, any of them is right.

    Args:
        name, batch_size, show_progress_bar, truncate_dim: As in `SentenceEvaluator`.
        source_sentences: Sentences of one language.
        target_sentences: Their translations, in the same order.
        print_wrong_matches: Whether to print each source sentence whose nearest is wrong.
        write_csv: Whether to write `translation_evaluation_{name}_results.csv`.
    """

    works_on_tensors = True

    def __init__(
        self,
        source_sentences: Sequence[str],
        target_sentences: Sequence[str],
        show_progress_bar: bool | None = False,
        batch_size: int | None = None,
        name: str = "",
        print_wrong_matches: bool = False,
        write_csv: bool = True,
        truncate_dim: int | None = None,
    ) -> None:
        self.source_sentences, self.target_sentences = checked_columns(
            source_sentences=source_sentences, target_sentences=target_sentences
        )
        self.print_wrong_matches = print_wrong_matches
        self._keep(name, write_csv, batch_size, show_progress_bar, truncate_dim)
        self._name_csv_file("translation_evaluation", name)
        self._name_csv_columns("src2trg", "trg2src")
        self.primary_metric = "mean_accuracy"

    def __call__(
        self, model: Encoder, output_path: str | None = None, epoch: int = -1, steps: int = -1
    ) -> dict[str, float]:
        """The accuracies of both directions; arguments as in `SentenceEvaluator`."""
        texts = [*self.source_sentences, *self.target_sentences]
        embeddings = self._embed(model, texts)
        unit = normalize_embeddings(to_rows(embeddings))
        sources, targets = unit.split(len(self.source_sentences))
        there = _accuracy(_nearest(sources, targets), self.target_sentences)
        back = _accuracy(_nearest(targets, sources), self.source_sentences)
        if self.print_wrong_matches:
            self._print_wrong(sources, targets)
        row = {"src2trg": there, "trg2src": back}
        metrics = {f"{way}_accuracy": value for way, value in row.items()}
        metrics["mean_accuracy"] = (there + back) / 2
        return self._report(model, metrics, row, output_path, epoch, steps)

    def _print_wrong(self, sources: Tensor, targets: Tensor) -> None:
        best = nearest(sources, targets.split(CHUNK), {"": dot_score}, SHOWN)[""]
        for row, (ids, scores) in enumerate(
            zip(best.columns.tolist(), best.scores.tolist(), strict=True)
        ):
            right = self.target_sentences[row]
            if self.target_sentences[ids[0]] == right:
                continue
            score = float(sources[row] @ targets[row])
            lines = [f"{self.source_sentences[row]}\n  should be {score:.4f} {right}"]
            lines += [
                f"  {score:.4f} {self.target_sentences[i]}"
                for i, score in zip(ids, scores, strict=True)
            ]
            print("\n".join(lines))  # noqa: T201  (the caller asked for it)


def _nearest(queries: Tensor, corpus: Tensor) -> list[int]:
    best = nearest(queries, corpus.split(CHUNK), {"": dot_score}, 1)[""]
    return best.columns[:, 0].tolist()


def _accuracy(found: Sequence[int], texts: Sequence[str]) -> float:
    """The part of the rows where the text that was found equals the text that belongs there."""
    return sum(texts[i] == text for i, text in zip(found, texts, strict=True)) / len(texts)
