"""Log entries of ours: each one OpenTelemetry log record, at whatever logger provider is set, in the context
of its work.

Knows the OpenTelemetry API only, so that an entry costs nothing while no provider is set.
"""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from time import time_ns
from typing import Any

from opentelemetry import _logs
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context, get_current
from opentelemetry.semconv.attributes import exception_attributes
from opentelemetry.util.types import AttributeValue

from bext_otel.redaction import shortened_text
from bext_otel.scope import logger_of

__all__ = [
    "EXCEPTIONS",
    "MAX_STACKTRACE",
    "describe_exception",
    "emit",
    "exception_facts",
    "logger",
    "message_of",
    "type_of",
    "write",
]

MAX_STACKTRACE = 32_768
"""Characters that a stack trace, or an exception's message, may have."""

EXCEPTIONS = "exceptions"
"""The attribute of a record that lists an exception and those that led to it."""

_MAX_FACTS, _MAX_FACTS_DEPTH, _MAX_FACT = 16, 8, 1024

# By scope, of which there are as many as subsystems.
_loggers: dict[str, tuple[_logs.LoggerProvider, _logs.Logger]] = {}


def logger(scope: str) -> _logs.Logger:
    """The logger named `scope` of the current logger provider."""
    provider = _logs.get_logger_provider()
    found = _loggers.get(scope)
    if found is None or found[0] is not provider:
        found = _loggers[scope] = (provider, logger_of(provider, scope))
    return found[1]


def emit(
    scope: str,
    severity: SeverityNumber,
    body: str,
    fields: Mapping[str, AttributeValue],
    *,
    here: Context | None = None,
    error: BaseException | None = None,
    event: str | None = None,
) -> None:
    """An entry of the subsystem `scope`, if anybody wants entries of this severity.

    `here` has the span that it belongs to (None: the current context), `error` is the exception that it tells
    of, `event` names what it tells of, by which all such entries are found; docs/semantic-conventions has
    these names.
    """
    here = get_current() if here is None else here
    found = logger(scope)
    if found.enabled(severity_number=severity, context=here, event_name=event):
        write(found, severity, body, fields, here=here, error=error, event=event)


def write(
    to: _logs.Logger,
    severity: SeverityNumber,
    body: str,
    fields: Mapping[str, AttributeValue],
    *,
    here: Context | None = None,
    error: BaseException | None = None,
    event: str | None = None,
    are_plain: bool = False,
) -> None:
    """As `emit`, without asking whether anybody wants it. `are_plain` says of `fields` that they are a
    dictionary for the record to keep, of values that need no look: numbers in range, and text that can be
    encoded and has no secrets."""
    if error is not None:
        fields, are_plain = {**fields, **exception_facts(error)}, False
    here = get_current() if here is None else here
    # A provider of ours takes it as it is.
    take = getattr(to, "entry", None)
    if take is not None:
        take(severity, body, fields, here, event, are_plain)
        return
    now = time_ns()
    to.emit(
        LogRecord(
            timestamp=now,
            observed_timestamp=now,
            context=here,
            severity_number=severity,
            severity_text=severity.name,
            body=body,
            attributes=fields,
            event_name=event,
        )
    )


def exception_facts(error: BaseException) -> dict[str, Any]:
    """What a record tells of an exception: the attributes of `describe_exception`, and under `exceptions`,
    without frames, the type and the message of it and of each that led to it.

    The first is the exception itself. Each other one says by `relation` whether it is the `cause` (`raise ...
    from`), the `context` (raised while that was handled) or a `member` (of an exception group), and by `of`
    of which one in the list. At most 16 of them, eight levels deep; `left_out` of the last item counts those
    that there was no room for.
    """
    message, stacktrace = _message(error), _stacktrace(error)
    facts: dict[str, Any] = _described(error, message, stacktrace)
    for name, text in (
        (exception_attributes.EXCEPTION_MESSAGE, message),
        (exception_attributes.EXCEPTION_STACKTRACE, stacktrace),
    ):
        if len(text) > MAX_STACKTRACE:
            facts[f"{name}.length"] = len(text)
    return {**facts, EXCEPTIONS: _facts(error)}


def _facts(error: BaseException) -> list[dict[str, Any]]:
    facts: list[dict[str, Any]] = []
    seen: set[int] = set()
    waiting: deque[tuple[BaseException, str, int, int]] = deque([(error, "", 0, 0)])
    left_out = 0
    while waiting:
        each, relation, of, depth = waiting.popleft()
        if id(each) in seen:
            continue
        if len(facts) == _MAX_FACTS or depth > _MAX_FACTS_DEPTH:
            left_out += 1
            continue
        seen.add(id(each))
        fact: dict[str, Any] = {
            "type": type_of(each),
            "message": shortened_text(_message(each), _MAX_FACT),
        }
        if relation:
            fact |= {"relation": relation, "of": of}
        facts.append(fact)
        waiting.extend((other, how, len(facts) - 1, depth + 1) for other, how in _behind(each))
    if left_out:
        facts.append({"left_out": left_out})
    return facts


def _behind(error: BaseException) -> Iterator[tuple[BaseException, str]]:
    """Those that led to it. A cause takes the place of the context, as in a traceback."""
    if error.__cause__ is not None:
        yield error.__cause__, "cause"
    elif error.__context__ is not None and not error.__suppress_context__:
        yield error.__context__, "context"
    # Python 3.10 has groups by a library only.
    if any(kind.__name__ == "BaseExceptionGroup" for kind in type(error).__mro__):
        for member in getattr(error, "exceptions", ()):
            if isinstance(member, BaseException):
                yield member, "member"


def describe_exception(error: BaseException) -> dict[str, str]:
    """The exception attributes of OpenTelemetry's semantic conventions. Never raises, always bounded, always
    encodable, and without secrets that say that they are some.

    A long stack trace keeps its end, which names the cause.
    """
    return _described(error, _message(error), _stacktrace(error))


def _described(error: BaseException, message: str, stacktrace: str) -> dict[str, str]:
    return {
        exception_attributes.EXCEPTION_TYPE: type_of(error),
        exception_attributes.EXCEPTION_MESSAGE: _shown(message),
        exception_attributes.EXCEPTION_STACKTRACE: shortened_text(stacktrace, MAX_STACKTRACE, end=True),
    }


def type_of(error: BaseException) -> str:
    """An exception's class by its whole name, as the conventions have it in `exception.type` and
    `error.type`; one of Python's own needs no module."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def message_of(error: BaseException) -> str:
    """What an exception says, under the same conditions."""
    return _shown(_message(error))


def _shown(message: str) -> str:
    return shortened_text(message, MAX_STACKTRACE)


def _message(error: BaseException) -> str:
    for say in (str, repr):
        with suppress(Exception):  # what it raises is the application's business, the entry is ours
            return say(error)
    return f"<unprintable {type(error).__qualname__}>"


def _stacktrace(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))
    except Exception:  # likewise
        return "".join(traceback.format_tb(error.__traceback__))
