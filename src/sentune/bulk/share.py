"""Which shards a process does, where several do a share each."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from sentune.errors import SettingError


@dataclass(frozen=True)
class Share:
    """Every `count`-th shard, from shard `index` on.

    Attributes:
        index: From 0.
        count: How many shares there are.

    Raises:
        SettingError: If there is no such share.
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 0 <= self.index < self.count:
            raise SettingError(
                f"there is no share {self.index + 1} of {self.count}; shares are numbered from 1: "
                "1/8, 2/8 ... 8/8"
            )

    @classmethod
    def parse(cls, text: str) -> Share:
        """The share of a text as `3/8`, the third of eight."""
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        if found is None:
            raise SettingError(f"a share is written as 3/8, the third of eight; got {text!r}")
        return cls(int(found[1]) - 1, int(found[2]))

    @classmethod
    def of_environment(cls) -> Share:
        """The share of a process that torchrun started, by RANK and WORLD_SIZE; else the whole.

        Raises:
            SettingError: If one of them is no number, or there is no such share.
        """
        world = _number_in("WORLD_SIZE", 1)
        return cls(_number_in("RANK", 0), world) if world != 1 else cls()

    def of(self, numbers: Iterable[int]) -> list[int]:
        """Those of the shard numbers that are in it."""
        return [number for number in numbers if number % self.count == self.index]


def _number_in(variable: str, usual: int) -> int:
    """The number in an environment variable."""
    found = os.environ.get(variable)
    if found is None:
        return usual
    if not found.isdecimal():
        raise SettingError(
            f"the environment variable {variable} must be a number, as torchrun sets it, got "
            f"{found!r}; unset it, or say --shards I/N (share=Share(...))"
        )
    return int(found)
