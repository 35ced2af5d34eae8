"""What the card says of one kind of model and of no other: a row for each kind."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

logger = logging.getLogger(__name__)

LIBRARY = "sentence-transformers"  # what the widgets of the Hub and other libraries look for
SENTENCES = "The weather is lovely today.", "It is so sunny outside!", "He drove to the stadium."
QUERY = "Which planet is known as the Red Planet?"
DOCUMENTS = (
    "Mars owes the colour that gave it its nickname to the iron in its soil.",
    "Venus is as large as the Earth and much hotter.",
)


@dataclass(frozen=True)
class CardKind:
    """A kind of model, as its cards describe it; functions take the model."""

    name: str  # of the class that loads it, here and in sentence-transformers
    title: str  # of the card of a model without a name
    noun: str  # ... and with "from" and a name behind it, where its encoder has one
    tags: tuple[str, ...]  # on the Hub, of every such model
    pipeline_tag: str  # what the Hub calls its task
    maps: Callable[[Any], str]  # what it does, to follow "This model"
    means: str  # what can be said of its output, to be followed by "which serves"
    serves: str  # what it is good for, where the author does not say it
    facts: Callable[[Any], list[tuple[str, Any]]]  # names and values, of its output
    code: Callable[[Any], str]  # Python that uses `model` and prints; it is run as it is shown
    alone: Callable[[Any], dict[str, Any] | None] = lambda model: None  # see `with_transformers`
    examples: tuple[str, ...] = ()  # to try on its page, if the training has none; () for no widget


def kind_of(model: Any) -> CardKind:
    """The kind of a model: by its class, or by the class that it is a subclass of."""
    names = {one.__name__ for one in type(model).__mro__}
    return next((kind for kind in KINDS if kind.name in names), KINDS[0])


def code_of(kind: CardKind, model: Any, *, is_run: bool) -> str:
    """The code of a kind; if it is run and the texts fit, with what it prints as comments."""
    code, printed = kind.code(model), []
    try:
        if is_run and not _truncates(model):
            shown: list[str] = []
            names = {"model": model, "print": lambda *x: shown.append(" ".join(map(str, x)))}
            exec(code, names)  # of a row below: nothing of the model's own is in it
            printed = shown
    except Exception as error:
        logger.debug("the card's code was not run: %s", error)
    lines = []
    for line in code.strip().splitlines():
        output = printed.pop(0) if line.startswith("print(") and printed else ""
        lines += [line, *(f"# {text}" for text in output.splitlines())]
    return "\n".join(lines)


def _truncates(model: Any) -> bool:
    """Whether the texts are too long: the model would warn of them, and not of the user's."""
    prompt = max(filter(None, model.prompts.values()), key=len, default=None)
    return bool(model.read([*SENTENCES, QUERY, *DOCUMENTS], prompt).get("truncated"))


def _texts(texts: Sequence[str]) -> str:
    return "[\n" + "".join(f"    {json.dumps(text)},\n" for text in texts) + "]"


_COMPARE = f"""
embeddings = model.encode({_texts(SENTENCES)})
print(embeddings.shape)
print(model.similarity(embeddings, embeddings))
"""
_SEARCH = f"""
queries = model.encode_query([{json.dumps(QUERY)}])
documents = model.encode_document({_texts(DOCUMENTS)})
print(queries.shape, documents.shape)
print(model.similarity(queries, documents))
"""


def _vectors(model: Any) -> str:
    width = model.get_embedding_dimension()
    vectors = "vectors" if width is None else f"vectors of {width:,} numbers"
    return f"maps sentences and paragraphs to {vectors}"


def _vector_facts(model: Any) -> list[tuple[str, Any]]:
    width = model.get_embedding_dimension()
    return [
        ("Numbers in a vector", "" if width is None else f"{width:,}"),
        ("Compared by", model.similarity_fn_name),
    ]


def _vector_code(model: Any) -> str:
    prompts = {name for name, text in model.prompts.items() if text}
    has_routes = any(type(module).__name__ == "Router" for module in model)
    is_for_search = has_routes or prompts & {"query", "document", "passage", "corpus"}
    return _SEARCH if is_for_search else _COMPARE


def with_transformers(model: Any) -> dict[str, Any] | None:
    """What a few lines of plain transformers have to do for the same vectors; None if it is more.

    `mode`: how token embeddings are pooled, "mean" or "cls"; `is_normalized`; `dimension`: keep
    this many numbers, None for all; `max_length`: in tokens, None for no limit; `prompt`: what
    comes before each text.
    """
    names = [type(module).__name__ for module in model]
    if names not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        return None
    first, pooling = model[0], model[1].settings()
    mode, name = pooling["pooling_mode"], model.default_prompt_name
    if mode not in ("mean", "cls") or first.do_lower_case:
        return None
    if not pooling["include_prompt"] and name is not None:
        return None
    if first.tokenizer.padding_side != "right" and mode == "cls":
        return None
    return {
        "mode": mode,
        "is_normalized": len(names) == 3,
        "dimension": model.truncate_dim,
        "max_length": first.max_seq_length,
        "prompt": model.prompts.get(name, ""),
    }


_RANK = f"""
query = {json.dumps(QUERY)}
documents = {_texts(DOCUMENTS)}
print(model.predict([(query, document) for document in documents]))
print(model.rank(query, documents))
"""
_CLASSIFY = f"""
pairs = [({json.dumps(SENTENCES[0])}, {json.dumps(SENTENCES[1])})]
print(model.predict(pairs))
"""


def _scores(model: Any) -> str:
    labels = model.num_labels
    return f"gives pairs of texts {'one score' if labels == 1 else f'{labels} scores'} each"


def _score_facts(model: Any) -> list[tuple[str, Any]]:
    return [("Scores per pair", model.num_labels), ("Activation", repr(model.activation_fn))]


KINDS = (
    CardKind(
        "SentenceTransformer",
        "Sentence embeddings",
        "Embeddings",
        tags=(LIBRARY, "sentence-similarity", "feature-extraction", "dense", "sentune"),
        pipeline_tag="sentence-similarity",
        maps=_vectors,
        means="Texts that mean the same get vectors that lie close to each other",
        serves="search by meaning, comparing and grouping texts, finding paraphrases, "
        "and classification",
        facts=_vector_facts,
        code=_vector_code,
        alone=with_transformers,
        examples=SENTENCES,
    ),
    CardKind(
        "CrossEncoder",
        "Scores of pairs of texts",
        "Scores",
        tags=(LIBRARY, "cross-encoder", "reranker", "sentune"),
        pipeline_tag="text-ranking",
        maps=_scores,
        means="It reads both texts together",
        serves="putting what a search has found in order, and classifying pairs",
        facts=_score_facts,
        code=lambda model: _RANK if model.num_labels == 1 else _CLASSIFY,
    ),
)
