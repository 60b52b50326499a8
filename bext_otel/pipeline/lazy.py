"""Processors that are built at the first span or record, so that a process which emits none, such as a server's master, has no thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from opentelemetry.context import Context
from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from bext_otel._compat import shut_batch_processor, watch_queue
from bext_otel.pipeline.queueing import Queue

__all__ = ["LazyLogRecordProcessor", "LazySpanProcessor"]

_log = logging.getLogger("bext_otel.export")

P = TypeVar("P", bound="BatchSpanProcessor | BatchLogRecordProcessor")


def _nothing() -> None:
    pass


class _Lazy(Generic[P]):
    """Builds its processor once, at the first use, and then calls `on_built`. What the processor lets go is told to `queue`."""

    def __init__(self, build: Callable[[], P], queue: Queue | None) -> None:
        self._build = build
        self._queue = queue
        self.on_built: Callable[[], None] = _nothing
        self._lock = threading.Lock()
        self._built: P | None = None
        self._ended = False
        self._told = False

    def reset(self) -> None:
        """A forked child takes a lock of its own; the processor renews itself."""
        self._lock = threading.Lock()

    @property
    def is_built(self) -> bool:
        """Is there a processor, with its thread?"""
        return self._built is not None

    def get(self) -> P:
        built = self._built
        if built is None:
            with self._lock:
                built = self._built
                if built is None:
                    built = self._build()
                    if self._queue is not None:
                        self._queue.attach(*watch_queue(built, self._queue))
                    self._built = built
            self.on_built()
        return built

    def failed(self, error: Exception) -> None:
        """What should be exported is lost, since its processor cannot be built or does not take it. Told once."""
        if self._queue is not None:
            self._queue.drop_items(1, type(error).__qualname__)
        if not self._told:
            self._told = True
            _log.warning("what is to be exported is lost: %s: %s; the application goes on", type(error).__name__, error)

    def shutdown_seconds(self, seconds: float) -> None:
        """Export what is queued and end, within `seconds`."""
        if self._built is not None and not self._ended:
            self._ended = True
            shut_batch_processor(self._built, seconds * 1e3)

    def flush(self, timeout_millis: int) -> bool:
        return self._built is None or self._built.force_flush(timeout_millis)


class LazySpanProcessor(SpanProcessor):
    """A `BatchSpanProcessor`, built when the first span ends."""

    def __init__(self, build: Callable[[], BatchSpanProcessor], queue: Queue | None = None) -> None:
        self.lazy: _Lazy[BatchSpanProcessor] = _Lazy(build, queue)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """A batch processor does nothing here."""

    def on_end(self, span: ReadableSpan) -> None:
        try:
            self.lazy.get().on_end(span)
        except Exception as error:  # the span ends in the application's code, which goes on
            self.lazy.failed(error)

    def shutdown(self) -> None:
        self.lazy.shutdown_seconds(30.0)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self.lazy.flush(timeout_millis)


class LazyLogRecordProcessor(LogRecordProcessor):
    """A `BatchLogRecordProcessor`, built when the first record is emitted."""

    def __init__(self, build: Callable[[], BatchLogRecordProcessor], queue: Queue | None = None) -> None:
        self.lazy: _Lazy[BatchLogRecordProcessor] = _Lazy(build, queue)

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        self.lazy.get().on_emit(log_record)

    def shutdown(self) -> None:
        self.lazy.shutdown_seconds(30.0)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self.lazy.flush(timeout_millis)
