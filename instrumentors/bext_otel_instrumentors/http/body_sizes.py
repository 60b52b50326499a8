"""How large bodies are, by the semantic conventions' own metrics, for who asks for them (`[metrics]
body_sizes`): `http.server.request.body.size` and `http.server.response.body.size`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import metrics
from opentelemetry.metrics import Histogram
from opentelemetry.util.types import AttributeValue

from bext_otel.scope import meter_of
from bext_otel_instrumentors.http.upstream import measures_requests

if TYPE_CHECKING:
    from bext_otel_instrumentors.http.exchange import Exchange

__all__ = ["record_body_sizes"]

# Bytes; the conventions name none.
_BOUNDS = (0.0, *(float(4**power) for power in range(3, 14)))

_made: tuple[metrics.MeterProvider, tuple[Histogram, Histogram]] | None = None


def _instruments() -> tuple[Histogram, Histogram]:
    global _made
    provider = metrics.get_meter_provider()
    made = _made
    if made is None or made[0] is not provider:
        meter = meter_of(provider)
        received, sent = (
            meter.create_histogram(
                f"http.server.{side}.body.size",
                "By",
                f"Size of HTTP server {side} bodies.",
                explicit_bucket_boundaries_advisory=_BOUNDS,
            )
            for side in ("request", "response")
        )
        made = _made = (provider, (received, sent))
    return made[1]


def record_body_sizes(exchange: Exchange, route: str | None, status: int, error_type: str | None) -> None:
    """A request is over. `status` is what was sent; 0: nothing was. What upstream's instrumentation records
    is not recorded twice."""
    if (not exchange.owned or exchange.upstream) and measures_requests():
        return
    shown: dict[str, AttributeValue] = {
        "http.request.method": exchange.method,
        "url.scheme": exchange.scheme,
    }
    if status:
        shown["http.response.status_code"] = status
    if route:
        shown["http.route"] = route
    if exchange.version:
        shown["network.protocol.version"] = exchange.version
    if error_type is not None:
        shown["error.type"] = error_type
    received, sent = _instruments()
    received.record(exchange.request_bytes, shown, exchange.context)
    sent.record(exchange.response_bytes, shown, exchange.context)
