"""What OpenTelemetry's standard variables choose for HTTP servers: requests that are left out, headers that
spans show.

Read once, when a library is instrumented or a middleware is made. The names and meanings are those of
upstream's instrumentations.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from opentelemetry.util.http import (
    OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS,
    OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST,
    OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE,
    ExcludeList,
)

from bext_otel.redaction import is_secret

__all__ = ["NO_CHOICES", "CapturedHeaders", "Choices", "choices"]

_log = logging.getLogger("bext_otel")

_NO_PATTERN = "%s is no list of regular expressions (%s): treated as not set"
_REDACTED = "[REDACTED]"
# As of other headers that a span shows.
_MAX_HEADER = 512
_MAX_HEADERS = 64


class CapturedHeaders:
    """Headers that become span attributes: `http.request.header.<name>`, each with the list of its values.

    Values of headers that `hidden` names, and of those whose name says that they hold a secret, are
    `[REDACTED]`.
    """

    def __init__(self, kind: str, shown: re.Pattern[str], hidden: re.Pattern[str] | None) -> None:
        self._prefix = f"http.{kind}.header."
        self._shown = shown
        self._hidden = hidden

    def attributes(self, headers: Iterable[tuple[Any, Any]]) -> dict[str, list[str]]:
        """Span attributes; names and values may be bytes, as in ASGI."""
        found: dict[str, list[str]] = {}
        for raw_name, raw_value in headers:
            name = _text(raw_name).lower()
            if self._shown.fullmatch(name) and len(found) < _MAX_HEADERS:
                found.setdefault(self._prefix + name, []).append(self._value(name, raw_value))
        return found

    def _value(self, name: str, value: Any) -> str:
        if is_secret(name) or (self._hidden is not None and self._hidden.search(name)):
            return _REDACTED
        return _text(value)[:_MAX_HEADER]


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


class Choices(NamedTuple):
    """`excluded` says of a URL (scheme, host and path) whether its request is left out; None: none is. None
    captures no headers."""

    excluded: Callable[[str], bool] | None = None
    request: CapturedHeaders | None = None
    response: CapturedHeaders | None = None


NO_CHOICES = Choices()


def choices(library: str) -> Choices:
    """What the environment says now about the servers of a library, by upstream's name for it: `flask`,
    `asgi`.

    `OTEL_PYTHON_<LIBRARY>_EXCLUDED_URLS`, or `OTEL_PYTHON_EXCLUDED_URLS` without it. What is no regular
    expression is one line, and counts as not set.
    """
    return Choices(
        _excluded(library.upper()),
        _captured("request", OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST),
        _captured("response", OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE),
    )


def _excluded(library: str) -> Callable[[str], bool] | None:
    own = f"OTEL_PYTHON_{library}_EXCLUDED_URLS"
    variable = own if own in os.environ else "OTEL_PYTHON_EXCLUDED_URLS"
    words = _words(variable)
    try:
        return ExcludeList(words).url_disabled if words else None
    except re.error as error:
        _log.warning(_NO_PATTERN, variable, error)
        return None


def _words(variable: str) -> list[str]:
    """What stands between commas. An empty word is none: as a pattern it would be found in anything."""
    return [word for part in os.environ.get(variable, "").split(",") if (word := part.strip())]


def _captured(kind: str, variable: str) -> CapturedHeaders | None:
    shown = _pattern(variable)
    return (
        None
        if shown is None
        else CapturedHeaders(kind, shown, _pattern(OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS))
    )


def _pattern(variable: str) -> re.Pattern[str] | None:
    words = _words(variable)
    if not words:
        return None
    try:
        return re.compile("|".join(words), re.IGNORECASE)
    except re.error as error:
        _log.warning(_NO_PATTERN, variable, error)
        return None
