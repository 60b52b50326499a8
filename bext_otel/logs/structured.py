"""structlog's side of the chain: what a program gets that doesn't configure it, and how the events of one that does are exported."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, MutableMapping
from functools import wraps
from typing import Any

from opentelemetry.semconv.attributes import exception_attributes

from bext_otel.logs.chain import Chain
from bext_otel.logs.levels import TRACE, number_of

__all__ = ["configure"]

_LEVELS = {
    "trace": TRACE,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "exception": logging.ERROR,
    "critical": logging.CRITICAL,
    "fatal": logging.CRITICAL,
}


class _Bridge:
    """A structlog processor that hands events to the chain. `ends` says that nothing comes after it."""

    def __init__(self, chain: Chain, *, ends: bool) -> None:
        self._chain = chain
        self._ends = ends

    def __call__(self, logger: Any, method: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        from structlog import DropEvent

        _hand_over(self._chain, logger, method, dict(event_dict), printed=False)
        if self._ends:
            raise DropEvent
        return event_dict


class _Tap:
    """A processor among the application's: the chain gets what the last of them is about to print, and prints it no second time.

    What goes to the standard library's logging comes to the chain from there.
    """

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def __call__(self, logger: Any, method: str, event_dict: Any) -> Any:
        try:
            if isinstance(event_dict, MutableMapping) and not isinstance(logger, logging.Logger):
                fields = dict(event_dict)
                if number_of(fields.get("level")) == _LEVELS.get(method, logging.INFO):
                    del fields["level"]
                if isinstance(fields.get("exception"), str) and not fields.get("exc_info"):
                    fields[exception_attributes.EXCEPTION_STACKTRACE] = fields.pop("exception")
                _hand_over(self._chain, logger, method, fields, printed=True)
        except Exception:  # the application's own processors go on
            self._chain.failures += 1
        return event_dict


def _hand_over(chain: Chain, logger: Any, method: str, fields: dict[str, Any], *, printed: bool) -> None:
    level = _LEVELS.get(method, logging.INFO)
    name = getattr(logger, "name", "structlog")
    known = logger if isinstance(logger, logging.Logger) else logging.root
    if known.isEnabledFor(level) and chain.gate.admits(name, level):
        event, exc_info, stack = fields.pop("event", ""), fields.pop("exc_info", None), fields.pop("stack_info", None)
        chain.emit(name, level, event, fields, exc_info, None if stack is True else stack, printed=printed)


def configure(chain: Chain, *, prints: bool) -> Callable[[], None]:
    """Let structlog's events enter the chain. What it returns undoes it.

    A program that doesn't configure structlog gets the chain's lines; where the chain prints nothing (`prints` is False), structlog
    goes on printing as it does by default. A program's own configuration, sooner or later, stands as if we were not there, but for a
    processor of ours before its last.
    """
    import structlog

    original: Callable[..., None] = structlog.configure
    bridge, tap = _Bridge(chain, ends=prints), _Tap(chain)
    ours: dict[str, Any] = {}
    active = True

    def tap_in() -> None:
        processors = list(structlog.get_config()["processors"])
        is_there = any(each is tap or each is bridge for each in processors)
        if not is_there and not (processors and type(processors[-1]).__module__ == "structlog.testing"):
            original(processors=[*processors[:-1], tap, *processors[-1:]])

    def step_back() -> None:
        current = structlog.get_config()
        if bridge in current["processors"]:
            changed = {name: value for name, value in current.items() if value is not ours[name]}
            structlog.reset_defaults()
            original(**changed)

    @wraps(original)
    def configure(processors: Any = None, *args: Any, **kwargs: Any) -> None:
        if processors is not None and not isinstance(processors, list):
            processors = list(processors)  # it may be one that can be read once
        if active and processors is not None and bridge not in processors:
            step_back()
        original(processors, *args, **kwargs)
        if active and processors is not None:
            tap_in()

    if structlog.is_configured():
        tap_in()
    else:
        _take_over(original, bridge, chain.gate.lowest, prints=prints)
        ours = structlog.get_config()
    undo_wrapping = _replace(structlog, original, configure)

    def undo() -> None:
        nonlocal active
        active = False
        undo_wrapping()
        processors = structlog.get_config()["processors"]
        if bridge in processors:
            structlog.reset_defaults()
        elif tap in processors:
            original(processors=[each for each in processors if each is not tap])

    return undo


def _take_over(configure: Callable[..., None], bridge: _Bridge, lowest: int, *, prints: bool) -> None:
    import structlog

    if prints:
        configure(
            processors=[structlog.contextvars.merge_contextvars, bridge],
            wrapper_class=_wrapper(lowest),
            logger_factory=_python_logger,
            cache_logger_on_first_use=False,
        )
    else:
        merge, *others = structlog.get_config()["processors"]
        configure(processors=[merge, bridge, *others])
    # Nor is it by the program, whose `configure_once` would do nothing.
    structlog._config._CONFIG.is_configured = False


def _replace(structlog: Any, original: Callable[..., None], replacement: Callable[..., None]) -> Callable[[], None]:
    """Put `replacement` where structlog has its function; `configure_once` looks for it at the second place."""
    places = [place for place in (structlog, structlog._config) if place.configure is original]
    for place in places:
        place.configure = replacement

    def undo() -> None:
        for place in places:
            if place.configure is replacement:
                place.configure = original

    return undo


def _python_logger(*names: Any) -> logging.Logger:
    """The standard library's logger of the name given, or of the module that asks.

    structlog's own factory does this too, and replaces the class of all loggers of the program on the way.
    """
    if names:
        return logging.getLogger(str(names[0]))
    frame = sys._getframe(1)
    while frame.f_back is not None and f"{frame.f_globals.get('__name__')}.".startswith("structlog."):
        frame = frame.f_back
    return logging.getLogger(frame.f_globals.get("__name__") or "structlog")


def _wrapper(lowest: int) -> type[Any]:
    """structlog's own logger class for this level, whose methods below it do nothing, with `trace` added."""
    import structlog

    known = max((level for level in (logging.NOTSET, *_LEVELS.values()) if level <= lowest and level != TRACE), default=logging.NOTSET)
    base: Any = structlog.make_filtering_bound_logger(known)

    class Logger(base):  # type: ignore[misc]  # structlog makes its classes at run time
        def trace(self, event: str, *args: Any, **fields: Any) -> Any:
            if lowest > TRACE:
                return None
            return self._proxy_to_logger("trace", event % args if args else event, **fields)

    return Logger
