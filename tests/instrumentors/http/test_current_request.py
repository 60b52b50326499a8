"""Scopes and environs are the application's: nothing of ours is in them, and a copy of one is the same
request."""

from __future__ import annotations

import asyncio
import copy
import io
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from flask import Flask, request
from hypercorn.middleware import ProxyFixMiddleware
from opentelemetry.context import Context, attach, detach
from opentelemetry.instrumentation.utils import suppress_http_instrumentation, suppress_instrumentation
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from bext_otel.catalogue import REQUESTS
from bext_otel_instrumentors.http.asgi import ASGIMiddleware
from bext_otel_instrumentors.http.flask import FlaskInstrumentor
from bext_otel_instrumentors.http.starlette import StarletteInstrumentor
from bext_otel_instrumentors.http.wsgi import WSGIMiddleware
from tests.instrumentors.conftest import Telemetry, instrumented_by
from tests.instrumentors.driving import Answer, ask, ask_async, ask_wsgi, environ_of, http_scope

instrumented = instrumented_by(FlaskInstrumentor, StarletteInstrumentor)


async def answer(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


def answer_wsgi(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [])
    return [b"hello"]


def item(name: str) -> str:
    return name


def flask() -> Flask:
    app = Flask(__name__)
    app.get("/items/<name>")(item)
    return app


async def hello(request: Any) -> JSONResponse:
    return JSONResponse("hello")


def starlette() -> Starlette:
    return Starlette(
        routes=[
            Route("/items/{name}", hello),
            Route("/", hello),
            Mount("/sub", routes=[Route("/items/{name}", hello)]),
        ]
    )


def own(scope: Any) -> dict[str, Any]:
    """A scope without what FastAPI and Starlette, where they are imported, are told by markers of their
    own."""
    return {
        name: value
        for name, value in scope.items()
        if name not in {"fastapi.telemetry", "starlette.opentelemetry"}
    }


def unshared(value: Any) -> Any:
    """As a server makes it: bytes of its own for each request."""
    return pickle.loads(pickle.dumps(value))


def test_an_asgi_application_finds_the_scope_as_the_server_made_it(telemetry: Telemetry) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(
            (own(scope), own(copy.deepcopy(scope)), own(pickle.loads(pickle.dumps(scope))), repr(own(scope)))
        )
        await answer(scope, receive, send)

    ask(ASGIMiddleware(app), "/a")
    assert [(http_scope("/a"), http_scope("/a"), http_scope("/a"), repr(http_scope("/a")))] == seen


def test_a_wsgi_application_finds_the_environ_as_the_server_made_it(telemetry: Telemetry) -> None:
    environ = environ_of("/a")
    del environ["wsgi.input"], environ["wsgi.errors"]
    seen: list[Any] = []

    def app(environ: Any, start_response: Any) -> Any:
        seen.append(({**environ}, copy.deepcopy(environ), pickle.loads(pickle.dumps(environ)), repr(environ)))
        return answer_wsgi(environ, start_response)

    with_all = {**environ, "wsgi.input": None}
    list(WSGIMiddleware(app)(with_all, lambda *_: None))
    expected = {**environ, "wsgi.input": None}
    assert [(expected, expected, expected, repr(expected))] == seen
    assert {("shop", "GET", "200", "unmatched"): 1} == telemetry.counts(REQUESTS)


def test_a_body_that_is_counted_copies_and_pickles_as_what_the_server_gave(telemetry: Telemetry) -> None:
    seen: list[Any] = []
    stream = io.BytesIO(b"12345")

    def app(environ: Any, start_response: Any) -> Any:
        found = environ["wsgi.input"]
        copies = (copy.copy(found), copy.deepcopy(found), pickle.loads(pickle.dumps(found)))
        seen.extend(type(each) for each in copies)
        seen.extend(each.read() for each in copies)
        seen.append((repr(stream) == repr(found), found == stream, hash(stream) == hash(found)))
        return answer_wsgi(environ, start_response)

    ask_wsgi(
        WSGIMiddleware(app),
        method="POST",
        headers=[("transfer-encoding", "chunked")],
        **{"wsgi.input": stream},
    )
    assert [io.BytesIO] * 3 + [b"12345"] * 3 + [(True, True, True)] == seen


def test_a_view_may_copy_and_pickle_what_flask_gives_it(instrumented: Telemetry) -> None:
    app = Flask(__name__)
    plain = (str, int, bool, tuple)

    @app.get("/")
    def view() -> list[str]:
        names = {
            name: value
            for name, value in request.environ.items()
            if isinstance(value, plain) or name.startswith("bext")
        }
        assert names == copy.deepcopy(names) == pickle.loads(pickle.dumps(names))
        return [name for name in request.environ if "bext" in name]

    assert b"[]" == ask_wsgi(app).body.strip()


@pytest.mark.parametrize("mode", ["legacy", "modern"])
@pytest.mark.parametrize(
    ("path", "route"), [("/items/7", "/items/{name}"), ("/", "/"), ("/sub/items/7", "/sub/items/{name}")]
)
def test_a_scope_that_a_proxy_fix_copies_is_the_same_request(
    instrumented: Telemetry, mode: Any, path: str, route: str
) -> None:
    """Hypercorn's copies it deeply, and puts other headers, another client and another scheme into the
    copy."""
    headers = [
        ("x-forwarded-for", "203.0.113.1"),
        ("x-forwarded-host", "a.example"),
        ("x-forwarded-proto", "https"),
        ("user-agent", "curl"),
    ]
    headers.append(("forwarded", "for=203.0.113.1;host=a.example;proto=https"))
    app: Any = ASGIMiddleware(ProxyFixMiddleware(starlette(), mode=mode))  # type: ignore[arg-type]  # its own protocol for applications
    assert 200 == asyncio.run(ask_async(app, unshared(http_scope(path, headers=headers)))).status
    assert route == instrumented.attributes()["http.route"]
    assert {("shop", "GET", "200", route): 1} == instrumented.counts(REQUESTS)


@pytest.mark.parametrize(
    "copying",
    [
        dict,
        copy.copy,
        copy.deepcopy,
        lambda scope: {**scope, "headers": list(scope["headers"])},
        lambda scope: {**scope, "path": "/items/7", "root_path": "/app"},
        lambda scope: {**copy.deepcopy(scope), "path": "/items/7", "root_path": "/app"},
        lambda scope: {
            name: scope[name]
            for name in ("type", "method", "path", "raw_path", "headers", "query_string", "server")
        },
    ],
)
def test_a_copy_of_a_scope_is_the_same_request(
    instrumented: Telemetry, copying: Callable[[Any], Any]
) -> None:
    async def outer(scope: Any, receive: Any, send: Any) -> None:
        await inner(copying(scope), receive, send)

    inner = ASGIMiddleware(answer)
    asyncio.run(ask_async(ASGIMiddleware(outer), unshared(http_scope("/app/items/7"))))
    assert {("shop", "GET", "200", "unmatched"): 1} == instrumented.counts(REQUESTS)


@pytest.mark.parametrize(
    "copying",
    [
        dict,
        lambda environ: {**environ, "wsgi.input": io.BytesIO(b"read before")},
        lambda environ: {**environ, "SCRIPT_NAME": "/items", "PATH_INFO": "/7"},
    ],
)
def test_a_copy_of_an_environ_is_the_same_request(
    telemetry: Telemetry, copying: Callable[[Any], Any]
) -> None:
    def outer(environ: Any, start_response: Any) -> Any:
        return WSGIMiddleware(answer_wsgi)(copying(environ), start_response)

    ask_wsgi(WSGIMiddleware(outer), "/items/7")
    assert {("shop", "GET", "200", "unmatched"): 1} == telemetry.counts(REQUESTS)


def test_a_middleware_that_copies_the_environ_hides_no_route(instrumented: Telemetry) -> None:
    """Flask-SocketIO's does."""
    app = flask()
    inner = app.wsgi_app

    def copying(environ: Any, start_response: Any) -> Any:
        return inner({**environ, "flask.app": app}, start_response)

    app.wsgi_app = copying  # type: ignore[method-assign]
    assert b"7" == ask_wsgi(app, "/items/7").body
    assert {("shop", "GET", "200", "/items/<name>"): 1} == instrumented.counts(REQUESTS)


def test_a_middleware_that_replaces_the_context_hides_no_route(instrumented: Telemetry) -> None:
    """`attach(extract(headers))`, as many applications have it, starts from an empty context."""
    inner = starlette()

    async def middleware(scope: Any, receive: Any, send: Any) -> None:
        token = attach(Context())
        try:
            await inner(scope, receive, send)
        finally:
            detach(token)

    ask(ASGIMiddleware(middleware), "/items/7")
    assert {("shop", "GET", "200", "/items/{name}"): 1} == instrumented.counts(REQUESTS)


@pytest.mark.parametrize("path", ["/items/7", "/"])
def test_a_request_to_oneself_is_another_one_also_at_the_same_path(telemetry: Telemetry, path: str) -> None:
    inner = ASGIMiddleware(answer)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await ask_async(inner, {**unshared(http_scope(path)), "server": ("testserver", 80)})
        await answer(scope, receive, send)

    asyncio.run(ask_async(ASGIMiddleware(app), unshared(http_scope(path))))
    assert {("shop", "GET", "200", "unmatched"): 2} == telemetry.counts(REQUESTS)


@pytest.mark.parametrize("path", ["/items/7", "/"])
def test_a_client_in_the_process_makes_requests_of_their_own(instrumented: Telemetry, path: str) -> None:
    """httpx shares constants between requests, and its transport knows no other server than the URL's."""

    async def ask_again(request: Any) -> JSONResponse:
        return JSONResponse(await get(path) if request.query_params else "hello")

    app = Starlette(routes=[Route("/items/{name}", ask_again), Route("/", ask_again)])

    async def get(target: str) -> Any:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app), base_url="http://test"
        ) as client:
            return (await client.get(target)).json()

    assert "hello" == asyncio.run(get(f"{path}?again=1"))
    assert [2] == list(instrumented.counts(REQUESTS).values())


def test_a_view_may_ask_its_own_application_by_a_test_client(instrumented: Telemetry) -> None:
    app = flask()
    app.get("/outer")(lambda: app.test_client().get("/items/7").text)
    answer = app.test_client().get("/outer")
    assert "7" == answer.text
    assert {"/outer", "/items/<name>"} == {route for (*_, route) in instrumented.counts(REQUESTS)}


def test_an_application_that_is_called_while_its_answer_is_read_is_the_same_request(
    instrumented: Telemetry,
) -> None:
    def lazy(environ: Any, start_response: Any) -> Iterator[bytes]:
        yield from flask()(environ, start_response)

    assert b"7" == ask_wsgi(WSGIMiddleware(lazy), "/items/7").body
    assert {("shop", "GET", "200", "/items/<name>"): 1} == instrumented.counts(REQUESTS)


def test_a_scope_that_is_used_again_is_another_request(telemetry: Telemetry) -> None:
    """Clients of tests keep one; the first request is over when the second comes."""
    app, scope = ASGIMiddleware(answer), http_scope()

    async def twice() -> None:
        await ask_async(app, scope)
        await ask_async(app, scope)

    asyncio.run(twice())
    assert {("shop", "GET", "200", "unmatched"): 2} == telemetry.counts(REQUESTS)


def test_an_environ_that_is_used_again_is_another_request(telemetry: Telemetry) -> None:
    app, environ = WSGIMiddleware(answer_wsgi), environ_of()
    for _ in range(2):
        app(environ, lambda *_: None).close()  # type: ignore[attr-defined]
    assert {("shop", "GET", "200", "unmatched"): 2} == telemetry.counts(REQUESTS)


def test_what_is_left_out_is_left_out_in_a_copy(
    instrumented: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_PYTHON_ASGI_EXCLUDED_URLS", "items")

    async def copying(scope: Any, receive: Any, send: Any) -> None:
        await inner(copy.deepcopy(scope), receive, send)

    inner, app = starlette(), ASGIMiddleware(copying)
    assert 200 == ask(app, "/items/7").status
    assert {} == instrumented.counts(REQUESTS)
    assert 200 == ask(app, "/").status
    assert {("shop", "GET", "200", "/"): 1} == instrumented.counts(REQUESTS)


@pytest.mark.parametrize("suppressing", [suppress_http_instrumentation, suppress_instrumentation])
def test_where_instrumentation_is_suppressed_nothing_is_measured(
    instrumented: Telemetry, suppressing: Callable[[], Any]
) -> None:
    async def suppressed() -> Answer:
        with suppressing():
            return await ask_async(starlette(), http_scope("/items/7"))

    assert 200 == asyncio.run(suppressed()).status
    with suppressing():
        assert b"7" == ask_wsgi(flask(), "/items/7").body
    assert ([], {}, []) == (instrumented.spans(), instrumented.counts(REQUESTS), instrumented.records())
    ask_wsgi(flask(), "/items/7")
    assert instrumented.server()
