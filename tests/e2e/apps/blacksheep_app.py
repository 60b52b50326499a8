"""A BlackSheep application: a mounted one, a stream, an upload, a websocket, files and an error."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from blacksheep import (
    Application,
    Content,
    Request,
    Response,
    StreamedContent,
    WebSocket,
    get,
    post,
    text,
    ws,
)
from blacksheep.exceptions import Forbidden
from blacksheep.server.routing import Router

app = Application(router=Router())
inner = Application(router=Router())
get, post, ws = app.router.get, app.router.post, app.router.ws


@get("/first")
async def first() -> Response:
    return text("tea")


@get("/tea/{int:number}")
async def tea(number: int) -> Response:
    return text(f"tea {number}")


@post("/uploads/:name")
async def upload(request: Request, name: str) -> Response:
    return text(str(len(await request.read() or b"")))


@get("/stream")
async def stream() -> Response:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"abc"

    return Response(200, content=StreamedContent(b"text/plain", parts))


@get("/fails")
async def fails() -> Response:
    raise LookupError("no tea")


@get("/forbidden")
async def forbidden() -> Response:
    raise Forbidden("no")


@ws("/rooms/{room}")
async def room(websocket: WebSocket, room: str) -> None:
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())
    await websocket.close()


@inner.router.get("/users/{name}")
async def user(name: str) -> Response:
    return Response(200, content=Content(b"text/plain", name.encode()))


app.mount("/inner", inner)
app.serve_files(Path(__file__).parent, root_path="static", extensions={".py"})
