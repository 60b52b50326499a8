"""Real providers of the SDK, in memory, in force for one test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler
from opentelemetry.trace import SpanKind

from bext_otel.catalogue import Metric
from bext_otel.operation import Settings, use
from bext_otel.operation import settings as settings_in_force
from bext_otel_instrumentors._kit import guard as _guard

Labels = tuple[Any, ...]


class Telemetry:
    """What was recorded."""

    def __init__(self, sampler: Sampler = ALWAYS_ON) -> None:
        self._spans = InMemorySpanExporter()
        self.tracer_provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self._metrics = InMemoryMetricReader()
        self.meter_provider = MeterProvider([self._metrics], shutdown_on_exit=False)
        self._records = InMemoryLogRecordExporter()
        self.logger_provider = LoggerProvider(shutdown_on_exit=False)
        self.logger_provider.add_log_record_processor(SimpleLogRecordProcessor(self._records))

    def spans(self) -> list[ReadableSpan]:
        return list(self._spans.get_finished_spans())

    def servers(self) -> list[ReadableSpan]:
        return [span for span in self.spans() if span.kind is SpanKind.SERVER]

    def server(self) -> ReadableSpan:
        """The one and only server span."""
        servers = self.servers()
        assert 1 == len(servers), [(span.name, dict(span.attributes or {})) for span in servers]
        return servers[0]

    def attributes(self) -> Mapping[str, Any]:
        return dict(self.server().attributes or {})

    def points(self, metric: Metric) -> dict[Labels, Any]:
        """Data points of a metric, of any scope, by label values in the order of the catalogue (None: not
        there)."""
        found: dict[Labels, Any] = {}
        for point in self.every_point(metric):
            labels = tuple((point.attributes or {}).get(name) for name in metric.label_names)
            assert labels not in found, f"counted in two scopes: {labels}"
            found[labels] = point
        return found

    def every_point(self, metric: Metric) -> list[Any]:
        """Data points of a metric, of any scope."""
        return self.points_of(metric.name)

    def points_of(self, name: str) -> list[Any]:
        """The same of one that is none of the catalogue's."""
        data = self._metrics.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for stream in scope.metrics
            if stream.name == name
            for point in stream.data.data_points
        ]

    def metric_scopes(self) -> list[Any]:
        """The scopes of all metrics."""
        data = self._metrics.get_metrics_data()
        return (
            [scope.scope for resource in data.resource_metrics for scope in resource.scope_metrics]
            if data
            else []
        )

    def counts(self, metric: Metric) -> dict[Labels, int]:
        """How often each series was recorded (a counter: its value)."""
        return {
            labels: getattr(point, "count", getattr(point, "value", None))
            for labels, point in self.points(metric).items()
        }

    def sums(self, metric: Metric) -> dict[Labels, float]:
        return {labels: point.sum for labels, point in self.points(metric).items()}

    def records(self) -> list[Any]:
        """All log records, as the SDK's log data."""
        return list(self._records.get_finished_logs())

    def completions(self) -> list[Any]:
        """Completion records, as the SDK's log data."""
        return [data for data in self.records() if data.log_record.body == "request completed"]

    def completion(self) -> Mapping[str, Any]:
        """Attributes of the only completion record."""
        completions = self.completions()
        assert 1 == len(completions)
        return dict(completions[0].log_record.attributes)

    def clear(self) -> None:
        """Forget spans and records; metrics go on."""
        self._spans.clear()
        self._records.clear()


@pytest.fixture(autouse=True)
def first_failures() -> None:
    """A failure of ours is told in full only the first time; each test is to see its own."""
    _guard._seen.clear()


@pytest.fixture
def use_telemetry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Telemetry]]:
    """Puts providers in force, without the API's rule that this can be done only once in a process."""
    before = settings_in_force()

    def put_in_force(sampler: Sampler = ALWAYS_ON, **settings: Any) -> Telemetry:
        telemetry = Telemetry(sampler)
        monkeypatch.setattr(trace, "get_tracer_provider", lambda: telemetry.tracer_provider)
        monkeypatch.setattr(metrics, "get_meter_provider", lambda: telemetry.meter_provider)
        monkeypatch.setattr(_logs, "get_logger_provider", lambda: telemetry.logger_provider)
        settings.setdefault("resolver", lambda host, path: "shop")
        use(Settings(**settings))
        return telemetry

    yield put_in_force
    monkeypatch.undo()
    use(before)


@pytest.fixture
def telemetry(use_telemetry: Callable[..., Telemetry]) -> Telemetry:
    return use_telemetry()


@contextmanager
def instrumenting(*kinds: Any, **options: Any) -> Iterator[None]:
    """In the body, libraries are instrumented."""
    with ExitStack() as undoing:
        for kind in kinds:
            kind().instrument(**options)
            undoing.callback(_undo, kind())
        yield


def _undo(instrumentor: Any) -> None:
    if instrumentor.is_instrumented_by_opentelemetry:  # the test may have undone it
        instrumentor.uninstrument()


def instrumented_by(*kinds: Any, **options: Any) -> Any:
    """A fixture: libraries are instrumented, and what they record is its value."""

    @pytest.fixture
    def instrumented(telemetry: Telemetry) -> Iterator[Telemetry]:
        with instrumenting(*kinds, **options):
            yield telemetry

    return instrumented
