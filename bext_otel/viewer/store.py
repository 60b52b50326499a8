"""What the viewer holds, behind one lock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bext_otel.viewer.limits import Limits
from bext_otel.viewer.logs import Logs
from bext_otel.viewer.metrics import MetricStore, Source
from bext_otel.viewer.spans import Spans

__all__ = ["Store"]


class Store:
    """Spans, log lines and metrics of the recent past, bounded by `limits`.

    Safe to use from several threads: writers are the `add_*` methods, readers hold `reading()` while they
    look at `spans`, `logs` and `metrics`. `version` grows with every change.
    """

    def __init__(self, limits: Limits | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self.limits = limits or Limits()
        self.started_unix = clock()
        self.spans = Spans(self.limits)
        self.logs = Logs(self.limits)
        self.metrics = MetricStore(self.limits)
        self.refused_bodies = 0
        self.refused_items = 0
        self.version = 0
        self._lock = threading.Lock()

    def add_spans(self, request: ExportTraceServiceRequest) -> int:
        """Take a batch; returns how many spans were refused."""
        with self._writing():
            refused = self.spans.add(request)
            self.refused_items += refused
        return refused

    def add_logs(self, request: ExportLogsServiceRequest) -> int:
        """Take a batch; returns how many lines were refused."""
        with self._writing():
            self.logs.add(request)
        return 0

    def add_metrics(
        self, request: ExportMetricsServiceRequest, heard: dict[Source, int] | None = None
    ) -> int:
        """Take a batch; returns how many points were refused. `heard`: see `MetricStore.add`."""
        with self._writing():
            refused = self.metrics.add(request, heard)
            self.refused_items += refused
        return refused

    def refuse_item(self) -> None:
        """Count a span, log record or metric that was not looked at."""
        with self._writing():
            self.refused_items += 1

    def refuse_body(self) -> None:
        """Count a body that could not be taken."""
        with self._writing():
            self.refused_bodies += 1

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Nothing changes inside."""
        with self._lock:
            yield

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock:
            self.version += 1
            yield
