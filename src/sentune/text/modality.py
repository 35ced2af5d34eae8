"""What kind of thing an input is: text, image, audio, video, or messages of a chat.

The models of sentune read text; libraries that sort mixed inputs ask this first.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

import numpy as np

from sentune.errors import SettingError

Modality: TypeAlias = (
    Literal["text", "image", "audio", "video", "message"]
    | tuple[Literal["text", "image", "audio", "video"], ...]
)

KEYS = ("audio", "image", "text", "video")  # of an input that has several parts
# Classes of other libraries; one whose module is not loaded has no objects.
_CLASSES = (
    ("PIL.Image", "Image", "image"),
    ("torchcodec.decoders", "AudioDecoder", "audio"),
    ("torchcodec.decoders", "VideoDecoder", "video"),
)
_ENDINGS = {
    "image": (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".tiff", ".webp"),
    "video": (".mp4", ".avi", ".mov", ".wmv", ".flv", ".mkv"),
    "audio": (".mp3", ".wav", ".ogg", ".flac", ".aac"),
}
_VIDEO_SITES = ("www.youtube.com", "youtube.com", "youtu.be", "m.youtube.com")
# Axes of an array: samples of each channel; height, width and colours; also frames, and videos.
_AXES = {1: "audio", 2: "audio", 3: "image", 4: "video", 5: "video"}


def infer_modality(sample: Any, supported_modalities: Sequence[Any] | None = None) -> Any:
    """What an input is: a modality, or a tuple of those of its parts, sorted.

    Args:
        sample: A text or a pair of texts; the name of a file or an address on the web, by its
            ending; an array, by its axes (1 or 2: audio, 3: image, 4 or 5: video); an object of
            PIL or torchcodec; a message or a list of messages; a dict of parts with keys "text",
            "image", "audio", "video", or of an array with "sampling_rate" or "video_metadata".
        supported_modalities: What the model reads. Names of files of other modalities are texts.

    Raises:
        SettingError: If it is nothing of these.
    """
    for module, name, modality in _CLASSES:
        if isinstance(sample, getattr(sys.modules.get(module), name, ())):
            return modality
    if isinstance(sample, str):
        found = _of_text(sample)
        return found if supported_modalities is None or found in supported_modalities else "text"
    if isinstance(sample, dict):
        return _of_dict(sample)
    if isinstance(sample, (tuple, list)):
        if len(sample) == 2 and all(isinstance(part, str) for part in sample):
            return "text"
        if isinstance(sample, list) and sample and _is_message(sample[0]):
            return "message"
    tensor = getattr(sys.modules.get("torch"), "Tensor", ())
    if isinstance(sample, np.ndarray) or isinstance(sample, tensor):
        if sample.ndim not in _AXES:
            raise SettingError(
                f"an array of {sample.ndim} axes is no input; audio has 1 or 2, an image 3, "
                "a video 4 or 5"
            )
        return _AXES[sample.ndim]
    raise SettingError(
        f"{type(sample).__name__} is no input; give a text, an image, an array, or a dict of them"
    )


def infer_batch_modality(samples: Sequence[Any], supported_modalities: Any = None) -> Any:
    """What all inputs are; "message" if they differ, "text" if there are none.

    Args:
        samples: Inputs, as for `infer_modality`.
        supported_modalities: As there.
    """
    found = {infer_modality(sample, supported_modalities) for sample in samples} or {"text"}
    return found.pop() if len(found) == 1 else "message"


def format_modality(modality: str | Sequence[str]) -> str:
    """A modality to show: "image+text" for a tuple."""
    return modality if isinstance(modality, str) else "+".join(modality)


def _of_text(text: str) -> str:
    if text.startswith("data:image/"):
        return "image"
    place, site, is_there = text, "", None
    if text.startswith(("http://", "https://")) and " " not in text:
        try:
            address = urlsplit(text)
        except ValueError:  # such as https://[[
            return "text"
        place, site, is_there = address.path, address.netloc, True
    for modality, endings in _ENDINGS.items():
        if place.lower().endswith(endings) and (is_there or Path(text).is_file()):
            return modality
    return "video" if site in _VIDEO_SITES else "text"


def _of_dict(sample: dict[Any, Any]) -> Any:
    if _is_message(sample):
        return "message"
    if "array" in sample:
        for key, modality in (("sampling_rate", "audio"), ("video_metadata", "video")):
            if key in sample:
                return modality
        raise SettingError('with "array", give "sampling_rate" (audio) or "video_metadata" (video)')
    unknown = sorted(map(str, set(sample) - set(KEYS)))
    if unknown or not sample:
        raise SettingError(
            f"the keys of a dict of parts are {', '.join(KEYS)}; got {', '.join(unknown) or 'none'}"
        )
    return next(iter(sample)) if len(sample) == 1 else tuple(sorted(sample))


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and "role" in value and "content" in value
