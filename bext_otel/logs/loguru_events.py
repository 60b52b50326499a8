"""loguru's side of the chain.

Each of its loggers makes a record in `Logger._log` and gives it to the handlers of its core, by
`Handler.emit`. There, at the two classes, the chain is told. No sink of ours is among an application's:
`remove()` takes none of ours away, and ids and `repr` are as without us.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext, suppress
from contextvars import ContextVar
from functools import partial, wraps
from typing import Any

from bext_otel.covering import cover, replace
from bext_otel.logs.chain import Chain
from bext_otel.logs.handed_on import handing_on
from bext_otel.logs.handler_targets import function_names_terminal
from bext_otel.logs.hushing import hushed
from bext_otel.logs.printing import prints
from bext_otel.logs.terminal import leads_to_terminal
from bext_otel.process import Undo

__all__ = ["watch"]


class _Event:
    """What one call of a logger says; `heard` by whom it was told first."""

    __slots__ = ("heard",)

    def __init__(self) -> None:
        self.heard = False


_event: ContextVar[_Event | None] = ContextVar("bext_otel_logs_loguru_event", default=None)


class _Watch:
    def __init__(self, chain: Chain, *, is_ours: Callable[[], bool], is_passing: Callable[[], bool]) -> None:
        self._chain = chain
        self._is_ours = is_ours
        self._is_passing = is_passing
        self._undoing = ExitStack()

    def stand(self) -> None:
        """Stand at its classes."""
        # No dependency of ours: it is here if it was imported.
        loggers, handlers, sinks = (
            sys.modules[f"loguru.{name}"] for name in ("_logger", "_handler", "_simple_sinks")
        )
        self._undoing.callback(self._stand_at_loggers(loggers.Logger))
        self._undoing.callback(cover(handlers.Handler, "emit", self._emitted))
        # They may give a message to the standard library, with its queue in another thread.
        for name in ("StandardSink", "CallableSink"):
            if (sink := getattr(sinks, name, None)) is not None:
                self._undoing.callback(cover(sink, "write", _written))

    def remove(self) -> None:
        """Leave loguru as it was found."""
        self._undoing.close()

    def _stand_at_loggers(self, kind: Any) -> Undo:
        original, active = kind._log, True

        @wraps(original)
        def log(
            self_: Any, level: Any, from_decorator: Any, options: Any, message: Any, args: Any, kwargs: Any
        ) -> Any:
            # We are one more caller.
            options = (options[0], options[1] + 1, *options[2:])
            if not active:
                return original(self_, level, from_decorator, options, message, args, kwargs)
            token = _event.set(_Event())
            try:
                # By then, whoever has no handler would have returned.
                to = self_ if self_._core.handlers else self._unheard(self_)
                return original(to, level, from_decorator, options, message, args, kwargs)
            finally:
                _event.reset(token)

        put_back = replace(kind, "_log", log)

        def undo() -> None:
            nonlocal active
            active = False
            put_back()

        return undo

    def _unheard(self, logger: Any) -> Any:
        """The same logger where nobody listens but us, from info on, or as the levels say."""
        core = logger._core
        alone = object.__new__(type(core))
        alone.__dict__.update(vars(core))
        alone.min_level = min(logging.INFO, self._chain.gate.lowest)
        alone.handlers = {0: _Listener(self._tell)}
        return type(logger)(alone, *logger._options)

    def _emitted(
        self,
        original: Callable[..., None],
        handler: Any,
        record: Mapping[str, Any],
        level_id: Any,
        from_decorator: Any,
        is_raw: Any,
        *rest: Any,
    ) -> None:
        emit = partial(original, handler, record, level_id, from_decorator, is_raw, *rest)
        event = _event.get()
        # What is raw is printed, and no event; what the standard library has handed to loguru is its own.
        if event is None or is_raw or self._is_passing():
            emit()
            return
        silent = hush = False
        try:
            if record["level"].no >= handler._levelno:
                if not event.heard:
                    event.heard = True
                    self._tell(record)
                if self._is_ours():
                    sink = handler._sink
                    silent = _prints(sink)
                    hush = not silent and function_names_terminal(getattr(sink, "_function", None))
        except Exception:  # what the application does with it is done
            self._chain.failures += 1
        if not silent:
            with hushed() if hush else nullcontext():
                emit()

    def _tell(self, record: Mapping[str, Any]) -> None:
        name, level, fields = record["name"] or "loguru", record["level"].no, record["extra"]
        app = fields.get("app")
        if self._chain.gate.takes(name, level, app if type(app) is str else None, least=logging.NOTSET):
            self._chain.emit(
                name,
                level,
                record["message"],
                fields,
                record["exception"],
                timestamp=int(record["time"].timestamp() * 1e6) * 1000,
            )


class _Listener:
    """In the place of a handler."""

    def __init__(self, tell: Callable[[Mapping[str, Any]], None]) -> None:
        self._tell = tell

    def emit(
        self, record: Mapping[str, Any], level_id: Any, from_decorator: Any, is_raw: Any, *rest: Any
    ) -> None:
        """As loguru's handlers have it."""
        if not is_raw:
            with suppress(Exception):  # logging must not fail the work that is logged
                self._tell(record)


def _prints(sink: Any) -> bool:
    """Does it write to the terminal, and do nothing else?"""
    if isinstance(handler := getattr(sink, "_handler", None), logging.Handler):
        return prints(handler)
    function = getattr(sink, "_function", None)
    return (
        function is print
        or leads_to_terminal(getattr(sink, "_stream", None))
        or (
            getattr(function, "__name__", "") == "write"
            and leads_to_terminal(getattr(function, "__self__", None))
        )
    )


def _written(original: Callable[[Any, Any], None], sink: Any, message: Any) -> None:
    with handing_on():
        original(sink, message)


def watch(chain: Chain, *, is_ours: Callable[[], bool], is_passing: Callable[[], bool]) -> Undo:
    """Let loguru's events enter the chain, each once, whatever its sinks are. What it returns undoes it.

    Their levels are the sinks'; without any, info. While the terminal is ours (`is_ours`), sinks that would
    print an event there stand down for our line. `is_passing` says that a record of the standard library's is
    on its way through the handlers here, one of which may hand it to loguru.
    """
    watching = _Watch(chain, is_ours=is_ours, is_passing=is_passing)
    watching.stand()
    return watching.remove
