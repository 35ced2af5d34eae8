"""The model card: what is gathered about a model while it is trained and evaluated, and the text.

Nothing here asks the Hub, and nothing is encoded but the three sentences of the card's own code.
"""

from __future__ import annotations

import logging
import platform
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from importlib import metadata
from typing import Any

from sentune._version import __version__
from sentune.hub import fetch as hub
from sentune.record.model import SentenceTransformerModelCardData
from sentune.share import usage as card_usage
from sentune.share.about import AboutModel, about
from sentune.share.body import Subject, body
from sentune.share.front import front_matter, said_of, with_facts

logger = logging.getLogger(__name__)

_PACKAGES = ("torch", "transformers", "tokenizers", "datasets", "accelerate")


def text(
    model: Any,
    *,
    model_name: str | None = None,
    train_datasets: Sequence[Any] | None = None,
    model_id: str | None = None,
    step: int | None = None,
) -> str | None:
    """The card of a model; None if none can be written, which is logged.

    A model that was loaded and not trained keeps the card it came with; what its author says
    beyond that, and what evaluators found, is added to the front of it.

    Args:
        model: A SentenceTransformer with `model_card_data`.
        model_name: How the card calls it.
        train_datasets: Ids of datasets it was trained on, besides those that are known.
        model_id: Its id on the Hub.
        step: Of the last run, the step that the card is about where the model in memory went on
            from it; nothing is encoded then.
    """
    try:
        card = _with(model.model_card_data, model_name, train_datasets, model_id)
        if step is not None and card.runs:
            card.runs = [*card.runs[:-1], replace(card.runs[-1], saved_step=step)]
            card.is_running = True  # as far as the weights at hand are concerned
        if card.loaded_card is not None and not card.runs and not card.losses:
            return with_facts(card.loaded_card, said_of(card), card.tags or ())
        return _new_card(card, model)
    except Exception:  # a card is not worth a save
        logger.warning("no card can be written for the model", exc_info=True)
        return None


def _with(
    known: SentenceTransformerModelCardData | None,
    model_name: str | None,
    train_datasets: Sequence[Any] | None,
    model_id: str | None,
) -> SentenceTransformerModelCardData:
    """A copy of what is known, with some more."""
    fresh = copy(known or SentenceTransformerModelCardData())
    fresh.model_name = model_name or fresh.model_name
    fresh.model_id = model_id or fresh.model_id
    fresh.train_datasets = [*_listed(fresh.train_datasets), *_listed(train_datasets)]
    return fresh


def _listed(given: Any) -> list[Any]:
    """What was given as one or as several."""
    return [given] if isinstance(given, (str, Mapping)) else list(given or ())


def _new_card(card: SentenceTransformerModelCardData, model: Any) -> str:
    facts = about(model)
    base = card.base_model or (facts.encoder[0] if facts.encoder else None)
    own = (card.model_id or "").rpartition("/")[2]
    name = card.model_name or own or (f"Embeddings from {base}" if base else "Sentence embeddings")
    named = card.model_name if hub.is_id(card.model_name) else None
    subject = Subject(
        card=card,
        model=facts,
        name=name,
        place=card.model_id or named,
        base=base,
        printed=[] if card.is_running else _printed(model, facts),
        versions=_versions(),
    )
    return f"{front_matter(card, name, base)}\n{body(subject)}"


def _printed(model: Any, facts: AboutModel) -> list[str]:
    """What the card's code prints; nothing for a model that does not take plain texts."""
    try:
        return card_usage.run(model, facts)
    except Exception as error:
        logger.debug("the card's code was not run: %s", error)
        return []


def _versions() -> dict[str, str]:
    versions = {"Python": platform.python_version(), "sentune": __version__}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
