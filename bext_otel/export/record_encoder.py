"""Log records as OTLP writes them (opentelemetry-proto, `logs/v1/logs.proto`), each encoded where it is
emitted: see `span_encoder`."""

from __future__ import annotations

import struct

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk._logs import ReadableLogRecord, ReadWriteLogRecord

from bext_otel.export.origins import Encoded, Origins
from bext_otel.export.protobuf import Attributes, any_value, field, nanoseconds, number, text

__all__ = ["RecordEncoder"]

# time_unix_nano 1 and observed_time_unix_nano 11; trace_id 9 and span_id 10; flags 8.
_pack_time = struct.Struct("<cQ").pack
_pack_ids = struct.Struct(">2s16s2sQ").pack
_pack_flags = struct.Struct("<cI").pack

_MAX_FLAGS = (1 << 32) - 1


class RecordEncoder:
    """Encodes log records; what repeats among them is kept as bytes, within bounds."""

    def __init__(self, origins: Origins) -> None:
        self._origins = origins
        self._attributes = Attributes(b"\x32")
        self._severities: dict[tuple[object, object], bytes] = {}

    def encode(self, record: ReadableLogRecord | ReadWriteLogRecord) -> Encoded:
        """A record. Raises what `any_value` does, of a body that cannot be written."""
        log = record.log_record
        severity = (log.severity_number, log.severity_text)
        parts = [
            self._severities.get(severity) or self._severity(*severity),
            # body 5: there is one, be it empty.
            field(b"\x2a", any_value(log.body)),
        ]
        if log.timestamp:
            parts.append(_pack_time(b"\x09", nanoseconds(log.timestamp)))
        if log.observed_timestamp:
            parts.append(_pack_time(b"\x59", nanoseconds(log.observed_timestamp)))
        if log.trace_id:
            parts.append(
                _pack_ids(b"\x4a\x10", log.trace_id.to_bytes(16, "big"), b"\x52\x08", log.span_id or 0)
            )
        if log.trace_flags:
            parts.append(_pack_flags(b"\x45", log.trace_flags & _MAX_FLAGS))
        attributes = log.attributes
        if attributes:
            # The SDK's own mapping locks at each step of an iteration, and has a copy that doesn't.
            plain = attributes.copy() if isinstance(attributes, BoundedAttributes) else attributes
            self._attributes.write(plain, parts)
        if dropped := record.dropped_attributes:
            parts.append(number(b"\x38", dropped))
        if log.event_name:
            parts.append(text(b"\x62", log.event_name))
        return (
            self._origins.number(record.resource, record.instrumentation_scope),
            field(b"\x12", b"".join(parts)),
        )

    def _severity(self, severity: object, words: object) -> bytes:
        """severity_number 2 and severity_text 3."""
        written = number(b"\x10", getattr(severity, "value", 0)) + text(b"\x1a", words)
        if len(self._severities) < 100:  # texts are anybody's
            self._severities[severity, words] = written
        return written
