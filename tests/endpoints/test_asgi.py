from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from bext_otel.endpoints import asgi
from bext_otel.endpoints.asgi import ASGIEndpoints
from bext_otel.endpoints.formats import text
from bext_otel.metrics.snapshot import Family, Numbers, Series, Snapshot
from tests.endpoints.parts import FixedHealth, endpoints
from tests.endpoints.snapshots import SPECIFICATION
from tests.waiting import until

MANY = [Series((("n", str(number)),)) for number in range(10_000)]


def ask(app: Any, path: str, *, method: str = "GET", **headers: str) -> httpx.Response:
    async def one() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
            return await client.request(
                method, path, headers={name.replace("_", "-"): value for name, value in headers.items()}
            )

    return asyncio.run(one())


@pytest.mark.parametrize("prefix", ["", "/ops", "/ops/deep"])
def test_the_endpoints_are_answered_below_any_mount(prefix: str) -> None:
    app = Starlette(routes=[Mount(prefix, ASGIEndpoints(endpoints()))])
    answer = ask(app, f"{prefix}/metrics")
    assert (200, "text/plain; version=0.0.4; charset=utf-8") == (
        answer.status_code,
        answer.headers["content-type"],
    )
    assert text.render(SPECIFICATION) == answer.content
    assert "application/json" == ask(app, f"{prefix}/metrics?format=json").headers["content-type"]
    assert [200, 200] == [ask(app, f"{prefix}/health{path}").status_code for path in ("/live", "/ready")]
    assert 404 == ask(app, f"{prefix}/other").status_code


def test_an_older_mount_that_shortens_the_path_is_understood() -> None:
    app = ASGIEndpoints(endpoints())
    assert [200, 200] == [
        run(app, {"root_path": "/ops", "path": path})[0]["status"] for path in ("/metrics", "/ops/metrics")
    ]


def run(app: ASGIEndpoints, scope: dict[str, Any]) -> list[dict[str, Any]]:
    """What the application sends, driven by hand: a loop that is not asyncio's."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    coroutine = app(
        {"type": "http", "method": "GET", "query_string": b"", "headers": [], **scope}, receive, send
    )
    with pytest.raises(StopIteration):
        coroutine.send(None)
    return sent


def test_on_another_loop_the_reply_is_made_at_once() -> None:
    start, body = run(ASGIEndpoints(endpoints()), {"path": "/metrics"})
    assert (200, text.render(SPECIFICATION)) == (start["status"], body["body"])


def test_head_and_other_methods() -> None:
    app = ASGIEndpoints(endpoints())
    assert (b"", str(len(text.render(SPECIFICATION)))) == (
        (answer := ask(app, "/metrics", method="HEAD", accept_encoding="identity")).content,
        answer.headers["content-length"],
    )
    assert 405 == ask(app, "/metrics", method="POST").status_code


def test_details_want_the_token() -> None:
    app = ASGIEndpoints(endpoints(token="s3cret"))
    assert {"status": "healthy"} == ask(app, "/health").json()
    assert "checks" in ask(app, "/health", authorization="Bearer s3cret").json()


def test_the_loop_turns_and_liveness_answers_while_a_reading_is_slow() -> None:
    finish, reading = threading.Event(), threading.Event()

    def slowly() -> Snapshot:
        reading.set()
        assert finish.wait(10)
        return SPECIFICATION

    async def both() -> tuple[int, list[int]]:
        transport = httpx.ASGITransport(ASGIEndpoints(endpoints(read=slowly)))
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            scrapes = [asyncio.create_task(client.get("/metrics")) for _ in range(8)]
            assert await asyncio.get_running_loop().run_in_executor(None, reading.wait, 10)
            live = (await client.get("/health/live")).status_code
            finish.set()
            return live, [answer.status_code for answer in await asyncio.gather(*scrapes)]

    assert (200, [200] * 8) == asyncio.run(both())


def test_those_who_wait_for_a_scrape_share_few_collections_and_one_thread() -> None:
    readings: list[int] = []
    go = threading.Event()

    def read() -> Snapshot:
        new = set(threading.enumerate()) - before
        readings.append(sum(thread.name == "bext-otel-mounted-scrapes" for thread in new))
        assert go.wait(20)
        return SPECIFICATION

    app = ASGIEndpoints(endpoints(read=read))
    before = set(threading.enumerate())

    async def crowd() -> list[int]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
            scrapes = [asyncio.create_task(client.get("/metrics")) for _ in range(16)]
            await asyncio.to_thread(until, lambda: readings)
            assert 200 == (await client.get("/health/ready")).status_code
            go.set()
            return [answer.status_code for answer in await asyncio.gather(*scrapes)]

    assert [200] * 16 == asyncio.run(crowd())
    assert [1, 1] == readings


def test_more_than_can_wait_are_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "_MOST_WAITING", 3)
    go = threading.Event()

    def read() -> Snapshot:
        assert go.wait(20)
        return SPECIFICATION

    app = ASGIEndpoints(endpoints(read=read))

    async def crowd() -> list[int]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
            scrapes = [asyncio.create_task(client.get("/metrics")) for _ in range(5)]
            await asyncio.to_thread(until, lambda: sum(scrape.done() for scrape in scrapes) == 2)
            go.set()
            return [answer.status_code for answer in await asyncio.gather(*scrapes)]

    assert [200, 200, 200, 503, 503] == asyncio.run(crowd())


def test_a_reading_that_hangs_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "_PATIENCE_SECONDS", 0.2)
    go = threading.Event()

    def read() -> Snapshot:
        assert go.wait(20)
        return SPECIFICATION

    app = ASGIEndpoints(endpoints(read=read))
    assert 503 == ask(app, "/metrics").status_code
    assert 200 == ask(app, "/health/ready").status_code
    go.set()


def test_a_large_page_leaves_in_parts_between_which_others_have_their_turn() -> None:
    page = Snapshot(0, 0, 1, (Family("x", "counter", "", "", Numbers(MANY, range(len(MANY)))),))
    app = ASGIEndpoints(endpoints(read=lambda: page))
    sizes: list[int] = []
    turns: list[int] = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            sizes.append(len(message["body"]))

    async def others() -> None:
        while True:
            turns.append(len(sizes))
            await asyncio.sleep(0)

    async def served() -> None:
        other = asyncio.create_task(others())
        scope = {"type": "http", "method": "GET", "path": "/metrics", "headers": []}
        await app(scope, receive=None, send=send)  # type: ignore[arg-type]  # it has no body to receive
        other.cancel()

    asyncio.run(served())
    assert sum(sizes) == len(text.render(page))
    assert max(sizes) <= 64 * 1024
    assert set(range(1, len(sizes))) <= set(turns)


def test_lifespan_and_websockets_are_answered_in_the_protocols_words() -> None:
    app, sent = ASGIEndpoints(endpoints(health=FixedHealth())), []
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    async def both() -> None:
        await app({"type": "lifespan"}, receive, send)
        await app({"type": "websocket", "path": "/metrics"}, receive, send)

    asyncio.run(both())
    assert ["lifespan.startup.complete", "lifespan.shutdown.complete", "websocket.close"] == sent
