"""Logging that does not tear progress bars apart."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from sentune._lazy import need


class LoggingHandler(logging.Handler):
    """Writes log lines above a progress bar that is being drawn."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            tqdm.write(self.format(record))
        except Exception:
            self.handleError(record)


def install_logger(
    given_logger: logging.Logger,
    level: int = logging.WARNING,
    fmt: str = "%(levelname)s:%(name)s:%(message)s",
) -> None:
    """Let a logger write lines in colours, by the package coloredlogs, above progress bars."""
    need("coloredlogs", "logs").install(logger=given_logger, level=level, fmt=fmt)


@contextmanager
def disable_logging(highest_level: int = logging.CRITICAL) -> Iterator[None]:
    """While it lasts, no message of this level or below is logged."""
    before = logging.root.manager.disable
    logging.disable(highest_level)
    try:
        yield
    finally:
        logging.disable(before)
