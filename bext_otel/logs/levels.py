"""Level names, Python's level numbers and OpenTelemetry's severities; which events pass for which app."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from opentelemetry._logs import SeverityNumber

from bext_otel._compat import get_current, level_names, levels_cache
from bext_otel.apps import APP_KEY, current_app
from bext_otel.export.record import Severity, severity_of

__all__ = [
    "LEVELS",
    "TRACE",
    "Gate",
    "level_name",
    "level_number",
    "number_of",
    "severity",
    "severity_of_level",
    "severity_text",
]

TRACE = 5
"""Python's number for the level below debug; the standard library names none."""

LEVELS: Mapping[str, int] = {
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": TRACE,
}
"""The platform's level names and the lowest number that each admits."""

# From how high a number on, most severe first: its severity, and the text that OpenTelemetry's data model
# shows for it.
_SEVERITIES = (
    (logging.CRITICAL, SeverityNumber.FATAL, "FATAL"),
    (logging.ERROR, SeverityNumber.ERROR, "ERROR"),
    (logging.WARNING, SeverityNumber.WARN, "WARN"),
    (logging.INFO, SeverityNumber.INFO, "INFO"),
    (logging.DEBUG, SeverityNumber.DEBUG, "DEBUG"),
)
_LOWEST = [
    *[(name.lower(), lowest) for _, lowest, name in _SEVERITIES if name != "FATAL"],
    ("trace", SeverityNumber.TRACE),
]
# By identity, since the hash of an enumeration's member costs more than all the rest; they live for ever.
_NAMES: Mapping[int, str] = {
    id(number): next(name for name, lowest in _LOWEST if number.value >= lowest.value)
    for number in SeverityNumber
    if number is not SeverityNumber.UNSPECIFIED
}
_KNOWN = {"warning": logging.WARNING, "critical": logging.CRITICAL, "fatal": logging.CRITICAL, **LEVELS}
_TEXTS = {"WARNING": "WARN", "CRITICAL": "FATAL"}


def level_number(name: str, default: int = logging.INFO) -> int:
    """Python's number for a level name of any case, Python's own names included; `default` for an unknown
    one."""
    return _KNOWN.get(name.strip().lower(), default)


def number_of(name: object) -> int | None:
    """As `level_number`, for what may be a level's name or anything else; None if it is no known name."""
    return _KNOWN.get(name.strip().lower()) if isinstance(name, str) else None


def severity(number: int) -> SeverityNumber:
    """OpenTelemetry's severity for a Python level number; below debug is TRACE. A level in between is as much
    graver as it is higher, as upstream has it: 21 is INFO2, 23 to 29 are INFO4."""
    return _BY_LEVEL.get(number) or _severity(number)


def _severity(number: int) -> SeverityNumber:
    for lowest, found, _ in _SEVERITIES:
        if number >= lowest:
            return SeverityNumber(found.value + min(int(number) - lowest, 3))
    return SeverityNumber.TRACE


_BY_LEVEL: Mapping[int, SeverityNumber] = {number: _severity(number) for number in range(60)}


def severity_text(number: int) -> str:
    """The severity's text: the application's own name for its own level, else the data model's (`WARN`, not
    `WARNING`)."""
    name = logging.getLevelName(number)
    # Celery's process pool gives the trace level a name of its own, SUBDEBUG, wherever it is imported.
    if not name.startswith("Level ") and number != TRACE:
        return _TEXTS.get(name, name)
    return next((text for lowest, _, text in _SEVERITIES if number >= lowest), "TRACE")


def severity_of_level(number: int) -> Severity:
    """Both, for a Python level number."""
    name = level_names.get(number) or logging.getLevelName(number)
    found = _by_level.get((number, name))
    if found is None:
        found = severity_of(severity(number), severity_text(number))
        if len(_by_level) < _MAX_LEVELS:
            _by_level[number, name] = found
    return found


# By the name as well, which the application may change.
_by_level: dict[tuple[int, str], Severity] = {}
_MAX_LEVELS = 1000


def level_name(number: SeverityNumber | None) -> str:
    """The platform's name for a severity; info where a record has none. Fatal is an error, there is nothing
    above."""
    return _NAMES.get(id(number), "info")


_NONE: Mapping[Any, int] = MappingProxyType({})


class Gate:
    """Which events are told, by who says them and for which app.

    `level` is `[logging] level`, None where nobody has set one: levels are the application's then, and what
    passes no logger of Python's has a level of its own. `apps` are the levels of `[apps.NAME] log_level`.

    A logger with a level of its own (`[logging.filters]`, or `setLevel` in the application) is more specific
    than an app, and decides alone. Where the most talkative app needs more than the base, everyone's events
    of that level are built and then dropped here.
    """

    def __init__(self, level: int | None, apps: Mapping[str, int]) -> None:
        self.opened = False
        """Have we set the root logger to `lowest`?"""
        self.decided: dict[tuple[str, int, str, int], bool] = {}
        """What `takes` has answered, by what it was asked, the app at work among that where it matters; it
        holds as long as `mark` is in `levels_cache`."""
        self.mark: object = None
        self.become(level, apps)

    def become(
        self,
        level: int | None,
        apps: Mapping[str, int],
        base: int | None = None,
        *,
        narrow: Mapping[tuple[str, str], int] = _NONE,
        widened: Mapping[str, int] = _NONE,
    ) -> None:
        """Have other levels from now on. `base` is the level of those for whom nobody has set one (None:
        `level`, or Python's warning).

        `narrow` are levels of loggers while an app is at work, by app and logger. `widened` are the loggers
        that we have opened for that, each with the level that it has for everybody else (0: none of its own).
        """
        self.level = level
        if base is None:
            base = logging.WARNING if level is None else level
        self.base = base
        self.lowest = min([base, *apps.values()])
        self.apps = apps
        self.narrow, self.widened = narrow, widened
        self.is_by_app = bool(apps or widened)
        """Does it matter which app is at work?"""
        self._forget()

    def _forget(self) -> None:
        # First the mark: what is found out by old levels meanwhile is kept where nobody looks any more.
        levels_cache.pop(self.mark, None)
        self.mark = object()
        levels_cache[self.mark] = True
        self.decided = {}

    def admits(self, logger_name: str, number: int, app: str | None = None) -> bool:
        """Does an event of level `number` that this logger let through pass, for `app` (None: the app at
        work)?"""
        if self.widened:
            app = app or current_app() or ""
            own, _ = self._own(logger_name, app)
            if own is not None:
                return number >= own
        if not self.apps:
            return True
        threshold = self.apps.get(app or current_app() or "")
        if threshold is None:
            # A root level that the application set has been checked already, by the logger.
            threshold = self.base if self._is_open() else logging.NOTSET
        return number >= threshold or own_level(logger_name) is not None

    def hides(self, logger_name: str, number: int) -> bool:
        """Is it an event that got this far only because an app's level has opened the root logger, and that
        is none of that app's?"""
        if self.widened and self.is_beyond(logger_name, number, current_app() or ""):
            return True
        return number < self.base and self._is_open() and not self.admits(logger_name, number)

    def is_beyond(self, logger_name: str, number: int, app: str) -> bool:
        """Does an event pass its logger only because we have opened that for another app?"""
        own, is_widened = self._own(logger_name, app)
        if not is_widened:
            return False
        if own is None:
            own = self.apps.get(app, self.base) if self._is_open() else logging.root.level
        return number < own

    def _own(self, name: str, app: str) -> tuple[int | None, bool]:
        """The level that a logger, or one above it but for the root, has for an app; whether one of those on
        the way was opened for somebody."""
        known, is_widened = logging.root.manager.loggerDict, False
        for each in _lineage(name):
            if each in self.widened:
                is_widened = True
                level = self.narrow.get((app, each)) or self.widened[each]
            else:
                logger = known.get(each)
                level = logger.level if isinstance(logger, logging.Logger) else 0
            if level:
                return level, is_widened
        return None, is_widened

    def _is_open(self) -> bool:
        return self.opened and logging.root.level == self.lowest

    def wants(self, scope: str, number: SeverityNumber | None, app: str | None = None) -> bool:
        """Does a record of this severity pass that was emitted past any logger, at the scope of this name?
        One without severity does."""
        if number is None or number is SeverityNumber.UNSPECIFIED:
            return True
        level = _LEVELS_OF.get(id(number), TRACE)
        # As `takes` begins, without a call for what has been decided before.
        if (app or not self.is_by_app) and self.mark in levels_cache:
            known = self.decided.get((scope, level, app if self.is_by_app else "", logging.INFO))  # type: ignore[arg-type]  # there is one
            if known is not None:
                return known
        return self.takes(scope, level, app, least=logging.INFO)

    def takes(self, name: str, number: int, app: str | None = None, *, least: int) -> bool:
        """Does an event pass that no logger of Python's has let through, if by itself it has the level
        `least`?

        The root logger's level does not count: an application that sets that to warnings means what its
        libraries say.
        """
        if not self.is_by_app:
            app = ""
        elif not app:
            # As `current_app` says, without two calls more.
            here = get_current().get(APP_KEY)
            app = here if isinstance(here, str) else ""
        key = (name, number, app, least)
        if self.mark in levels_cache:
            known = self.decided.get(key)
            if known is not None:
                return known
        else:
            self._forget()
        decided = self.decided
        if len(decided) >= _MAX_DECIDED:
            decided.clear()
        decided[key] = found = self._decide(name, number, app, least)
        return found

    def _decide(self, name: str, number: int, app: str, least: int) -> bool:
        if number <= logging.root.manager.disable:
            return False
        own = self._own(name, app)[0] if self.widened else own_level(name)
        if own is None and self.apps:
            own = self.apps.get(app)
        if own is None:
            own = least if self.level is None else self.level
        return number >= own


# There are as many as loggers, levels and apps.
_MAX_DECIDED = 4096
# Python's level number for a severity.
_LEVELS_OF = {
    id(number): next((level for level, lowest, _ in _SEVERITIES if number.value >= lowest.value), TRACE)
    for number in SeverityNumber
}


@lru_cache(maxsize=1024)
def _lineage(name: str) -> tuple[str, ...]:
    """The name of a logger, and of those above it, but for the root."""
    parts = name.split(".")
    return tuple(".".join(parts[:count]) for count in range(len(parts), 0, -1) if parts[0] or count > 1)


def own_level(name: str) -> int | None:
    """The level that was set for the logger of this name or for one above it, but for the root; None if there
    is none.

    Asks for no logger, because Python keeps each for ever.
    """
    known = logging.root.manager.loggerDict
    for each in _lineage(name):
        logger = known.get(each)
        if isinstance(logger, logging.Logger) and logger.level:
            return logger.level
    return None
