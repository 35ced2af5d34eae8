"""Names of classes and functions."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import Any

from sentune.errors import UntrustedCodeError
from sentune.files.layout import type_named
from sentune.files.modules.custom import class_of
from sentune.folders.source import Code, source_folder
from sentune.hub.fetch import Access
from sentune.vectors.similarity import SimilarityFunction

# Models of the transformers library under plain names, which have no owner to be looked for under.
ORIGINAL_TRANSFORMER_MODELS = """
    albert-base-v1 albert-base-v2 albert-large-v1 albert-large-v2 albert-xlarge-v1
    albert-xlarge-v2 albert-xxlarge-v1 albert-xxlarge-v2 bert-base-cased-finetuned-mrpc
    bert-base-cased bert-base-chinese bert-base-german-cased bert-base-german-dbmdz-cased
    bert-base-german-dbmdz-uncased bert-base-multilingual-cased bert-base-multilingual-uncased
    bert-base-uncased bert-large-cased-whole-word-masking-finetuned-squad
    bert-large-cased-whole-word-masking bert-large-cased
    bert-large-uncased-whole-word-masking-finetuned-squad bert-large-uncased-whole-word-masking
    bert-large-uncased camembert-base ctrl distilbert-base-cased-distilled-squad
    distilbert-base-cased distilbert-base-german-cased distilbert-base-multilingual-cased
    distilbert-base-uncased-distilled-squad distilbert-base-uncased-finetuned-sst-2-english
    distilbert-base-uncased distilgpt2 distilroberta-base gpt2-large gpt2-medium gpt2-xl gpt2
    openai-gpt roberta-base-openai-detector roberta-base roberta-large-mnli
    roberta-large-openai-detector roberta-large t5-11b t5-3b t5-base t5-large t5-small
    transfo-xl-wt103 xlm-clm-ende-1024 xlm-clm-enfr-1024 xlm-mlm-100-1280 xlm-mlm-17-1280
    xlm-mlm-en-2048 xlm-mlm-ende-1024 xlm-mlm-enfr-1024 xlm-mlm-enro-1024
    xlm-mlm-tlm-xnli15-1024 xlm-mlm-xnli15-1024 xlm-roberta-base
    xlm-roberta-large-finetuned-conll02-dutch xlm-roberta-large-finetuned-conll02-spanish
    xlm-roberta-large-finetuned-conll03-english xlm-roberta-large-finetuned-conll03-german
    xlm-roberta-large xlnet-base-cased xlnet-large-cased
""".split()


def fullname(obj: Any) -> str:
    """The dotted name of a class, or of the class of an object; a builtin has no module."""
    kind = obj if isinstance(obj, type) else type(obj)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def import_from_string(dotted_path: str) -> Any:
    """What a dotted name stands for, as the class of an activation.

    Args:
        dotted_path: A module and a name in it, joined by a dot.

    Raises:
        ImportError: If there is no such thing.
    """
    module, _, name = dotted_path.rpartition(".")
    if not module:
        raise ImportError(f"{dotted_path!r} names no module; give one as 'torch.nn.Tanh'")
    try:
        return getattr(import_module(module), name)
    except AttributeError as error:
        raise ImportError(f"there is no {name!r} in {module}") from error


def import_module_class(
    class_ref: str,
    model_name_or_path: str | None = None,
    *,
    trust_remote_code: bool = False,
    revision: str | None = None,
    code_revision: str | None = None,
    token: bool | str | None = None,
    cache_folder: str | None = None,
    local_files_only: bool = False,
) -> type:
    """The class of a module, by the type that a list of modules names.

    Args:
        class_ref: The type, of any release, or `file.Class` in the model's folder.
        model_name_or_path: The model, if its own code may be meant.
        trust_remote_code: Whether code other than sentune's may run.
        revision: Branch, tag or commit on the Hub.
        code_revision: The same for the code, where that is another.
        token: Access token.
        cache_folder: Where downloads are kept.
        local_files_only: Never ask the Hub.

    Raises:
        UntrustedCodeError: If other code would run and may not.
        ModelFileError: If there is no such class.
    """
    if (row := type_named(class_ref)) is not None:
        return row.load_class()
    if model_name_or_path is None:
        found: type = import_from_string(class_ref)
        return found
    access = Access(token, code_revision or revision, cache_folder, local_files_only)
    if not trust_remote_code:
        raise UntrustedCodeError(
            f"{model_name_or_path}: the module {class_ref!r} is code of its own; look at it, and "
            "pass trust_remote_code=True if you trust it"
        )
    folder = source_folder(model_name_or_path, access, with_code=True)
    return class_of(class_ref, Code(folder.path, access, True), folder.path)


def similarity_fct_name(similarity_fct: Any) -> str:
    """What a loss's similarity is called in a card: with its settings, if it has any."""
    settings: dict[str, Any] = {}
    if isinstance(similarity_fct, partial):
        settings, similarity_fct = similarity_fct.keywords, similarity_fct.func
    elif hasattr(similarity_fct, "get_config_dict"):
        settings = similarity_fct.get_config_dict()
    owner: Any = getattr(similarity_fct, "__self__", None)
    name = getattr(similarity_fct, "__name__", type(similarity_fct).__name__)
    if hasattr(owner, "similarity_fn_name"):  # a method of a model: the function behind it
        kind = SimilarityFunction(owner.similarity_fn_name)
        is_pairwise = name == "similarity_pairwise"
        found = kind.to_similarity_pairwise_fn if is_pairwise else kind.to_similarity_fn
        name = found(kind).__name__
    said = ", ".join(f"{key}={value!r}" for key, value in settings.items())
    return f"{name}({said})" if said else name
