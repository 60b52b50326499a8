"""What a WSGI environ says of a request."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from typing import Any, TypeAlias

from bext_otel_instrumentors.http.bodies import counting_input
from bext_otel_instrumentors.http.exchange import Exchange, declared_length
from bext_otel_instrumentors.http.incoming import HTTP_VERSIONS, Interface, Said
from bext_otel_instrumentors.http.opening import RequestLine

__all__ = ["WSGI", "Environ", "path_of", "text_of"]

Environ: TypeAlias = MutableMapping[str, Any]


def _read(environ: Environ) -> Said:
    get = environ.get
    root, below = get("SCRIPT_NAME") or "", get("PATH_INFO") or ""
    if not (below.isascii() and root.isascii()):
        root, below = text_of(root), text_of(below)
    length = declared_length(length) if (length := get("CONTENT_LENGTH")) else None
    counting = length is None and "HTTP_TRANSFER_ENCODING" in environ
    carries: bool | str = "HTTP_TRACEPARENT" in environ or "HTTP_BAGGAGE" in environ
    if carries and "HTTP_TRACESTATE" not in environ and "HTTP_BAGGAGE" not in environ:
        carries = environ["HTTP_TRACEPARENT"]
    protocol, server, address = get("SERVER_PROTOCOL", ""), get("SERVER_NAME"), get("REMOTE_ADDR")
    line: RequestLine = (
        environ["REQUEST_METHOD"],
        get("wsgi.url_scheme", "http"),
        root + below,
        get("QUERY_STRING") or "",
        _VERSIONS.get(protocol) or _version(protocol),
        get("HTTP_HOST") or "",
        (server, get("SERVER_PORT")) if server else None,
        (address, get("REMOTE_PORT") or None) if address else None,
        get("HTTP_USER_AGENT") or "",
    )
    return line, root, length, counting, carries, get("HTTP_X_REQUEST_ID")


# What nearly all servers say.
_VERSIONS = {
    f"HTTP/{version}": HTTP_VERSIONS.get(version, version) for version in ("1.0", "1.1", "2.0", "3.0")
}


def _version(protocol: str) -> str:
    version = protocol.removeprefix("HTTP/")
    return HTTP_VERSIONS.get(version, version)


def path_of(environ: Environ) -> tuple[str, str]:
    """What the application is mounted under, and the whole path."""
    root = text_of(environ.get("SCRIPT_NAME") or "")
    return root, root + text_of(environ.get("PATH_INFO") or "")


def text_of(value: str) -> str:
    """Text of an environ's value, which holds the bytes of UTF-8 as Latin-1 (PEP 3333)."""
    return value if value.isascii() else value.encode("latin-1", "replace").decode("utf-8", "replace")


def _headers(environ: Environ) -> dict[str, str]:
    return {
        key[5:].replace("_", "-").lower(): value for key, value in environ.items() if key.startswith("HTTP_")
    }


def _carrier(environ: Environ) -> dict[str, list[str]]:
    # Servers join the values of a repeated header with commas, so a second traceparent makes the first one
    # malformed.
    return {name: [value] for name, value in _headers(environ).items()}


def _shown_headers(environ: Environ) -> Iterable[tuple[str, str]]:
    headers = _headers(environ)
    for key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(key):
            headers[key.replace("_", "-").lower()] = environ[key]
    return headers.items()


def _url(environ: Environ) -> str:
    host = environ.get("HTTP_HOST") or f"{environ.get('SERVER_NAME', '')}:{environ.get('SERVER_PORT', '')}"
    return f"{environ.get('wsgi.url_scheme', 'http')}://{host}{path_of(environ)[1]}"


def _peer(environ: Environ) -> str:
    """What werkzeug's `ProxyFix` has replaced by a header's word is kept beside it."""
    original = environ.get("werkzeug.proxy_fix.orig")
    known = original if isinstance(original, dict) and "REMOTE_ADDR" in original else environ
    return known.get("REMOTE_ADDR") or ""


def _opened(environ: Environ, exchange: Exchange) -> None:
    if exchange.counting:
        environ["wsgi.input"] = counting_input(environ["wsgi.input"], exchange)


WSGI = Interface(False, _read, _carrier, _shown_headers, _url, _peer, _opened)
