"""Flask: route templates, applications made before and after, alone and mounted."""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import werkzeug.test
from a2wsgi import WSGIMiddleware as A2WSGI
from asgiref.wsgi import WsgiToAsgi
from flask import (
    Blueprint,
    Flask,
    Response,
    copy_current_request_context,
    got_request_exception,
    request,
    stream_with_context,
)
from opentelemetry import trace
from opentelemetry.trace import StatusCode
from starlette.applications import Starlette
from starlette.routing import Mount
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.serving import make_server

from bext_otel.apps import current_app
from bext_otel.catalogue import REQUEST_SIZE, REQUESTS
from bext_otel_instrumentors.http.asgi import ASGIMiddleware
from bext_otel_instrumentors.http.flask import FlaskInstrumentor
from bext_otel_instrumentors.http.starlette import StarletteInstrumentor
from bext_otel_instrumentors.http.wsgi import WSGIMiddleware
from tests.instrumentors.conftest import Telemetry, instrumented_by
from tests.instrumentors.driving import ask, ask_wsgi, http_scope

instrumented = instrumented_by(FlaskInstrumentor, StarletteInstrumentor)


def flask() -> Flask:
    app = Flask(__name__)
    shop = Blueprint("shop", __name__, url_prefix="/shop")

    @app.route("/a/<int:number>")
    def a(number: int) -> str:
        return f"{current_app()}"

    @app.route("/only-post", methods=["POST"])
    def only_post() -> str:
        return ""

    @app.route("/fail")
    def fail() -> str:
        raise LookupError("lost")

    @app.route("/handled")
    def handled() -> str:
        raise ZeroDivisionError

    @app.errorhandler(ZeroDivisionError)
    def turned(_: Exception) -> tuple[str, int]:
        return "unavailable", 503

    @app.route("/stream")
    def stream() -> Response:
        def chunks() -> Iterator[bytes]:
            for _ in range(3):
                yield str(trace.get_current_span().is_recording()).encode()

        return Response(stream_with_context(chunks()))

    @shop.route("/items/<item>")
    def item(item: str) -> str:
        return item

    app.register_blueprint(shop)
    return app


@pytest.mark.parametrize(
    ("path", "status", "route"),
    [
        ("/a/7", 200, "/a/<int:number>"),
        ("/shop/items/7", 200, "/shop/items/<item>"),
        ("/static/missing.css", 404, "/static/<path:filename>"),
        ("/only-post", 405, "/only-post"),
        ("/missing", 404, None),
        ("/handled", 503, "/handled"),
    ],
)
def test_the_route_is_a_template_whatever_the_path(
    instrumented: Telemetry, path: str, status: int, route: str | None
) -> None:
    assert status == ask_wsgi(flask(), path).status
    assert route == instrumented.attributes().get("http.route")
    assert ("GET" if route is None else f"GET {route}") == instrumented.server().name
    assert {("shop", "GET", str(status), route or "unmatched"): 1} == instrumented.counts(REQUESTS)


def test_an_unhandled_exception_is_a_500_with_its_class(instrumented: Telemetry) -> None:
    assert 500 == ask_wsgi(flask(), "/fail").status
    assert (500, "LookupError", "/fail") == tuple(
        instrumented.attributes()[name] for name in ("http.response.status_code", "error.type", "http.route")
    )
    assert StatusCode.ERROR is instrumented.server().status.status_code
    # Flask logs it, within the request.
    assert "LookupError" == instrumented.completion()["error_type"]
    assert "exception.type" not in instrumented.completion()


def test_an_exception_that_passes_flask_is_a_500_with_its_class(instrumented: Telemetry) -> None:
    app = flask()
    app.testing = True
    with pytest.raises(LookupError):
        ask_wsgi(app, "/fail")
    assert "LookupError" == instrumented.attributes()["error.type"]
    assert {("shop", "GET", "500", "/fail"): 1} == instrumented.counts(REQUESTS)


def test_an_exception_that_the_application_handles_is_no_unhandled_one(instrumented: Telemetry) -> None:
    ask_wsgi(flask(), "/handled")
    assert "503" == instrumented.attributes()["error.type"]


def test_a_stream_is_measured_to_its_end_with_its_span_current(instrumented: Telemetry) -> None:
    assert b"TrueTrueTrue" == ask_wsgi(flask(), "/stream").body
    assert 12 == instrumented.sums(REQUEST_SIZE)["shop", "response"]


def test_a_middleware_inside_the_application_is_inside_the_measurement(instrumented: Telemetry) -> None:
    app = flask()
    app.wsgi_app = ProxyFix(app.wsgi_app, x_prefix=1)  # type: ignore[method-assign]
    ask_wsgi(app, "/a/1", headers=[("x-forwarded-prefix", "/behind")])
    assert "/behind/a/<int:number>" == instrumented.attributes()["http.route"]


def test_an_application_that_was_wrapped_before_is_routed_too(telemetry: Telemetry) -> None:
    """Its middleware holds the method as it was then."""
    app = flask()
    app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
    FlaskInstrumentor().instrument()
    try:
        ask_wsgi(app, "/a/1")
    finally:
        FlaskInstrumentor().uninstrument()
    assert "/a/<int:number>" == telemetry.attributes()["http.route"]


def test_whoever_calls_wsgi_app_directly_is_measured(instrumented: Telemetry) -> None:
    ask_wsgi(flask().wsgi_app, "/a/1")
    assert "/a/<int:number>" == instrumented.attributes()["http.route"]


def test_dispatched_applications_have_the_prefix_in_the_route(instrumented: Telemetry) -> None:
    app = flask()
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/sub": flask()})  # type: ignore[method-assign]
    ask_wsgi(app, "/sub/a/1")
    assert "/sub/a/<int:number>" == instrumented.attributes()["http.route"]


def starlette_wsgi(app: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from starlette.middleware.wsgi import WSGIMiddleware
    return WSGIMiddleware(app)


ADAPTERS = pytest.mark.parametrize("adapter", [A2WSGI, WsgiToAsgi, starlette_wsgi])


@ADAPTERS
@pytest.mark.parametrize(
    ("path", "status", "route"),
    [
        ("/t/acme/a/1", 200, "/t/{tenant}/a/<int:number>"),
        ("/t/acme/missing", 404, None),
        ("/t/acme/fail", 500, "/t/{tenant}/fail"),
    ],
)
def test_mounted_in_starlette_it_adds_its_route_and_no_span(
    instrumented: Telemetry, adapter: Any, path: str, status: int, route: str | None
) -> None:
    answer = ask(Starlette(routes=[Mount("/t/{tenant}", app=adapter(flask()))]), path)
    assert status == answer.status
    assert route == instrumented.attributes().get("http.route")
    assert {("shop", "GET", str(status), route or "unmatched"): 1} == instrumented.counts(REQUESTS)
    assert ("LookupError" if status == 500 else None) == instrumented.attributes().get("error.type")
    assert len(answer.body) == instrumented.sums(REQUEST_SIZE)["shop", "response"]
    assert 1 == len(instrumented.completions())


@ADAPTERS
def test_mounted_it_works_in_the_context_of_the_request(instrumented: Telemetry, adapter: Any) -> None:
    assert b"shop" == ask(Starlette(routes=[Mount("/m", app=adapter(flask()))]), "/m/a/1").body


@ADAPTERS
def test_wrapped_by_hand_it_adds_its_route_and_no_span(instrumented: Telemetry, adapter: Any) -> None:
    ask(ASGIMiddleware(adapter(flask())), "/api/a/1", root_path="/api")
    assert "/api/a/<int:number>" == instrumented.attributes()["http.route"]


def test_dispatched_below_a_mount_both_prefixes_are_in_the_route(instrumented: Telemetry) -> None:
    below = DispatcherMiddleware(flask(), {"/sub": flask()})
    ask(Starlette(routes=[Mount("/t/{tenant}", app=A2WSGI(below))]), "/t/acme/sub/a/1")
    assert "/t/{tenant}/sub/a/<int:number>" == instrumented.attributes()["http.route"]


def test_starlette_mounted_in_wsgi_adds_its_route_and_no_span(instrumented: Telemetry) -> None:
    from a2wsgi import ASGIMiddleware as ToWSGI
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    from bext_otel_instrumentors.http.wsgi import WSGIMiddleware

    async def hello(_: Any) -> PlainTextResponse:
        return PlainTextResponse("hello")

    loop = asyncio.new_event_loop()
    import threading

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        inner = ToWSGI(Starlette(routes=[Route("/x/{y}", hello)]), loop=loop)
        assert b"hello" == ask_wsgi(WSGIMiddleware(inner), "/x/1", SCRIPT_NAME="/under").body
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
    assert "/under/x/{y}" == instrumented.attributes()["http.route"]


def test_applications_made_before_are_covered_and_everything_is_put_back(telemetry: Telemetry) -> None:
    names = ("__call__", "wsgi_app", "__init__")
    before = {name: vars(Flask).get(name) for name in names}
    app = flask()
    for _ in range(2):
        FlaskInstrumentor().instrument()
        ask_wsgi(app, "/fail")
        assert "GET /fail" == telemetry.server().name
        FlaskInstrumentor().uninstrument()
        telemetry.clear()
        ask_wsgi(app, "/fail")
        assert [] == telemetry.servers()
    assert before == {name: vars(Flask).get(name) for name in names}
    assert not got_request_exception.receivers


def test_a_scope_of_another_request_is_not_mistaken_for_this_one(instrumented: Telemetry) -> None:
    """An application asks its own WSGI part for another path, from within a request."""
    from tests.instrumentors.driving import ask_async

    inner = flask()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        ask_wsgi(inner, "/a/1")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    asyncio.run(ask_async(ASGIMiddleware(app), http_scope("/outer")))
    assert ["GET /a/<int:number>", "GET"] == [span.name for span in instrumented.servers()]


@pytest.mark.parametrize(
    ("path", "status", "route"),
    [("/users/7", 200, "/under/users/<int:user>"), ("/nothing", 404, "unmatched")],
)
def test_our_middleware_alone_learns_the_route(
    telemetry: Telemetry, path: str, status: int, route: str
) -> None:
    app = Flask(__name__)
    app.add_url_rule("/users/<int:user>", view_func=lambda user: str(user), endpoint="user")
    app.wsgi_app = WSGIMiddleware(app.wsgi_app)  # type: ignore[method-assign]  # as Flask documents it
    ask_wsgi(app, path, SCRIPT_NAME="/under")
    assert {("shop", "GET", str(status), route): 1} == telemetry.counts(REQUESTS)


def test_a_second_time_is_no_reason_for_a_warning(
    instrumented: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    FlaskInstrumentor().instrument()
    ask_wsgi(Flask(__name__), "/nothing")
    assert 1 == len(instrumented.servers())
    assert "" == caplog.text


def test_a_route_is_told_whatever_the_view_does_with_its_request(instrumented: Telemetry) -> None:
    """Flask clears what it leaves in the environ as soon as a copy of a request has been worked on."""
    app = Flask(__name__)

    @app.get("/pool/<int:number>")
    def pool(number: int) -> str:
        with ThreadPoolExecutor(1) as threads:
            return threads.submit(copy_current_request_context(lambda: request.path)).result()

    @app.get("/here/<int:number>")
    def here(number: int) -> str:
        return copy_current_request_context(lambda: request.path)()

    @app.get("/again/<int:number>")
    def again(number: int) -> str:
        with app.request_context(request.environ):
            return request.path

    @app.get("/other/<int:number>")
    def other(number: int) -> str:
        with app.test_request_context("/here/3"):
            return request.path

    @app.get("/breaks/<int:number>")
    def breaks(number: int) -> str:
        copy_current_request_context(lambda: 1)()
        raise ValueError

    for path in ("pool", "here", "again", "other", "breaks"):
        ask_wsgi(app, f"/{path}/3")
    expected = {f"/{path}/<int:number>" for path in ("pool", "here", "again", "other", "breaks")}
    assert expected == {route for (*_, route) in instrumented.counts(REQUESTS)}


def test_the_route_of_an_application_that_is_not_instrumented_is_told_too(telemetry: Telemetry) -> None:
    app = Flask(__name__)

    @app.get("/here/<int:number>")
    def here(number: int) -> str:
        return copy_current_request_context(lambda: request.path)()

    ask_wsgi(WSGIMiddleware(app), "/here/3")
    assert "/here/<int:number>" == telemetry.attributes()["http.route"]


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("GET", "/shop/items/7", "/shop/items/<item>"),
        ("GET", "/only-post", "/only-post"),
        ("GET", "/missing", None),
        ("GET", "/a/x", None),
    ],
)
@pytest.mark.parametrize("before", ["a function", "a middleware"])
def test_an_answer_before_the_view_has_the_route_that_it_would_have_had(
    instrumented: Telemetry, before: str, method: str, path: str, route: str | None
) -> None:
    app = flask()

    def unauthorized(environ: Any, start_response: Any) -> Any:
        start_response("401 Unauthorized", [])
        return [b""]

    if before == "a function":
        app.before_request(lambda: ("", 401))
    else:
        app.wsgi_app = unauthorized  # type: ignore[method-assign]
    assert 401 == ask_wsgi(app, path, method).status
    assert {("shop", method, "401", route or "unmatched"): 1} == instrumented.counts(REQUESTS)


def test_a_request_of_the_test_client_is_over_when_it_has_its_answer(instrumented: Telemetry) -> None:
    app = flask()
    answer = app.test_client().get("/a/7")
    assert 200 == answer.status_code
    assert {("shop", "GET", "200", "/a/<int:number>"): 1} == instrumented.counts(REQUESTS)
    assert 4 == instrumented.sums(REQUEST_SIZE)["shop", "response"]
    assert "GET /a/<int:number>" == instrumented.server().name
    assert b"shop" == answer.data
    answer.close()
    assert 1 == len(instrumented.completions())


def test_a_stream_to_the_test_client_is_over_when_it_has_been_read_or_given_up(
    instrumented: Telemetry,
) -> None:
    client = flask().test_client()
    answer = client.get("/stream")
    assert [] == instrumented.spans()
    assert b"TrueTrueTrue" == answer.data
    assert 12 == instrumented.sums(REQUEST_SIZE)["shop", "response"]
    assert 1 == len(instrumented.servers())
    given_up = client.get("/stream")
    del given_up
    gc.collect()
    assert 2 == len(instrumented.servers())


@pytest.mark.parametrize("path", ["/fail", "/missing", "/handled", "/only-post"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_whatever_the_test_client_is_answered_the_request_is_over(
    instrumented: Telemetry, path: str, method: str
) -> None:
    client = flask().test_client()
    kept = [client.open(path, method=method), client.open(path, method=method, buffered=True)]
    assert len(kept) == len(instrumented.servers())


def test_a_request_of_the_test_client_that_raises_is_over(instrumented: Telemetry) -> None:
    app = flask()
    app.testing = True
    with app.test_client() as client, pytest.raises(LookupError):
        client.get("/fail")
    assert "LookupError" == instrumented.attributes()["error.type"]


def test_what_is_put_back_is_the_test_client_too(telemetry: Telemetry) -> None:
    before = werkzeug.test.run_wsgi_app
    FlaskInstrumentor().instrument()
    FlaskInstrumentor().uninstrument()
    assert before is werkzeug.test.run_wsgi_app


@pytest.mark.parametrize("size", [10, 2_000_000])
def test_a_client_of_werkzeugs_server_that_hangs_up_is_counted(instrumented: Telemetry, size: int) -> None:
    """That server calls no `close` when it can read no more of the connection."""
    app = Flask(__name__)
    app.get("/page")(lambda: "x" * size)
    server = make_server("127.0.0.1", 0, app)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", server.port)) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.sendall(b"GET /page HTTP/1.0\r\n\r\n")
                connection.recv(1)
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(b"GET /page HTTP/1.0\r\n\r\n")
            while connection.recv(65536):
                pass
    finally:
        server.shutdown()
        serving.join()
        server.server_close()
    assert {("shop", "GET", "200", "/page"): 4} == instrumented.counts(REQUESTS)
    assert 4 == len(instrumented.servers())
