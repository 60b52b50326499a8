"""Where the standard library's logging and structlog meet: an event becomes one OpenTelemetry log record."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from itertools import islice
from logging import Handler
from logging import LogRecord as PythonRecord
from typing import Any

from opentelemetry._logs import Logger, LoggerProvider, LogRecord
from opentelemetry.context import Context
from opentelemetry.semconv.attributes import code_attributes, exception_attributes

from bext_otel._compat import feeds
from bext_otel.entries import describe_exception
from bext_otel.logs.correlation import CORRELATION
from bext_otel.logs.levels import Gate, number_of, severity, severity_text
from bext_otel.logs.values import Plain, plain, shown, text
from bext_otel.redaction import redact_urls
from bext_otel.scope import SCOPE, logger_of

__all__ = ["Chain", "Passed"]

# Colours for a terminal (ECMA-48, "select graphic rendition"), which mean nothing in a record.
_COLORS = re.compile(r"\x1b\[[0-9;]*m")

# OpenTelemetry specification, attribute limits: what holds where nobody has set one.
MAX_ATTRIBUTES = 128
MAX_LOGGERS = 1000
MAX_DEPTH = 3

# What every record of the standard library has; the rest of its attributes are what the caller gave as
# `extra`.
_STANDARD = (
    frozenset(vars(PythonRecord("", 0, "", 0, "", (), None)))
    | {"message", "asctime", "taskName"}
    | set(CORRELATION)
)


# How many events this one is nested in. Not a thread's variable, because greenlets share a thread.
_depth: ContextVar[int] = ContextVar("bext_otel_logs_depth", default=0)


class Passed(LogRecord):
    """A record whose level has been checked.

    `printed` says that the application has printed it itself, where our lines go too; `waits` that it is no
    reason to begin exporting; `dropped` how many fields it has not, because there are too many.
    """

    printed = False
    waits = False
    dropped = 0


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
    ) -> None:
        """An event of the standard library's logging; `printed` and `waits` as `Passed` has them, `context`
        as `emit`."""
        try:
            body, fields = _said(record)
            given = fields.pop("exc_info", None)
            exc_info = record.exc_info or given or None
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
            )
        except Exception:  # logging must not fail the work that is logged
            self.failures += 1

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
    ) -> None:
        """An event: who says it, how grave, what, with which facts, caused by which exception, at which
        nanosecond (None: now), for which work (None: the current).

        `printed` and `waits` as `Passed` has them.
        """
        depth = _depth.get()
        if depth >= MAX_DEPTH:
            # A value whose repr logs that value again.
            self.failures += 1
            return
        token = _depth.set(depth + 1)
        try:
            found = self._logger(logger)
            if not found.enabled():  # lines have nowhere to go, and nothing is exported
                return
            attributes, dropped = self._attributes(fields, _caused(exc_info, stack))
            record = Passed(
                timestamp=timestamp,
                context=context,
                severity_number=severity(level),
                severity_text=severity_text(level),
                body=redact_urls(text(body)) if type(body) is str else plain(body),
                attributes=attributes,
            )
            if timestamp is None:
                record.timestamp = record.observed_timestamp
            if printed:
                record.printed = True
            if waits:
                record.waits = True
            if dropped:
                record.dropped = dropped
            found.emit(record)
        except Exception:  # logging must not fail the work that is logged
            self.failures += 1
        finally:
            _depth.reset(token)

    def _attributes(
        self, fields: Mapping[str, object], others: Mapping[str, Any]
    ) -> tuple[dict[str, Any], int]:
        """As many fields as there is room for beside `others`, these too, and how many there are more."""
        room = len(fields) if self._max_attributes is None else max(0, self._max_attributes - len(others))
        attributes: dict[str, Plain] = {}
        for name, value in islice(fields.items(), room):
            # OpenTelemetry has no empty names, and warns about each.
            attributes[text(name if type(name) is str else str(name)) or '""'] = plain(value)
        attributes.update(others)
        return attributes, max(0, len(fields) - room)

    def _logger(self, name: object) -> Logger:
        name = _text(name)
        found = self._loggers.get(name)
        if found is None:
            if len(self._loggers) < MAX_LOGGERS:
                ours = name.partition(".")[0] == SCOPE
                found = self._loggers[name] = (
                    logger_of(self._provider, name) if ours else self._provider.get_logger(text(name))
                )
            else:
                # The provider keeps loggers for ever, except those that have attributes.
                found = self._provider.get_logger(text(name), attributes={})
        return found


def _name(record: PythonRecord) -> str:
    return _text(record.name)


def _text(name: object) -> str:
    """A logger's name. Python's own have text for one, others what their makers like."""
    return name if isinstance(name, str) else shown(name)


def _said(record: PythonRecord) -> tuple[object, dict[str, Any]]:
    """The message, and the fields that came with it."""
    fields = {name: value for name, value in vars(record).items() if name not in _STANDARD}
    if _name(record).startswith("uvicorn") and "color_message" in fields:
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
        caused[code_attributes.CODE_STACKTRACE] = redact_urls(text(str(stack)))
    return caused


def _exception(given: object) -> dict[str, Any]:
    """The exception attributes of OpenTelemetry's semantic conventions; `given` is whatever `exc_info` may
    be."""
    value = _exception_of(given)
    return {} if value is None else describe_exception(value)


def _exception_of(given: object) -> BaseException | None:
    if isinstance(given, tuple):
        given = given[1] if len(given) == 3 else None
    elif not isinstance(given, BaseException):
        given = sys.exc_info()[1]
    return given if isinstance(given, BaseException) else None
