"""What is added to the headers of answers: trace context, where the application has set a global response
propagator, and the request's id, where a setting asks for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from opentelemetry.instrumentation import propagators as untyped

from bext_otel_instrumentors.http.exchange import Exchange

__all__ = ["propagates", "response_headers"]

propagators: Any = untyped

_REQUEST_ID = frozenset({"x-request-id", b"x-request-id"})
_append = propagators.FuncSetter(lambda carrier, key, value: carrier.append((key, value)))


def propagates() -> bool:
    """Whether there is such a propagator."""
    return propagators.get_global_response_propagator() is not None


def response_headers(exchange: Exchange, headers: Iterable[tuple[Any, Any]] = ()) -> list[tuple[str, str]]:
    """Headers to add to the answer, which has `headers` already: those of such a propagator, unless somebody
    else asks it, and the request's id, unless the application has sent one."""
    propagator = propagators.get_global_response_propagator()
    added: list[tuple[str, str]] = []
    if propagator is not None and exchange.owned and not exchange.upstream:
        propagator.inject(added, exchange.context, _append)
    if (
        exchange.sends_id
        and (request_id := exchange.facts()[1])
        and not any(name.lower() in _REQUEST_ID for name, _ in headers)
    ):
        added.append(("X-Request-Id", request_id))
    return added
