"""Flask: route templates, applications made before and after, alone and mounted."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from a2wsgi import WSGIMiddleware as A2WSGI
from asgiref.wsgi import WsgiToAsgi
from flask import Blueprint, Flask, Response, got_request_exception, stream_with_context
from opentelemetry import trace
from opentelemetry.trace import StatusCode
from starlette.applications import Starlette
from starlette.routing import Mount
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from bext_otel.apps import current_app
from bext_otel.catalogue import REQUEST_SIZE, REQUESTS
from bext_otel_instrumentors.asgi import ASGIMiddleware
from bext_otel_instrumentors.flask import FlaskInstrumentor
from bext_otel_instrumentors.starlette import StarletteInstrumentor
from bext_otel_instrumentors.wsgi import WSGIMiddleware
from tests.instrumentors.conftest import Telemetry
from tests.instrumentors.driving import ask, ask_wsgi, http_scope


@pytest.fixture
def instrumented(telemetry: Telemetry) -> Iterator[Telemetry]:
    FlaskInstrumentor().instrument()
    StarletteInstrumentor().instrument()
    yield telemetry
    StarletteInstrumentor().uninstrument()
    FlaskInstrumentor().uninstrument()


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
def test_the_route_is_a_template_whatever_the_path(instrumented: Telemetry, path: str, status: int, route: str | None) -> None:
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
    [("/t/acme/a/1", 200, "/t/{tenant}/a/<int:number>"), ("/t/acme/missing", 404, None), ("/t/acme/fail", 500, "/t/{tenant}/fail")],
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

    from bext_otel_instrumentors.wsgi import WSGIMiddleware

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


@pytest.mark.parametrize(("path", "status", "route"), [("/users/7", 200, "/under/users/<int:user>"), ("/nothing", 404, "unmatched")])
def test_our_middleware_alone_learns_the_route(telemetry: Telemetry, path: str, status: int, route: str) -> None:
    app = Flask(__name__)
    app.add_url_rule("/users/<int:user>", view_func=lambda user: str(user), endpoint="user")
    app.wsgi_app = WSGIMiddleware(app.wsgi_app)  # type: ignore[method-assign]  # as Flask documents it
    ask_wsgi(app, path, SCRIPT_NAME="/under")
    assert {("shop", "GET", str(status), route): 1} == telemetry.counts(REQUESTS)


def test_a_second_time_is_no_reason_for_a_warning(instrumented: Telemetry, caplog: pytest.LogCaptureFixture) -> None:
    FlaskInstrumentor().instrument()
    ask_wsgi(Flask(__name__), "/nothing")
    assert 1 == len(instrumented.servers())
    assert "" == caplog.text
