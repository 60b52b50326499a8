"""What a collector answers to OTLP over HTTP: what it rejected of a request that it took, and what it says of
one that it did not take."""

from __future__ import annotations

from typing import Any

import msgspec

from bext_otel.export.protobuf_reader import fields, first

__all__ = ["rejected", "said"]

_NONE = (0, "")
_MAX_SAID = 200


def rejected(content: bytes, content_type: str) -> tuple[int, str]:
    """How many items of a request were rejected (OTLP's partial success), and what is said of it. (0, "")
    for an answer that rejects none, or cannot be read."""
    try:
        if "json" in content_type:
            return _of_json(msgspec.json.decode(content)) if content else _NONE
        partial = first(content, 1, b"")
        count = first(partial, 1, 0)
        return (_signed(count), _text(first(partial, 2, b""))) if count else _NONE
    except (msgspec.DecodeError, TypeError, ValueError):
        return _NONE


def _of_json(answer: Any) -> tuple[int, str]:
    partial = _either(answer, "partialSuccess", "partial_success")
    if not isinstance(partial, dict):
        return _NONE
    counts = [value for name, value in partial.items() if name.startswith("rejected")]
    message = _either(partial, "errorMessage", "error_message")
    return (int(counts[0]), str(message or "")) if counts else _NONE


def _either(answer: Any, name: str, other: str) -> Any:
    if not isinstance(answer, dict):
        raise ValueError("the answer is no object")
    return answer.get(name, answer.get(other))


def said(content: bytes, content_type: str) -> str:
    """The message of a `Status`, which a collector that refuses a request may explain itself by; empty where
    there is none."""
    try:
        if "json" in content_type:
            answer = msgspec.json.decode(content) if content else {}
            message = answer.get("message", "") if isinstance(answer, dict) else ""
            return message[:_MAX_SAID] if isinstance(message, str) else ""
        if "protobuf" not in content_type:  # a proxy's page
            return ""
        return next((_text(value) for number, value in fields(content) if number == 2), "")[:_MAX_SAID]
    except (msgspec.DecodeError, ValueError):
        return ""


def _signed(number: Any) -> int:
    """An int64, of which fields have the bits alone."""
    if not isinstance(number, int):
        raise ValueError("bytes where a number was expected")
    return number - (1 << 64) if number >= 1 << 63 else number


def _text(value: Any) -> str:
    if not isinstance(value, bytes):
        raise ValueError("a number where text was expected")
    return value.decode(errors="replace")
