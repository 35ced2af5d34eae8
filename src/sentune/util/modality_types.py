"""Types of inputs, for annotations of code that is written for several libraries.

Models of this release read texts and chats; an image, audio or video is an error in `encode`.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, TypedDict

import numpy as np
import torch

from sentune.text.modality import Modality as Modality


class AudioDict(TypedDict):
    """Samples and how many there are in a second."""

    array: np.ndarray | torch.Tensor
    sampling_rate: int


class VideoDict(TypedDict):
    """Frames and what is known of them."""

    array: Any
    video_metadata: dict[str, Any] | None


class MessageDict(TypedDict):
    """A message of a chat."""

    role: str
    content: str | list[dict[str, Any]]


class MultimodalInput(TypedDict, total=False):
    """Inputs of several kinds that make one."""

    text: Any
    image: Any
    audio: Any
    video: Any


TextInput: TypeAlias = str
ImageInput: TypeAlias = Any
AudioInput: TypeAlias = Any
VideoInput: TypeAlias = Any
MessageInput: TypeAlias = MessageDict | list[MessageDict]
SingleInput: TypeAlias = Any
PairableInput: TypeAlias = Any
PairInput: TypeAlias = tuple[Any, Any] | list[Any]
ProcessorArgName: TypeAlias = Literal["text", "images", "audio", "videos", "message"]
MessageFormat: TypeAlias = Literal["auto", "structured", "flat"]
MODALITY_TO_PROCESSOR_ARG: dict[Modality, ProcessorArgName] = {
    "text": "text",
    "image": "images",
    "audio": "audio",
    "video": "videos",
    "message": "message",
}
MULTIMODAL_DICT_KEYS = frozenset({"text", "image", "audio", "video"})
