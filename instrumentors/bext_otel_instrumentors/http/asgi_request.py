"""What an ASGI scope says of a request, from which its exchange is made."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, TypeAlias

from opentelemetry.context import Context, get_current
from opentelemetry.instrumentation.utils import is_http_instrumentation_enabled

from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors.http.environment import Choices
from bext_otel_instrumentors.http.exchange import Exchange, current, declared_length
from bext_otel_instrumentors.http.inner_telemetry import quieten
from bext_otel_instrumentors.http.opening import Opening, open_request
from bext_otel_instrumentors.http.propagation import extract, is_w3c_only
from bext_otel_instrumentors.http.routed import Asked

__all__ = ["exchange_for", "url_of"]

Scope: TypeAlias = MutableMapping[str, Any]
Pairs: TypeAlias = Sequence[tuple[bytes, bytes]]

_NOTHING = Context()
_VERSIONS: Mapping[str, str] = {"1": "1.0", "2.0": "2", "3.0": "3"}
_HTTP_1 = frozenset({"1.0", "1.1", "1"})


def exchange_for(scope: Scope, chosen: Choices, *, upstream: bool, asked: Asked | None) -> Exchange | None:
    """The exchange of this scope; None where that failed or is not wanted, and the application is to be
    called as if we were not there.

    `upstream` says that upstream's instrumentation is inside, `asked` knows the route if nobody tells.
    """
    try:
        pairs = _header_pairs(scope)
        headers = dict(pairs)
        context = get_current()
        if context:
            if not is_http_instrumentation_enabled():
                return None
            context = _context_for_new(context)
        if b"traceparent" in headers or b"baggage" in headers or not is_w3c_only():
            context = extract(_all_values(pairs), context)
        length = declared_length(headers.get(b"content-length"))
        exchange = Exchange(
            _opening(scope, headers, context),
            scope,
            asgi=True,
            upstream=upstream,
            mounted=scope.get("root_path") or "",
            captured=chosen.response,
            length=length,
            # Without a declared length a message of HTTP/1 has no body, unless its coding says so (RFC 9112,
            # section 6.3).
            counting=length is None
            and (b"transfer-encoding" in headers or scope.get("http_version", "") not in _HTTP_1),
            asked=asked,
        )
        if chosen.request is not None:
            exchange.show_headers(chosen.request, pairs)
        quieten(scope)
    except Exception as error:
        report("the start of a request", error)
        return None
    return exchange


def url_of(scope: Scope) -> str:
    """The URL of a request, without its query."""
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), None)
    if host is None:
        server = scope.get("server")
        host = f"{server[0]}:{server[1]}" if server else ""
    return f"{scope.get('scheme', 'http')}://{host}{scope['path']}"


def _header_pairs(scope: Scope) -> Pairs:
    pairs = scope["headers"]
    if not isinstance(pairs, list | tuple):
        # Any iterable is allowed, and the application is to find it as it was.
        pairs = scope["headers"] = list(pairs)
    found: Pairs = pairs
    return found


def _context_for_new(context: Context) -> Context:
    """The context that a request comes in with."""
    around = current(context)
    # A server that reads the next request of a connection inside the task of the last one hands on that one's
    # context.
    return _NOTHING if around is not None and around.ended_ns else context


def _opening(scope: Scope, headers: Mapping[bytes, bytes], context: Context) -> Opening:
    host, agent, query = headers.get(b"host"), headers.get(b"user-agent"), scope.get("query_string")
    version = scope.get("http_version", "")
    return open_request(
        scope.get("method", "GET"),
        scope.get("scheme") or ("http" if scope["type"] == "http" else "ws"),
        scope["path"],
        query.decode("latin-1") if query else "",
        _VERSIONS.get(version, version),
        host.decode("latin-1") if host else "",
        scope.get("server"),
        scope.get("client"),
        agent.decode("latin-1") if agent else "",
        context,
    )


def _all_values(pairs: Pairs) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return values
