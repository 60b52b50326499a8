"""The completion record of a request: one OpenTelemetry log record, in the request's context."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from time import time_ns
from typing import Any

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.semconv.attributes import exception_attributes

from bext_otel.operation import request_logger

__all__ = ["emit_completion"]

_MAX_PATH = 1024
_MAX_CACHE = 32
_MAX_STACKTRACE = 32_768


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
    unhandled: BaseException | None = None,
) -> None:
    """Tell that a request is completed: at error if it `failed`, at warn if it took longer than `slow_request_ms`, else at info.

    `headers` are the answer's, `raised` is the class of the exception that ended it, if any. The path is cut after 1 kB. `unhandled` is
    that exception if it left the application: a server tells of it too, but no longer knows which request it was.
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
    if unhandled is not None:
        attributes.update(_exception(unhandled))
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


def _exception(error: BaseException) -> dict[str, str]:
    """The exception attributes of OpenTelemetry's semantic conventions; a long stack trace keeps its end, which names the cause."""
    kind = type(error)
    try:
        message = str(error)
        stacktrace = "".join(traceback.format_exception(error))
    except Exception:  # a broken __str__ is the application's business
        message, stacktrace = "", "".join(traceback.format_tb(error.__traceback__))
    return {
        exception_attributes.EXCEPTION_TYPE: kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}",
        exception_attributes.EXCEPTION_MESSAGE: message[:_MAX_STACKTRACE],
        exception_attributes.EXCEPTION_STACKTRACE: stacktrace[-_MAX_STACKTRACE:],
    }


def _cache_of(headers: Iterable[tuple[Any, Any]]) -> str | None:
    """What the answer says about the cache that it came from: the header `x-bext-cache` (hit, stale, miss) of the bext platform."""
    for name, value in headers:
        if len(name) == 12 and name.lower() in {"x-bext-cache", b"x-bext-cache"}:
            text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
            return text[:_MAX_CACHE]
    return None
