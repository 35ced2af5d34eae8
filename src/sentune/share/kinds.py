"""What the card says of one kind of model and of no other: a row for each kind."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

logger = logging.getLogger(__name__)

LIBRARY = "sentence-transformers"  # what the widgets of the Hub and other libraries look for
SENTENCE_TAGS = (LIBRARY, "sentence-similarity", "feature-extraction", "dense")
SCORE_TAGS = (LIBRARY, "cross-encoder", "reranker")
SERVES = "search by meaning, comparing and grouping texts, finding paraphrases, and classification"
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
    # Python that uses `model` and prints, of texts, a search or not; it is run as it is shown.
    code: Callable[[Sequence[str], bool], str]
    texts: Callable[[bool], Sequence[str]] = lambda is_search: SENTENCES  # if none are given
    searches: Callable[[Any], bool] = lambda model: False  # whether it searches, by the model
    alone: Callable[[Any], dict[str, Any] | None] = lambda model: None  # see `with_transformers`
    examples: tuple[str, ...] = ()  # to try on its page, if the training has none; () for no widget


def kind_of(model: Any) -> CardKind:
    """The kind of a model: by its class, or by the class that it is a subclass of."""
    names = {one.__name__ for one in type(model).__mro__}
    return next((kind for kind in KINDS if kind.name in names), KINDS[0])


@dataclass(frozen=True)
class Example:
    """The code of a card: Python that uses `model`, and the texts in it."""

    code: str
    texts: Sequence[str]

    def printed(self, model: Any) -> list[str]:
        """What each `print` of the code gives; [] where it cannot be run or the texts are long."""
        shown: list[str] = []
        try:
            if not _truncates(model, self.texts):
                names = {"model": model, "print": lambda *x: shown.append(" ".join(map(str, x)))}
                exec(self.code, names)  # of a row below: nothing of the model's own is in it
        except Exception as error:
            logger.debug("the card's code was not run: %s", error)
            return []
        return shown

    def shown(self, printed: Sequence[str] = ()) -> str:
        """The code, with what it prints as comments."""
        lines, printed = [], list(printed)
        for line in self.code.strip().splitlines():
            output = printed.pop(0) if line.startswith("print(") and printed else ""
            lines += [line, *(f"# {text}" for text in output.splitlines())]
        return "\n".join(lines)


def example_of(
    model: Any, texts: Sequence[str] | None = None, is_search: bool | None = None
) -> Example:
    """The code of a model's card.

    `texts` are those to show in place of the usual ones; `is_search`: whether it searches, the
    first of them being the query; None where the model decides.
    """
    kind = kind_of(model)
    if is_search is None:
        is_search = model is not None and kind.searches(model)
    texts = list(texts or kind.texts(is_search))
    return Example(kind.code(texts, is_search), texts)


def _truncates(model: Any, texts: Sequence[str]) -> bool:
    """Whether the texts are too long: the model would warn of them, and not of the user's."""
    prompt = max(filter(None, model.prompts.values()), key=len, default=None)
    return bool(model.read([*texts], prompt).get("truncated"))


def _texts(texts: Sequence[str]) -> str:
    return "[\n" + "".join(f"    {json.dumps(text)},\n" for text in texts) + "]"


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


def _vector_code(texts: Sequence[str], is_search: bool) -> str:
    if not is_search:
        return f"""
embeddings = model.encode({_texts(texts)})
print(embeddings.shape)
print(model.similarity(embeddings, embeddings))
"""
    return f"""
queries = model.encode_query([{json.dumps(texts[0])}])
documents = model.encode_document({_texts(texts[1:])})
print(queries.shape, documents.shape)
print(model.similarity(queries, documents))
"""


def _is_for_search(model: Any) -> bool:
    prompts = {name for name, text in model.prompts.items() if text}
    has_routes = any(type(module).__name__ == "Router" for module in model)
    return bool(has_routes or prompts & {"query", "document", "passage", "corpus"})


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


def _score_code(texts: Sequence[str], is_ranking: bool) -> str:
    if not is_ranking:
        pairs = ", ".join(json.dumps(text) for text in texts[:2])
        return f"""
pairs = [({pairs})]
print(model.predict(pairs))
"""
    return f"""
query = {json.dumps(texts[0])}
documents = {_texts(texts[1:])}
print(model.predict([(query, document) for document in documents]))
print(model.rank(query, documents))
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
        tags=(*SENTENCE_TAGS, "sentune"),
        pipeline_tag="sentence-similarity",
        maps=_vectors,
        means="Texts that mean the same get vectors that lie close to each other",
        serves=SERVES,
        facts=_vector_facts,
        code=_vector_code,
        texts=lambda is_search: (QUERY, *DOCUMENTS) if is_search else SENTENCES,
        searches=_is_for_search,
        alone=with_transformers,
        examples=SENTENCES,
    ),
    CardKind(
        "CrossEncoder",
        "Scores of pairs of texts",
        "Scores",
        tags=(*SCORE_TAGS, "sentune"),
        pipeline_tag="text-ranking",
        maps=_scores,
        means="It reads both texts together",
        serves="putting what a search has found in order, and classifying pairs",
        facts=_score_facts,
        code=_score_code,
        texts=lambda is_ranking: (QUERY, *DOCUMENTS) if is_ranking else SENTENCES[:2],
        searches=lambda model: bool(model.num_labels == 1),
    ),
)
