"""dtype="auto": bfloat16 multiplication where the chip has it, everything else in float32."""

import subprocess
import sys

import pytest
import torch

from sentune import SentenceTransformer, losses
from sentune.errors import SettingError
from sentune.machine import device
from sentune.training.arguments import SentenceTransformerTrainingArguments
from sentune.training.trainer import SentenceTransformerTrainer

TEXT = "the cat sat on the mat"


@pytest.fixture
def bfloat16_chip(monkeypatch):
    """As on a chip with bfloat16, whether this one has it or not."""
    monkeypatch.setenv("SENTUNE_DTYPE", "bfloat16")


def test_auto_follows_the_chip(monkeypatch):
    monkeypatch.delenv("SENTUNE_DTYPE")
    for has_it, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(device, "multiplies_bfloat16", lambda kind, has_it=has_it: has_it)
        device._auto_dtype.cache_clear()
        assert device.auto_dtype("cpu") == expected
    device._auto_dtype.cache_clear()


def test_the_environment_names_a_type_or_is_told_so(monkeypatch):
    monkeypatch.setenv("SENTUNE_DTYPE", "int8")
    with pytest.raises(SettingError, match="'auto', 'float32', 'bfloat16'.*got 'int8'"):
        device.auto_dtype("cpu")


def test_auto_is_the_default_and_close_to_exact(bfloat16_chip, tiny_folders, texts):
    folder = tiny_folders("bert")
    auto, exact = SentenceTransformer(folder), SentenceTransformer(folder, dtype="float32")
    assert auto.autocast_dtype == torch.bfloat16 and exact.autocast_dtype is None
    assert auto.dtype == exact.dtype == torch.float32, "the weights stay as they are"
    a, e = (torch.from_numpy(model.encode(texts)) for model in (auto, exact))
    assert a.dtype == torch.float32
    assert not torch.equal(a, e)
    assert torch.cosine_similarity(a, e).min() > 0.999


@pytest.mark.parametrize(
    "options",
    [{"dtype": "float32"}, {"model_kwargs": {"dtype": "float32"}}, {"dtype": torch.float32}],
)
def test_float32_on_request_is_exact(bfloat16_chip, tiny_folders, texts, options):
    exact = SentenceTransformer(tiny_folders("bert"), **options)
    with torch.no_grad():
        expected = exact(exact.tokenize(texts))["sentence_embedding"]
    torch.testing.assert_close(
        exact.encode(texts, convert_to_tensor=True), expected, atol=1e-6, rtol=1e-6
    )


def test_half_weights_are_computed_as_they_are(bfloat16_chip, tiny_folders):
    model = SentenceTransformer(tiny_folders("bert"), dtype="bfloat16")
    assert model.dtype == torch.bfloat16 and model.autocast_dtype is None
    assert model.encode(TEXT, convert_to_tensor=True).dtype == torch.bfloat16


def test_an_unknown_type_is_named(tiny_folders):
    with pytest.raises(SettingError, match="got 'float64x'"):
        SentenceTransformer(tiny_folders("bert"), dtype="float64x")


def test_training_follows_the_chip_and_bf16_overrides_it(bfloat16_chip, tmp_path, monkeypatch):
    def arguments(**options):
        return SentenceTransformerTrainingArguments(tmp_path, use_cpu=True, **options)

    assert arguments().bf16 is True and arguments().mixed_precision == "bf16"
    assert arguments(bf16=False).bf16 is False
    monkeypatch.setenv("SENTUNE_DTYPE", "float32")
    assert arguments().bf16 is False and arguments().mixed_precision == "no"
    assert arguments(bf16=True).bf16 is True


def test_an_exact_model_is_trained_exactly_unless_told_otherwise(bfloat16_chip, tmp_path):
    auto = SentenceTransformerTrainingArguments(tmp_path, use_cpu=True)
    assert auto.exact().bf16 is False and auto.exact().mixed_precision == "no"
    assert auto.bf16 is True, "the caller's settings stay as they are"
    told = SentenceTransformerTrainingArguments(tmp_path, use_cpu=True, bf16=True)
    assert told.exact() is told


def test_the_trainer_asks_its_model(bfloat16_chip, tiny_folders, tmp_path):
    words = ("cat", "dog", "bird", "fish", "tree", "river", "house", "song")
    rows = [{"anchor": f"a {word}", "positive": f"the {word} sat"} for word in words]
    for dtype, expected in (("auto", True), ("float32", False)):
        model = SentenceTransformer(tiny_folders("bert"), dtype=dtype, device="cpu")
        trainer = SentenceTransformerTrainer(
            model=model,
            args=SentenceTransformerTrainingArguments(tmp_path, use_cpu=True, report_to="none"),
            train_dataset=rows,
            loss=losses.MultipleNegativesRankingLoss(model),
        )
        assert trainer.args.bf16 is expected
        assert (trainer.accelerator.mixed_precision == "bf16") is expected


def test_this_chip_is_asked_without_help():
    """The real answer of this machine, in a process of its own; either is right."""
    code = (
        "import torch; from sentune.machine.device import auto_dtype; print(auto_dtype('cpu'));"
        "c = getattr(torch.cpu, 'get_capabilities', dict)();"
        "print(bool(c.get('avx512_bf16') or c.get('amx_bf16')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PATH": ""}
    )
    dtype, has_it = done.stdout.split()
    assert (dtype == "torch.bfloat16") == (has_it == "True")
