"""What a page may ask for: addresses and parameters, and the documents that answer them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bext_otel.errors import BextOtelError
from bext_otel.viewer import documents
from bext_otel.viewer.logs import LEVELS
from bext_otel.viewer.store import Store

__all__ = ["WrongQuestionError", "document"]


class WrongQuestionError(BextOtelError):
    """A parameter that no document has; the message says what would be right."""


def document(store: Store, path: str, query: Mapping[str, str]) -> dict[str, Any] | None:  # noqa: PLR0911 - a table of addresses
    """The document at an address of the API, None where there is none; the caller holds `store.reading()`.

    Raises `WrongQuestionError`.
    """
    limit = _number(query, "limit", 200, 1, 1000)
    if path == "/api/summary":
        return documents.summary(store)
    if path == "/api/traces":
        min_ms = _number(query, "min_ms", 0, 0, 1e9)
        errors = query.get("errors", "") in {"1", "true"}
        return documents.traces(
            store,
            text=query.get("q", ""),
            app=query.get("app", ""),
            errors=errors,
            min_ms=min_ms,
            limit=int(limit),
        )
    if path.startswith("/api/traces/"):
        return documents.trace(store, path.removeprefix("/api/traces/").lower())
    if path == "/api/logs":
        severity = _severity(query.get("level", ""))
        text, trace_id, app = (query.get(name, "") for name in ("q", "trace", "app"))
        return documents.log_lines(
            store, severity=severity, text=text, trace_id=trace_id.lower(), app=app, limit=int(limit)
        )
    if path == "/api/metrics":
        return documents.metrics(store)
    if path.startswith("/api/metrics/"):
        return documents.metric(
            store, path.removeprefix("/api/metrics/"), limit=int(_number(query, "series", 8, 1, 100))
        )
    return None


def _number(query: Mapping[str, str], name: str, default: float, low: float, high: float) -> float:
    raw = query.get(name, "")
    if not raw:
        return default
    try:
        value = float(raw)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise WrongQuestionError(f"{name} = {raw[:50]!r}: expected a number from {low:g} to {high:g}")
    return value


def _severity(level: str) -> int:
    if not level:
        return 0
    if level not in LEVELS:
        raise WrongQuestionError(f"level = {level[:50]!r}: expected one of {', '.join(LEVELS)}")
    return LEVELS.index(level) * 4 + 1
