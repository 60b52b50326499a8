"""What a request of Sanic's own server says: what stands for it is `{"request": request}`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

from bext_otel_instrumentors.http.exchange import Exchange, declared_length
from bext_otel_instrumentors.http.incoming import Interface, Said

__all__ = ["SANIC", "path_of", "scope_of"]


def path_of(request: Any) -> str:
    """The path as applications see it under other servers; Sanic routes it as it was sent."""
    return unquote(request.path)


def scope_of(request: Any) -> dict[str, Any]:
    """A request as the endpoints, and functions that know routes, want it: as an ASGI scope."""
    return {
        "type": "websocket" if request.headers.get("upgrade", "").lower() == "websocket" else "http",
        "method": request.method,
        "path": path_of(request),
        "query_string": request.query_string.encode("latin-1", "replace"),
        "headers": [
            (name.lower().encode("latin-1", "replace"), value.encode("latin-1", "replace"))
            for name, value in request.headers.items()
        ],
        "client": _client(request),
        "scheme": request.scheme,
    }


def _read(surroundings: Any) -> Said:
    request = surroundings["request"]
    headers = request.headers
    length = declared_length(headers.get("content-length"))
    carries = "traceparent" in headers or "baggage" in headers
    line = (
        request.method,
        request.scheme,  # what Sanic believes of a proxy, as of `client_ip`
        path_of(request),
        request.query_string,
        request.version,
        headers.get("host", ""),
        _server(request.conn_info),
        _client(request),
        headers.get("user-agent", ""),
    )
    counting = length is None and "transfer-encoding" in headers
    return line, "", length, counting, carries, headers.get("x-request-id")


def _server(connection: Any) -> tuple[str, int | None] | None:
    name = getattr(connection, "sockname", None)
    return (name[0], name[1]) if isinstance(name, tuple) else None


def _client(request: Any) -> tuple[str, int] | None:
    address, port = _peer_address(request)
    client = request.client_ip
    return None if not client else (client, port if client == address else 0)


def _peer_address(request: Any) -> tuple[str, int]:
    name = getattr(request.conn_info, "peername", None)
    return (name[0], name[1]) if isinstance(name, tuple) else ("", 0)


def _carrier(surroundings: Any) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for name, value in surroundings["request"].headers.items():
        values.setdefault(name.lower(), []).append(value)
    return values


def _headers(surroundings: Any) -> Iterable[tuple[str, str]]:
    found: Iterable[tuple[str, str]] = surroundings["request"].headers.items()
    return found


def _url(surroundings: Any) -> str:
    request = surroundings["request"]
    return f"{request.scheme}://{request.headers.get('host', '')}{path_of(request)}"


def _peer(surroundings: Any) -> str:
    return _peer_address(surroundings["request"])[0]


def _opened(_: Any, __: Exchange) -> None:
    """Nothing hears of it."""


SANIC = Interface(True, _read, _carrier, _headers, _url, _peer, _opened)
