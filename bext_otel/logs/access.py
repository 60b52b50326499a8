"""The access log: entries of requests in an output of their own, or in Apache's combined format."""

from __future__ import annotations

import re
import time
from functools import lru_cache

from opentelemetry._logs import SeverityNumber

from bext_otel.export.record import Record
from bext_otel.logs.sinks import LineSink
from bext_otel.redaction.policy import redact_attribute, redact_body
from bext_otel.request_facts import REQUEST_KEY

__all__ = ["AccessSink", "combined_line", "is_of_request", "only_of_request"]

_SCOPE = "bext.request"
_EVENTS = frozenset({"bext.request.completed", "bext.request.slow"})
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# httpd's `ap_escape_logitem`: quotes, backslashes and what is not printable, byte by byte.
_ESCAPED = re.compile(rb'[^\x20-\x7e]|["\\]')
_SHORT = {0x08: b"\\b", 0x0A: b"\\n", 0x0D: b"\\r", 0x09: b"\\t", 0x0B: b"\\v", 0x22: b'\\"', 0x5C: b"\\\\"}


def is_of_request(record: Record) -> bool:
    """Is it the entry of a request?"""
    scope = record.scope
    return scope is not None and scope.name == _SCOPE and record.event_name in _EVENTS


def only_of_request(record: Record) -> bool:
    """Does it tell of a request and of nothing that somebody looks for elsewhere: neither of a slow one, nor
    of one that failed?"""
    return record.severity.number is SeverityNumber.INFO and is_of_request(record)


class AccessSink(LineSink):
    """Takes the entries of requests and no others."""

    def take(self, record: Record) -> None:
        """See `Sink`."""
        if is_of_request(record):
            super().take(record)


def combined_line(record: Record) -> bytes:
    """The entry of a request as a line of httpd's `combined`, byte for byte, but for what the one policy of
    redaction hides, by the names that the same facts have elsewhere. The time is when it began, in local
    time."""
    request = record.context.get(REQUEST_KEY)
    access = request.access() if request is not None else None  # type: ignore[attr-defined]  # only requests stand there
    if access is None:
        raise ValueError("the entry of a request that is over")
    began = (record.timestamp or time.time_ns()) / 1e9 - access.seconds
    status = record.attributes.get("status") or "-"
    return b'%b - %b [%b] "%b" %b %b "%b" "%b"\n' % (
        _field(_safe("client.address", access.client)),
        _field(_safe("user.name", access.user)),
        _time(int(began)),
        _escaped(redact_body(access.request)),
        str(status).encode(),
        b"%d" % access.response_bytes if access.response_bytes else b"-",
        b"-" if access.referer is None else _escaped(_safe("http.request.header.referer", access.referer)),
        b"-" if access.user_agent is None else _escaped(_safe("user_agent.original", access.user_agent)),
    )


def _safe(name: str, text: str) -> str:
    return str(redact_attribute(name, text)) if text else text


def _field(text: str) -> bytes:
    return _escaped(text).replace(b" ", b"\\x20") if text else b"-"


def _escaped(text: str) -> bytes:
    try:
        raw = text.encode("latin-1")  # bytes of a header, as servers hand them over
    except UnicodeEncodeError:
        raw = text.encode("utf-8", "replace")
    return _ESCAPED.sub(lambda found: _SHORT.get(found[0][0]) or b"\\x%02x" % found[0][0], raw)


@lru_cache(maxsize=4)
def _time(epoch: int) -> bytes:
    there = time.localtime(epoch)
    minutes = (there.tm_gmtoff or 0) // 60
    sign, minutes = ("-", -minutes) if minutes < 0 else ("+", minutes)
    date = f"{there.tm_mday:02d}/{_MONTHS[there.tm_mon - 1]}/{there.tm_year:04d}"
    clock = f"{there.tm_hour:02d}:{there.tm_min:02d}:{there.tm_sec:02d}"
    return f"{date}:{clock} {sign}{minutes // 60:02d}{minutes % 60:02d}".encode()
