"""A Litestar application: templates, a mount, a stream, a websocket, static files and an error."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from litestar import Litestar, Request, Router, WebSocket, asgi, get, post, websocket
from litestar.response import Stream
from litestar.static_files import create_static_files_router
from litestar.types import Receive, Scope, Send


@get("/items/{item:int}")
async def item(request: Request) -> str:
    return str(request.path_params["item"])


@post("/uploads/{name:str}")
async def upload(request: Request) -> str:
    return str(len(await request.body()))


@get("/fail")
async def fail() -> None:
    raise LookupError("lost")


@get("/stream")
async def stream() -> Stream:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"abc"

    return Stream(chunks())


@websocket("/rooms/{room:str}")
async def room(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(await socket.receive_text())
    await socket.close()


@asgi("/legacy", is_mount=True, copy_scope=True)
async def legacy(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"legacy", "more_body": False})


app = Litestar(
    [
        item,
        upload,
        fail,
        stream,
        room,
        legacy,
        Router("/shop", route_handlers=[item]),
        create_static_files_router("/static", [str(Path(__file__).parent)]),
    ],
    openapi_config=None,
)
