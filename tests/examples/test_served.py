"""The platform as it is run: uvicorn in a process of its own, on a free port."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from bext_demo.traffic import KINDS, plan
from tests.examples.serving import Served, served
from tests.waiting import until

pytestmark = pytest.mark.e2e


def client(platform: Served) -> httpx.Client:
    return httpx.Client(base_url=platform.url, trust_env=False, timeout=30)


def test_all_traffic_is_answered_and_applications_reach_each_other(tmp_path: Path) -> None:
    with served(tmp_path) as platform, client(platform) as visitor:
        for request in plan(len(KINDS), seed=3):
            answer = visitor.request(
                request.method, request.path, headers=dict(request.headers), content=request.body
            )
            assert answer.status_code in {200, 201, 303, 404, 405, 422, 500, 504}, request
        visitor.get("/products/cold-front")
        assert "hit" == visitor.get("/products/cold-front").headers["x-bext-cache"]
        assert (
            303 == visitor.post("/dashboard/products/cold-front/price", data={"price": "15.10"}).status_code
        )
        page = visitor.get("/products/cold-front")
        assert ("miss", True) == (page.headers["x-bext-cache"], "15.10" in page.text)
        with connect(platform.url.replace("http", "ws") + "/prices") as websocket:
            websocket.send("cold-front")
            assert {"slug": "cold-front", "price_cents": 1510} == json.loads(websocket.recv(timeout=10))
        assert platform.process.poll() is None


@pytest.mark.parametrize(
    ("sent", "codes"),
    # uvicorn shuts down, then raises the signal again: Ctrl-C is a normal end, SIGTERM meets the default
    # handler or one that somebody set.
    [(signal.SIGINT, {0}), (signal.SIGTERM, {0, -signal.SIGTERM})],
)
@pytest.mark.parametrize("telemetry", [False, True], ids=["plain", "instrumented"])
def test_a_signal_ends_the_server_cleanly_under_open_connections(
    tmp_path: Path, sent: signal.Signals, codes: set[int], telemetry: bool
) -> None:
    with (
        served(tmp_path, telemetry=telemetry) as platform,
        connect(platform.url.replace("http", "ws") + "/prices") as websocket,
    ):
        websocket.send("cold-front")
        websocket.recv(timeout=10)
        httpx.get(f"{platform.url}/drafts/endless", trust_env=False)
        platform.process.send_signal(sent)
        assert platform.process.wait(timeout=20) in codes
        assert "Application shutdown complete." in platform.log.read_text()
    assert ["log"] == [path.name for path in tmp_path.iterdir()], "the temporary database is gone"


def completions(platform: Served, path: str) -> list[dict[str, Any]]:
    """Completion lines of the trace in which `path` was asked for, the newest such trace, oldest line first;
    none until that one ended."""
    lines = [line for line in platform.lines() if line["message"] == "request completed"]
    traces = [line["trace_id"] for line in lines if line["path"] == path]
    return [line for line in lines if traces and line["trace_id"] == traces[-1]]


def test_a_visitors_request_is_one_trace_through_several_applications(tmp_path: Path) -> None:
    with served(tmp_path, telemetry=True) as platform, client(platform) as visitor:
        visitor.get("/products/guji-natural")
        page = until(lambda: completions(platform, "/products/guji-natural"), why="the page's line")
        assert [("api", "/api/products/guji-natural"), ("marketing", "/products/guji-natural")] == [
            (x["app"], x["path"]) for x in page
        ]
        assert "miss" == page[-1]["cache"]

        visitor.post("/dashboard/products/guji-natural/price", data={"price": "17.00"})
        price = until(
            lambda: completions(platform, "/dashboard/products/guji-natural/price"), why="the price's line"
        )
        assert [("marketing", "/revalidate"), ("dashboard", "/dashboard/products/guji-natural/price")] == [
            (x["app"], x["path"]) for x in price
        ]


def test_health_waits_for_the_database_and_an_isolate(tmp_path: Path) -> None:
    with served(tmp_path, telemetry=True) as platform:
        ready = until(lambda: endpoint(platform, "/health/ready"), why="the stand-alone endpoints")
        assert {"database": "healthy", "isolates": "healthy"} == {
            name: check["status"] for name, check in ready["checks"].items()
        }


def endpoint(platform: Served, path: str) -> Any:
    """The document at the stand-alone endpoints, None while they are not there."""
    try:
        return httpx.get(f"{platform.endpoints_url}{path}", trust_env=False).json()
    except httpx.TransportError:
        return None
