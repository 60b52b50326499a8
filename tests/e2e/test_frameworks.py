"""Frameworks behind real servers, without a line of code: every request is counted once, by its template."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import httpx
import pytest
import websockets.exceptions
import websockets.sync.client

from tests.e2e.launching import SOON, Launched, launched, samples
from tests.e2e.otlp import receiving
from tests.waiting import until

pytestmark = pytest.mark.e2e

COMMON = [
    ("GET", "/items/1", 200, "/items/{item}"),
    ("GET", "/items/2", 200, "/items/{item}"),
    ("POST", "/uploads/a", (200, 201), "/uploads/{name}"),
    ("GET", "/stream", 200, "/stream"),
    ("GET", "/fail", 500, "/fail"),
    ("GET", "/nowhere/a", 404, "unmatched"),
    ("GET", "/nowhere/b", 404, "unmatched"),
]
LITESTAR = [
    ("GET", "/shop/items/1", 200, "/shop/items/{item}"),
    ("GET", "/legacy/a/b", 200, "/legacy/{path}"),
    ("GET", "/static/script.py", 200, "/static/{file_path}"),
    ("GET", "/static/none.py", 404, "/static/{file_path}"),
]
PYRAMID = [
    ("GET", "/first/edit", 200, "/{Entry}/edit"),
    ("GET", "/second/edit", 200, "/{Entry}/edit"),
    ("GET", "/static/script.py", 200, "/static/*subpath"),
    ("GET", "/static/none.py", 404, "/static/*subpath"),
]
SANIC = [
    ("GET", "/tea/1", 200, "/tea/<number:int>"),
    ("GET", "/tea/none", 404, "unmatched"),
    ("POST", "/tea/1", 405, "/tea/<number:int>"),
    ("HEAD", "/stream", 405, "/stream"),
    ("POST", "/uploads/a", 200, "/uploads/<name:str>"),
    ("GET", "/stream", 200, "/stream"),
    ("GET", "/v1/api/users/ann", 200, "/v1/api/users/<name:str>"),
    ("GET", "/static/script.py", 200, "/static/<__file_uri__:path>"),
    ("GET", "/static/none.py", 404, "/static/<__file_uri__:path>"),
    ("GET", "/forbidden", 403, "/forbidden"),
    ("GET", "/fails", 500, "/fails"),
]
BLACKSHEEP = [
    ("GET", "/tea/1", 200, "/tea/{int:number}"),
    ("POST", "/uploads/a", 200, "/uploads/:name"),
    ("GET", "/stream", 200, "/stream"),
    ("GET", "/inner/users/ann", 200, "/inner/users/{name}"),
    ("GET", "/inner/none", 404, "unmatched"),
    ("GET", "/static/script.py", 200, "/static/*"),
    ("GET", "/static/none.py", 404, "/static/*"),
    ("GET", "/forbidden", 403, "/forbidden"),
    ("GET", "/fails", 500, "/fails"),
    ("GET", "/nowhere", 404, "unmatched"),
]
CHERRYPY = [
    ("GET", "/", 200, "/"),
    ("GET", "/tea/1", 200, "/tea/{number}"),
    ("GET", "/tea/1/2", 404, "unmatched"),
    ("POST", "/uploads/a", 200, "/uploads/{name}"),
    ("GET", "/stream", 200, "/stream"),
    ("GET", "/files/a/b", 200, "/files/{path}"),
    ("GET", "/users/ann/orders", 200, "/users/{segment}/orders"),
    ("GET", "/resource/7", 200, "/resource/{number}"),
    ("POST", "/resource/7", 405, "/resource/{number}"),
    ("GET", "/shop/tea/7", 200, "/shop/tea/{number}"),
    ("GET", "/static/script.py", 200, "/static/{path}"),
    ("GET", "/static/none.py", 404, "/static/{path}"),
    ("GET", "/forbidden", 403, "/forbidden"),
    ("GET", "/fails", 500, "/fails"),
    ("GET", "/nowhere", 404, "unmatched"),
]
# What each is started by, what it is asked, and the paths and the template of a websocket that it echoes by.
STARTED = {
    "litestar-uvicorn": (
        "litestar",
        "uvicorn --port {port} litestar_app:app",
        [*COMMON, *LITESTAR],
        "{room}",
    ),
    "pyramid-waitress": (
        "pyramid",
        "waitress-serve --listen 127.0.0.1:{port} pyramid_app:app",
        [*COMMON, *PYRAMID],
        "",
    ),
    "sanic": ("sanic", "sanic sanic_app:app --port {port}", SANIC, "<room:str>"),
    "sanic-workers": ("sanic", "sanic sanic_app:app --port {port} --workers 2", SANIC, "<room:str>"),
    "sanic-uvicorn": ("sanic", "uvicorn --port {port} sanic_app:app", SANIC, "<room:str>"),
    "blacksheep-uvicorn": ("blacksheep", "uvicorn --port {port} blacksheep_app:app", BLACKSHEEP, "{room}"),
    "cherrypy": ("cherrypy", "python -m cherrypy_app {port}", CHERRYPY, ""),
}


def need(name: str) -> None:
    try:
        distribution(name)
    except PackageNotFoundError:
        pytest.skip(f"{name} is not installed")


def ask(program: Launched, requests: list[tuple[str, str, object, str]]) -> Counter[tuple[str, str, str]]:
    """Send each of these; how often each method, status and route was asked for."""
    asked: Counter[tuple[str, str, str]] = Counter()
    with httpx.Client(base_url=program.url, trust_env=False, timeout=20) as client:
        for method, path, status, route in requests:
            answer = client.request(method, path, content=b"x" * 1000 if method == "POST" else None)
            assert answer.status_code in (status if isinstance(status, tuple) else (status,)), path
            asked[method, str(answer.status_code), route] += 1
    return asked


def counted(program: Launched) -> Counter[tuple[str, str, str]]:
    """What /metrics says of that; without what was asked to see whether the program answers."""
    found: Counter[tuple[str, str, str]] = Counter()
    for series, value in samples(program.endpoint("/metrics").text).items():
        if series.startswith("bext_requests_total{"):
            labels = dict(part.split("=", 1) for part in series.partition("{")[2].rstrip("}").split(","))
            key = tuple(labels[name].strip('"') for name in ("method", "status", "route"))
            found[key] += int(value)  # type: ignore[index]
    return found


@pytest.mark.parametrize("started", STARTED)
def test_every_request_is_counted_once_by_its_template(tmp_path: Path, started: str) -> None:
    package, command, requests, room = STARTED[started]
    need(package)
    with receiving() as received:
        env = {**SOON, "OTEL_SERVICE_NAME": "shop", "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint}
        with launched(tmp_path, command, env=env, path="/first") as program:
            until(lambda: counted(program))
            before = counted(program)
            expected = before + ask(program, requests)
            if room:
                url = program.url.replace("http", "ws")
                with websockets.sync.client.connect(f"{url}/rooms/blue") as connection:
                    connection.send("a")
                    assert "a" == connection.recv()
                    with suppress(websockets.exceptions.ConnectionClosed, TimeoutError):
                        connection.recv(timeout=0.5)  # Sanic waits ten seconds for a client that is quicker
                expected["GET", "101", f"/rooms/{room}"] += 1
            until(
                lambda: expected == counted(program),
                seconds=30,
                why=lambda: f"{expected}; there is {counted(program)}",
            )
            until(
                lambda: expected.total() == len(received.spans(kind="server")),
                why=lambda: f"{expected.total()} spans; there are {received.spans(kind='server')}",
            )
            until(
                lambda: expected.total() - bool(room) == len(program.lines(message="request completed")),
                why=program.output,
            )
    assert [] == [line for line in program.output().splitlines() if line.startswith("bext-otel: ")]


def test_an_operator_lists_the_routes_of_a_bare_application(tmp_path: Path) -> None:
    (tmp_path / "bare.py").write_text(
        "from bext_otel_instrumentors.asgi import ASGIMiddleware\n"
        "async def bare(scope, receive, send):\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
        "    await send({'type': 'http.response.body', 'body': b''})\n"
        "app = ASGIMiddleware(bare)\n"
    )
    (tmp_path / "bext.config.toml").write_text('[apps.data]\nroutes = ["/{database}/{table}"]\n')
    with launched(tmp_path, "uvicorn --lifespan off --port {port} bare:app") as program:
        before = counted(program)["GET", "200", "/{database}/{table}"]
        ask(program, [("GET", f"/a/{number}", 200, "") for number in range(3)])
        until(lambda: before + 3 <= counted(program)["GET", "200", "/{database}/{table}"])
        assert {"/{database}/{table}"} == {route for _, _, route in counted(program)}
