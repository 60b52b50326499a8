"""Where the standard library's logging and structlog meet: an event becomes one OpenTelemetry log record."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from itertools import islice
from logging import Handler
from logging import LogRecord as PythonRecord
from time import time_ns
from typing import Any

from opentelemetry._logs import Logger, LoggerProvider, LogRecord
from opentelemetry.context import Context
from opentelemetry.semconv.attributes import code_attributes, exception_attributes

from bext_otel._compat import feeds, get_current
from bext_otel.entries import exception_facts
from bext_otel.export.record import Record, Severity
from bext_otel.logs.correlation import CORRELATION
from bext_otel.logs.levels import Gate, number_of, severity_of_level
from bext_otel.logs.logger import BextLogger
from bext_otel.logs.values import plain, plain_fields, shown, text
from bext_otel.redaction import redact_message
from bext_otel.redaction.policy import CLEAN, is_ours_named, redact_whole, safe_text
from bext_otel.scope import SCOPE, logger_of, with_enabled

__all__ = ["OWN_FIELDS", "Chain"]

# Colours for a terminal (ECMA-48, "select graphic rendition"), which mean nothing in a record.
_COLORS = re.compile(r"\x1b\[[0-9;]*m")

# OpenTelemetry specification, attribute limits: what holds where nobody has set one.
MAX_ATTRIBUTES = 128
MAX_LOGGERS = 1000
MAX_DEPTH = 3

# What every record of the standard library has; the rest of its attributes are what the caller gave as
# `extra`.
_MADE_FIRST = tuple(vars(PythonRecord("", 0, "", 0, "", (), None)))
_MADE, _LAST = len(_MADE_FIRST), _MADE_FIRST[-1]
OWN_FIELDS = frozenset(_MADE_FIRST) | {"message", "asctime", "taskName"} | set(CORRELATION)
"""What a field that a caller gives cannot be called, or that somebody else gives."""


_NO_FIELDS: Mapping[str, object] = {}

# How many events this one is nested in. Not a thread's variable, because greenlets share a thread.
_depth: ContextVar[int] = ContextVar("bext_otel_logs_depth", default=0)


class Chain:
    """Emits events at `provider`; `gate` drops those below the level of the app at work. Never raises; counts
    what fails in `failures`.

    A record has at most `max_attributes` (None: as many as there are). Where it `tells_code`, one of the
    standard library's says where it was made (`code.file.path` and its kind).
    """

    def __init__(
        self,
        provider: LoggerProvider,
        gate: Gate,
        *,
        max_attributes: int | None = MAX_ATTRIBUTES,
        tells_code: bool = False,
    ) -> None:
        self.gate = gate
        self._max_attributes = max_attributes
        self._tells_code = tells_code
        self.failures = 0
        self._provider = provider
        self._loggers: dict[str, Logger] = {}

    def admits(self, record: PythonRecord) -> bool:
        """Does an event that its logger let through pass?"""
        return self.gate.admits(_name(record), record.levelno)

    def hides(self, record: PythonRecord) -> bool:
        """Is it one that only got this far because of us? See `Gate.hides`."""
        try:
            return self.gate.hides(_name(record), record.levelno)
        except Exception:  # a level that is no number; whoever made it knows what becomes of it
            return False

    def is_fed_by(self, handler: Handler) -> bool:
        """Would what this handler is given be emitted at the chain's provider, a second time?"""
        return feeds(handler, self._provider)

    def python(
        self,
        record: PythonRecord,
        *,
        printed: bool = False,
        waits: bool = False,
        context: Context | None = None,
        heard: bool = False,
    ) -> None:
        """An event of the standard library's logging; `printed`, `waits` and `context` as `emit` has
        them."""
        try:
            body, fields = _said(record)
            exc_info = record.exc_info
            if "exc_info" in fields:
                given = fields.pop("exc_info")
                exc_info = exc_info or given or None
            if exc_info is None and record.exc_text:
                # It came through a queue, which keeps the text only.
                fields[exception_attributes.EXCEPTION_STACKTRACE] = record.exc_text
            if self._tells_code:
                fields[code_attributes.CODE_FILE_PATH] = record.pathname
                fields[code_attributes.CODE_FUNCTION_NAME] = record.funcName
                fields[code_attributes.CODE_LINE_NUMBER] = record.lineno
            self.emit(
                record.name,
                record.levelno,
                body,
                fields,
                exc_info,
                record.stack_info,
                timestamp=int(record.created * 1e9),
                printed=printed,
                waits=waits,
                context=context,
                heard=heard,
            )
        except Exception:  # logging must not fail the work that is logged
            self.failures += 1

    def say(self, logger: str, level: int, said: str, fields: Mapping[str, object] | None) -> None:
        """An event of now that a logger of the standard library's says at the terminal that is ours."""
        if "\x1b" in said:
            said = _COLORS.sub("", said)
        self.emit(logger, level, said, fields or _NO_FIELDS, heard=True)

    def emit(
        self,
        logger: object,
        level: int,
        body: object,
        fields: Mapping[str, object],
        exc_info: object = None,
        stack: str | None = None,
        *,
        timestamp: int | None = None,
        printed: bool = False,
        waits: bool = False,
        context: Context | None = None,
        heard: bool = False,
    ) -> None:
        """An event: who says it, how grave, what, with which facts, caused by which exception, at which
        nanosecond (None: now), for which work (None: the current).

        `printed` says that the application has printed it itself, `waits` that it is no reason to begin
        exporting; `heard` that it has somewhere to go, so that nobody has to be asked.
        """
        try:
            found = (self._loggers.get(logger) if type(logger) is str else None) or self._logger(logger)
            ours = found if type(found) is BextLogger else None
            if not (heard or (found.enabled() if ours is None else ours.is_heard())):
                return
            caused, dropped = None, 0
            if exc_info or stack:
                caused = _guarded(lambda of: _caused(*of), (exc_info, stack))
            if self._max_attributes is not None and (
                room := self._max_attributes - (len(caused) if caused is not None else 0)
            ) < len(fields):
                dropped = len(fields) - max(0, room)
                fields = dict(islice(fields.items(), max(0, room)))
            attributes = plain_fields(fields, _guarded_plain)
            if caused is not None:
                attributes.update(caused)
            if type(body) is not str:
                body = _guarded_plain(body)
            elif body not in CLEAN:
                body = safe_text(body)
            if ours is None:
                if is_ours_named():
                    body, _, attributes = redact_whole(body, None, attributes)
                _emit(found, timestamp, severity_of_level(level), body, attributes, context)
                return
            now = time_ns()
            record = Record(
                ours.resource,
                ours.instrumentation_scope,
                get_current() if context is None else context,
                now if timestamp is None else timestamp,
                now,
                severity_of_level(level),
                body,
                attributes,
                dropped,
                True,
                printed,
                waits,
                heard,
            )
            ours.send(record)
        except Exception:  # logging must not fail the work that is logged
            self.failures += 1

    def _logger(self, name: object) -> Logger:
        name = _text(name)
        found = self._loggers.get(name)
        if found is None:
            if len(self._loggers) < MAX_LOGGERS:
                ours = name.partition(".")[0] == SCOPE
                found = self._loggers[name] = (
                    logger_of(self._provider, name)
                    if ours
                    else with_enabled(self._provider.get_logger(text(name)))
                )
            else:
                # The provider keeps loggers for ever, except those that have attributes.
                found = with_enabled(self._provider.get_logger(text(name), attributes={}))
        return found


def _guarded(make: Callable[[Any], Any], given: object) -> Any:
    """What is made of values that have a `repr` of their own, which may log them again. Raises
    RecursionError."""
    depth = _depth.get()
    if depth >= MAX_DEPTH:
        raise RecursionError("a value whose repr logs that value again")
    token = _depth.set(depth + 1)
    try:
        return make(given)
    finally:
        _depth.reset(token)


def _guarded_plain(value: object) -> Any:
    return _guarded(plain, value)


def _emit(
    logger: Logger,
    timestamp: int | None,
    severity: Severity,
    body: Any,
    attributes: dict[str, Any],
    context: Context | None,
) -> None:
    """At a provider of somebody else's."""
    now = time_ns()
    logger.emit(
        LogRecord(
            timestamp=now if timestamp is None else timestamp,
            observed_timestamp=now,
            context=context,
            severity_number=severity.number,
            severity_text=severity.text,
            body=body,
            attributes=attributes,
        )
    )


def _name(record: PythonRecord) -> str:
    return _text(record.name)


def _text(name: object) -> str:
    """A logger's name. Python's own have text for one, others what their makers like."""
    return name if isinstance(name, str) else shown(name)


def _fields(record: PythonRecord) -> dict[str, Any]:
    """What the caller gave as `extra`: it comes after what every record has."""
    given = vars(record)
    if next(reversed(given)) == _LAST:
        return {}
    fields = dict(islice(given.items(), _MADE - 1, None))
    if next(iter(fields), None) == _LAST:
        del fields[_LAST]
        if OWN_FIELDS.isdisjoint(fields):
            return fields
    # It was made by hand, has a class of its own, or somebody has formatted it, or taken something away.
    return {name: value for name, value in given.items() if name not in OWN_FIELDS}


def _said(record: PythonRecord) -> tuple[object, dict[str, Any]]:
    """The message, and the fields that came with it."""
    fields = _fields(record)
    if "color_message" in fields and _name(record).startswith("uvicorn"):
        # The message once more, with codes for a terminal.
        del fields["color_message"]
    message = record.msg
    if type(message) is str and not record.args:
        return (_COLORS.sub("", message) if "\x1b" in message else message), fields
    if isinstance(message, Mapping) and not record.args and "event" in message:
        # structlog's ProcessorFormatter.wrap_for_formatter hands the event over like this, with helpers of
        # its own.
        given = {str(name): value for name, value in message.items()}
        fields = {name: value for name, value in fields.items() if not name.startswith("_")}
        if number_of(given.get("level")) == record.levelno:
            del given["level"]
        return given.pop("event"), {**fields, **given}
    try:
        said = record.getMessage()
        return (_COLORS.sub("", said) if "\x1b" in said else said), fields
    except Exception:  # the arguments don't fit the message: show both rather than lose the event
        return shown(message) if not isinstance(message, str) else message, {**fields, "args": record.args}


def _caused(exc_info: object, stack: str | None) -> dict[str, Any]:
    """What tells of an exception and of a stack."""
    caused = _exception(exc_info) if exc_info else {}
    if stack:
        caused[code_attributes.CODE_STACKTRACE] = redact_message(text(str(stack)))
    return caused


def _exception(given: object) -> dict[str, Any]:
    """The exception attributes of OpenTelemetry's semantic conventions; `given` is whatever `exc_info` may
    be."""
    value = _exception_of(given)
    return {} if value is None else exception_facts(value)


def _exception_of(given: object) -> BaseException | None:
    if isinstance(given, tuple):
        given = given[1] if len(given) == 3 else None
    elif not isinstance(given, BaseException):
        given = sys.exc_info()[1]
    return given if isinstance(given, BaseException) else None
