"""Which files of a folder are its model's: those that its own files name, and its papers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from sentune.files.own import is_model_file
from sentune.files.plan import ModulePlan, Plan
from sentune.folders.folder import ModelFolder
from sentune.folders.names import ENCODER_FILE, README, TOKENIZER_FILE
from sentune.hub.fetch import is_weights, needed

# What tokenizers and processors of the transformers library keep, besides `is_model_file`.
_OF_A_TOKENIZER = re.compile(
    r"(vocab[\w-]*|entity_vocab|target_vocab|word_shape|word_pronunciation)\.(json|txt)"
    r"|(emoji|byte_maps|normalizer)\.json|dict\.txt|chat_template\.(json|jinja)"
    r"|(video_)?preprocessor_config\.json|quant\w*_config\.json"
    r"|.+\.(model|spm|vocab|bpe|codes|tiktoken|tokenizer)"
)
# The same weights for other programs, in folders of that name.
_EXPORTS = {
    "onnx": re.compile(r".+\.(onnx|onnx_data|onnx\.data)|(ort_)?config\.json"),
    "openvino": re.compile(r".+\.(xml|bin)|(openvino_)?config\.json"),
    "additional_chat_templates": re.compile(r".+\.jinja"),
}
_PAPER = re.compile(
    r"(?i)(.+[-_.])?(licen[cs]es?|notices?|copying|copyright|authors|citation|use[-_]policy)"
    r"([-_.][^.]+)?(\.(md|txt|rst|cff|pdf))?"
)
_PICTURE = re.compile(r"(?i)[^\s()<>\"']+\.(png|jpe?g|gif|svg|webp)")
_IMPORT = re.compile(r"^\s*(?:from\s+\.+(\w+)\s+import|from\s+\.+\s+import\s+(\w+))", re.MULTILINE)
_WITH_CODE = (ENCODER_FILE, TOKENIZER_FILE, "processor_config.json", "preprocessor_config.json")


def model_files(found: Plan, there: Mapping[str, Path]) -> set[str]:
    """The names among those of a folder that belong to the model in it.

    Args:
        found: What the folder says of its model.
        there: Path inside the folder, with / between its parts -> file.
    """
    root = found.folder.path
    modules = list(_each(found.modules.values()))
    homes = {_relative(module.folder.path, root) for module in modules} | {""}
    strange = {_relative(module.folder.path, root) for module in modules if module.row is None}
    chosen = {name for name in there if _is_chosen(name, homes, strange - {""})}
    chosen |= {_relative(path, root) for module in modules for path in _named_by(module)}
    chosen |= set(_code(found.folder, modules, there)) | set(_pictures(there))
    # Of weights in two formats a loader reads one.
    read = set(needed(there, with_code=True))
    return {name for name in chosen & there.keys() if name in read or not is_weights(name)}


def _each(modules: Iterable[ModulePlan]) -> Iterator[ModulePlan]:
    for module in modules:
        yield module
        yield from _each(module.parts.values())


def _relative(path: Path, root: Path) -> str:
    found = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
    return "" if found == "." else found


def _named_by(module: ModulePlan) -> Iterator[Path]:
    """The files that the plan of a module names."""
    yield from (module.path, module.listed_in)
    if module.weights is not None:
        yield module.weights


def _is_chosen(name: str, homes: set[str], strange: set[str]) -> bool:
    """Whether a file belongs to a model by its name and the folder it is in."""
    path = PurePosixPath(name)
    home = "" if path.parent == PurePosixPath(".") else path.parent.as_posix()
    if any(home == one or home.startswith(f"{one}/") for one in strange):
        return True  # a module of the model's own may keep anything
    if home in homes:
        is_paper = not home and (path.name == README or _PAPER.fullmatch(path.name))
        is_known = is_model_file(path.name) or _OF_A_TOKENIZER.fullmatch(path.name)
        return bool(is_paper or is_known)
    above, _, last = home.rpartition("/")
    return last in _EXPORTS and above in homes and bool(_EXPORTS[last].fullmatch(path.name))


def _code(root: ModelFolder, modules: list[ModulePlan], there: Mapping[str, Path]) -> Iterator[str]:
    """The files of code that the model's files name, and those that these import."""
    named = [("", module.type_name) for module in modules if module.row is None]
    for module in modules:
        for file in _WITH_CODE:
            said = (module.folder.read_json(file, dict) or {}).get("auto_map")
            named += [(_relative(module.folder.path, root.path), one) for one in _classes(said)]
    left = [_place(home, one.rpartition(".")[0].replace(".", "/")) for home, one in named]
    seen: set[str] = set()
    while left:
        name = left.pop()
        if name in seen or name not in there:
            continue
        seen.add(name)
        home = name.rpartition("/")[0]
        text = there[name].read_text(encoding="utf-8", errors="replace")
        left += [_place(home, one or other) for one, other in _IMPORT.findall(text)]
    yield from seen


def _place(home: str, name: str) -> str:
    return f"{home}/{name}.py" if home else f"{name}.py"


def _classes(said: Any) -> list[str]:
    """The classes in an `auto_map`, without those of other repositories."""
    values = said.values() if isinstance(said, dict) else []
    flat = [one for value in values for one in (value if isinstance(value, list) else [value])]
    return [one for one in flat if isinstance(one, str) and "--" not in one]


def _pictures(there: Mapping[str, Path]) -> Iterator[str]:
    """The pictures that the card shows."""
    if README in there:
        text = there[README].read_text(encoding="utf-8", errors="replace")
        for found in _PICTURE.finditer(text):
            yield found[0].removeprefix("./")
