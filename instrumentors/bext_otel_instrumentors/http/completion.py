"""The completion record of a request: one OpenTelemetry log record, in the request's context."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from opentelemetry._logs import SeverityNumber

from bext_otel.crashes import is_left_to_request
from bext_otel.entries import logger, write
from bext_otel.redaction import redact_body, shortened_text

if TYPE_CHECKING:
    from bext_otel_instrumentors.http.exchange import Exchange

__all__ = ["REQUEST_SCOPE", "emit_completion"]

REQUEST_SCOPE = "bext.request"
"""Whose entries tell of requests."""

_MAX_PATH = 1024
_MAX_CACHE = 32


def emit_completion(
    exchange: Exchange, status: int, raised: str | None, *, failed: bool, slow_request_ms: float
) -> None:
    """Tell that a request is completed: at error if it `failed`, at warn, with the threshold, if it took
    longer than `slow_request_ms`, else at info.

    `raised` is the class of the exception that ended it, if any. The path is cut after 1 kB. An exception
    that left the application is shown: a server tells of it too, but no longer knows which request it was.
    """
    duration_ms, event = exchange.seconds * 1e3, "bext.request.completed"
    if failed:
        severity = SeverityNumber.ERROR
    elif duration_ms > slow_request_ms:
        severity, event = SeverityNumber.WARN, "bext.request.slow"
    else:
        severity = SeverityNumber.INFO
    path = exchange.path
    path = shortened_text(path, _MAX_PATH) if len(path) > _MAX_PATH else redact_body(path)
    attributes: dict[str, Any] = {
        "app": exchange.app,
        "method": exchange.method,
        "path": path,
        "status": status,
        "duration_ms": round(duration_ms, 3),
    }
    if (cache := _cache_of(exchange.headers)) is not None:
        attributes["cache"] = cache
    if event == "bext.request.slow":
        attributes["threshold_ms"] = slow_request_ms
    if raised is not None:
        attributes["error_type"] = raised
    error = exchange.unhandled if failed else None
    if exchange.error is not None and is_left_to_request(exchange.error):
        error = exchange.error
    to = logger(REQUEST_SCOPE)
    # As `write` has it, without that call for nearly all requests.
    if error is None and (take := getattr(to, "entry", None)) is not None:
        take(severity, "request completed", attributes, exchange.context, event, True)
        return
    write(
        to,
        severity,
        "request completed",
        attributes,
        here=exchange.context,
        error=error,
        event=event,
        are_plain=True,
    )


def _cache_of(headers: Iterable[tuple[Any, Any]]) -> str | None:
    """What the answer says about the cache that it came from: the header `x-bext-cache` (hit, stale, miss) of
    the bext platform."""
    for name, value in headers:
        if len(name) == 12 and name.lower() in {"x-bext-cache", b"x-bext-cache"}:
            text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
            return redact_body(text[:_MAX_CACHE])
    return None
