"""Which code of a model's own may run, and where it is from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentune.folders.source import Hub


@dataclass(frozen=True)
class Code:
    """Which code of a model's own may run, and where it is from.

    Args:
        root: The model's folder.
        hub: Where code is that lies in another repository.
        is_trusted: Whether its code may run.
    """

    root: Path
    hub: Hub
    is_trusted: bool = False

    def options(self) -> dict[str, Any]:
        """Keyword arguments for transformers' `from_pretrained`; said in full, or it would ask."""
        if not self.is_trusted:
            return {"trust_remote_code": False}
        return {
            "trust_remote_code": True,
            "token": self.hub.token,
            "cache_dir": self.hub.cache_folder,
            "local_files_only": self.hub.local_files_only,
        }
