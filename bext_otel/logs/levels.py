"""Level names, Python's level numbers and OpenTelemetry's severities; which events pass for which app."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from opentelemetry._logs import SeverityNumber

from bext_otel.apps import current_app

__all__ = ["LEVELS", "TRACE", "Gate", "level_name", "level_number", "number_of", "severity", "severity_text"]

TRACE = 5
"""Python's number for the level below debug; the standard library names none."""

LEVELS: Mapping[str, int] = {"error": logging.ERROR, "warn": logging.WARNING, "info": logging.INFO, "debug": logging.DEBUG, "trace": TRACE}
"""The platform's level names and the lowest number that each admits."""

# From how high a number on, most severe first: its severity, and the text that OpenTelemetry's data model shows for it.
_SEVERITIES = (
    (logging.CRITICAL, SeverityNumber.FATAL, "FATAL"),
    (logging.ERROR, SeverityNumber.ERROR, "ERROR"),
    (logging.WARNING, SeverityNumber.WARN, "WARN"),
    (logging.INFO, SeverityNumber.INFO, "INFO"),
    (logging.DEBUG, SeverityNumber.DEBUG, "DEBUG"),
)
_LOWEST = [*[(name.lower(), lowest) for _, lowest, name in _SEVERITIES if name != "FATAL"], ("trace", SeverityNumber.TRACE)]
_NAMES: Mapping[SeverityNumber | None, str] = {
    number: next(name for name, lowest in _LOWEST if number.value >= lowest.value)
    for number in SeverityNumber
    if number is not SeverityNumber.UNSPECIFIED
}
_KNOWN = {"warning": logging.WARNING, "critical": logging.CRITICAL, "fatal": logging.CRITICAL, **LEVELS}
_TEXTS = {"WARNING": "WARN", "CRITICAL": "FATAL"}


def level_number(name: str, default: int = logging.INFO) -> int:
    """Python's number for a level name of any case, Python's own names included; `default` for an unknown one."""
    return _KNOWN.get(name.strip().lower(), default)


def number_of(name: object) -> int | None:
    """As `level_number`, for what may be a level's name or anything else; None if it is no known name."""
    return _KNOWN.get(name.strip().lower()) if isinstance(name, str) else None


def severity(number: int) -> SeverityNumber:
    """OpenTelemetry's severity for a Python level number; below debug is TRACE."""
    for lowest, found, _ in _SEVERITIES:
        if number >= lowest:
            return found
    return SeverityNumber.TRACE


def severity_text(number: int) -> str:
    """The severity's text: the application's own name for its own level, else the data model's (`WARN`, not `WARNING`)."""
    name = logging.getLevelName(number)
    # Celery's process pool gives the trace level a name of its own, SUBDEBUG, wherever it is imported.
    if not name.startswith("Level ") and number != TRACE:
        return _TEXTS.get(name, name)
    return next((text for lowest, _, text in _SEVERITIES if number >= lowest), "TRACE")


def level_name(number: SeverityNumber | None) -> str:
    """The platform's name for a severity; info where a record has none. Fatal is an error, there is nothing above."""
    return _NAMES.get(number, "info")


class Gate:
    """Which events pass that the logger's own level let through: those at their app's level, or at the base level outside any app.

    A logger with a level of its own (`[logging.filters]`, or `setLevel` in the application) is more specific than an app, and decides
    alone. Where the most talkative app needs more than the base, everyone's events of that level are built and then dropped here.
    """

    def __init__(self, base: int, apps: Mapping[str, int]) -> None:
        self.base = base
        self.lowest = min([base, *apps.values()])
        self._apps = apps

    def admits(self, logger_name: str, number: int, app: str | None = None) -> bool:
        """Does an event of level `number` that this logger let through pass, for `app` (None: the app at work)?"""
        if not self._apps:
            return True
        threshold = self._apps.get(app or current_app() or "")
        if threshold is None:
            # A root level that the application changed has been checked already, by the logger.
            threshold = self.base if logging.root.level == self.lowest else logging.NOTSET
        return number >= threshold or _has_own_level(logger_name)

    def wants(self, scope: str, number: SeverityNumber | None, app: str | None = None) -> bool:
        """Does a record of this severity pass that was emitted past any logger, at the scope of this name? One without severity does."""
        if number is None or number is SeverityNumber.UNSPECIFIED:
            return True
        level = _level(number)
        return logging.getLogger(scope).isEnabledFor(level) and self.admits(scope, level, app)


def _level(number: SeverityNumber) -> int:
    """Python's level number for a severity."""
    return next((level for level, lowest, _ in _SEVERITIES if number.value >= lowest.value), TRACE)


def _has_own_level(name: str) -> bool:
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None and logger is not logging.root:
        if logger.level:
            return True
        logger = logger.parent
    return False
