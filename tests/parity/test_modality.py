"""What an input is, as sentence-transformers says it."""

import numpy as np
import pytest
import torch
from PIL import Image
from sentence_transformers.base import modality as peer

from sentune.text import modality

ADDRESS = "https://example.org/some"
INPUTS = [
    "a text",
    "",
    "a.png",
    "data:image/png;base64,AAAA",
    f"{ADDRESS}/a.JPG?size=2",
    f"{ADDRESS}/a b.jpg",
    f"{ADDRESS}/a.mkv#t=1",
    f"{ADDRESS}/a.flac",
    f"{ADDRESS}/page",
    "https://youtu.be/abc",
    "https://[[broken].png",
    ("a", "b"),
    ["a", "b"],
    ("a", "b", "c"),
    [],
    {},
    {"role": "user", "content": "a"},
    [{"role": "user", "content": "a"}],
    ({"role": "user", "content": "a"},),
    {"array": [0.0], "sampling_rate": 16000},
    {"array": [0.0], "video_metadata": None},
    {"array": [0.0]},
    {"text": "a"},
    {"text": "a", "image": "b.png", "audio": "c"},
    {"text": "a", "picture": "b"},
    *(np.zeros((2,) * axes) for axes in range(7)),
    torch.zeros(2),
    torch.zeros(2, 2, 2),
    Image.new("RGB", (2, 2)),
    None,
    3,
]


def said(module, *arguments):
    try:
        return module.infer_modality(*arguments)
    except ValueError:
        return "error"


@pytest.mark.parametrize("supported", [None, ["text"], ["text", "image"], ["image"]])
def test_inputs_are_what_they_are_there(supported):
    for sample in INPUTS:
        assert said(modality, sample, supported) == said(peer, sample, supported), sample


def test_names_of_files_count_where_the_file_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.MP4", "c.wav", "d.txt"):
        assert modality.infer_modality(name) == "text"
        (tmp_path / name).touch()
        assert modality.infer_modality(name) == peer.infer_modality(name)
        assert modality.infer_modality(name, ["text"]) == "text"


def test_batches_and_names_to_show():
    for samples in ([], ["a", "b"], ["a", np.zeros(3)], [np.zeros((2, 2, 2))] * 2):
        assert modality.infer_batch_modality(samples) == peer.infer_batch_modality(samples)
    for found in ("text", ("image", "text")):
        assert modality.format_modality(found) == peer.format_modality(found)


@pytest.mark.parametrize(
    ("sample", "says"),
    [
        (np.zeros(()), "an array of 0 axes is no input; audio has 1 or 2"),
        ({"array": [0.0]}, 'with "array", give "sampling_rate"'),
        (
            {"picture": "b"},
            "the keys of a dict of parts are audio, image, text, video; got picture",
        ),
        (3, "int is no input; give a text"),
    ],
)
def test_what_is_no_input_is_an_error_that_says_why(sample, says):
    with pytest.raises(ValueError, match=says):
        modality.infer_modality(sample)
