"""A StaticEmbedding's folder: a table of vectors and a tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from torch import Tensor, nn

from sentune.errors import ModelFileError
from sentune.files.layout import ModuleType
from sentune.files.modules.how import Reading, Writing
from sentune.files.plan import ModulePlan
from sentune.folders import weights
from sentune.folders.names import TOKENIZER
from sentune.models.static import fold


def read(plan: ModulePlan, how: Reading, kind: type[Any]) -> nn.Module:
    """A StaticEmbedding; also of the files that model2vec writes."""
    path = plan.folder.path / TOKENIZER
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # its readers raise plain Exception
        raise ModelFileError(f"{path} is no tokenizer: {error}") from error
    tensors, file = weights.need(plan.folder)
    return kind(tokenizer, _static_vectors(tensors, file), **plan.settings)


def write(row: ModuleType, module: nn.Module, folder: Path, how: Writing) -> None:
    """Write a StaticEmbedding."""
    weights.write(module.state_dict(), folder, safe=how.safe)
    tokenizer: Any = module.tokenizer
    tokenizer.save(str(folder / TOKENIZER))


def _static_vectors(tensors: Mapping[str, Tensor], path: Path) -> Tensor:
    """`(v, d)`, a vector for each token id."""
    if "embedding.weight" in tensors:
        return tensors["embedding.weight"]
    if "embeddings" not in tensors:
        raise ModelFileError(
            f"{path} holds {sorted(tensors)}; the vectors must be in 'embedding.weight', or in "
            "'embeddings' as model2vec has them"
        )
    try:
        return fold(tensors["embeddings"], tensors.get("mapping"), tensors.get("weights"))
    except (IndexError, RuntimeError) as error:
        raise ModelFileError(f"{path}: 'mapping' or 'weights' does not fit: {error}") from error
