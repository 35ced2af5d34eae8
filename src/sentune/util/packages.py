"""Which packages are installed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from sentune.files import requirements as asked


def check_package_availability(package_name: str, owner: str) -> bool:
    """Whether a package is installed, and its home page is one of this owner's."""
    try:
        about = metadata.metadata(package_name)
    except metadata.PackageNotFoundError:
        return False
    pages = [about["Home-page"] or "", *(about.get_all("Project-URL") or ())]
    return about["Name"] == package_name and any(owner in page for page in pages)


def is_accelerate_available() -> bool:
    """Whether accelerate is installed."""
    return check_package_availability("accelerate", "huggingface")


def is_datasets_available() -> bool:
    """Whether datasets is installed."""
    return check_package_availability("datasets", "huggingface")


def is_training_available() -> bool:
    """Whether all that training needs is installed."""
    return is_accelerate_available() and is_datasets_available()


def check_version_requirements(
    requirements: Mapping[str, Any] | None, source: str | None = None
) -> None:
    """Raise unless the installed packages are as asked for.

    Args:
        requirements: Package -> a version specifier as `">=5.9"`, or `{"specifier", "reason"}`.
        source: Who asks, for the message.

    Raises:
        MissingDependencyError: Naming every demand that is not met; also an ImportError.
    """
    asked.check(requirements, Path(source or "this model"))
