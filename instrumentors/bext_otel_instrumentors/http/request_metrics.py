"""The metrics of requests, of whichever server: how many, how long, how large, and how many are in
progress."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bext_otel.catalogue import (
    HTTP_SERVER_ACTIVE_REQUESTS,
    HTTP_SERVER_REQUEST_DURATION,
    REQUEST_DURATION,
    REQUEST_SIZE,
    REQUESTS,
)
from bext_otel.operation import recorder
from bext_otel_instrumentors.http.upstream import measures_requests

if TYPE_CHECKING:
    from bext_otel_instrumentors.http.exchange import Exchange

__all__ = ["UNMATCHED", "count_active", "count_request", "record_request"]

UNMATCHED = "unmatched"
"""The `route` of a request that no route template matched. Never the path: clients could make any number of
those."""

_count_request = recorder(REQUESTS, "app", "method", "status", "route")
_record_duration = recorder(REQUEST_DURATION, "app", "route")
_record_size = recorder(REQUEST_SIZE, "app", "direction")
_count_active = recorder(HTTP_SERVER_ACTIVE_REQUESTS, "http.request.method", "url.scheme")
_record_http_duration = recorder(
    HTTP_SERVER_REQUEST_DURATION,
    "http.request.method",
    "url.scheme",
    "http.response.status_code",
    "http.route",
    "network.protocol.version",
    "error.type",
)


def count_active(exchange: Exchange, change: int) -> None:
    """One request more (1) or less (-1) is in progress."""
    _count_active(change, exchange.method, exchange.scheme)


def count_request(exchange: Exchange, route: str | None, status: int) -> None:
    """A request, or the handshake of a websocket, was answered with this status."""
    _count_request(
        1, exchange.app, exchange.method, str(status), route or UNMATCHED, context=exchange.context
    )


def record_request(
    exchange: Exchange, route: str | None, status: int, counted: int, error_type: str | None
) -> None:
    """A request is over. `status` is what the span shows (0: none was sent), `counted` what is counted
    instead."""
    app, context, seconds = exchange.app, exchange.context, exchange.seconds
    count_request(exchange, route, counted)
    _record_duration(seconds * 1e3, app, route or UNMATCHED, context=context)
    _record_size(exchange.request_bytes, app, "request", context=context)
    _record_size(exchange.response_bytes, app, "response", context=context)
    if (exchange.owned and not exchange.upstream) or not measures_requests():
        method, scheme, version = exchange.method, exchange.scheme, exchange.version or None
        _record_http_duration(
            seconds, method, scheme, status or None, route, version, error_type, context=context
        )
