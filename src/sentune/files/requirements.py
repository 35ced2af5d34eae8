"""What a model says it needs of the packages beside it."""

from __future__ import annotations

import logging
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from sentune.errors import MissingDependencyError
from sentune.folders.keys import shown

logger = logging.getLogger(__name__)

# The package whose format this is: asking for a release of it says nothing about this reader.
_NOT_ASKED = {"sentence-transformers", "sentence_transformers"}
_ALIASES = {"pytorch": "torch"}


def check(requirements: Any, path: Path) -> None:
    """Raise unless the installed packages are what a model asks for.

    A demand that cannot be understood is logged and passed over.
    """
    if not requirements:
        return
    if not isinstance(requirements, Mapping):
        logger.warning("%s: 'requirements' is not an object; passed over", path)
        return
    unmet = [
        problem
        for package, demand in requirements.items()
        if package not in _NOT_ASKED
        if (problem := _unmet(_ALIASES.get(str(package), str(package)), demand, path))
    ]
    if unmet:
        raise MissingDependencyError(f"{path} asks for {'; '.join(unmet)}; install with pip")


def _unmet(package: str, demand: Any, path: Path) -> str | None:
    """What is not as demanded, in words; None if all is well."""
    details = demand if isinstance(demand, Mapping) else {"specifier": demand}
    specifier = details.get("specifier", "")
    installed = _installed(package)
    try:
        if installed and SpecifierSet(specifier).contains(Version(installed), prereleases=True):
            return None
        SpecifierSet(specifier)
    except (InvalidSpecifier, InvalidVersion, TypeError, AttributeError):
        logger.warning("%s: requirement %s of %r not understood", path, shown(demand), package)
        return None
    reason = f" ({details['reason']})" if details.get("reason") else ""
    have = f"{installed} is installed" if installed else "it is not installed"
    return f"{package}{specifier}{reason}, but {have}"


def _installed(package: str) -> str | None:
    if package == "python":
        return platform.python_version()
    try:
        return metadata.version(package)
    except (metadata.PackageNotFoundError, ValueError):
        return None
