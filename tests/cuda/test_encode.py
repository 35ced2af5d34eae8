"""Embeddings on CUDA: those of the library's padded run, in every precision and form."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sentune.engine import attention_cuda
from sentune.machine.device import auto_dtype
from tests.cuda.tools import DEVICE, HALF, KINDS, error, exact, load, padded, texts
from tests.tiny import PACKED_KINDS


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def test_float32(kind, tiny_folders):
    folder, some = tiny_folders(kind, 512), texts()
    model = load(folder)
    assert model.device.type == DEVICE and model.is_packed == (kind in PACKED_KINDS)
    found = model.encode(some)
    assert found.dtype == np.float32
    wanted = exact(folder, some)
    assert np.abs(found - wanted.numpy()).max() < 1e-5
    assert np.abs(found - padded(model, some)).max() < 1e-5


@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_weights_in_half_precision(kind, dtype, tiny_folders):
    folder, some = tiny_folders(kind, 512), texts()
    wanted = exact(folder, some)
    model = load(folder, dtype)
    found = model.encode(some, convert_to_tensor=True)
    assert found.dtype == dtype and found.device.type == DEVICE
    theirs = error(padded(model, some, convert_to_tensor=True), wanted)
    assert error(found, wanted) < 1.3 * theirs + 1e-3


def test_the_default_is_autocast(kind, tiny_folders, monkeypatch):
    folder, some = tiny_folders(kind, 512), texts()
    model = load(folder)
    monkeypatch.delenv("SENTUNE_DTYPE")
    if DEVICE == "cuda" and torch.cuda.get_device_capability() >= (8, 0):
        assert auto_dtype(DEVICE) == torch.bfloat16
    found = model.encode(some)
    assert found.dtype == np.float32
    wanted = exact(folder, some)
    assert error(found, wanted) < 1.3 * error(padded(model, some), wanted) + 1e-3
    with torch.inference_mode():
        assert np.array_equal(model.encode(some), found)
    with torch.no_grad():
        model[0].auto_model.get_input_embeddings().weight.data.mul_(2)
        linear = next(x for x in model.modules() if isinstance(x, torch.nn.Linear))
        linear.weight.data.mul_(3)
    assert error(model.encode(some), padded(model, some)) < 2e-2


@pytest.mark.parametrize("mode", ["cls", "max", "lasttoken", "weightedmean"])
def test_each_pooling(mode, tiny_folders):
    folder, some = tiny_folders("bert", 512), texts()
    found = load(folder, mode=mode).encode(some)
    assert np.abs(found - exact(folder, some, mode).numpy()).max() < 1e-5


def test_prompts_left_out_of_pooling(tiny_folders):
    model, some = load(tiny_folders("bert", 512)), texts()
    model[1].include_prompt = False
    options = {"prompt": "search the dog: "}
    found, wanted = model.encode(some, **options), padded(model, some, **options)
    assert np.abs(found - wanted).max() < 1e-5
    assert np.abs(found - model.encode(some)).max() > 1e-2


@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=str)
def test_forms_of_output(dtype, tiny_folders):
    model, some = load(tiny_folders("bert", 512), dtype), texts()
    close = 1e-5 if dtype is None else 5e-2
    rows = model.encode(some, convert_to_tensor=True)
    assert rows.device.type == DEVICE
    as_list = model.encode(some, convert_to_numpy=False)
    assert all(one.device.type == DEVICE for one in as_list)
    assert torch.equal(torch.stack(as_list), rows)
    assert np.allclose(model.encode(some), rows.float().cpu().numpy())
    one = model.encode(some[3], convert_to_tensor=True)
    torch.testing.assert_close(one, rows[3], atol=close, rtol=close)
    normal = model.encode(some, normalize_embeddings=True, convert_to_tensor=True)
    torch.testing.assert_close(
        normal.float(), torch.nn.functional.normalize(rows.float()), atol=close, rtol=close
    )
    assert model.encode(some, truncate_dim=8).shape == (len(some), 8)
    for precision in ("int8", "uint8", "binary", "ubinary"):
        small = model.encode(some, precision=precision)
        assert small.shape[0] == len(some) and isinstance(small, np.ndarray)
    tokens = model.encode(some, output_value="token_embeddings")
    wanted = padded(model, some, output_value="token_embeddings")
    for one, other in zip(tokens, wanted, strict=True):
        assert one.shape == other.shape
        torch.testing.assert_close(one, other, atol=close, rtol=close)
    everything = model.encode(some[:5], output_value=None)
    assert torch.allclose(everything[4]["sentence_embedding"].float(), rows[4].float(), atol=close)
    assert model.encode([]).shape[0] == 0 and model.encode(["", ""]).shape == (2, 32)


def test_many_windows_keep_their_order(tiny_folders):
    model = load(tiny_folders("bert", 512))
    some = [f"{text} {n % 7} {n // 7}" for n, text in enumerate(texts(64) * 320)]
    assert len(set(some)) == len(some) > 2_048 + 16_384
    rows = model.encode(some, convert_to_tensor=True)
    place = list(range(0, len(some), 997))
    few = padded(model, [some[n] for n in place], convert_to_tensor=True)
    torch.testing.assert_close(rows[place], few, atol=1e-5, rtol=1e-5)
    streamed = np.concatenate(list(model.encode_stream(iter(some[:5_000]))))
    assert np.abs(streamed.reshape(-1, 32) - rows[:5_000].cpu().numpy()).max() < 1e-5
    sized = model.encode(some[:300], batch_size=17, convert_to_tensor=True)
    torch.testing.assert_close(sized, rows[:300], atol=1e-5, rtol=1e-5)


def test_equal_calls_give_equal_bits(tiny_folders):
    model, some = load(tiny_folders("bert", 512)), texts()
    first = model.encode(some)
    assert all(np.array_equal(model.encode(some), first) for _ in range(3))


def test_a_text_does_not_depend_on_its_batch(kind, tiny_folders):
    """But for the order of sums, which CUDA chooses by the shape of a product."""
    model, some = load(tiny_folders(kind, 512)), texts()
    together = model.encode(some)
    alone = np.stack([model.encode(text) for text in some])
    assert np.abs(together - alone).max() < 1e-5


def test_padded_tokens_by_hand(kind, tiny_folders):
    model, some = load(tiny_folders(kind, 512)), texts(8)
    features = {key: value.to(DEVICE) for key, value in model.tokenize(some).items()}
    with torch.no_grad():
        rows = model(features)["sentence_embedding"]
        direct = (
            model[0]
            .auto_model(input_ids=features["input_ids"], attention_mask=features["attention_mask"])
            .last_hidden_state
        )
    assert direct.device.type == DEVICE
    torch.testing.assert_close(rows.cpu(), exact_rows(model, some), atol=1e-5, rtol=1e-5)


def exact_rows(model, some):
    return torch.as_tensor(padded(model, some))


def test_a_read_checkpoint_moves_there_and_back(tiny_folders, tmp_path):
    """Also while its modules are not made."""
    from sentune import SentenceTransformer

    load(tiny_folders("bert", 512), device="cpu").save_pretrained(str(tmp_path / "m"))
    some = texts()
    model = SentenceTransformer(str(tmp_path / "m"), device=DEVICE)
    first = model.encode(some)
    assert np.abs(model.to("cpu").encode(some) - first).max() < 1e-5
    assert np.abs(model.to(DEVICE).encode(some) - first).max() < 1e-5
    assert np.abs(model.encode(some, device="cpu") - first).max() < 1e-5
    half = SentenceTransformer(str(tmp_path / "m"), device=DEVICE).half()
    assert error(half.encode(some), first) < 5e-3


@pytest.mark.skipif(DEVICE == "cpu", reason="of the kernels")
@pytest.mark.parametrize("dtype, expected", [(None, "efficient"), (torch.bfloat16, "flash")])
def test_the_kernels_are_what_runs(dtype, expected, tiny_folders, monkeypatch):
    seen = []
    attend = attention_cuda.attend
    monkeypatch.setattr(
        attention_cuda, "attend", lambda kernel, *a: seen.append(kernel) or attend(kernel, *a)
    )
    load(tiny_folders("bert", 512), dtype).encode(texts(8))
    assert seen == [expected] * 2
