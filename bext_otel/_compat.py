"""Every private upstream name that bext-otel relies on; tests/test_compat.py fails when upstream changes one.

Nothing else imports a name with a leading underscore from OpenTelemetry, but for `opentelemetry._logs`, which is the public logs API.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from inspect import signature
from pathlib import Path
from threading import Lock, RLock
from typing import Any, Literal, Protocol

from opentelemetry import _logs, metrics, trace
from opentelemetry._logs._internal import ProxyLoggerProvider
from opentelemetry.metrics import _Gauge as Gauge
from opentelemetry.metrics._internal import _ProxyMeterProvider
from opentelemetry.sdk import metrics as sdk_metrics
from opentelemetry.sdk.metrics._internal.exponential_histogram.mapping.exponent_mapping import ExponentMapping
from opentelemetry.sdk.metrics._internal.exponential_histogram.mapping.logarithm_mapping import LogarithmMapping
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExporter, MetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import SpanContext

__all__ = [
    "Gauge",
    "admit_measurements",
    "already_installed",
    "cardinality_limits",
    "collecting_in_turn",
    "hear_measurements",
    "otlp_exporter",
    "own_resource",
    "preferred_temporality",
    "prometheus_name",
    "shut_batch_processor",
    "start_metrics_over",
]

_OTLP = {
    "traces": ("trace_exporter", "OTLPSpanExporter"),
    "metrics": ("metric_exporter", "OTLPMetricExporter"),
    "logs": ("_log_exporter", "OTLPLogExporter"),
}

# By the word of upstream's HTTP client for what it sends.
_REPLIES = {
    "spans": ("trace", "ExportTraceServiceResponse"),
    "metrics": ("metrics", "ExportMetricsServiceResponse"),
    "logs": ("logs", "ExportLogsServiceResponse"),
}


@cache
def _prometheus_mapping() -> Any:
    """The module with upstream's translation alone: its package imports `prometheus_client`, which then shows metrics of its own."""
    package = find_spec("opentelemetry.exporter.prometheus")
    if package is None or not package.submodule_search_locations:
        raise ImportError("opentelemetry-exporter-prometheus is not installed: reinstall bext-otel")
    path = Path(package.submodule_search_locations[0]) / "_mapping.py"
    spec = spec_from_file_location("bext_otel._prometheus_mapping", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be loaded: reinstall opentelemetry-exporter-prometheus")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Imported by `requests` and `socket` within their first request. A child that is forked meanwhile waits for these imports for good: Python
# renews no module's import lock.
_LATE = ("encodings.idna", "netrc")


def prometheus_name(name: str, unit: str, *, counter: bool) -> str:
    """The standard translation of an instrument's name and unit to Prometheus (OpenTelemetry compatibility specification).

    Ratios of unit `1` end in `_ratio` when they are gauges; a counter ends in `_total`.
    """
    mapping = _prometheus_mapping()
    legal: str = mapping.sanitize_full_name(name)
    suffix: str = mapping.map_unit(unit)
    if unit == "1" and not counter:
        suffix = "ratio"
    if suffix and not legal.endswith(f"_{suffix}"):
        legal = f"{legal}_{suffix}"
    return f"{legal}_total" if counter and not legal.endswith("_total") else legal


def already_installed() -> tuple[str, ...]:
    """The signals whose provider the application has set by itself."""
    proxies = {
        "traces": (trace.get_tracer_provider(), trace.ProxyTracerProvider),
        "metrics": (metrics.get_meter_provider(), _ProxyMeterProvider),
        "logs": (_logs.get_logger_provider(), ProxyLoggerProvider),
    }
    return tuple(signal for signal, (provider, proxy) in proxies.items() if not isinstance(provider, proxy))


def otlp_exporter(protocol: Literal["http/protobuf", "grpc"], signal: Literal["traces", "metrics", "logs"]) -> Any:
    """The class of upstream's OTLP exporter; imported when asked for, since gRPC takes longer to import than everything else together."""
    module, name = _OTLP[signal]
    transport = protocol.partition("/")[0]
    for late in _LATE if transport == "http" else ():
        import_module(late)
    return getattr(import_module(f"opentelemetry.exporter.otlp.proto.{transport}.{module}"), name)


def shut_batch_processor(processor: Any, timeout_millis: float) -> None:
    """Shut a batch span or log record processor down within `timeout_millis`; its public `shutdown` takes no timeout."""
    processor._batch_processor.shutdown(timeout_millis=timeout_millis)


def preferred_temporality(exporter: MetricExporter) -> Mapping[type, AggregationTemporality]:
    """What an exporter prefers, by the SDK's classes of instruments; empty for one that has no preference."""
    return getattr(exporter, "_preferred_temporality", None) or {}


def hear_measurements(provider: Any, heard: Callable[[], None]) -> None:
    """Have a meter provider's instruments call `heard` after each measurement that the SDK has taken."""
    consumer = provider._measurement_consumer
    consume: Callable[[Any], None] = consumer.consume_measurement

    def consume_measurement(measurement: Any) -> None:
        consume(measurement)
        heard()

    consumer.consume_measurement = consume_measurement


def admit_measurements(provider: Any, reader: Any, admit: Callable[[Any], Any]) -> None:
    """Have `admit` see each measurement before what a provider keeps for `reader` takes it; its answer is taken instead.

    Those of callbacks too, which `hear_measurements` does not hear.
    """
    storage = provider._measurement_consumer._reader_storages[reader]
    consume: Callable[..., None] = storage.consume_measurement

    def consume_measurement(measurement: Any, *args: Any) -> None:
        consume(admit(measurement), *args)

    storage.consume_measurement = consume_measurement


def cardinality_limits(limit: int) -> dict[str, Any]:
    """What tells a metric reader's constructor how many attribute sets an instrument may have; nothing to an SDK before 1.45.2."""
    if "cardinality_limits" not in signature(MetricReader.__init__).parameters:
        return {}
    kinds = ("Counter", "UpDownCounter", "Histogram", "_Gauge", "ObservableCounter", "ObservableUpDownCounter", "ObservableGauge")
    return {"cardinality_limits": {getattr(sdk_metrics, kind): limit for kind in kinds}}


def collecting_in_turn(provider: Any) -> RLock:
    """The lock under which a meter provider runs the callbacks of its instruments, made reentrant: one that collects hangs otherwise."""
    turns = provider._measurement_consumer._lock = RLock()
    return turns


def own_resource(provider: Any) -> Callable[[Resource], None]:
    """Keep a tracer, meter or logger provider from changing its resource after a fork; what it answers with merges a resource into it."""
    update: Callable[[Resource], None] = provider._update_resource
    provider._update_resource = lambda _: None
    return update


class _TracerMetrics(Protocol):
    def start_span(self, parent: SpanContext | None, decision: Decision, /) -> Callable[[], object]: ...


class _LoggerMetrics(Protocol):
    def emit_log(self) -> None: ...


class _ProcessorMetrics(Protocol):
    def finish_items(self, count: int) -> None: ...
    def drop_items(self, count: int, error_type: str = "queue_full") -> None: ...


def count_spans(tracer: trace.Tracer, counts: _TracerMetrics) -> None:
    """Have a tracer tell `counts` of each span that starts; what that answers with is called when a recorded span ends."""
    if hasattr(tracer, "_tracer_metrics"):
        tracer._tracer_metrics = counts


def count_logs(provider: Any, counts: _LoggerMetrics) -> None:
    """Have the loggers that a provider makes from now on tell `counts` of each record."""
    provider._logger_metrics = counts


class _Watched:
    """Tells of what upstream counts right."""

    def __init__(self, metrics: _ProcessorMetrics) -> None:
        self.finish_items = metrics.finish_items
        self._drop_items = metrics.drop_items

    def drop_items(self, count: int, error_type: str = "queue_full") -> None:
        if error_type != "queue_full":
            self._drop_items(count, error_type)


class _Bounded(deque[Any]):
    """A queue of at most `capacity` items that tells of each item that it lets go.

    Upstream looks whether there is room and then adds, between which the exporting thread may have made some: its count is too high.
    """

    def __init__(self, capacity: int, dropped: Callable[[int], object]) -> None:
        super().__init__()
        self._capacity = capacity
        self._dropped = dropped

    def appendleft(self, item: Any) -> None:
        super().appendleft(item)
        if len(self) > self._capacity:
            try:
                self.pop()
            except IndexError:  # the exporting thread has just taken all of them
                return
            self._dropped(1)


def watch_queue(processor: Any, metrics: _ProcessorMetrics) -> tuple[Callable[[], int], int]:
    """Have a batch processor, just made, tell `metrics` what it hands on and what it drops; how many items wait in it, and how many may."""
    inner = processor._batch_processor
    inner._metrics = _Watched(metrics)
    queue = inner._queue = _Bounded(inner._max_queue_size, metrics.drop_items)
    return lambda: len(queue), inner._max_queue_size


@dataclass
class _Outcome:
    """What upstream's exporters write down of an export: `ExportResult` of their own telemetry."""

    error: Exception | None = None
    error_attrs: Mapping[str, object] | None = None


class _Explaining:
    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    @contextmanager
    def export_operation(self, num_items: int) -> Iterator[_Outcome]:
        outcome = _Outcome()
        try:
            yield outcome
        finally:
            status = next(iter((outcome.error_attrs or {}).values()), None)
            if status is not None or outcome.error is not None:
                self._tell(str(status) if status is not None else type(outcome.error).__qualname__)


def explain_exports(exporter: Any, failed: Callable[[str], None], rejected: Callable[[int, str], None]) -> None:
    """Have one of upstream's OTLP exporters tell why an export failed, in a word, and what the backend rejected of one it took.

    Upstream reads neither the reply nor, over HTTP, the status of a refusal.
    """
    exporter._metrics = _Explaining(failed)

    def look(reply: Any) -> None:
        partial = reply.partial_success
        counts = [value for field, value in partial.ListFields() if field.name.startswith("rejected_")]
        if counts:
            rejected(counts[0], partial.error_message)

    client: Any = getattr(exporter, "_client", None)
    transport = getattr(client, "_transport", None)
    if transport is not None:
        package, name = _REPLIES[client._kind]
        kind = getattr(import_module(f"opentelemetry.proto.collector.{package}.v1.{package}_service_pb2"), name)
        send = transport.request

        def request(*args: Any, **kwargs: Any) -> Any:
            result = send(*args, **kwargs)
            if result.status_code is not None and 200 <= result.status_code < 300:
                with suppress(Exception):  # a reply that cannot be read rejects nothing
                    if content := result.content():
                        look(kind.FromString(content))
            return result

        transport.request = request
        return
    make = exporter._stub

    def stub(channel: Any) -> Any:
        made = make(channel)
        export = made.Export

        def call(*args: Any, **kwargs: Any) -> Any:
            reply = export(*args, **kwargs)
            look(reply)
            return reply

        made.Export = call
        return made

    exporter._stub = stub
    exporter._client = stub(exporter._channel)


def start_metrics_over(provider: Any, reader: Any) -> None:
    """In a forked child: renew the locks that a thread of the parent may have held, and have `reader` forget what the parent measured.

    Upstream renews the provider's own two locks only. Nothing is collected for this, since that would call the application's callbacks
    in the middle of a fork.
    """
    consumer = provider._measurement_consumer
    consumer._lock = Lock()
    for meter in provider._meters.values():
        meter._instrument_registration_lock = Lock()
    for each, storage in consumer._reader_storages.items():
        storage._lock = RLock()
        if each is reader:
            storage._instrument_view_instrument_matches = {}
            continue
        for match in [match for matches in storage._instrument_view_instrument_matches.values() for match in matches]:
            match._lock = Lock()
            for aggregation in match._attributes_aggregation.values():
                aggregation._lock = Lock()
    for mapping in (ExponentMapping, LogarithmMapping):
        mapping._mappings_lock = Lock()
