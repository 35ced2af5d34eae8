"""How to use a model, as code that a reader can copy, and what it prints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sentune.record.words import clean
from sentune.share.about import AboutModel, PlainCode
from sentune.share.markdown import fenced

SENTENCES = (
    "The weather is lovely today.",
    "It is so sunny outside!",
    "He drove to the stadium.",
)
QUERY = "Which planet is known as the Red Planet?"
DOCUMENTS = (
    "Mars owes the colour that gave it its nickname to the iron in its soil.",
    "Venus is as large as the Earth and much hotter.",
)
_NOWHERE = "path/to/this/model"


def usage(name: str | None, about: AboutModel, printed: Sequence[str]) -> str:
    """The section on use.

    Args:
        name: Where the model is to be had from.
        about: The facts of the model.
        printed: What the lines that print did print; empty if they were not run.
    """
    where = json.dumps(clean(name or _NOWHERE), ensure_ascii=False)
    parts = [
        "With [sentune](https://pypi.org/project/sentune/), or with sentence-transformers in its "
        "place (`from sentence_transformers import SentenceTransformer`):",
        fenced("pip install -U sentune", "bash"),
        fenced(_with_library(where, about, printed), "python"),
    ]
    if about.plain is not None:
        parts += [
            "With transformers alone:",
            fenced(_with_transformers(where, about.plain, about.default_prompt), "python"),
        ]
    return "\n\n".join(parts)


def run(model: Any, about: AboutModel) -> list[str]:
    """What the lines that print do print; nothing if the model would cut the sentences.

    Args:
        model: The model.
        about: Its facts.
    """
    prompt = max(about.prompts.values(), key=len, default=None)
    if model.read([*SENTENCES, QUERY, *DOCUMENTS], prompt).get("truncated"):
        return []  # it would warn of it once, and the user's own texts come after
    if _is_for_search(about):
        queries = model.encode_query([QUERY])
        documents = model.encode_document(list(DOCUMENTS))
        shapes = f"{queries.shape} {documents.shape}"
    else:
        queries = documents = model.encode(list(SENTENCES))
        shapes = str(queries.shape)
    return [shapes, str(model.similarity(queries, documents))]


def _is_for_search(about: AboutModel) -> bool:
    names = {"query", "document", "passage", "corpus"}
    return about.has_routes or not names.isdisjoint(about.prompts)


def _with_library(where: str, about: AboutModel, printed: Sequence[str]) -> str:
    lines = ["from sentune import SentenceTransformer", "", f"model = SentenceTransformer({where})"]
    if _is_for_search(about):
        lines += [
            f"queries = model.encode_query([{json.dumps(QUERY)}])",
            *_listed("documents", DOCUMENTS, "model.encode_document"),
            "print(queries.shape, documents.shape)",
            *_comments(printed[:1]),
            "print(model.similarity(queries, documents))",
        ]
    else:
        lines += [
            *_listed("embeddings", SENTENCES, "model.encode"),
            "print(embeddings.shape)",
            *_comments(printed[:1]),
            "print(model.similarity(embeddings, embeddings))",
        ]
    return "\n".join([*lines, *_comments(printed[1:])])


def _with_transformers(where: str, plain: PlainCode, prompt: str | None) -> str:
    texts = [(prompt or "") + sentence for sentence in SENTENCES]
    limit = "" if plain.max_length is None else f"max_length={plain.max_length}, "
    pooled = {
        "mean": [
            'mask = tokens["attention_mask"].unsqueeze(-1)',
            "embeddings = (states * mask).sum(1) / mask.sum(1)",
        ],
        "cls": ["embeddings = states[:, 0]"],
    }[plain.mode]
    if plain.is_normalized:
        pooled.append("embeddings = torch.nn.functional.normalize(embeddings)")
    if plain.dimension is not None:
        pooled.append(f"embeddings = embeddings[:, :{plain.dimension}]")
    lines = [
        "import torch",
        "from transformers import AutoModel, AutoTokenizer",
        "",
        *_listed("sentences", texts),
        f"tokenizer = AutoTokenizer.from_pretrained({where})",
        f"model = AutoModel.from_pretrained({where}).eval()",
        f"options = dict(padding=True, truncation=True, {limit}" + 'return_tensors="pt")',
        "tokens = tokenizer(sentences, **options)",
        "with torch.no_grad():",
        "    states = model(**tokens).last_hidden_state",
        *pooled,
    ]
    return "\n".join(lines)


def _listed(name: str, texts: Sequence[str], call: str = "") -> list[str]:
    start, end = (f"{call}([", "])") if call else ("[", "]")
    return [
        f"{name} = {start}",
        *(f"    {json.dumps(text, ensure_ascii=False)}," for text in texts),
        end,
    ]


def _comments(printed: Sequence[str]) -> list[str]:
    return [f"# {line}" for text in printed for line in text.splitlines()]
