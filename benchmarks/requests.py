"""What a request costs above a bare application: ours beside upstream's default instrumentation, and beside a
package that counts requests and nothing else, on ASGI (Starlette) and on Flask.

`python -m benchmarks.requests`. No socket: the application is called as its server would call it. Both sides
make requests of OTLP of their spans, which are dropped, and hold metrics for a Prometheus scrape.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from benchmarks import sides
from benchmarks.interleaved import compare, contestant_loop, ratio

Work = Callable[[int], object]

_BARE, _LINES, _NOT_SAMPLED = "bare", "bext with completion lines", "bext, not sampled"
# What is handed on by its server, having nothing around it, is the same as "bext".
_IN_SERVER = "bext in its server"
_OURS = ("bext", _LINES, _NOT_SAMPLED, _IN_SERVER)
_COUNTED = "counting only"

_HEADERS = [
    (b"host", b"shop.example:8000"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    (b"accept-language", b"en-US,en;q=0.5"),
    (b"accept-encoding", b"gzip, deflate, br"),
    (b"connection", b"keep-alive"),
]


def http_scope() -> dict[str, Any]:
    """A request of a browser's, as uvicorn hands it over."""
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/products/chair",
        "raw_path": b"/products/chair",
        "query_string": b"",
        "root_path": "",
        "headers": _HEADERS,
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 51234),
    }


def _asgi_work(app: Any) -> Work:
    scope = http_scope()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        pass

    async def run(times: int) -> None:
        for _ in range(times):
            await app({**scope, "state": {}}, receive, send)

    loop = asyncio.new_event_loop()
    return lambda times: loop.run_until_complete(run(times))


def _wsgi_work(app: Any) -> Work:
    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/products/chair",
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **{f"HTTP_{name.decode().upper().replace('-', '_')}": value.decode() for name, value in _HEADERS},
    }

    def start_response(
        status: str, headers: Sequence[tuple[str, str]], exc_info: object = None
    ) -> Callable[[bytes], object]:
        return lambda _: None

    def run(times: int) -> None:
        for _ in range(times):
            answer: Iterable[bytes] = app({**environ, "wsgi.input": io.BytesIO()}, start_response)
            for _part in answer:
                pass
            close = getattr(answer, "close", None)
            if close is not None:
                close()

    return run


def starlette() -> Any:
    """An application with one route."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def product(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"a {request.path_params['slug']}")

    return Starlette(routes=[Route("/products/{slug}", product)])


def _flask() -> Any:
    from flask import Flask

    app = Flask("shop")

    @app.get("/products/<slug>")
    def product(slug: str) -> str:
        return f"a {slug}"

    return app


def instrument(framework: str) -> None:
    """Instrument what `asgi` or `flask` stands for, by ours."""
    if framework == "asgi":
        from bext_otel_instrumentors.http.starlette import StarletteInstrumentor as Instrumentor
    else:
        from bext_otel_instrumentors.http.flask import FlaskInstrumentor as Instrumentor  # type: ignore[assignment]  # one of the two
    Instrumentor().instrument()


def _in_server(framework: str, app: Any) -> Any:
    """`app` behind a middleware that nobody knows, as an instrumented server calls it."""
    from bext_otel_instrumentors.http.hosting import Hosting
    from bext_otel_instrumentors.http.servers.served import Served

    served = Served(Hosting())
    if framework == "asgi":

        async def around(scope: Any, receive: Any, send: Any) -> None:
            await app(scope, receive, send)

        return served.asgi(around)

    def around_wsgi(environ: Any, start_response: Any) -> Any:
        return app(environ, start_response)

    return served.wsgi(around_wsgi)


def upstream(framework: str, app: Any) -> Any:
    """`app`, instrumented by upstream."""
    if framework == "asgi":
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

        return OpenTelemetryMiddleware(app)
    from opentelemetry.instrumentation.flask import FlaskInstrumentor as UpstreamFlask

    UpstreamFlask().instrument_app(app)
    return app


def contestant(name: str) -> Work:
    """What `asgi` or `flask`, a space and a side does for a request."""
    framework, side = name.split(" ", 1)
    if side.startswith("bext"):
        sides.ours(lines=side == _LINES, sampled=side != _NOT_SAMPLED)
        instrument(framework)
    elif side == "upstream":
        sides.upstream()
    app = starlette() if framework == "asgi" else _flask()
    if side == "upstream":
        app = upstream(framework, app)
    elif side == _COUNTED:
        app = sides.counted(framework, app)
    elif side == _IN_SERVER:
        app = _in_server(framework, app)
    return _asgi_work(app) if framework == "asgi" else _wsgi_work(app)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=2000, help="requests a round")
    parser.add_argument("--framework", choices=["asgi", "flask"], help="only this one")
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contestant:
        contestant_loop(contestant(arguments.contestant))
        return
    for framework in ("asgi", "flask"):
        if arguments.framework not in {None, framework}:
            continue
        peer = sides.peer_of(framework)
        shown = [_BARE, *_OURS, "upstream", *([_COUNTED] if peer else [])]
        names = [f"{framework} {side}" for side in shown]
        figures = compare("benchmarks.requests", names, rounds=arguments.rounds, times=arguments.requests)
        for name in names:
            print(
                f"{name:32} {statistics.median(figures[name]):8.1f} us of CPU a request (median of "
                f"{arguments.rounds} rounds)"
            )
        for side in (*_OURS, *([_COUNTED] if peer else [])):
            low, middle, high = ratio(
                figures, f"{framework} {side}", f"{framework} upstream", f"{framework} {_BARE}"
            )
            print(
                f"{framework} {side}: above bare {middle:.2f} of upstream's (min {low:.2f}, max {high:.2f})"
            )
        print(f"counting only: {peer or 'its package is not installed'}")


if __name__ == "__main__":
    main()
