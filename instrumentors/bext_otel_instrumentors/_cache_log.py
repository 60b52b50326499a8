"""What is told about caches: log records of `bext.cache`, at the levels of the platform's table."""

from __future__ import annotations

import time

from opentelemetry import _logs, context
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.util.types import AttributeValue

__all__ = ["tell_dropped", "tell_lookup"]

# A flood of evictions is told in one line a second, which says how many there were.
_TELL_EVERY_SECONDS = 1.0
_MAX_PACES = 1000

# Asking the sinks takes more than the rest of a lookup's counting, so their answer holds for a second.
_ASK_EVERY_SECONDS = 1.0
_answer: tuple[_logs.LoggerProvider, float, bool] | None = None

_found: tuple[_logs.LoggerProvider, _logs.Logger] | None = None
_paces: dict[tuple[str, ...], list[float]] = {}


def tell_lookup(found: bool, app: str, layer: str, cache: str, lookups: int) -> None:
    """Lookups, at debug."""
    if _wants_lookups():
        _emit(_logger(), SeverityNumber.DEBUG, "DEBUG", "cache hit" if found else "cache miss", app, layer, cache=cache, lookups=lookups)


def _wants_lookups() -> bool:
    global _answer
    answer, now, provider = _answer, time.monotonic(), _logs.get_logger_provider()
    if answer is None or answer[0] is not provider or now >= answer[1]:
        answer = _answer = (provider, now + _ASK_EVERY_SECONDS, _logger().enabled(severity_number=SeverityNumber.DEBUG))
    return answer[2]


def _logger() -> _logs.Logger:
    global _found
    provider = _logs.get_logger_provider()
    if _found is None or _found[0] is not provider:
        _found = (provider, provider.get_logger("bext.cache"))
    return _found[1]


def tell_dropped(app: str, layer: str, entries: int, by: str = "", *, cache: str) -> None:
    """Entries that were invalidated `by` something, at info, or evicted, as a warning.

    At most one record a second for each kind; the next one has the entries of those that were left out.
    """
    severity, text, body = (SeverityNumber.INFO, "INFO", "cache invalidated") if by else (SeverityNumber.WARN, "WARN", "cache evicted")
    logger = _logger()
    if not logger.enabled(severity_number=severity):
        return
    now = time.monotonic()
    key = (body, app, layer, by)
    pace = _paces.get(key)
    if pace is None:
        if len(_paces) >= _MAX_PACES:  # labels are bounded; this is for callers that break the rule
            _paces.clear()
        pace = _paces[key] = [-_TELL_EVERY_SECONDS + now, 0]
    pace[1] += entries
    if now - pace[0] < _TELL_EVERY_SECONDS:
        return
    pace[0], entries, pace[1] = now, int(pace[1]), 0
    more = {"method": by} if by else {}
    _emit(logger, severity, text, body, app, layer, cache=cache, entries=entries, **more)


def _emit(logger: _logs.Logger, severity: SeverityNumber, text: str, body: str, app: str, layer: str, **more: AttributeValue) -> None:
    attributes = {"app": app, "layer": layer, **{name: value for name, value in more.items() if value != ""}}
    here = context.get_current()
    logger.emit(LogRecord(context=here, severity_number=severity, severity_text=text, body=body, attributes=attributes))
