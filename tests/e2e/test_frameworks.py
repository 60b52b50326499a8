"""Frameworks behind real servers, without a line of code: every request is counted once, by its template."""

from __future__ import annotations

from collections import Counter
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import httpx
import pytest
import websockets.sync.client

from tests.e2e.launching import Launched, launched, samples
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


@pytest.mark.parametrize(
    ("package", "command", "requests"),
    [
        ("litestar", "uvicorn --port {port} litestar_app:app", [*COMMON, *LITESTAR]),
        ("pyramid", "waitress-serve --listen 127.0.0.1:{port} pyramid_app:app", [*COMMON, *PYRAMID]),
    ],
    ids=["litestar-uvicorn", "pyramid-waitress"],
)
def test_every_request_is_counted_once_by_its_template(
    tmp_path: Path, package: str, command: str, requests: list[tuple[str, str, object, str]]
) -> None:
    need(package)
    with launched(tmp_path, command, env={"OTEL_SERVICE_NAME": "shop"}) as program:
        until(lambda: counted(program))
        before = counted(program)
        expected = before + ask(program, requests)
        if package == "litestar":
            url = program.url.replace("http", "ws")
            with websockets.sync.client.connect(f"{url}/rooms/blue") as connection:
                connection.send("a")
                assert "a" == connection.recv()
            expected["GET", "101", "/rooms/{room}"] += 1
        until(lambda: expected == counted(program), why=f"{expected}; there is {counted(program)}")


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
