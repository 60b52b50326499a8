"""What a WSGI environ says of a request, from which its exchange is made."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any, TypeAlias

from opentelemetry.context import Context, get_current
from opentelemetry.instrumentation.utils import is_http_instrumentation_enabled

from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors.http.bodies import counting_input
from bext_otel_instrumentors.http.environment import Choices
from bext_otel_instrumentors.http.exchange import Exchange, declared_length
from bext_otel_instrumentors.http.opening import Opening, open_request
from bext_otel_instrumentors.http.propagation import extract, is_w3c_only
from bext_otel_instrumentors.http.routed import Asked

__all__ = ["Environ", "exchange_for", "path_of", "text_of", "url_of"]

Environ: TypeAlias = MutableMapping[str, Any]

_VERSIONS: Mapping[str, str] = {"1": "1.0", "2.0": "2", "3.0": "3"}


def exchange_for(
    environ: Environ, chosen: Choices, *, upstream: bool, asked: Asked | None
) -> Exchange | None:
    """The exchange of this environ; None where that failed or is not wanted, and the application is to be
    called as if we were not there.

    `upstream` says that upstream's instrumentation is inside, `asked` knows the route if nobody tells.
    """
    try:
        context = get_current()
        if context and not is_http_instrumentation_enabled():
            return None
        if "HTTP_TRACEPARENT" in environ or "HTTP_BAGGAGE" in environ or not is_w3c_only():
            # Servers join the values of a repeated header with commas, so a second traceparent makes the
            # first one malformed.
            context = extract({name: [value] for name, value in _headers(environ).items()}, context)
        root, path = path_of(environ)
        length = declared_length(environ.get("CONTENT_LENGTH"))
        exchange = Exchange(
            _opening(environ, path, context),
            environ,
            asgi=False,
            upstream=upstream,
            mounted=root,
            captured=chosen.response,
            length=length,
            counting=length is None and "HTTP_TRANSFER_ENCODING" in environ,
            asked=asked,
        )
        if chosen.request is not None:
            exchange.show_headers(chosen.request, _shown_headers(environ).items())
        if exchange.counting:
            environ["wsgi.input"] = counting_input(environ["wsgi.input"], exchange)
    except Exception as error:
        report("the start of a request", error)
        return None
    return exchange


def url_of(environ: Environ) -> str:
    """The URL of a request, without its query."""
    host = environ.get("HTTP_HOST") or f"{environ.get('SERVER_NAME', '')}:{environ.get('SERVER_PORT', '')}"
    return f"{environ.get('wsgi.url_scheme', 'http')}://{host}{path_of(environ)[1]}"


def path_of(environ: Environ) -> tuple[str, str]:
    """What the application is mounted under, and the whole path."""
    root = text_of(environ.get("SCRIPT_NAME") or "")
    return root, root + text_of(environ.get("PATH_INFO") or "")


def text_of(value: str) -> str:
    """Text of an environ's value, which holds the bytes of UTF-8 as Latin-1 (PEP 3333)."""
    return value if value.isascii() else value.encode("latin-1", "replace").decode("utf-8", "replace")


def _opening(environ: Environ, path: str, context: Context) -> Opening:
    get = environ.get
    version = get("SERVER_PROTOCOL", "").removeprefix("HTTP/")
    server, address = get("SERVER_NAME"), get("REMOTE_ADDR")
    return open_request(
        environ["REQUEST_METHOD"],
        get("wsgi.url_scheme", "http"),
        path,
        get("QUERY_STRING") or "",
        _VERSIONS.get(version, version),
        get("HTTP_HOST") or "",
        (server, declared_length(str(get("SERVER_PORT")))) if server else None,
        (address, declared_length(str(get("REMOTE_PORT") or "")) or 0) if address else None,
        get("HTTP_USER_AGENT") or "",
        context,
    )


def _headers(environ: Environ) -> dict[str, str]:
    return {
        key[5:].replace("_", "-").lower(): value for key, value in environ.items() if key.startswith("HTTP_")
    }


def _shown_headers(environ: Environ) -> dict[str, str]:
    headers = _headers(environ)
    for key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(key):
            headers[key.replace("_", "-").lower()] = environ[key]
    return headers
