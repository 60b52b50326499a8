"""structlog's side of the chain: what a program gets that uses structlog and doesn't configure it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, MutableMapping
from typing import Any

from bext_otel.logs.chain import Chain
from bext_otel.logs.levels import TRACE

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

        level = _LEVELS.get(method, logging.INFO)
        name = getattr(logger, "name", "structlog")
        known = logger if isinstance(logger, logging.Logger) else logging.root
        if known.isEnabledFor(level) and self._chain.gate.admits(name, level):
            fields = dict(event_dict)
            event, exc_info, stack = fields.pop("event", ""), fields.pop("exc_info", None), fields.pop("stack_info", None)
            if stack is True:
                stack = None
            self._chain.emit(name, level, event, fields, exc_info, stack)
        if self._ends:
            raise DropEvent
        return event_dict


def configure(chain: Chain, *, prints: bool) -> Callable[[], None]:
    """Let structlog's events enter the chain, unless the program has configured structlog; a later configuration takes its place.

    Where the chain prints nothing (`prints` is False), structlog goes on printing as it does by default. What it returns undoes it.
    """
    import structlog

    if structlog.is_configured():
        return lambda: None
    bridge = _Bridge(chain, ends=prints)
    if prints:
        structlog.configure(
            processors=[structlog.contextvars.merge_contextvars, bridge],
            wrapper_class=_wrapper(chain.gate.lowest),
            logger_factory=_python_logger,
            cache_logger_on_first_use=False,
        )
    else:
        merge, *others = structlog.get_config()["processors"]
        structlog.configure(processors=[merge, bridge, *others])

    def undo() -> None:
        if bridge in structlog.get_config()["processors"]:
            structlog.reset_defaults()

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
