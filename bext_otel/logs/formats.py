"""A log record as one line: JSON as the platform's specification has it, or readable at a terminal."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

import msgspec
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.semconv.attributes import code_attributes, exception_attributes

from bext_otel.entries import EXCEPTIONS
from bext_otel.export.record import Record, Severity
from bext_otel.logs.levels import level_name
from bext_otel.logs.limits import MAX_FIELD_BYTES, MAX_LINE_BYTES, shortened
from bext_otel.logs.values import plain, shown
from bext_otel.text import UNSEEN, visible

__all__ = ["Format", "json_format", "json_line", "pretty_line", "quoted"]

Format: TypeAlias = Callable[[Record], bytes]

# The specification's own keys, in its order: these, what is told of a request, the ids.
_REQUEST = ("method", "path", "status", "duration_ms", "cache")
_REQUESTS = frozenset({_REQUEST, _REQUEST[:-1]})
_FIXED = frozenset({"timestamp", "level", "target", "message", "trace_id", "span_id"})
# Ours, and those of the semantic conventions, which come before what the application adds.
_OURS = ("route", "request_id", "error_type", "threshold_ms")
_OURS_BEGIN = ("exception.", "code.")
STACKTRACE = exception_attributes.EXCEPTION_STACKTRACE
_SPECIAL = frozenset({*_FIXED, *_REQUEST, *_OURS, EXCEPTIONS, STACKTRACE, code_attributes.CODE_STACKTRACE})

_encode = msgspec.json.Encoder(enc_hook=shown).encode


def json_line(record: Record, *, max_bytes: int = MAX_LINE_BYTES) -> bytes:
    """The record as one line of JSON in UTF-8, newline included and at most `max_bytes` long: the
    specification's keys in its order, ours, and the application's fields.

    A field that has the name of a fixed key is shown as `fields.<name>`. What JSON can't hold is shown as its
    `repr`. See `limits` for what is too long.
    """
    return json_format(max_bytes)(record)


@lru_cache(maxsize=8)
def json_format(max_bytes: int) -> Format:
    """`json_line` for lines of so many bytes at most."""
    most = min(MAX_FIELD_BYTES, max_bytes)

    def line(record: Record) -> bytes:
        try:
            quick = _quickly(record)
        except Exception:  # as `_encoded` has it
            quick = b""
        if quick and len(quick) <= most:
            return quick
        made = _line(record)
        encoded = _encoded(made)
        if len(encoded) > MAX_FIELD_BYTES or len(encoded) >= max_bytes:
            encoded = _encoded(shortened(made, max_bytes, lambda each: len(_encoded(each)) + 1))
        return encoded + b"\n"

    return line


def _quickly(record: Record) -> bytes:
    """The line of a record as nearly all are, put together of what has been encoded before; empty if it is
    another one. Raises what msgspec does."""
    attributes, body = record.attributes, record.body
    is_request = not _SPECIAL.isdisjoint(attributes)
    if record.dropped or body is None:
        return b""
    others = b""
    if is_request and tuple(attributes) not in _REQUESTS:
        attributes, bound = _apart(attributes)
        if not attributes:
            return b""
        others = b"," + _encode(bound)[1:-1]
    seconds, nanoseconds = divmod(record.timestamp or record.observed or 0, 1_000_000_000)
    trace_id, route, request_id = record.trace_id, record.route, record.request_id
    known = _work.get(record.span_id)
    if known is not None and known[0] == trace_id and known[1] == route and known[2] == request_id:
        ids = known[3]
    else:
        ids = _with_work(record)
    fields = b"," + _encode(attributes)[1:-1] if attributes else b""
    scope = record.scope
    head = _heads.get((record.severity, id(scope)))
    app = record.app
    line = b"".join(
        (
            _begun(seconds),
            _MILLISECONDS[nanoseconds // 1_000_000],
            head[1] if head is not None and head[0] is scope else _head(record),
            _encode(body),
            b"" if app is None else _app(app) if type(app) is str else b',"app":' + _encode(app),
            fields if is_request else ids,
            ids if is_request else fields,
            others,
            b"}\n",
        )
    )
    return line if line.isascii() and 0x7F not in line else b""


def _apart(attributes: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is told of a request, and the fields that the application has bound to it; nothing where there is
    anything else, or nothing bound."""
    names = tuple(attributes)
    count = len(_REQUEST) if "cache" in attributes else len(_REQUEST) - 1
    bound = {name: attributes[name] for name in names[count:]}
    if (
        names[:count] not in _REQUESTS
        or not _SPECIAL.isdisjoint(bound)
        or any(name.startswith(_OURS_BEGIN) for name in bound)
    ):
        return {}, {}
    return {name: attributes[name] for name in names[:count]}, bound


_MILLISECONDS = tuple(b"%03dZ" % number for number in range(1000))
# By severity and the identity of the scope, which is kept, so that this stays its own; there are as many as
# loggers.
_heads: dict[tuple[Severity, int], tuple[InstrumentationScope | None, bytes]] = {}
_MAX_HEADS = 4096
# Work says several things. By the id of its span, and for the trace, the route and the request that it has.
_work: dict[int, tuple[int, str | None, str | None, bytes]] = {0: (0, None, None, b"")}
_MAX_WORK = 512


def _with_work(record: Record) -> bytes:
    trace_id, span_id, route, request_id = record.trace_id, record.span_id, record.route, record.request_id
    encoded = b',"trace_id":"%032x","span_id":"%016x"' % (trace_id, span_id) if trace_id else b""
    if route is not None:
        encoded += _route(route)
    if request_id is not None:
        encoded += b',"request_id":' + _encode(request_id)
    if span_id:
        if len(_work) >= _MAX_WORK:
            _work.clear()
        _work[span_id] = trace_id, route, request_id, encoded
    return encoded


@lru_cache(maxsize=4)
def _begun(epoch: int) -> bytes:
    return f'{{"timestamp":"{_second(epoch)}.'.encode()


@lru_cache(maxsize=1024)
def _app(app: str) -> bytes:
    return b',"app":' + _encode(app)


@lru_cache(maxsize=1024)
def _route(route: str) -> bytes:
    return b',"route":' + _encode(route)


def _head(record: Record) -> bytes:
    head = {"level": level_name(record.severity.number), "target": _target(record)}
    encoded = b'",' + _encode(head)[1:-1] + b',"message":'
    if len(_heads) < _MAX_HEADS:
        _heads[record.severity, id(record.scope)] = record.scope, encoded
    return encoded


def _encoded(line: Mapping[str, Any]) -> bytes:
    try:
        encoded = _encode(line)
    except (
        Exception
    ):  # lone surrogates, huge ints, mappings with odd keys: rare enough to be looked for only now
        encoded = _encode(plain(line))
    if not encoded.isascii() or b"\x7f" in encoded:
        # JSON holds these in strings only, where an escape means the same.
        encoded = UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04x}", encoded.decode()).encode()
    return encoded


def _line(record: Record) -> dict[str, Any]:
    attributes, body = record.attributes, record.body
    line: dict[str, Any] = {
        "timestamp": _timestamp(record.timestamp or record.observed),
        "level": level_name(record.severity.number),
        "target": _target(record),
        "message": body if body is not None else record.event_name or "",
    }
    if record.app is not None:
        line["app"] = record.app
    for name in _REQUEST:
        if name in attributes:
            line[name] = attributes[name]
    if record.trace_id:
        line["trace_id"] = f"{record.trace_id:032x}"
    if record.span_id:
        line["span_id"] = f"{record.span_id:016x}"
    if record.route is not None:
        line["route"] = record.route
    if record.request_id is not None:
        line["request_id"] = record.request_id
    if record.dropped:
        line[_free("fields_dropped", attributes)] = record.dropped
    _add(line, attributes)
    return line


def _target(record: Record) -> str:
    return record.scope.name if record.scope is not None else ""


def _add(line: dict[str, Any], attributes: dict[str, Any]) -> None:
    """Ours first, and what is like them; then the application's."""
    for name in _OURS:
        if name in attributes:
            line[name] = attributes[name]
    others = []
    for name, value in attributes.items():
        if name in _FIXED:
            others.append((_free(name, attributes), value))
        elif name == EXCEPTIONS or name.startswith(_OURS_BEGIN):
            line[name] = value
        elif name not in line:
            others.append((name, value))
    line.update(others)


def _free(name: str, taken: Mapping[str, Any]) -> str:
    while name in taken:
        name = f"fields.{name}"
    return name


def _timestamp(nanoseconds: int | None) -> str:
    """RFC 3339 in UTC with milliseconds; a moment outside the calendar is now."""
    if nanoseconds is None:
        nanoseconds = time.time_ns()
    try:
        return f"{_second(nanoseconds // 1_000_000_000)}.{nanoseconds // 1_000_000 % 1000:03d}Z"
    except (OverflowError, ValueError, OSError):
        return _timestamp(None)


@lru_cache(maxsize=4)
def _second(epoch: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(epoch))


_COLORS = {"error": "31", "warn": "33", "info": "32", "debug": "34", "trace": "35"}
_BARE = re.compile(r"[^\s\"'=\\]+")


def pretty_line(record: Record, *, color: bool = False, max_bytes: int = MAX_LINE_BYTES) -> bytes:
    """The record for a reader at a terminal: one line, and below it the stack trace if there is one; both cut
    as `json_line` has it."""
    line = _line(record)
    written = _for_people(line, color=color)
    if len(written) > min(MAX_FIELD_BYTES, max_bytes):
        line = shortened(line, max_bytes, lambda each: len(_for_people({**_BARE_LINE, **each}, color=color)))
        written = _for_people(line, color=color)
    return written


# What each line has.
_BARE_LINE = {"timestamp": "", "level": "info", "target": "", "message": ""}


def _for_people(given: Mapping[str, Any], *, color: bool) -> bytes:
    line = dict(given)
    stacktrace = line.pop(STACKTRACE, None)
    # The stack trace shows them.
    line.pop(EXCEPTIONS, None)
    level, target, message = line["level"], line["target"], line["message"]
    facts = "".join(
        f" {quoted(name)}={quoted(value)}"
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


def quoted(value: object) -> str:
    """A name or a value; one that is no bare word is quoted, as JSON has it, so that nothing in it looks like
    the next one."""
    text = value if isinstance(value, str) else str(plain(value))
    if _BARE.fullmatch(text) and visible(text) == text:
        return text
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{visible(quoted)}"'
