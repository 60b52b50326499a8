"""A Sanic application: blueprints, a stream, an upload, a websocket, files and an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sanic import Blueprint, Sanic, text
from sanic.exceptions import Forbidden

app = Sanic("shop")
inner = Blueprint("users", url_prefix="/users")
outer = Blueprint.group(inner, url_prefix="/api", version=1)


@app.get("/first")
async def first(request: Any) -> Any:
    return text("tea")


@app.get("/tea/<number:int>")
async def tea(request: Any, number: int) -> Any:
    return text(f"tea {number}")


@app.post("/uploads/<name>")
async def upload(request: Any, name: str) -> Any:
    return text(str(len(request.body)))


@app.get("/stream")
async def stream(request: Any) -> None:
    response = await request.respond(content_type="text/plain")
    for _ in range(3):
        await response.send("abc")
    await response.eof()


@app.get("/fails")
async def fails(request: Any) -> Any:
    raise LookupError("no tea")


@app.get("/forbidden")
async def forbidden(request: Any) -> Any:
    raise Forbidden("no")


@inner.get("/<name>")
async def user(request: Any, name: str) -> Any:
    return text(name)


@app.websocket("/rooms/<room>")
async def room(request: Any, ws: Any, room: str) -> None:
    await ws.send(await ws.recv())


app.blueprint(outer)
app.static("/static", Path(__file__).parent, name="files")

if __name__ == "__main__":
    import sys

    app.run("127.0.0.1", int(sys.argv[1]), single_process=True, access_log=True)
