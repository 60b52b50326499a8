"""structlog's side of the chain: what a program gets that doesn't configure it, and how the events of one
that does are exported."""

from __future__ import annotations

import logging
import sys
import traceback
import weakref
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import wraps
from operator import is_
from types import FrameType
from typing import Any, TypeAlias

from opentelemetry.semconv.attributes import exception_attributes

from bext_otel._compat import get_current, levels_cache
from bext_otel.apps import APP_KEY
from bext_otel.covering import cover, replace
from bext_otel.logs.chain import Chain
from bext_otel.logs.levels import TRACE, number_of
from bext_otel.logs.terminal import Terminal

__all__ = ["watch"]

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
    "msg": logging.INFO,  # Twisted's two
    "err": logging.ERROR,
}
# What structlog's own processors take out of an event, or we do.
_CHANGING = frozenset({"event", "stack_info", "exc_info", "stack", "exception"})
_PLAIN_LEVELS = {method: level for method, level in _LEVELS.items() if method not in {"exception", "err"}}
_STACK = "Stack (most recent call last)"
_NAME = "structlog"
# What structlog's classes and ours add to the way from who says something to here.
_BETWEEN = ("structlog.", "bext_otel.logs.", "bext_otel.covering.")

# The names that loggers were asked for by whose factory drops them, by identity, each with its logger. A
# `WeakKeyDictionary` takes several calls to find one.
_names: dict[int, tuple[weakref.ref[object], str]] = {}

# A bound logger, the `Gate.mark` since which it is known, and by app its methods that are below their level.
_Quiet: TypeAlias = "tuple[weakref.ref[Any], object, dict[Any, set[str]]]"
_MAX_QUIET = 4096


class _Seen:
    """The program's processors as one, which keeps the event as it was before the first of them that made
    something else of it."""

    def __init__(self, processors: list[Callable[..., Any]]) -> None:
        self._processors = processors
        self.event: dict[str, Any] = {}

    def __call__(self, logger: Any, method: str, event: Any) -> Any:
        for process in self._processors:
            if isinstance(event, Mapping):
                # A renderer takes out what it shows.
                self.event = dict(event)
            event = process(logger, method, event)
        if isinstance(event, Mapping):
            self.event = dict(event)
        return event


class _Watch:
    """Sees each event where every logger of structlog's lets its processors make what is written of it.

    Nothing of ours is in the configuration, in processors or in loggers, so they copy, pickle, compare and
    print as ever; and whoever resets the configuration, or has loggers with processors of their own, is heard
    too.
    """

    def __init__(
        self,
        structlog: Any,
        chain: Chain,
        *,
        is_ours: Callable[[], bool],
        takes_place: Callable[[], bool],
        terminal: Terminal | None,
    ) -> None:
        config, base, output = structlog._config, structlog._base.BoundLoggerBase, structlog._output
        self._chain = chain
        self._is_terminal_ours, self._terminal = is_ours, terminal
        self._takes_place = takes_place
        self._is_configured: Callable[[], bool] = structlog.is_configured
        self._drop: type[Exception] = structlog.DropEvent
        self._defaults: list[Any] = list(config._BUILTIN_DEFAULT_PROCESSORS)
        self._logger_class = structlog.PrintLogger
        self._printing = (structlog.PrintLogger, structlog.WriteLogger)
        self._streams = (output.stdout, output.stderr)
        # Without structlog's own time and level, which a record has itself.
        level, time = structlog.processors.add_log_level, structlog.processors.TimeStamper
        self._needed = [
            each for each in self._defaults[:-1] if each is not level and not isinstance(each, time)
        ]
        # Where those of its loggers stand.
        self._methods = vars(sys.modules.get("structlog._native", sys))
        self._undo = [
            cover(base, "_process_event", self._process_event),
            # Those that were ever bound (`bind_contextvars`), if that can be known.
            self._stand_at_loggers(base, getattr(structlog.contextvars, "_CONTEXT_VARS", {"": None})),
            *(
                cover(factory, "__call__", _named)
                for factory in (structlog.PrintLoggerFactory, structlog.WriteLoggerFactory)
            ),
            _with_trace(config._BUILTIN_DEFAULT_WRAPPER_CLASS, self._is_ours),
        ]

    def remove(self) -> None:
        """Leave structlog as it was found."""
        while self._undo:
            self._undo.pop()()

    def _stand_at_loggers(self, base: Any, context_variables: Mapping[str, Any]) -> Callable[[], None]:
        """Have an event that structlog's own processors would leave as it is, but for those of its line, go
        straight to the chain, where our line takes the place of that."""
        original, active = base._proxy_to_logger, True
        chain, defaults, kind, streams = self._chain, self._defaults, self._logger_class, self._streams
        is_terminal_ours, names, levels = self._is_terminal_ours, _names, _PLAIN_LEVELS
        gate, takes, methods = chain.gate, chain.gate.takes, self._methods
        terminal: Any = self._terminal
        quiet: dict[int, _Quiet] = {}

        @wraps(original)
        def proxy_to_logger(self: Any, method_name: str, event: Any = None, **event_kw: Any) -> Any:
            name: Any
            who: Any
            # A call below its level, as one was before: by its logger, the app at work, and levels since.
            if (
                (known := quiet.get(id(self))) is not None
                and method_name in known[2].get(get_current().get(APP_KEY), ())
                and known[1] in levels_cache
                and known[0]() is self
                and terminal.settled is sys.stdout
                and self._processors == defaults  # type: ignore[union-attr]  # it is no None
                and not (event_kw and "app" in event_kw)
                and active
            ):
                return None
            logger: Any = getattr(self, "_logger", None)
            if (
                active
                and type(logger) is kind
                and (level := levels.get(method_name)) is not None
                and self._processors == defaults
                and type(context := self._context) is dict
                and ((file := logger._file) is sys.stdout or file is sys.stderr or file in streams)
                and is_terminal_ours()
            ):
                # The name that it was asked for by; this kind has none of its own.
                asked = names.get(id(logger))
                if asked is not None and asked[0]() is logger:
                    name = asked[1]
                elif (
                    (method := sys._getframe(1)).f_globals is not methods
                    or (caller := method.f_back) is None
                    or type(name := caller.f_globals.get("__name__")) is not str
                    or name not in _callers
                ):
                    name = _name_of(logger)
                fields = {**context, **event_kw} if context else event_kw
                app = fields.get("app") if fields else None
                if type(app) is not str:
                    app = None
                # What `Gate.takes` has answered before costs no call.
                who = (app or get_current().get(APP_KEY) or "") if gate.is_by_app else ""
                mark, passes = gate.mark, None
                if mark in levels_cache:
                    passes = gate.decided.get((name, level, who, logging.NOTSET))
                if passes is None:
                    passes = takes(name, level, app, least=logging.NOTSET)
                if not passes:
                    if (
                        app is None
                        and terminal is not None
                        and terminal.name == "stdout"
                        and file in streams
                        and asked is not None
                        and asked[1] is name
                    ):
                        _keep_quiet(quiet, self, mark, method_name)
                    return None
                if _CHANGING.isdisjoint(fields) and not context_variables:
                    chain.emit(name, level, "" if event is None else event, fields, heard=True)
                    return None
            return original(self, method_name, event, **event_kw)

        put_back = replace(base, "_proxy_to_logger", proxy_to_logger)

        def undo() -> None:
            nonlocal active
            active = False
            put_back()

        return undo

    def _process_event(
        self, process: Callable[..., Any], bound: Any, method_name: str, event: Any, event_kw: Any
    ) -> Any:
        # Who asks for the caller's frame looks for the first that is not structlog's, and would find ours.
        kept = _kept_caller()
        if kept is None or kept.get(None) is not None:
            return self._processed(process, bound, method_name, event, event_kw)
        token = kept.set(_asking())
        try:
            return self._processed(process, bound, method_name, event, event_kw)
        finally:
            kept.reset(token)

    def _processed(
        self, process: Callable[..., Any], bound: Any, method: str, event: Any, fields: Any
    ) -> Any:
        if isinstance(bound._logger, logging.Logger | logging.LoggerAdapter) or not hasattr(
            bound, "__dict__"
        ):
            # The chain gets it from the standard library's logging.
            return process(bound, method, event, fields)
        if type(bound._logger).__module__ == "structlog.testing":
            # It says nothing to anybody, but gives it back, or keeps it for a test.
            return process(bound, method, event, fields)
        processors = list(bound._processors)
        if processors and type(processors[-1]).__module__ == "structlog.testing":
            return process(_with(bound, processors), method, event, fields)
        if self._is_ours(bound, processors):
            self._tell(process, bound, method, event, fields)
            raise self._drop
        seen = _Seen(processors)
        made = process(_with(bound, [seen]), method, event, fields)
        try:
            if self._are_defaults(processors):
                seen.event.pop("timestamp", None)
            self._hand_over(bound, method, seen.event, printed=True)
        except Exception:  # what the application writes is written
            self._chain.failures += 1
        return made

    def _is_ours(self, bound: Any, processors: list[Any]) -> bool:
        """Is it as structlog does it by itself, for people and printed, where our line is printed instead?"""
        return (
            self._takes_place()
            and self._are_defaults(processors)
            and type(bound._logger) in self._printing
            and any(bound._logger._file is each for each in (*self._streams, sys.stdout, sys.stderr))
        )

    def _are_defaults(self, processors: list[Any]) -> bool:
        if len(processors) != len(self._defaults):
            return False
        if all(map(is_, processors, self._defaults)):
            return True
        # A logger that was copied, or came from another process, has copies of them.
        return not self._is_configured() and list(map(type, processors)) == list(map(type, self._defaults))

    def _tell(self, process: Callable[..., Any], bound: Any, method: str, event: Any, fields: Any) -> None:
        """Our line takes the place of structlog's own."""
        level = _LEVELS.get(method, logging.INFO)
        if not self._chain.gate.takes(_name_of(bound._logger), level, _app_in(fields), least=logging.NOTSET):
            return
        seen = _Seen(self._needed)
        process(_with(bound, [seen]), method, event, fields)
        self._hand_over(bound, method, seen.event, printed=False)

    def _hand_over(self, bound: Any, method: str, fields: dict[str, Any], *, printed: bool) -> None:
        level = _LEVELS.get(method, logging.INFO)
        name = _name_of(bound._logger)
        if not self._chain.gate.takes(name, level, _app_in(fields), least=logging.NOTSET):
            return
        if printed and (number_of(fields.get("level")) == level or fields.get("level") == method):
            del fields["level"]
        if method == "err":
            _read_failure(fields)
        if printed and isinstance(fields.get("exception"), str) and not fields.get("exc_info"):
            fields[exception_attributes.EXCEPTION_STACKTRACE] = fields.pop("exception")
        event, exc_info, stack = (
            fields.pop("event", ""),
            fields.pop("exc_info", None),
            fields.pop("stack_info", None),
        )
        if str(fields.get("stack", "")).startswith(_STACK):
            stack = fields.pop("stack")
        elif stack is True:
            stack = "".join(traceback.format_stack(_asking()))
        self._chain.emit(name, level, event, fields, exc_info, stack, printed=printed)


def watch(
    chain: Chain,
    *,
    is_ours: Callable[[], bool],
    takes_place: Callable[[], bool] | None = None,
    terminal: Terminal | None = None,
) -> Callable[[], None]:
    """Let structlog's events enter the chain. What it returns undoes it.

    A program that doesn't configure structlog gets the chain's lines while the terminal is ours (`is_ours`),
    or was ours until whoever read it had gone (`takes_place`), and structlog's own elsewhere. A program's own
    configuration, sooner or later, stands as if we were not there. `terminal` is what `is_ours` is about.
    """
    import structlog

    return _Watch(
        structlog, chain, is_ours=is_ours, takes_place=takes_place or is_ours, terminal=terminal
    ).remove


def _with(bound: Any, processors: list[Callable[..., Any]]) -> Any:
    """The bound logger, for this event, with these as its processors."""
    other = object.__new__(type(bound))
    other.__dict__.update(vars(bound))
    other._processors = processors
    return other


def _named(make: Callable[..., Any], factory: Any, *args: Any) -> Any:
    made = make(factory, *args)
    if args and isinstance(args[0], str):
        key = id(made)
        _names[key] = (weakref.ref(made, lambda _: _names.pop(key, None)), args[0])
    return made


def _with_trace(wrapper: Any, is_ours: Callable[[Any, list[Any]], bool]) -> Callable[[], None]:
    """structlog's own loggers stop at debug: until they are configured, they have the platform's lowest level
    too."""
    if hasattr(wrapper, "trace"):
        return lambda: None

    def trace(self: Any, event: str, *args: Any, **fields: Any) -> Any:
        # Where structlog prints itself, its printer knows no such method.
        method = "trace" if is_ours(self, list(self._processors)) else "debug"
        return self._proxy_to_logger(method, event % args if args else event, **fields)

    wrapper.trace = trace
    return lambda: delattr(wrapper, "trace")


# Modules from which structlog's methods were called, and that are none of those between.
_callers: set[str] = set()
_MAX_CALLERS = 4096


def _keep_quiet(quiet: dict[int, _Quiet], bound: Any, mark: object, method: str) -> None:
    """Remember that calls of this method are below their level while this app is at work."""
    known = quiet.get(id(bound))
    if known is None or known[1] is not mark or known[0]() is not bound:
        if len(quiet) >= _MAX_QUIET:
            quiet.clear()
        quiet[id(bound)] = known = weakref.ref(bound), mark, {}
    known[2].setdefault(get_current().get(APP_KEY), set()).add(method)


def _name_of(logger: Any) -> str:
    """The name that the logger has, or was asked for by; else the module that says something."""
    name = getattr(logger, "name", None)
    if isinstance(name, str) and name:
        return name
    asked = _names.get(id(logger))
    if asked is not None and asked[0]() is logger:
        return asked[1]
    frame = _asking()
    if frame is None:
        return _NAME
    found = str(frame.f_globals.get("__name__") or _NAME)
    if len(_callers) < _MAX_CALLERS:
        _callers.add(found)
    return found


def _read_failure(fields: dict[str, Any]) -> None:
    """What Twisted's `err` is given: a failure, or an exception, and why; the exception that is being handled
    where it is given neither."""
    failure, why, event = fields.pop("_stuff", None), fields.pop("_why", None), fields.get("event")
    if isinstance(event, BaseException) or isinstance(getattr(event, "value", None), BaseException):
        failure = fields.pop("event")
    error = getattr(failure, "value", failure)
    if error is None:
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        fields.setdefault("exc_info", error)
    if why is not None:
        fields.setdefault("event", why)


def _kept_caller() -> ContextVar[FrameType | None] | None:
    """Where structlog keeps the frame of who says something, for an event that another thread processes."""
    return getattr(sys.modules.get("structlog.contextvars"), "_ASYNC_CALLING_STACK", None)


def _asking() -> FrameType | None:
    """The frame of who says something."""
    kept = _kept_caller()
    frame: FrameType | None = (kept.get(None) if kept is not None else None) or sys._getframe(1)
    while frame is not None and f"{frame.f_globals.get('__name__')}.".startswith(_BETWEEN):
        frame = frame.f_back
    return frame


def _app_in(fields: Mapping[str, Any]) -> str | None:
    app = fields.get("app")
    return app if isinstance(app, str) else None
