"""The crash log: where the reports of crashes go. There are many, and they are on purpose."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

LOGGERS = ("actors", "supervisors")


class Crashlog:
    """Keeps them in a file, or without a path nowhere, for the time of the block."""

    def __init__(self, path: Path | None) -> None:
        self.level = logging.WARNING if path else logging.CRITICAL + 1
        self.handler = logging.FileHandler(path, "w", "utf-8") if path else logging.NullHandler()
        self.before: dict[str, tuple[int, bool]] = {}

    def __enter__(self) -> None:
        for name in LOGGERS:
            logger = logging.getLogger(name)
            self.before[name] = logger.level, logger.propagate
            logger.addHandler(self.handler)
            logger.setLevel(self.level)
            logger.propagate = False

    def __exit__(self, *_: object) -> None:
        for name in LOGGERS:
            logger = logging.getLogger(name)
            logger.removeHandler(self.handler)
            level, logger.propagate = self.before[name]
            logger.setLevel(level)
        self.handler.close()
