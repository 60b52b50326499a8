"""The metrics of requests, of whichever server: how many, how long, how large, and how many are in
progress."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bext_otel.catalogue import (
    APP,
    HTTP_SERVER_ACTIVE_REQUESTS,
    HTTP_SERVER_REQUEST_DURATION,
    OVERFLOW,
    REQUEST_DURATION,
    REQUEST_SIZE,
    REQUESTS,
    REQUESTS_ACTIVE,
)
from bext_otel.operation import Measure, joint, observe, recorder
from bext_otel.process import on_fork
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


# By app, something for each of its requests in progress: a list grows and shrinks in one step, whatever other
# threads do, and costs a fraction of a measurement.
_in_progress: dict[str, list[None]] = {}


def _held_by(app: str) -> list[None]:
    observe(REQUESTS_ACTIVE, _observed, "app")
    known = app in _in_progress or len(_in_progress) < APP.budget
    return _in_progress.setdefault(app if known else OVERFLOW, [])


def _observed() -> list[tuple[int, tuple[str]]]:
    return [(len(held), (app,)) for app, held in tuple(_in_progress.items())]


def _in_child() -> None:
    for held in _in_progress.values():
        held.clear()


on_fork(in_child=_in_child)


def _bind_active(method: str, scheme: str, app: str) -> Measure:
    by_method, held = _count_active.bind(method, scheme), _held_by(app)

    def count(amount: int) -> None:
        by_method(amount)
        if amount > 0:
            held.append(None)
        elif held:
            held.pop()

    return count


_active = joint(_bind_active)


def count_active(method: str, scheme: str, app: str) -> Measure:
    """One request more is in progress; what it answers with counts one less (-1)."""
    count = _active((method, scheme, app))
    count(1)
    return count


def _bind(
    app: str, method: str, route: str | None, counted: int
) -> tuple[Measure, Measure, Measure, Measure]:
    shown = route or UNMATCHED
    return (
        _count_request.bind(app, method, str(counted), shown),
        _record_duration.bind(app, shown),
        _record_size.bind(app, "request"),
        _record_size.bind(app, "response"),
    )


# By what a request's labels consist of, and by that and the rest of what the conventions' metric has.
_series = joint(_bind)
_series_with_http = joint(
    lambda app, method, route, counted, scheme, status, version, error_type: (
        *_bind(app, method, route, counted),
        _record_http_duration.bind(method, scheme, status or None, route, version or None, error_type),
    )
)


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
    app, method, context, seconds = exchange.app, exchange.method, exchange.context, exchange.seconds
    if (exchange.owned and not exchange.upstream) or not measures_requests():
        requests, duration, received, sent, http_duration = _series_with_http(
            (app, method, route, counted, exchange.scheme, status, exchange.version, error_type)
        )
        http_duration(seconds, context)
    else:
        requests, duration, received, sent = _series((app, method, route, counted))
    requests(1, context)
    duration(seconds * 1e3, context)
    received(exchange.request_bytes, context)
    sent(exchange.response_bytes, context)
