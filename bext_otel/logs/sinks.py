"""What becomes of a log record: processors of OpenTelemetry's logger provider, in the order in which they see
each record."""

from __future__ import annotations

import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, TypeAlias, cast

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from bext_otel.apps import current_app
from bext_otel.export.logs import record_batches
from bext_otel.export.otlp import EncodedExporter
from bext_otel.logs.chain import Passed
from bext_otel.logs.formats import Format
from bext_otel.logs.levels import Gate
from bext_otel.logs.logger import drop
from bext_otel.logs.outputs import FINISH_SECONDS, Output, StandardStream, write_stderr
from bext_otel.logs.terminal import Terminal
from bext_otel.logs.values import plain, text
from bext_otel.process import on_fork
from bext_otel.redaction import redact_urls
from bext_otel.scope import SCOPE

__all__ = ["Completion", "ExportSink", "LineSink", "Losses"]

Fields: TypeAlias = "BoundedAttributes | dict[str, Any]"
"""The attributes of a record on its way; both have a `copy` that needs no lock."""

# What our scopes begin with: `bext.request` for instance.
_OWN_SCOPES = frozenset({"bext", SCOPE})
_QUIET_SECONDS = 300.0
_MAX_WAITING = 100


class Losses:
    """Counts what a sink couldn't take, and says so once: a full disk makes one line, not one for each lost
    line."""

    def __init__(self, sink: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.count = 0
        self._sink = sink
        self._clock = clock
        self._said: float | None = None
        self._last: float | None = None

    def lost_within(self, seconds: float) -> bool:
        """Whether something was lost in the last `seconds`."""
        return self._last is not None and self._clock() - self._last < seconds

    def add(self, error: BaseException, count: int = 1) -> None:
        """`count` more are lost because of `error`."""
        self.count += count
        now = self._last = self._clock()
        if self._said is None or now - self._said >= _QUIET_SECONDS:
            self._said = now
            write_stderr(
                f"log lines can't be written to {self._sink} ({type(error).__name__}: {error}); dropped and "
                f"counted: {self.count} so far"
            )


class Completion(LogRecordProcessor):
    """First in line: adds the app at work, and sees to it that any exporter can encode the record. No sink of
    its own.

    A record keeps at most `max_attributes`, the first ones and the app (None: all). `failures` counts records
    too odd for all that; they go on as they are.
    """

    def __init__(self, max_attributes: int | None = None) -> None:
        self.failures = 0
        self._max_attributes = max_attributes

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """See `LogRecordProcessor`."""
        try:
            self._complete(log_record)
        except Exception:  # an odd record is better than none
            self.failures += 1

    def _complete(self, log_record: ReadWriteLogRecord) -> None:
        log = log_record.log_record
        if type(log) is Passed:
            if log.dropped:
                drop(log, log.dropped)
        else:
            _make_plain(log, cast("Fields", log.attributes))
        attributes = cast("Fields", log.attributes)
        if "app" not in attributes and (app := current_app(log.context)):
            attributes["app"] = app
        if self._max_attributes is not None and len(attributes) > self._max_attributes:
            drop(log, _cut(attributes, self._max_attributes))

    def check(self, log_record: ReadWriteLogRecord) -> None:
        """See again to it that it can be encoded: somebody may have changed it."""
        try:
            _make_plain(log_record.log_record, cast("Fields", log_record.log_record.attributes))
        except Exception:  # as above
            self.failures += 1

    def enabled(
        self,
        *,
        context: Context | None = None,
        instrumentation_scope: InstrumentationScope | None = None,
        severity_number: SeverityNumber | None = None,
        event_name: str | None = None,
    ) -> bool:
        """False: a record that only passes here reaches nobody."""
        return False

    def shutdown(self) -> None:
        """Nothing to end."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nothing to flush."""
        return True


def _make_plain(log: LogRecord, attributes: Fields) -> None:
    """The chain has done this with what comes from there."""
    for name, value in attributes.copy().items():
        if _refused(value):
            attributes[name] = plain(value)
        elif type(value) is str and (safe := redact_urls(value)) is not value:
            attributes[name] = safe
        if _refused(name):
            attributes[text(name)] = attributes.pop(name)
    if _refused(log.body):
        log.body = plain(log.body)
    elif type(log.body) is str:
        log.body = redact_urls(log.body)


def _cut(attributes: Fields, most: int) -> int:
    """Leave out the last, but for the app; how many."""
    cut = 0
    names = [name for name in attributes.copy() if name != "app"]
    kept = max(0, most - 1) if "app" in attributes else most
    for name in (*names[kept:], *(["app"] if not most else [])):
        if name in attributes:
            del attributes[name]
            cut += 1
    return cut


def _refused(value: object) -> bool:
    """Is there something in `value` that protobuf refuses: a lone surrogate, or an int outside 64 bits?"""
    if isinstance(value, str):
        return not value.isascii() and text(value) is not value
    if isinstance(value, int):
        return not -(2**63) <= value < 2**63
    if isinstance(value, Mapping):
        return any(_refused(name) or _refused(item) for name, item in value.items())
    return isinstance(value, Sequence) and not isinstance(value, bytes) and any(map(_refused, value))


class Gated(LogRecordProcessor):
    """A sink that leaves out records below the levels of `gate`, if it has one."""

    gate: Gate | None = None

    def wants(self, record: ReadWriteLogRecord) -> bool:
        """Has the record been let through, or would it be?"""
        log, scope = record.log_record, record.instrumentation_scope
        if self.gate is None or type(log) is Passed or scope is None:
            return True
        app = (log.attributes or {}).get("app")
        return self.gate.wants(scope.name, log.severity_number, app if isinstance(app, str) else None)

    def enabled(
        self,
        *,
        context: Context | None = None,
        instrumentation_scope: InstrumentationScope | None = None,
        severity_number: SeverityNumber | None = None,
        event_name: str | None = None,
    ) -> bool:
        """Would such a record be written, or handed on?"""
        if self.gate is None or instrumentation_scope is None:
            return True
        return self.gate.wants(instrumentation_scope.name, severity_number)


def _is(record: ReadWriteLogRecord, what: str) -> bool:
    """What `Passed` says of a record."""
    log = record.log_record
    return type(log) is Passed and bool(getattr(log, what))


def _is_of_the_terminal(record: ReadWriteLogRecord) -> bool:
    """Did it come by logging or structlog, or is it an entry of ours? What others emit at OpenTelemetry's
    Logs API, as FastAPI does, stands on no terminal without us."""
    return type(record.log_record) is Passed or _is_ours(record.instrumentation_scope)


def _is_ours(scope: InstrumentationScope | None) -> bool:
    return scope is not None and scope.name.partition(".")[0] in _OWN_SCOPES


class LineSink(Gated):
    """Writes each record as a line, at once; to `terminal` (None: to a file) only while that is ours, and
    only what the application would print and has not printed already, and entries of ours."""

    def __init__(self, line: Format, output: Output, terminal: Terminal | None = None) -> None:
        self.output = output
        self.terminal = terminal
        self.losses = Losses(output.name)
        self._line = line
        if isinstance(output, StandardStream):
            output.on_lost = self._lost

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """See `LogRecordProcessor`."""
        try:
            if self.terminal is not None and (
                _is(log_record, "printed") or not _is_of_the_terminal(log_record)
            ):
                return
            if self.wants(log_record):
                self.output.write(self._line(log_record))
            elif (error := self._gone_by()) is not None and super().wants(log_record):
                self.losses.add(error)
        except (
            Exception
        ) as exc:  # a full disk or a reader that has gone must not fail the work that is logged
            self._lost(exc)

    def wants(self, record: ReadWriteLogRecord) -> bool:
        """See `Gated`."""
        return (self.terminal is None or self.terminal.is_ours()) and super().wants(record)

    def enabled(
        self,
        *,
        context: Context | None = None,
        instrumentation_scope: InstrumentationScope | None = None,
        severity_number: SeverityNumber | None = None,
        event_name: str | None = None,
    ) -> bool:
        """See `Gated`."""
        return (
            self.terminal is None or self.terminal.is_ours() or self._gone_by() is not None
        ) and super().enabled(
            context=context,
            instrumentation_scope=instrumentation_scope,
            severity_number=severity_number,
            event_name=event_name,
        )

    def _gone_by(self) -> BaseException | None:
        return self.terminal.lost_by() if self.terminal is not None else None

    def _lost(self, error: BaseException, lines: int = 1) -> None:
        if self.terminal is not None:
            self.terminal.failed(error)
        self.losses.add(error, lines)

    def shutdown(self) -> None:
        """Nothing is buffered, but for a reader that is behind."""
        self.force_flush()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Wait for a reader that is behind, as long as it goes on reading."""
        return not isinstance(self.output, StandardStream) or self.output.finish(
            min(timeout_millis / 1e3, FINISH_SECONDS)
        )


_exporting: ContextVar[bool] = ContextVar("bext_otel_logs_exporting", default=False)


class ExportSink(Gated):
    """Hands records to an exporter in batches, but for those that exporting itself causes, which would feed
    themselves.

    Those are all records of `opentelemetry.*` loggers, and whatever is logged (by an HTTP client, say) on the
    exporting thread. That thread starts with the first record, so that a server's master can fork without
    one: what a master says waits until there are other records, or the end.
    """

    def __init__(self, exporter: LogRecordExporter | EncodedExporter, *, shutdown_seconds: float) -> None:
        self.losses = Losses("the OpenTelemetry exporter")
        self._shutdown_seconds = shutdown_seconds
        self._batches, self._take = record_batches(exporter, _Marked(exporter))
        self._waiting: deque[ReadWriteLogRecord] = deque(maxlen=_MAX_WAITING)
        _sinks.add(self)

    def wants(self, record: ReadWriteLogRecord) -> bool:
        """See `Gated`. The level of lines is none of what others emit at the Logs API; whoever wants less of
        that has a logger configurator."""
        return not _is_ours(record.instrumentation_scope) or super().wants(record)

    def enabled(
        self,
        *,
        context: Context | None = None,
        instrumentation_scope: InstrumentationScope | None = None,
        severity_number: SeverityNumber | None = None,
        event_name: str | None = None,
    ) -> bool:
        """See `Gated`."""
        return not _is_ours(instrumentation_scope) or super().enabled(
            context=context,
            instrumentation_scope=instrumentation_scope,
            severity_number=severity_number,
            event_name=event_name,
        )

    def start_over(self) -> None:
        """In a forked child: let go of what a thread of the parent may hold, and of what the parent will send
        itself."""
        self._waiting.clear()
        self._batches.reset()

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """See `LogRecordProcessor`."""
        scope = log_record.instrumentation_scope
        if _exporting.get() or (scope is not None and f"{scope.name}.".startswith("opentelemetry.")):
            return
        try:
            if self.wants(log_record):
                if _is(log_record, "waits") and not self._batches.has_begun:
                    self._waiting.append(log_record)
                    return
                self._send_waiting()
                self._take(log_record)
        except Exception as exc:  # nothing that telemetry does may fail the work that is logged
            self.losses.add(exc)

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


class _Marked:
    """An exporter that leaves a mark while it exports."""

    def __init__(self, exporter: LogRecordExporter | EncodedExporter) -> None:
        self._exporter = exporter
        # Our own exporters know who counts for them.
        self.delivery = getattr(exporter, "delivery", None)

    def export(self, batch: Sequence[Any]) -> object:
        token = _exporting.set(True)
        try:
            return self._exporter.export(batch)
        finally:
            _exporting.reset(token)

    def shutdown(self) -> object:
        return self._exporter.shutdown()


_sinks: weakref.WeakSet[ExportSink] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    """Each process exports its own."""
    for sink in list(_sinks):
        sink.start_over()


on_fork(in_child=_after_fork_in_child)
