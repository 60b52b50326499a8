"""Where our own failures end: in one log line, never in the application."""

from __future__ import annotations

import logging

__all__ = ["report"]

_logger = logging.getLogger(__name__)
_seen: set[tuple[str, str]] = set()


def report(where: str, error: BaseException) -> None:
    """Tell about a failure of ours: the first of its kind at a place as a warning with its traceback, later
    ones at debug."""
    kind = (where, type(error).__name__)
    if kind in _seen:
        _logger.debug("telemetry failed again at %s: %s", where, kind[1])
        return
    if len(_seen) < 100:  # places are few; this bounds exception classes made on the fly
        _seen.add(kind)
    _logger.warning("telemetry failed at %s; the request goes on without it", where, exc_info=error)
