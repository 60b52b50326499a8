"""Where records go: into lines, and to an exporter. See `pipeline`."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import partial
from typing import Any

from opentelemetry.sdk._logs.export import LogRecordExporter

from bext_otel.export.logs import record_batches
from bext_otel.export.otlp import EncodedExporter
from bext_otel.export.record import Record
from bext_otel.logs.files import RotatingFile
from bext_otel.logs.formats import Format
from bext_otel.logs.losses import Losses
from bext_otel.logs.outputs import FINISH_SECONDS, Output, StandardStream
from bext_otel.logs.servers import is_crash_event
from bext_otel.logs.terminal import Terminal
from bext_otel.process import on_fork
from bext_otel.scope import is_own

__all__ = ["ExportSink", "LineSink"]

_MAX_WAITING = 100


class LineSink:
    """Writes each record as a line, at once; to `terminal` (None: to a file) only while that is ours, and
    only what the application would print and has not printed already, and entries of ours: what others emit
    at OpenTelemetry's Logs API, as FastAPI does, and not by logging or structlog, stands on no terminal
    without us."""

    levelled = True

    def __init__(self, line: Format, output: Output, terminal: Terminal | None = None) -> None:
        self.leaves: Callable[[Record], bool] | None = None
        """Which records another sink writes in this one's place."""
        self.output = output
        self.terminal = terminal
        self.losses = Losses(output.name, output.name if isinstance(output, StandardStream) else "file")
        self._line = line
        if isinstance(output, StandardStream | RotatingFile):
            output.on_lost = self._lost

    def take(self, record: Record) -> None:
        """See `Sink`."""
        try:
            if self.leaves is not None and self.leaves(record):
                return
            if self.terminal is not None:
                if record.printed or not (record.checked or is_own(record.scope)):
                    return
                if not (record.heard or self.terminal.is_ours()):
                    if (error := self.terminal.lost_by()) is not None:
                        self.losses.add(error)
                    return
            elif record.event_name is not None and is_crash_event(record):
                return
            self.output.write(self._line(record))
            if self.losses.pending:
                self.losses.end()
        except (
            Exception
        ) as exc:  # a full disk or a reader that has gone must not fail the work that is logged
            self._lost(exc)

    def is_open(self) -> bool:
        """See `Sink`; what cannot be written any more is told, and counted."""
        return self.terminal is None or self.terminal.is_ours() or self.terminal.lost_by() is not None

    def _lost(self, error: BaseException, lines: int = 1) -> None:
        if self.terminal is not None:
            self.terminal.failed(error)
        self.losses.add(error, lines)

    def shutdown(self) -> None:
        """See `Sink`; nothing is buffered, but for a reader that is behind."""
        self.force_flush()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Wait for a reader that is behind, as long as it goes on reading; what a full disk has no room for,
        it has not later either."""
        if isinstance(self.output, RotatingFile):
            return self.output.finish(0.0)
        return not isinstance(self.output, StandardStream) or self.output.finish(
            min(timeout_millis / 1e3, FINISH_SECONDS)
        )


_exporting: ContextVar[bool] = ContextVar("bext_otel_logs_exporting", default=False)


class ExportSink:
    """Hands records to an exporter in batches, but for those that exporting itself causes, which would feed
    themselves.

    Those are all records of `opentelemetry.*` loggers, and whatever is logged (by an HTTP client, say) on the
    exporting thread. That thread starts with the first record, so that a server's master can fork without
    one: what a master says waits until there are other records, or the end.
    """

    levelled = False

    def __init__(self, exporter: LogRecordExporter | EncodedExporter, *, shutdown_seconds: float) -> None:
        self.losses = Losses("the OpenTelemetry exporter", "otlp")
        self._shutdown_seconds = shutdown_seconds
        self._batches, self._take = record_batches(exporter, _Marked(exporter))
        self._waiting: deque[Record] = deque(maxlen=_MAX_WAITING)
        _sinks.add(self)

    def start_over(self) -> None:
        """In a forked child: let go of what a thread of the parent may hold, and of what the parent will send
        itself."""
        self._waiting.clear()
        self._batches.reset()

    def take(self, record: Record) -> None:
        """See `Sink`."""
        if _exporting.get() or (record.scope is not None and _is_upstream_s(record.scope.name)):
            return
        try:
            if record.waits and not self._batches.has_begun:
                self._waiting.append(record)
                return
            if self._waiting:
                self._send_waiting()
            self._take(record)
        except Exception as exc:  # nothing that telemetry does may fail the work that is logged
            self.losses.add(exc)

    def is_open(self) -> bool:
        """See `Sink`."""
        return True

    def _send_waiting(self) -> None:
        try:
            while self._waiting:
                self._take(self._waiting.popleft())
        except Exception as exc:  # another thread was faster, most likely
            if self._waiting:
                self.losses.add(exc, len(self._waiting))

    def begin_end(self, seconds: float) -> bool:
        """Begin to export what is left; whether a thread is at it."""
        self._send_waiting()
        return self._batches.begin_end(seconds)

    def end(self, seconds: float) -> bool:
        """Export what is left, within `seconds`; whether it arrived."""
        self._send_waiting()
        return self._batches.end(seconds)

    def shutdown(self) -> None:
        """Export what is left, within the time given."""
        self.end(self._shutdown_seconds)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Export what is queued."""
        self._send_waiting()
        return self._batches.flush(timeout_millis / 1e3)


def _is_upstream_s(name: str) -> bool:
    """Is it a logger of OpenTelemetry's?"""
    return name.startswith("opentelemetry") and f"{name}.".startswith("opentelemetry.")


class _Marked:
    """An exporter that leaves a mark while it exports."""

    def __init__(self, exporter: LogRecordExporter | EncodedExporter) -> None:
        self._exporter = exporter
        # Our own exporters know who counts for them.
        self.delivery = getattr(exporter, "delivery", None)
        # Of those that hold something back.
        if (flush := getattr(exporter, "force_flush", None)) is not None:
            self.force_flush = partial(_marked, flush)

    def export(self, batch: Sequence[Any]) -> object:
        return _marked(self._exporter.export, batch)

    def shutdown(self) -> object:
        return self._exporter.shutdown()


def _marked(call: Callable[[Any], object], argument: Any) -> object:
    token = _exporting.set(True)
    try:
        return call(argument)
    finally:
        _exporting.reset(token)


_sinks: weakref.WeakSet[ExportSink] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    """Each process exports its own."""
    for sink in list(_sinks):
        sink.start_over()


on_fork(in_child=_after_fork_in_child)
