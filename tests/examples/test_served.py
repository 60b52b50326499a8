"""The platform as it is run: uvicorn in a process of its own, on a free port."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from bext_demo.traffic import KINDS, plan
from tests.waiting import until

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.e2e


@contextmanager
def served(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The server's process and address; ended by its own id if the test did not end it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "BEXT_", "DEMO_"))}
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(EXAMPLES), "--port", str(port), "bext_demo.asgi:app"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**environ, "TMPDIR": str(tmp_path)}, cwd=tmp_path)
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: process.poll() is not None or answers(url), seconds=30, why="the server to answer")
        assert process.poll() is None, (tmp_path / "log").read_text()
        yield process, url
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/about", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def test_all_traffic_is_answered_and_applications_reach_each_other(tmp_path: Path) -> None:
    with served(tmp_path) as (process, url), httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        for request in plan(len(KINDS), seed=3):
            answer = client.request(request.method, request.path, headers=dict(request.headers), content=request.body)
            assert answer.status_code in {200, 201, 303, 404, 405, 422, 500, 504}, request
        assert "cached" in cached(client)
        assert 303 == client.post("/dashboard/products/cold-front/price", data={"price": "15.10"}).status_code
        page = client.get("/products/cold-front")
        assert ("miss", True) == (page.headers["x-bext-cache"], "15.10" in page.text)
        with connect(url.replace("http", "ws") + "/prices") as websocket:
            websocket.send("cold-front")
            assert {"slug": "cold-front", "price_cents": 1510} == json.loads(websocket.recv(timeout=10))
        assert process.poll() is None


def cached(client: httpx.Client) -> str:
    """Ask for a page twice; "cached" if the second one came from memory."""
    client.get("/products/cold-front")
    return "cached" if client.get("/products/cold-front").headers["x-bext-cache"] == "hit" else "rendered"


@pytest.mark.parametrize(
    ("sent", "codes"),
    # uvicorn shuts down, then raises the signal again: Ctrl-C is a normal end, SIGTERM meets the default handler or one that somebody set.
    [(signal.SIGINT, {0}), (signal.SIGTERM, {0, -signal.SIGTERM})],
)
def test_a_signal_ends_the_server_cleanly_under_open_connections(tmp_path: Path, sent: signal.Signals, codes: set[int]) -> None:
    with served(tmp_path) as (process, url), connect(url.replace("http", "ws") + "/prices") as websocket:
        websocket.send("cold-front")
        websocket.recv(timeout=10)
        httpx.get(f"{url}/drafts/endless", trust_env=False)
        process.send_signal(sent)
        assert process.wait(timeout=20) in codes
        assert "Application shutdown complete." in (tmp_path / "log").read_text()
    assert ["log"] == [path.name for path in tmp_path.iterdir()], "the temporary database is gone"
