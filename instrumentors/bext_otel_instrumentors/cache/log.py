"""What is told about caches: log records of `bext.cache`, at the levels of the platform's table."""

from __future__ import annotations

import atexit
import math
import threading
import time

from opentelemetry import _logs
from opentelemetry._logs import SeverityNumber
from opentelemetry.util.types import AttributeValue

from bext_otel.entries import logger, write
from bext_otel.process import on_fork
from bext_otel_instrumentors._kit.guard import report

__all__ = ["log_dropped", "log_lookup"]

_SCOPE = "bext.cache"

# A flood of evictions is told in one line a second, which says how many there were.
_TELL_EVERY_SECONDS = 1.0
_MAX_PACES = 1000

# Asking the sinks takes more than the rest of a lookup's counting, so their answer holds for half a second;
# each app has a level of its own.
_ASK_EVERY_SECONDS = 0.5
_MAX_ANSWERS = 1000
_answers: dict[str, tuple[_logs.LoggerProvider, float, bool]] = {}


# --- Lookups ------------------------------------------------------------------------------------------------


def log_lookup(found: bool, app: str, layer: str, cache: str, lookups: int) -> None:
    """Lookups of the app at work, at debug."""
    if _wants_lookups(app):
        body = "cache hit" if found else "cache miss"
        to, event = logger(_SCOPE), "bext.cache.hit" if found else "bext.cache.miss"
        _write(to, SeverityNumber.DEBUG, body, event, app, layer, cache=cache, lookups=lookups)


def _wants_lookups(app: str) -> bool:
    answer, now, provider = _answers.get(app), time.monotonic(), _logs.get_logger_provider()
    if answer is None or answer[0] is not provider or now >= answer[1]:
        if len(_answers) >= _MAX_ANSWERS:  # labels are bounded; this is for callers that break the rule
            _answers.clear()
        answer = _answers[app] = (
            provider,
            now + _ASK_EVERY_SECONDS,
            logger(_SCOPE).enabled(severity_number=SeverityNumber.DEBUG),
        )
    return answer[2]


# --- Entries that were dropped ------------------------------------------------------------------------------


class _Pace:
    """How fast one kind of line is told: when the last one was, and the entries since that no line has told,
    to `logger`."""

    __slots__ = ("logger", "told", "untold")

    def __init__(self) -> None:
        self.logger: _logs.Logger | None = None
        self.told = -math.inf
        self.untold = 0


_Kind = tuple[str, str, str, str]
"""App, layer, what selected the entries ("": room was needed), and the cache."""

_Untold = tuple[_logs.Logger, _Kind, int]
"""A line that waits: who is to write it, of what, and of how many entries; 0: nobody knows."""

_paces: dict[_Kind, _Pace] = {}
# Lasts only while something is untold.
_timer: threading.Timer | None = None
_lock = threading.RLock()  # a signal's handler may use caches as well


def log_dropped(app: str, layer: str, entries: int | None, by: str = "", *, cache: str) -> None:
    """Entries that were invalidated `by` something, at info, or evicted, as a warning; None: nobody knows how
    many.

    At most one record a second for each kind. What was left out is told when the second is over.
    """
    found = logger(_SCOPE)
    if not found.enabled(severity_number=_severity(by)):
        return
    kind, now = (app, layer, by, cache), time.monotonic()
    telling: list[_Untold] = []
    with _lock:
        if kind not in _paces and len(_paces) >= _MAX_PACES:
            # Labels are bounded; this is for callers that break the rule.
            telling = _take(math.inf)
            _paces.clear()
        pace = _paces.setdefault(kind, _Pace())
        pace.logger = found
        pace.untold += entries or 0
        if now - pace.told >= _TELL_EVERY_SECONDS:
            telling.append((found, kind, pace.untold))
            pace.told, pace.untold = now, 0
        elif pace.untold:
            _tell_later()
    for one in telling:
        _tell(*one)


def _take(now: float) -> list[_Untold]:
    """What has waited for a second or more; it is told by who takes it."""
    taken: list[_Untold] = []
    for kind, pace in _paces.items():
        if pace.untold and pace.logger is not None and now - pace.told >= _TELL_EVERY_SECONDS:
            taken.append((pace.logger, kind, pace.untold))
            pace.told, pace.untold, pace.logger = min(now, time.monotonic()), 0, None
    return taken


def _tell_later() -> None:
    """Have told in a second what nothing else has told until then."""
    global _timer
    if _timer is None:
        timer = threading.Timer(_TELL_EVERY_SECONDS, _tell_rest)
        timer.name, timer.daemon = "bext-otel-cache-log", True
        try:
            timer.start()
        except RuntimeError:  # the interpreter ends, or there are too many threads: the next line tells it
            return
        _timer = timer


def _tell_rest() -> None:
    global _timer
    with _lock:
        _timer = None
        taken = _take(time.monotonic())
        if any(pace.untold for pace in _paces.values()):
            _tell_later()
    for one in taken:
        _tell_guarded(one)


def _tell_guarded(untold: _Untold) -> None:
    try:
        _tell(*untold)
    except Exception as error:  # a sink of the application's
        report("entries that a cache has dropped", error)


@atexit.register
def _tell_all() -> None:
    """The process ends, and with it the time to wait."""
    with _lock:
        taken = _take(math.inf)
    for one in taken:
        _tell_guarded(one)


def _after_fork_in_child() -> None:
    """The parent tells what the parent has dropped, in a thread that is not here."""
    global _timer, _lock
    _timer, _lock = None, threading.RLock()
    _paces.clear()


on_fork(in_child=_after_fork_in_child)


def _severity(by: str) -> SeverityNumber:
    return SeverityNumber.INFO if by else SeverityNumber.WARN


def _tell(to: _logs.Logger, kind: _Kind, entries: int) -> None:
    app, layer, by, cache = kind
    known = {"entries": entries} if entries else {}
    _write(
        to,
        _severity(by),
        "cache invalidated" if by else "cache evicted",
        "bext.cache.invalidated" if by else "bext.cache.evicted",
        app,
        layer,
        cache=cache,
        **known,
        method=by,
    )


def _write(
    to: _logs.Logger,
    severity: SeverityNumber,
    body: str,
    event: str,
    app: str,
    layer: str,
    **more: AttributeValue,
) -> None:
    attributes = {"app": app, "layer": layer, **{name: value for name, value in more.items() if value != ""}}
    write(to, severity, body, attributes, event=event)
