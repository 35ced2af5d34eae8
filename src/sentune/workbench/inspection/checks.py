"""The table of checks. A new one is a function `find(table) -> Hits` and a row here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sentune.workbench.inspection import labels, texts
from sentune.workbench.inspection.hits import Hits
from sentune.workbench.inspection.table import Table


@dataclass(frozen=True)
class Check:
    """One thing to look for.

    Args:
        kind: What is found, in the plural.
        find: Finds the rows.
        effect: What such rows do to training.
        advice: What to do about them.
        is_harmful: Whether training is better without these rows.
    """

    kind: str
    find: Callable[[Table], Hits]
    effect: str
    advice: str
    is_harmful: bool = True


CHECKS = (
    Check(
        "empty texts",
        texts.empty,
        "An empty text has an embedding that means nothing, and its partner is drawn to it.",
        "Remove the rows, or fill in the texts.",
    ),
    Check(
        "missing labels",
        texts.without_label,
        "No loss can learn from a row without a label: a trainer refuses such data, and sentune "
        "train leaves these rows out.",
        "Fill in the labels, or remove the rows.",
    ),
    Check(
        "one-word texts",
        texts.one_word,
        "A single word is often a slip of whoever made the data, and says little.",
        "Look at them: keep them if such texts will be searched or compared, else remove them.",
        is_harmful=False,
    ),
    Check(
        "anchor equals positive",
        texts.same_in_row,
        "The two texts have the same embedding whatever the model does: nothing is learned.",
        "Remove the rows.",
    ),
    Check(
        "exact duplicates",
        texts.exact_duplicates,
        "These rows count twice. In one batch, a duplicate is a negative of its own copy. On both "
        "sides of a split, it makes a model look better than it is.",
        "Keep one row of each.",
    ),
    Check(
        "near duplicates",
        texts.near_duplicates,
        "As exact duplicates: they differ in case, punctuation or a letter, and mean the same.",
        "Keep one row of each.",
    ),
    Check(
        "contradicting labels",
        texts.contradicting,
        "The same texts have different labels: whatever the model learns from one row, it unlearns "
        "from the other.",
        "Find out which label is right, or remove these rows.",
    ),
    Check(
        "negatives that are positives",
        texts.negative_is_positive,
        "One row draws the two texts together, and another pushes them apart.",
        "Remove the rows, or take other negatives: sentune mine finds some.",
    ),
    Check(
        "rows of the test data",
        texts.in_test,
        "The test measures what was learned by heart: its figure is too good.",
        "Remove the rows here, not in the test data.",
    ),
    Check(
        "near rows of the test data",
        texts.nearly_in_test,
        "As rows of the test data: they differ in case, punctuation or a letter.",
        "Remove the rows here, not in the test data.",
    ),
    Check(
        "likely wrong labels",
        labels.wrong_labels,
        "The model learns what is not so; a few such rows do little, many do harm.",
        "Read the rows, the most striking ones first: the model may be wrong instead. Correct or "
        "remove those that are wrong; such rows that are right teach the model most.",
        is_harmful=False,
    ),
    Check(
        "texts of the test data",
        texts.text_in_test,
        "The test is easier than texts that were never seen.",
        "Split by text if figures for unseen texts are wanted: sentune train does.",
        is_harmful=False,
    ),
    Check(
        "repeated texts",
        texts.repeated,
        "In one batch, the positive of one row is a wrong negative of the other.",
        "Set batch_sampler='no_duplicates', which puts them in different batches.",
        is_harmful=False,
    ),
)


def run(table: Table, checks: Iterable[Check] = CHECKS) -> list[tuple[Check, Hits]]:
    """What the checks find, in their order; those that find nothing are left out."""
    found = ((check, check.find(table)) for check in checks)
    return [(check, hits) for check, hits in found if len(hits)]
