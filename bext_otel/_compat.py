"""Every private upstream name that bext-otel relies on; tests/test_compat.py fails when upstream changes one.

Nothing else imports a name with a leading underscore from OpenTelemetry, but for `opentelemetry._logs`, which is the public logs API.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Literal

from opentelemetry import _logs, metrics, trace
from opentelemetry._logs._internal import ProxyLoggerProvider
from opentelemetry.exporter.prometheus._mapping import map_unit, sanitize_full_name
from opentelemetry.metrics import _Gauge as Gauge
from opentelemetry.metrics._internal import _ProxyMeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExporter
from opentelemetry.sdk.resources import Resource

__all__ = [
    "Gauge",
    "already_installed",
    "otlp_exporter",
    "own_resource",
    "preferred_temporality",
    "prometheus_name",
    "shut_batch_processor",
]

_OTLP = {
    "traces": ("trace_exporter", "OTLPSpanExporter"),
    "metrics": ("metric_exporter", "OTLPMetricExporter"),
    "logs": ("_log_exporter", "OTLPLogExporter"),
}


def prometheus_name(name: str, unit: str, *, counter: bool) -> str:
    """The standard translation of an instrument's name and unit to Prometheus (OpenTelemetry compatibility specification).

    Ratios of unit `1` end in `_ratio` when they are gauges; a counter ends in `_total`.
    """
    legal: str = sanitize_full_name(name)
    suffix: str = map_unit(unit)
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
    return getattr(import_module(f"opentelemetry.exporter.otlp.proto.{protocol.partition('/')[0]}.{module}"), name)


def shut_batch_processor(processor: Any, timeout_millis: float) -> None:
    """Shut a batch span or log record processor down within `timeout_millis`; its public `shutdown` takes no timeout."""
    processor._batch_processor.shutdown(timeout_millis=timeout_millis)


def preferred_temporality(exporter: MetricExporter) -> Mapping[type, AggregationTemporality]:
    """What an exporter prefers, by the SDK's classes of instruments; empty for one that has no preference."""
    return getattr(exporter, "_preferred_temporality", None) or {}


def own_resource(provider: Any) -> Callable[[Resource], None]:
    """Keep a tracer, meter or logger provider from changing its resource after a fork; what it answers with merges a resource into it."""
    update: Callable[[Resource], None] = provider._update_resource
    provider._update_resource = lambda _: None
    return update
