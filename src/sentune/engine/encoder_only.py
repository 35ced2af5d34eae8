"""Which class of the transformers library loads an encoder, where a decoder may be beside it.

A checkpoint of an encoder-decoder holds the whole model, or an encoder that was saved by itself.
The settings in `config.json` are the same in both cases; only its `architectures` names the class.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from transformers import AutoModel

from sentune.errors import ModelFileError

# Families of which sentence-transformers runs the encoder alone. Of the others it runs the whole
# model, with the text as input of the decoder as well. NLLB-MoE, which it cannot run, is here
# because the whole model takes no other input for its decoder than one that the caller gives.
_ALONE = set(
    """blenderbot blenderbot-small longt5 m2m_100 marian mt5 nllb-moe pegasus pegasus_x prophetnet
    switch_transformers t5 t5gemma t5gemma2 umt5""".split()
)
# The place of each token on a page is an input that texts do not have.
_OF_PAGES = {"udop": "bbox"}


@dataclass(frozen=True)
class Way:
    """How an encoder is loaded."""

    loader: Any  # the class whose `from_pretrained` is called
    config: Any
    is_inside: bool = False  # whether what is loaded has the encoder inside, for `get_encoder`


def way_of(config: Any) -> Way:
    """How the encoder of an `AutoConfig` is loaded; a `ModelFileError` says that none can be."""
    kind = type(config)
    if not kind.__module__.startswith("transformers.models."):
        return Way(AutoModel, config)  # code of the model's own says what its classes are
    has_class = kind in AutoModel._model_mapping
    # T5EncoderModel writes "is_encoder_decoder": false; the family stays what it is.
    if has_class and not config.is_encoder_decoder and not kind.is_encoder_decoder:
        return Way(AutoModel, config)
    named = _named(config)
    if named is None and not has_class:
        raise _no_class(config)
    whole = AutoModel._model_mapping[kind] if has_class else None
    _check_input(config, named or whole)
    found = named or (_encoder_model_beside(whole) if config.model_type in _ALONE else None)
    if found is None:
        return Way(AutoModel, config, is_inside=config.model_type in _ALONE)
    if config.model_type == "t5gemma":  # its class refuses the settings of an encoder-decoder
        config = kind.from_dict({**config.to_dict(), "is_encoder_decoder": False})
    return Way(found, config)


def _named(config: Any) -> Any:
    """The class of an encoder that config.json names; None if it names another, or none."""
    home = type(config).__module__.replace(".configuration_", ".modeling_")
    names = config.architectures or ()
    names = [name for name in names if name.endswith(("EncoderModel", "Encoder"))]
    return next((found for name in names if (found := _class(home, name))), None)


def _encoder_model_beside(whole: Any) -> Any:
    """The class that reads the encoder of a whole checkpoint, if the family has one."""
    return _class(whole.__module__, whole.__name__.removesuffix("Model") + "EncoderModel")


def _class(home: str, name: str) -> Any:
    found = getattr(import_module(home), name, None)
    return found if hasattr(found, "from_pretrained") else None


def _check_input(config: Any, kind: Any) -> None:
    needed = _OF_PAGES.get(config.model_type, getattr(kind, "main_input_name", "input_ids"))
    if needed != "input_ids":
        raise ModelFileError(
            f"config.json describes {kind.__name__}, which needs {needed!r} as input; an encoder "
            "of texts needs 'input_ids' and no more. Use a model for texts, such as a T5 or a BERT"
        )


def _no_class(config: Any) -> ModelFileError:
    names = ", ".join(config.architectures or ()) or "no class"
    return ModelFileError(
        f"config.json describes a model of type {config.model_type!r} ({names}), of which no "
        "encoder can be loaded. Where the model has one, save it by itself, by "
        "model.get_encoder().save_pretrained(folder), and load that folder"
    )
