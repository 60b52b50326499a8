"""What an ASGI scope says of a request."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any, TypeAlias

from bext_otel_instrumentors.http.exchange import declared_length
from bext_otel_instrumentors.http.incoming import HTTP_VERSIONS, Interface, Said
from bext_otel_instrumentors.http.inner_telemetry import quieten
from bext_otel_instrumentors.http.opening import RequestLine

__all__ = ["ASGI", "Scope"]

Scope: TypeAlias = MutableMapping[str, Any]
Pairs: TypeAlias = Sequence[tuple[bytes, bytes]]

_HTTP_1 = frozenset({"1.0", "1.1", "1"})


def _read(scope: Scope) -> Said:
    get, pairs = scope.get, scope["headers"]
    if type(pairs) is not list:
        pairs = _header_pairs(scope)
    headers, version = dict(pairs), get("http_version", "")
    length = declared_length(headers[b"content-length"]) if b"content-length" in headers else None
    # Without a declared length a message of HTTP/1 has no body, unless its coding says so (RFC 9112, section
    # 6.3).
    counting = length is None and (b"transfer-encoding" in headers or version not in _HTTP_1)
    carries: bool | str = b"traceparent" in headers or b"baggage" in headers
    # With as many names as headers, none is there twice.
    if carries and len(headers) == len(pairs) and b"tracestate" not in headers and b"baggage" not in headers:
        carries = headers[b"traceparent"].decode("latin-1")
    host, agent, query = headers.get(b"host"), headers.get(b"user-agent"), get("query_string")
    line: RequestLine = (
        get("method", "GET"),
        get("scheme") or ("http" if scope["type"] == "http" else "ws"),
        scope["path"],
        query.decode("latin-1") if query else "",
        HTTP_VERSIONS.get(version, version),
        host.decode("latin-1") if host else "",
        get("server"),
        get("client"),
        agent.decode("latin-1") if agent else "",
    )
    return line, get("root_path") or "", length, counting, carries, headers.get(b"x-request-id")


def _header_pairs(scope: Scope) -> Pairs:
    pairs = scope["headers"]
    if not isinstance(pairs, list | tuple):
        # Any iterable is allowed, and the application is to find it as it was.
        pairs = scope["headers"] = list(pairs)
    found: Pairs = pairs
    return found


def _carrier(scope: Scope) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        values.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return values


def _url(scope: Scope) -> str:
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), None)
    if host is None:
        server = scope.get("server")
        host = f"{server[0]}:{server[1]}" if server else ""
    return f"{scope.get('scheme', 'http')}://{host}{scope['path']}"


def _peer(scope: Scope) -> str:
    """No connection comes from port 0: servers put it beside an address that a header says."""
    client = scope.get("client")
    return str(client[0]) if client and client[0] and client[1] else ""


ASGI = Interface(True, _read, _carrier, _header_pairs, _url, _peer, quieten)
