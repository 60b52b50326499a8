"""Levels of the standard library's loggers, set by us and given back."""

from __future__ import annotations

import logging
from collections.abc import Mapping

__all__ = ["LoggerLevels"]


class LoggerLevels:
    """Sets levels of loggers by their names (None: the root logger). One that is wanted no more gets back the
    level that it had, unless somebody else has set another one meanwhile."""

    def __init__(self) -> None:
        # What it had, and what we have set.
        self._set: dict[str | None, tuple[int, int]] = {}

    def apply(self, wanted: Mapping[str | None, int]) -> None:
        """Have these levels, and no others of ours."""
        for name in [name for name in self._set if name not in wanted]:
            logger, (before, ours) = logging.getLogger(name), self._set.pop(name)
            if logger.level == ours:
                logger.setLevel(before)
        for name, level in wanted.items():
            logger, known = logging.getLogger(name), self._set.get(name)
            if known is not None and known[1] == level:
                continue  # somebody else may have set another one, and means it
            before = logger.level if known is None or logger.level != known[1] else known[0]
            self._set[name] = before, level
            if logger.level != level:
                logger.setLevel(level)

    def of_application(self, name: str | None) -> int:
        """The level that a logger has, or would have without ours."""
        level, known = logging.getLogger(name).level, self._set.get(name)
        return known[0] if known is not None and known[1] == level else level
