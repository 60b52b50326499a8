"""Who speaks: the instrumentation scope of our own spans, metrics and log records.

Knows the OpenTelemetry API only.
"""

from __future__ import annotations

from typing import Any, Protocol

from opentelemetry import _logs, metrics, trace

from bext_otel.distribution import VERSION

__all__ = ["SCHEMA_URL", "SCOPE", "VERSION", "is_own", "logger_of", "meter_of", "tracer_of", "with_enabled"]

SCOPE = "bext_otel"
"""Instrumentation scope of everything that the catalogue declares."""

SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"
"""The semantic conventions that our attributes and instruments follow."""

# What our scopes begin with: `bext.request` for instance.
_OWN = frozenset({"bext", SCOPE})


class Named(Protocol):
    """An instrumentation scope, as the SDK has it."""

    @property
    def name(self) -> str:
        """See the SDK."""


def is_own(scope: Named | None) -> bool:
    """Is it one of ours?"""
    return scope is not None and scope.name.partition(".")[0] in _OWN


def tracer_of(provider: trace.TracerProvider) -> trace.Tracer:
    """Our tracer at this provider."""
    return provider.get_tracer(SCOPE, VERSION, SCHEMA_URL)


def meter_of(provider: metrics.MeterProvider) -> metrics.Meter:
    """Our meter at this provider."""
    return provider.get_meter(SCOPE, VERSION, SCHEMA_URL)


def logger_of(provider: _logs.LoggerProvider, name: str) -> _logs.Logger:
    """One of our loggers at this provider, such as `bext.request`."""
    return with_enabled(provider.get_logger(name, VERSION, SCHEMA_URL))


def with_enabled(logger: _logs.Logger) -> _logs.Logger:
    """A logger that can be asked whether anybody wants a record. Those of older APIs can't: theirs takes
    whatever it is given."""
    return logger if hasattr(logger, "enabled") else _Unasked(logger)


class _Unasked(_logs.Logger):
    def __init__(self, logger: _logs.Logger) -> None:
        self._logger = logger

    def enabled(self, **_: object) -> bool:
        return not isinstance(self._logger, _logs.NoOpLogger)

    def emit(self, record: _logs.LogRecord | None = None, **of: Any) -> None:
        if record is None:
            self._logger.emit(**of)
        else:
            self._logger.emit(record)
