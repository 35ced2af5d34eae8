"""Logging that does not tear progress bars apart."""

from __future__ import annotations

import logging

from tqdm import tqdm


class LoggingHandler(logging.Handler):
    """Writes log lines above a progress bar that is being drawn."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            tqdm.write(self.format(record))
        except Exception:
            self.handleError(record)
