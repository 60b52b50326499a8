"""WSGI applications: one server span, the request metrics and a completion record for each request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableMapping
from http import HTTPStatus
from typing import Any, TypeAlias

from opentelemetry.context import attach, detach, get_current

from bext_otel.operation import settings, tell_request
from bext_otel_instrumentors._body import Body, ListBody, counting_input
from bext_otel_instrumentors._choices import NO_CHOICES, Choices, choices
from bext_otel_instrumentors._exchange import BODILESS, KEY, Exchange, declared_length
from bext_otel_instrumentors._guard import report
from bext_otel_instrumentors._headers import extract, is_w3c_only
from bext_otel_instrumentors._opening import current, open_exchange
from bext_otel_instrumentors._responding import response_headers
from bext_otel_instrumentors._serving import Hosting, Mount, Reply

__all__ = ["WSGIApp", "WSGIMiddleware", "leaves_out", "serve", "text_of"]

Environ: TypeAlias = MutableMapping[str, Any]
StartResponse: TypeAlias = Callable[..., Any]
WSGIApp: TypeAlias = Callable[[Environ, StartResponse], Iterable[bytes]]


class WSGIMiddleware:
    """Instruments one WSGI application by hand: `app = WSGIMiddleware(app)`. Put it outside of everything else.

    `mount` answers requests for endpoints before the application, `on_serving` hears that the process serves: see `Hosting`.
    """

    def __init__(self, app: WSGIApp, *, mount: Mount | None = None, on_serving: Callable[[], None] | None = None) -> None:
        self.app = app
        self._hosting = Hosting(mount, on_serving)
        self._hosting.made()
        self._chosen = choices("wsgi")

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        return serve(self.app, environ, start_response, self._hosting, self._chosen)


def serve(
    app: WSGIApp, environ: Environ, start_response: StartResponse, hosting: Hosting, chosen: Choices = NO_CHOICES, *, upstream: bool = False
) -> Iterable[bytes]:
    """Call `app`, measured; untouched where the request is being measured further outside.

    `chosen` says which requests are left out, also by whoever is further inside. `upstream` says that upstream's instrumentation is inside
    of `app`: its span is then a child of ours.
    """
    if KEY in environ or _inside_asgi(environ):
        return app(environ, start_response)
    if hosting.waiting:
        hosting.first()
    if hosting.mount is not None and (reply := _answer(environ, hosting)) is not None:
        tell_request(told=settings().log_requests)
        return _send_reply(reply, environ, start_response)
    exchange = None if leaves_out(chosen, environ) else _open(environ, upstream, chosen)
    if exchange is None:
        return app(environ, start_response)
    root = exchange.mounted

    def finish(error: BaseException | None = None) -> None:
        if exchange.method == "HEAD" or exchange.status in BODILESS:
            exchange.response_bytes = 0
        route = None if exchange.matched is None else f"{root}{exchange.mounts}{exchange.matched}"
        if not exchange.owned:
            exchange.annotate(route)
        exchange.finish(route, error)

    token = attach(exchange.context)
    try:
        exchange.begin()
        chunks = app(environ, _observed(start_response, environ, exchange))
    except BaseException as error:
        finish(error)
        raise
    finally:
        detach(token)
    return _watched(chunks, environ, exchange, finish)


def leaves_out(chosen: Choices, environ: Environ) -> bool:
    """Whether this request is excluded; its environ then says so. Never raises."""
    if chosen.excluded is None:
        return False
    try:
        host = environ.get("HTTP_HOST") or f"{environ.get('SERVER_NAME', '')}:{environ.get('SERVER_PORT', '')}"
        if not chosen.excluded(f"{environ.get('wsgi.url_scheme', 'http')}://{host}{_path(environ)[1]}"):
            return False
    except Exception as error:
        report("an excluded URL", error)
        return False
    environ[KEY] = None
    tell_request(told=False)
    return True


def _watched(
    chunks: Iterable[bytes], environ: Environ, exchange: Exchange, finish: Callable[[BaseException | None], None]
) -> Iterable[bytes]:
    if type(chunks) is list or type(chunks) is tuple:
        return ListBody(chunks, exchange, finish)
    wrapper = environ.get("wsgi.file_wrapper")
    if isinstance(wrapper, type) and isinstance(chunks, wrapper):
        # The server hands such a file to the kernel, if it gets to see it: what is left for us is what was declared.
        exchange.response_bytes = next((declared_length(v) or 0 for k, v in exchange.headers if k.lower() == "content-length"), 0)
        finish(None)
        return chunks
    return Body(chunks, exchange, finish)


def _observed(start_response: StartResponse, environ: Environ, exchange: Exchange) -> StartResponse:
    def observing(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
        try:
            if not exchange.routed and "werkzeug.request" in environ:
                _guess_route(environ, exchange)
            if added := response_headers(exchange):
                headers = [*headers, *added]
            exchange.begin_answer(int(status[:3]), headers)
        except Exception as error:
            report("an answer", error)
        write = start_response(status, headers, *exc_info)

        def counting_write(chunk: bytes) -> Any:
            exchange.response_bytes += len(chunk)
            return write(chunk)

        return counting_write

    return observing


def _guess_route(environ: Environ, exchange: Exchange) -> None:
    """The route of a Flask application that is not instrumented: its request holds the rule that matched, while it is worked on."""
    rule = getattr(environ["werkzeug.request"], "url_rule", None)
    if rule is not None:
        exchange.match_below(text_of(environ.get("SCRIPT_NAME") or ""), str(rule.rule))


def _inside_asgi(environ: Environ) -> bool:
    """Whether an ASGI application that is being measured runs this one.

    a2wsgi shows its scope. Starlette's and asgiref's adapters hand on the context: there, it is the same request if it has the same path.
    """
    scope = environ.get("asgi.scope")
    if scope is not None:
        if KEY not in scope:
            return False
        found = scope[KEY]
    elif (found := current()) is None or found.finished or not found.asgi or found.path != _path(environ)[1]:
        return False
    environ[KEY] = found
    return True


def text_of(value: str) -> str:
    """Text of an environ's value, which holds the bytes of UTF-8 as Latin-1 (PEP 3333)."""
    return value if value.isascii() else value.encode("latin-1", "replace").decode("utf-8", "replace")


def _path(environ: Environ) -> tuple[str, str]:
    """What the application is mounted under, and the whole path."""
    root = text_of(environ.get("SCRIPT_NAME") or "")
    return root, root + text_of(environ.get("PATH_INFO") or "")


def _open(environ: Environ, upstream: bool, chosen: Choices) -> Exchange | None:
    """Begin the exchange of this environ; None where that failed, and the application is to be called as if we were not there."""
    try:
        get = environ.get
        context = get_current()
        if "HTTP_TRACEPARENT" in environ or "HTTP_BAGGAGE" in environ or not is_w3c_only():
            # Servers join the values of a repeated header with commas, so a second traceparent makes the first one malformed.
            context = extract({k[5:].replace("_", "-").lower(): [v] for k, v in environ.items() if k.startswith("HTTP_")}, context)
        root, path = _path(environ)
        version = get("SERVER_PROTOCOL", "").removeprefix("HTTP/")
        server, port, address = get("SERVER_NAME"), get("SERVER_PORT"), get("REMOTE_ADDR")
        exchange = open_exchange(
            environ["REQUEST_METHOD"],
            get("wsgi.url_scheme", "http"),
            path,
            get("QUERY_STRING") or "",
            _VERSIONS.get(version, version),
            get("HTTP_HOST") or "",
            (server, declared_length(str(port))) if server else None,
            (address, declared_length(str(get("REMOTE_PORT") or "")) or 0) if address else None,
            get("HTTP_USER_AGENT") or "",
            context,
        )
        exchange.upstream = upstream
        exchange.mounted = root
        exchange.captured = chosen.response
        if chosen.request is not None:
            exchange.show_headers(chosen.request, _header_values(environ).items())
        length = declared_length(get("CONTENT_LENGTH"))
        if length is not None:
            exchange.request_bytes = length
        elif "HTTP_TRANSFER_ENCODING" in environ:
            environ["wsgi.input"] = counting_input(environ["wsgi.input"], exchange)
        environ[KEY] = exchange
    except Exception as error:
        report("the start of a request", error)
        return None
    return exchange


_VERSIONS = {"1": "1.0", "2.0": "2", "3.0": "3"}


def _answer(environ: Environ, hosting: Hosting) -> Reply | None:
    path = text_of(environ.get("PATH_INFO") or "")
    if not hosting.may_answer(path):
        return None
    return hosting.answer(environ["REQUEST_METHOD"], path, environ.get("QUERY_STRING") or "", lambda: _header_values(environ))


def _header_values(environ: Environ) -> dict[str, str]:
    headers = {key[5:].replace("_", "-").lower(): value for key, value in environ.items() if key.startswith("HTTP_")}
    for key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(key):
            headers[key.replace("_", "-").lower()] = environ[key]
    return headers


def _send_reply(reply: Reply, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    headers = [("Content-Type", reply.content_type), *reply.headers]
    if not any(name.lower() == "content-length" for name, _ in headers):
        headers.append(("Content-Length", str(len(reply.body))))
    start_response(f"{reply.status} {HTTPStatus(reply.status).phrase}", headers)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [reply.body]
