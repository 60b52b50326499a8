"""Which trace a request is in, and that it ends, by real servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.e2e.launching import SOON, launched
from tests.e2e.otlp import Receiver, receiving
from tests.waiting import until

pytestmark = pytest.mark.e2e


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def sent_to(receiver: Receiver) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "OTEL_SERVICE_NAME": "shop", **SOON}


def servers(receiver: Receiver, count: int) -> list[tuple[str, str]]:
    """Trace and parent of each server span, once there are that many."""
    until(lambda: len([span for span in receiver.spans() if span.kind == "server"]) >= count)
    return [(span.trace_id, span.parent_id) for span in receiver.spans() if span.kind == "server"]


def test_requests_of_a_command_that_is_traced_are_traces_of_their_own(
    tmp_path: Path, receiver: Receiver
) -> None:
    with launched(
        tmp_path, "python -m within_command {port}", env=sent_to(receiver), path="/items/0"
    ) as program:
        for _ in range(3):
            assert 200 == program.get("/items/0").status_code
        found = servers(receiver, 4)
    assert 4 == len({trace_id for trace_id, _ in found}) == len(found)
    assert {""} == {parent for _, parent in found}


@pytest.mark.parametrize(
    "command", ["python -m socketio_app {port}", "gunicorn socketio_app:app --bind 127.0.0.1:{port}"]
)
def test_a_middleware_that_copies_the_environ_leaves_routes_as_they_are(tmp_path: Path, command: str) -> None:
    with launched(tmp_path, command) as program:
        for number in range(3):
            assert str(number) == program.get(f"/items/{number}").text
            assert str(number) == program.get(f"/shop/orders/{number}").text
        assert 404 == program.get("/nothing").status_code

        def routes() -> dict[str, float]:
            found = program.metrics().items()
            return {
                name.partition('route="')[2].partition('"')[0]: count
                for name, count in found
                if name.startswith("bext_requests_total")
            }

        until(lambda: 8 <= sum(routes().values()))
        # The first request asked whether the server is there.
        assert {"/items/<int:item>": 4, "/shop/orders/<int:order>": 3, "unmatched": 1} == routes()


@pytest.mark.parametrize(
    "command", ["daphne -p {port} channels_app:application", "uvicorn channels_app:application --port {port}"]
)
def test_a_websocket_through_channels_is_a_span_with_its_route(
    tmp_path: Path, receiver: Receiver, command: str
) -> None:
    for needed in ("channels", command.split(maxsplit=1)[0]):
        pytest.importorskip(needed)
    with launched(tmp_path, command, env=sent_to(receiver)) as program:
        address = program.url.replace("http", "ws")
        with connect(f"{address}/ws/tea/", proxy=None) as connection:
            connection.send("hi")
            assert "hi" == connection.recv()
        servers(receiver, 2)
        request, websocket = sorted(
            (span for span in receiver.spans() if span.kind == "server"), key=lambda span: span.name
        )
        assert ["GET /items/<item>", "GET /ws/<str:room>/"] == [request.name, websocket.name]
        assert 101 == websocket.attributes["http.response.status_code"]
        assert request.trace_id != websocket.trace_id
        shown = program.metrics()
    assert 1 == shown['bext_requests_total{app="shop",method="GET",status="101",route="/ws/<str:room>/"}']
