"""Log lines, in order of arrival."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator

import msgspec
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1 import logs_pb2

from bext_otel.viewer.limits import Limits
from bext_otel.viewer.values import Allowance, Plain, service_of, shortened

__all__ = ["LEVELS", "LogLine", "Logs"]

LEVELS = ("trace", "debug", "info", "warn", "error", "fatal")
"""Names of the severity ranges, four numbers each from 1 (OpenTelemetry log data model, SeverityNumber)."""

# What a line takes besides its texts and attributes: itself, ids, times, its place.
_LINE_BYTES = 500


class LogLine(msgspec.Struct, frozen=True):
    """A log record as it came: time in Unix nanoseconds, `severity` 0 (not given) to 24, ids in hex digits or
    empty.

    `number` counts lines as they came, from 1; `size` is what the line takes in memory, in bytes; `omitted`
    how many attributes and texts there was no room for.
    """

    number: int
    time_ns: int
    severity: int
    level: str
    target: str
    message: Plain
    service: str
    trace_id: str
    span_id: str
    attributes: dict[str, Plain]
    omitted: int
    size: int


class Logs:
    """A ring of log lines. Not locked: its owner is."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lines: deque[LogLine] = deque()
        self.size = 0
        self.received = 0
        self.dropped = 0

    def add(self, request: ExportLogsServiceRequest) -> None:
        """Take a batch."""
        for resource in request.resource_logs:
            service = service_of(resource.resource, self._limits)
            for scope in resource.scope_logs:
                for record in scope.log_records:
                    self.received += 1
                    self._put(_line(self.received, record, service, scope.scope.name, self._limits))

    def newest(self) -> Iterator[LogLine]:
        """Lines, the last that came first."""
        return reversed(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def _put(self, line: LogLine) -> None:
        self._lines.append(line)
        self.size += line.size
        while len(self._lines) > self._limits.logs or (
            self.size > self._limits.log_bytes and len(self._lines) > 1
        ):
            self.size -= self._lines.popleft().size
            self.dropped += 1


def _line(number: int, record: logs_pb2.LogRecord, service: str, scope: str, limits: Limits) -> LogLine:
    room = Allowance(limits, _LINE_BYTES + sys.getsizeof(service))
    severity = record.severity_number if 0 < record.severity_number <= 24 else 0
    line = LogLine(
        number=number,
        time_ns=record.time_unix_nano or record.observed_time_unix_nano,
        severity=severity,
        level=LEVELS[(severity - 1) // 4] if severity else shortened(record.severity_text[:64].lower(), 16),
        target=room.name(scope),
        message=room.plain(record.body) if record.HasField("body") else room.name(record.event_name),
        service=service,
        trace_id=record.trace_id.hex() if len(record.trace_id) == 16 else "",
        span_id=record.span_id.hex() if len(record.span_id) == 8 else "",
        attributes=room.attributes(record.attributes),
        omitted=0,
        size=0,
    )
    return msgspec.structs.replace(line, omitted=room.omitted, size=room.spent)
