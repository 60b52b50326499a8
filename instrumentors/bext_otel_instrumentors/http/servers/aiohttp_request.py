"""What a request of aiohttp's server says."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Mapping
from typing import Any

from bext_otel_instrumentors.http.exchange import Exchange, declared_length
from bext_otel_instrumentors.http.incoming import Interface, Said

__all__ = ["AIOHTTP", "is_websocket", "route_of", "scope_of"]

_NOT_ALLOWED = 405


def is_websocket(request: Any) -> bool:
    """Whether a client asks for a websocket."""
    asked: str = request.headers.get("Upgrade", "")
    return asked.lower() == "websocket"


def route_of(request: Any) -> str | None:
    """The template of the resource that matched, with what sub-applications are mounted under; files below a
    folder are one route."""
    match = getattr(request, "_match_info", None)  # a request of a server without an application has none
    if match is None:
        return None
    resource = getattr(match.route, "resource", None) or _of_another_method(request, match)
    if resource is None:
        return None
    canonical: str = resource.canonical
    return (
        f"{canonical}/{{filename}}" if hasattr(resource, "get_info") and _is_folder(resource) else canonical
    )


def _of_another_method(request: Any, match: Any) -> Any:
    """The resource of a request that it has no route for by its method; None where there is none."""
    if getattr(match.http_exception, "status", 0) != _NOT_ALLOWED:
        return None
    for resource in match.apps[-1].router.resources():
        found, allowed = _at_once(resource.resolve(request))
        if found is None and allowed:
            return resource
    return None


def _at_once(resolving: Coroutine[Any, Any, tuple[Any, Any]]) -> tuple[Any, Any]:
    """What a coroutine that need not wait for anything returns; nothing, if it has to."""
    try:
        resolving.send(None)
    except StopIteration as done:
        found: tuple[Any, Any] = done.value
        return found
    resolving.close()
    return None, None


def _is_folder(resource: Any) -> bool:
    return "directory" in resource.get_info()


def scope_of(request: Any) -> dict[str, Any]:
    """A request as the endpoints, and functions that know routes, want it: as an ASGI scope."""
    return {
        "type": "websocket" if is_websocket(request) else "http",
        "method": request.method,
        "path": request.path,
        "query_string": request.rel_url.raw_query_string.encode(),
        "headers": [(name.lower(), value) for name, value in request.raw_headers],
        "client": (request.remote, 0) if request.remote else None,
        "scheme": request.scheme,
    }


def _read(request: Any) -> Said:
    headers = request.headers
    length = declared_length(headers.get("Content-Length"))
    carries = "traceparent" in headers or "baggage" in headers
    version = request.version
    secure = request.scheme == "https"
    scheme = request.scheme if not is_websocket(request) else "wss" if secure else "ws"
    line = (
        request.method,
        scheme,
        request.path,
        request.rel_url.raw_query_string,
        f"{version.major}.{version.minor}",
        headers.get("Host", ""),
        _address(request.get_extra_info("sockname")),
        _client(request),
        headers.get("User-Agent", ""),
    )
    counting = length is None and "Transfer-Encoding" in headers
    return line, "", length, counting, carries, headers.get("X-Request-Id")


def _address(name: Any) -> tuple[str, int] | None:
    """Host and port of a socket of the internet; None for another one."""
    return (name[0], name[1]) if isinstance(name, tuple) else None


def _client(request: Any) -> tuple[str, int] | None:
    """Who a clone of the request says that it is from, as middlewares make them behind proxies; else the
    socket's peer."""
    peer = _address(request.get_extra_info("peername"))
    remote = request.remote
    return peer if peer is not None and remote == peer[0] else (remote, 0) if remote else None


def _carrier(request: Any) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for name, value in request.headers.items():
        values.setdefault(name.lower(), []).append(value)
    return values


def _headers(request: Any) -> Iterable[tuple[str, str]]:
    headers: Mapping[str, str] = request.headers
    return headers.items()


def _url(request: Any) -> str:
    return f"{request.scheme}://{request.host}{request.path}"


def _peer(request: Any) -> str:
    peer = _address(request.get_extra_info("peername"))
    return "" if peer is None else str(peer[0])


def _opened(_: Any, __: Exchange) -> None:
    """Nothing hears of it."""


AIOHTTP = Interface(True, _read, _carrier, _headers, _url, _peer, _opened)
