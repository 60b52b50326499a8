"""An ASGI application of no framework, as a function; `make` is its factory, `behind` has Starlette inside of
a middleware that nobody knows."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "tea"})
        await send({"type": "websocket.close"})
        return
    assert scope["type"] == "http"
    if scope["path"] == "/fails":
        raise LookupError("no tea")
    length = 0
    while True:
        message = await receive()
        length += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    for part in (b"tea ", str(length).encode()):
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body"})


def make() -> Any:
    return app


def never() -> Any:
    raise LookupError("no application")


async def item(request: Any) -> PlainTextResponse:
    return PlainTextResponse(request.path_params["item"])


framework = Starlette(routes=[Route("/items/{item}", item)])


async def behind(scope: Any, receive: Any, send: Any) -> None:
    await framework(dict(scope), receive, send)
