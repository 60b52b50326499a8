"""The completion record of a request: one OpenTelemetry log record, in the request's context."""

from __future__ import annotations

from collections.abc import Iterable
from time import time_ns
from typing import Any

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context

from bext_otel.operation import request_logger

__all__ = ["emit_completion"]

_MAX_PATH = 1024
_MAX_CACHE = 32


def emit_completion(
    context: Context,
    *,
    app: str,
    method: str,
    path: str,
    status: int,
    duration_ms: float,
    headers: Iterable[tuple[Any, Any]],
    raised: str | None,
    failed: bool,
    slow_request_ms: float,
) -> None:
    """Tell that a request is completed: at error if it `failed`, at warn if it took longer than `slow_request_ms`, else at info.

    `headers` are the answer's, `raised` is the class of the exception that ended it, if any. The path is cut after 1 kB.
    """
    if failed:
        severity, text = SeverityNumber.ERROR, "ERROR"
    elif duration_ms > slow_request_ms:
        severity, text = SeverityNumber.WARN, "WARN"
    else:
        severity, text = SeverityNumber.INFO, "INFO"
    attributes: dict[str, Any] = {
        "app": app,
        "method": method,
        "path": path[:_MAX_PATH],
        "status": status,
        "duration_ms": round(duration_ms, 3),
    }
    if (cache := _cache_of(headers)) is not None:
        attributes["cache"] = cache
    if raised is not None:
        attributes["error_type"] = raised
    now = time_ns()
    record = LogRecord(
        timestamp=now,
        observed_timestamp=now,
        context=context,
        severity_number=severity,
        severity_text=text,
        body="request completed",
        attributes=attributes,
    )
    request_logger().emit(record)


def _cache_of(headers: Iterable[tuple[Any, Any]]) -> str | None:
    """What the answer says about the cache that it came from: the header `x-bext-cache` (hit, stale, miss) of the bext platform."""
    for name, value in headers:
        if len(name) == 12 and name.lower() in {"x-bext-cache", b"x-bext-cache"}:
            text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
            return text[:_MAX_CACHE]
    return None
