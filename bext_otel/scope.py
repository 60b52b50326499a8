"""Who speaks: the instrumentation scope of our own spans, metrics and log records.

Knows the OpenTelemetry API only.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from opentelemetry import _logs, metrics, trace

__all__ = ["SCHEMA_URL", "SCOPE", "VERSION", "logger_of", "meter_of", "tracer_of"]

SCOPE = "bext_otel"
"""Instrumentation scope of everything that the catalogue declares."""

SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"
"""The semantic conventions that our attributes and instruments follow."""


def _version() -> str:
    try:
        return version("bext-otel")
    except PackageNotFoundError:  # copied into another program
        return ""


VERSION = _version()
"""Of bext-otel, and of each of its scopes."""


def tracer_of(provider: trace.TracerProvider) -> trace.Tracer:
    """Our tracer at this provider."""
    return provider.get_tracer(SCOPE, VERSION, SCHEMA_URL)


def meter_of(provider: metrics.MeterProvider) -> metrics.Meter:
    """Our meter at this provider."""
    return provider.get_meter(SCOPE, VERSION, SCHEMA_URL)


def logger_of(provider: _logs.LoggerProvider, name: str) -> _logs.Logger:
    """One of our loggers at this provider, such as `bext.request`."""
    return provider.get_logger(name, VERSION, SCHEMA_URL)
