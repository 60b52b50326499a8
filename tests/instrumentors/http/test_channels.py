"""Channels: websockets that do not pass by Django's handlers, and routers around these."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.urls import path, re_path

from bext_otel.catalogue import REQUESTS
from bext_otel_instrumentors.http.channels import ChannelsInstrumentor
from bext_otel_instrumentors.http.django import DjangoInstrumentor
from tests.instrumentors import django_project
from tests.instrumentors.conftest import Telemetry
from tests.instrumentors.driving import ask, http_scope

assert django_project.urlpatterns  # settings, before Channels reads them
routing = pytest.importorskip("channels.routing")


@pytest.fixture
def instrumented(telemetry: Telemetry) -> Iterator[Telemetry]:
    DjangoInstrumentor().instrument()
    ChannelsInstrumentor().instrument()
    yield telemetry
    ChannelsInstrumentor().uninstrument()
    DjangoInstrumentor().uninstrument()


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await receive()


async def events(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"data: 1"})


class Denying:
    """A middleware that lets nobody in."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.close", "code": 4401})


def application(*around: Any) -> Any:
    router: Any = routing.URLRouter(
        [
            path("ws/<str:room>/", echo),
            re_path(r"^old/(?P<room>\w+)/$", echo),
            path("nested/", routing.URLRouter([path("<int:room>/", echo)])),
        ]
    )
    for wrap in around:
        router = wrap(router)
    return routing.ProtocolTypeRouter(
        {
            "http": routing.URLRouter([path("events/", events), re_path(r"", ASGIHandler())]),
            "websocket": router,
        }
    )


def connect(app: Any, path: str, root: str = "") -> list[str]:
    """What kinds of messages were sent."""
    scope = http_scope(f"{root}{path}", root_path=root) | {"type": "websocket", "scheme": "ws"}
    del scope["method"]
    sent: list[str] = []
    queue = [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1001}]

    async def receive() -> dict[str, Any]:
        return queue.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message["type"])

    asyncio.run(app(scope, receive, send))
    return sent


@pytest.mark.parametrize(
    ("asked", "route"),
    [
        ("/ws/tea/", "/ws/<str:room>/"),
        ("/old/tea/", r"/old/(?P<room>\w+)/"),
        ("/nested/7/", "/nested/<int:room>/"),
    ],
)
@pytest.mark.parametrize("root", ["", "/shop"])
def test_a_websocket_is_a_span_with_the_route_of_the_router(
    instrumented: Telemetry, asked: str, route: str, root: str
) -> None:
    assert ["websocket.accept"] == connect(application(), asked, root)
    assert f"GET {root}{route}" == instrumented.server().name
    assert (101, 1001) == tuple(
        instrumented.attributes()[name] for name in ("http.response.status_code", "websocket.close_code")
    )
    assert {("shop", "GET", "101", root + route): 1} == instrumented.counts(REQUESTS)


def test_one_that_a_middleware_denies_has_its_route_too(instrumented: Telemetry) -> None:
    assert ["websocket.close"] == connect(application(Denying), "/nested/7/")
    assert {("shop", "GET", "403", "/nested/<int:room>/"): 1} == instrumented.counts(REQUESTS)


def test_one_that_no_route_takes_is_unmatched(instrumented: Telemetry) -> None:
    with pytest.raises(ValueError, match="No route found"):
        connect(application(), "/nothing/here/")
    assert {("shop", "GET", "500", "unmatched"): 1} == instrumented.counts(REQUESTS)


@pytest.mark.parametrize(
    ("asked", "route", "status"),
    [
        ("/items/7/", "/items/<int:item>/", 200),
        ("/events/", "/events/", 200),
        ("/nothing/", "unmatched", 404),
    ],
)
def test_a_request_through_a_router_is_one_span_with_the_innermost_route(
    instrumented: Telemetry, asked: str, route: str, status: int
) -> None:
    assert status == ask(application(), asked).status
    assert instrumented.server()
    assert {("shop", "GET", str(status), route): 1} == instrumented.counts(REQUESTS)


def test_undone_a_websocket_passes_untouched(telemetry: Telemetry) -> None:
    ChannelsInstrumentor().instrument()
    ChannelsInstrumentor().uninstrument()
    assert ["websocket.accept"] == connect(application(), "/ws/tea/")
    assert [] == telemetry.spans()
