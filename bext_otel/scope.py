"""Who speaks: the instrumentation scope of our own spans, metrics and log records.

Knows the OpenTelemetry API only.
"""

from __future__ import annotations

from opentelemetry import _logs, metrics, trace

from bext_otel.distribution import VERSION

__all__ = ["SCHEMA_URL", "SCOPE", "VERSION", "logger_of", "meter_of", "tracer_of"]

SCOPE = "bext_otel"
"""Instrumentation scope of everything that the catalogue declares."""

SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"
"""The semantic conventions that our attributes and instruments follow."""


def tracer_of(provider: trace.TracerProvider) -> trace.Tracer:
    """Our tracer at this provider."""
    return provider.get_tracer(SCOPE, VERSION, SCHEMA_URL)


def meter_of(provider: metrics.MeterProvider) -> metrics.Meter:
    """Our meter at this provider."""
    return provider.get_meter(SCOPE, VERSION, SCHEMA_URL)


def logger_of(provider: _logs.LoggerProvider, name: str) -> _logs.Logger:
    """One of our loggers at this provider, such as `bext.request`."""
    return provider.get_logger(name, VERSION, SCHEMA_URL)
