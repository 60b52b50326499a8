"""Trace context in answers, where the application has set a global response propagator."""

from __future__ import annotations

from typing import Any

from opentelemetry.instrumentation import propagators as untyped

from bext_otel_instrumentors.http.exchange import Exchange

__all__ = ["propagates", "response_headers"]

propagators: Any = untyped

_append = propagators.FuncSetter(lambda carrier, key, value: carrier.append((key, value)))


def propagates() -> bool:
    """Whether there is such a propagator."""
    return propagators.get_global_response_propagator() is not None


def response_headers(exchange: Exchange) -> list[tuple[str, str]]:
    """Headers to add to the answer: none, unless there is such a propagator and nobody else asks it."""
    propagator = propagators.get_global_response_propagator()
    added: list[tuple[str, str]] = []
    if propagator is not None and exchange.owned and not exchange.upstream:
        propagator.inject(added, exchange.context, _append)
    return added
