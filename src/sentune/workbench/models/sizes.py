"""How large a model is: the heads of its files of weights are read, and nothing else of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

from safetensors import safe_open

from sentune.files.plan import ModulePlan
from sentune.folders.weight_files import damage_named, refuse_packed

_TYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "I8": "int8",
    "U8": "uint8",
}
_PLACES = {"I64", "I32", "BOOL"}  # numbers of positions and masks, which are no weights
_UNITS = ("bytes", "kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class Size:
    """How many numbers files of weights hold, of which types, in how many bytes."""

    precision: Mapping[str, int] = field(default_factory=dict)  # type -> how many, most first
    bytes: int = 0

    @property
    def count(self) -> int:
        """How many numbers there are."""
        return sum(self.precision.values())

    def __add__(self, other: Size) -> Size:
        both = Counter(self.precision) + Counter(other.precision)
        return Size(dict(both.most_common()), self.bytes + other.bytes)


def size_left(size: int, counts: Mapping[str, int]) -> Size:
    """That of a file of which the Hub says bytes, and type -> how many numbers."""
    known = {_TYPES.get(kind, kind.lower()): n for kind, n in counts.items() if kind not in _PLACES}
    return Size(known, size)


def size_of(module: ModulePlan, left: Mapping[Path, Size] | None = None) -> Size:
    """What is in the files of a module, and of those inside it.

    Args:
        module: As its files plan it.
        left: What is in files that are not here: path -> size.
    """
    left = left or {}
    found = sum((size_of(part, left) for part in module.parts.values()), Size())
    found += sum((size for path, size in left.items() if path.parent == module.folder.path), Size())
    return found + size_in(module.folder.path)


def size_in(folder: Path) -> Size:
    """What is in the files of weights in a folder."""
    found = Size()
    for path in _files(folder):
        counts: Counter[str] = Counter()
        for name, count in _tensors(path):
            counts[name] += count
        found += Size(counts, path.stat().st_size)
    return found


def bytes_in(folder: Path) -> int:
    """Bytes of all files in a folder; where they are links, of what these lead to."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in paths)


def in_words(size: int) -> str:
    """A number of bytes in words: `90.9 MB`."""
    value, unit = float(size), _UNITS[0]
    for unit in _UNITS:
        if value < 1000 or unit == _UNITS[-1]:
            break
        value /= 1000
    return f"{size} bytes" if unit == "bytes" else f"{value:.{1 if value < 100 else 0}f} {unit}"


def _files(folder: Path) -> list[Path]:
    """The files of weights in a folder that a loader reads: safetensors, or else pickles."""
    found = sorted(folder.glob("*.safetensors"))
    return found or sorted([*folder.glob("pytorch_model*.bin"), *folder.glob("adapter_model*.bin")])


def _tensors(path: Path) -> Iterator[tuple[str, int]]:
    """Type and size of each tensor in a file."""
    if path.suffix == ".safetensors":
        with damage_named(path), safe_open(path, "np") as file:
            for name in file.keys():  # noqa: SIM118  (it is no dict)
                part = file.get_slice(name)
                kind = part.get_dtype()
                if kind not in _PLACES:
                    yield _TYPES.get(kind, kind.lower()), prod(part.get_shape())
        return
    import torch

    refuse_packed(path)
    with damage_named(path):
        tensors = torch.load(path, map_location="meta", weights_only=True)
    for tensor in tensors.values():
        if torch.is_tensor(tensor) and tensor.dtype not in (torch.int64, torch.int32, torch.bool):
            yield str(tensor.dtype).removeprefix("torch."), tensor.numel()
