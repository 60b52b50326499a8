"""A log record as one line: JSON as the platform's specification has it, or readable at a terminal."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

import msgspec
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk._logs import ReadWriteLogRecord
from opentelemetry.trace import format_span_id, format_trace_id

from bext_otel.logs.levels import level_name
from bext_otel.logs.values import plain, shown
from bext_otel.text import UNSEEN, visible

__all__ = ["Format", "json_line", "pretty_line"]

Format: TypeAlias = Callable[[ReadWriteLogRecord], bytes]

_FIXED = frozenset({"timestamp", "level", "target", "message", "app", "trace_id", "span_id"})
_encode = msgspec.json.Encoder(enc_hook=shown).encode

STACKTRACE = "exception.stacktrace"


def json_line(record: ReadWriteLogRecord) -> bytes:
    """The record as one line of JSON in UTF-8, newline included: the fixed keys, the app, the fields, the
    trace.

    A field that has the name of a fixed key is shown as `fields.<name>`. What JSON can't hold is shown as its
    `repr`.
    """
    line = _line(record)
    try:
        encoded = _encode(line)
    except (
        Exception
    ):  # lone surrogates, huge ints, mappings with odd keys: rare enough to be looked for only now
        encoded = _encode(plain(line))
    if not encoded.isascii() or b"\x7f" in encoded:
        # JSON holds these in strings only, where an escape means the same.
        encoded = UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04x}", encoded.decode()).encode()
    return encoded + b"\n"


def _line(record: ReadWriteLogRecord) -> dict[str, Any]:
    log = record.log_record
    fields = _fields(record)
    line: dict[str, Any] = {
        "timestamp": _timestamp(log.timestamp or log.observed_timestamp),
        "level": level_name(log.severity_number),
        "target": _target(record),
        "message": log.body if log.body is not None else log.event_name or "",
    }
    if (app := fields.pop("app", None)) is not None:
        line["app"] = app
    for name, value in fields.items():
        line[_free(name, fields) if name in _FIXED else name] = value
    if record.dropped_attributes:
        line[_free("fields_dropped", fields)] = record.dropped_attributes
    if log.trace_id:
        line["trace_id"] = format_trace_id(log.trace_id)
    if log.span_id:
        line["span_id"] = format_span_id(log.span_id)
    return line


def _free(name: str, taken: Mapping[str, Any]) -> str:
    while name in taken:
        name = f"fields.{name}"
    return name


def _fields(record: ReadWriteLogRecord) -> dict[str, Any]:
    attributes = record.log_record.attributes
    # The SDK's own mapping locks at each step of an iteration, and has a copy that doesn't.
    return dict(attributes.copy() if isinstance(attributes, BoundedAttributes) else attributes or {})


def _target(record: ReadWriteLogRecord) -> str:
    scope = record.instrumentation_scope
    return scope.name if scope is not None else ""


def _timestamp(nanoseconds: int | None) -> str:
    """RFC 3339 in UTC with milliseconds; a moment outside the calendar is now."""
    milliseconds = (time.time_ns() if nanoseconds is None else nanoseconds) // 1_000_000
    try:
        return f"{_second(milliseconds // 1000)}.{milliseconds % 1000:03d}Z"
    except (OverflowError, ValueError, OSError):
        return _timestamp(None)


@lru_cache(maxsize=4)
def _second(epoch: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(epoch))


_COLORS = {"error": "31", "warn": "33", "info": "32", "debug": "34", "trace": "35"}
_BARE = re.compile(r"[^\s\"'=\\]+")


def pretty_line(record: ReadWriteLogRecord, *, color: bool = False) -> bytes:
    """The record for a reader at a terminal: one line, and below it the stack trace if there is one."""
    line = _line(record)
    stacktrace = line.pop(STACKTRACE, None)
    level, target, message = line["level"], line["target"], line["message"]
    facts = "".join(
        f" {_value(name)}={_value(value)}"
        for name, value in line.items()
        if name not in {"timestamp", "level", "target", "message"}
    )
    name = f"\x1b[{_COLORS[level]}m{level.upper():5}\x1b[0m" if color else f"{level.upper():5}"
    text = (
        f"{line['timestamp']} {name} {visible(target)}: "
        f"{visible(message if isinstance(message, str) else str(plain(message)))}{facts}\n"
    )
    if stacktrace:
        text += "".join(f"    {visible(each)}\n" for each in str(stacktrace).splitlines())
    return text.encode(errors="replace")


def _value(value: object) -> str:
    """A name or a value; one that is no bare word is quoted, as JSON has it, so that nothing in it looks like
    the next one."""
    text = value if isinstance(value, str) else str(plain(value))
    if _BARE.fullmatch(text) and visible(text) == text:
        return text
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{visible(quoted)}"'
