"""Log records as OTLP writes them (opentelemetry-proto, `logs/v1/logs.proto`), each encoded where it is
emitted: see `span_encoder`."""

from __future__ import annotations

import struct

from bext_otel.export.origins import Encoded, Origins
from bext_otel.export.protobuf import Attributes, any_value, field, nanoseconds, number, text
from bext_otel.export.record import Record, Severity
from bext_otel.export.registered import registered
from bext_otel.text import encodable

__all__ = ["RecordEncoder"]

# time_unix_nano 1 and observed_time_unix_nano 11; trace_id 9 and span_id 10; flags 8.
_pack_time = struct.Struct("<cQ").pack
_pack_times = struct.Struct("<cQcQ").pack
_pack_ids = struct.Struct(">2s16s2sQ").pack
_pack_flags = struct.Struct("<cI").pack

_REQUEST_ID = field(b"\x0a", b"request_id")
# Below this each length is one byte.
_SHORT_ID = 128 - 16

_MAX_FLAGS = (1 << 32) - 1
_MAX_TIME = 1 << 63
# Messages that have no arguments are few.
_MAX_BODIES, _MAX_BODY = 512, 128


class RecordEncoder:
    """Encodes log records; what repeats among them is kept as bytes, within bounds."""

    def __init__(self, origins: Origins) -> None:
        self._origins = origins
        self._attributes = Attributes(b"\x32")
        self._severities: dict[Severity, bytes] = {}
        self._bodies: dict[str, bytes] = {}

    def encode(self, record: Record) -> Encoded:
        """A record. Raises what `any_value` does, of a body that cannot be written."""
        body = record.body
        parts = [
            self._severities.get(record.severity) or self._severity(record.severity),
            (self._bodies.get(body) if type(body) is str else None) or self._body(body),
        ]
        timestamp, observed = record.timestamp, record.observed
        if (
            type(timestamp) is int is type(observed)
            and 0 < timestamp < _MAX_TIME
            and 0 < observed < _MAX_TIME
        ):
            parts.append(_pack_times(b"\x09", timestamp, b"\x59", observed))
        else:
            if timestamp:
                parts.append(_pack_time(b"\x09", nanoseconds(timestamp)))
            if observed:
                parts.append(_pack_time(b"\x59", nanoseconds(observed)))
        if record.trace_id:
            parts.append(
                _pack_ids(b"\x4a\x10", record.trace_id.to_bytes(16, "big"), b"\x52\x08", record.span_id)
            )
        if record.trace_flags:
            parts.append(_pack_flags(b"\x45", record.trace_flags & _MAX_FLAGS))
        if record.attributes:
            self._attributes.write(record.attributes, parts)
            scope = record.scope
            if scope is not None and (names := registered(scope.name, record.attributes)) is not None:
                self._attributes.write(names, parts)
        self._write_work(record, parts)
        if record.dropped:
            parts.append(number(b"\x38", record.dropped))
        if record.event_name:
            parts.append(text(b"\x62", record.event_name))
        return (
            self._origins.number(record.resource, record.scope),
            field(b"\x12", b"".join(parts)),
        )

    def _write_work(self, record: Record, parts: list[bytes]) -> None:
        """Whose work it is of."""
        app, route, request_id = record.app, record.route, record.request_id
        if route is not None:
            self._attributes.write({"route": route} if app is None else {"app": app, "route": route}, parts)
        elif app is not None:
            self._attributes.write({"app": app}, parts)
        if request_id is None:
            return
        # Each request has another one, so that there is nothing to be kept.
        written = encodable(request_id).encode()
        size = len(written)
        if size < _SHORT_ID:
            parts.append(b"\x32%c%b\x12%c\x0a%c%b" % (size + 16, _REQUEST_ID, size + 2, size, written))
        else:
            parts.append(field(b"\x32", _REQUEST_ID + field(b"\x12", field(b"\x0a", written))))

    def _severity(self, severity: Severity) -> bytes:
        """severity_number 2 and severity_text 3."""
        written = number(b"\x10", getattr(severity.number, "value", 0)) + text(b"\x1a", severity.text)
        if len(self._severities) < 100:  # texts are anybody's
            self._severities[severity] = written
        return written

    def _body(self, body: object) -> bytes:
        """body 5: there is one, be it empty."""
        written = field(b"\x2a", any_value(body))
        if type(body) is str and len(body) <= _MAX_BODY and len(self._bodies) < _MAX_BODIES:
            self._bodies[body] = written
        return written
