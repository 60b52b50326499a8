"""MCP servers, which are Starlette's: streamable HTTP and SSE come out by their routes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from bext_otel.catalogue import REQUESTS
from bext_otel_instrumentors.http.starlette import StarletteInstrumentor
from tests.instrumentors.conftest import Telemetry, instrumented_by

pytestmark = pytest.mark.filterwarnings("ignore")
server_of = pytest.importorskip("mcp.server")

instrumented = instrumented_by(StarletteInstrumentor)

ACCEPT = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-03-26",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}


def server() -> Any:
    kind = getattr(server_of, "MCPServer", None) or server_of.FastMCP
    made = kind("shop")
    made.tool()(add)
    return made


def add(a: int, b: int) -> int:
    """The sum."""
    return a + b


def test_streamable_http_is_one_route(instrumented: Telemetry) -> None:
    with TestClient(server().streamable_http_app(), base_url="http://127.0.0.1:8000") as client:
        assert 200 == client.post("/mcp", content=json.dumps(INITIALIZE), headers=ACCEPT).status_code
        assert 404 == client.get("/elsewhere").status_code
    found = {labels[1:]: count for labels, count in instrumented.counts(REQUESTS).items()}
    assert {("POST", "200", "/mcp"): 1, ("GET", "404", "unmatched"): 1} == found


def test_messages_beside_a_stream_of_events_are_one_route(instrumented: Telemetry) -> None:
    with TestClient(server().sse_app(), base_url="http://127.0.0.1:8000") as client:
        answers = [
            client.post(f"/messages/?session_id={number:032x}", json=INITIALIZE) for number in range(2)
        ]
    assert {404} == {answer.status_code for answer in answers}
    assert {"/messages/{path}"} == {labels[3].replace("//", "/") for labels in instrumented.counts(REQUESTS)}
