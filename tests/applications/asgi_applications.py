"""Applications of ASGI: Starlette's, FastAPI's, and one of its own."""

from __future__ import annotations

from tests.applications.application import Application
from tests.applications.normalising import DATES, TIMES, UUIDS, Rule
from tests.applications.seeded import ask, get
from tests.applications.wire import Conversation, Request

_RPC = {"Content_Type": "application/json", "Accept": "application/json, text/event-stream"}

DATASETTE = Application(
    name="datasette",
    command="datasette serve shop.db --host 127.0.0.1 --port {port} --secret fixed --setting sql_time_limit_ms 5000",
    files={
        "make.py": """import sqlite3
shop = sqlite3.connect("shop.db")
shop.execute("create table products (id integer primary key, name text, price real)")
shop.executemany("insert into products values (?, ?, ?)", [(n, f"product {n}", n / 4) for n in range(300)])
shop.commit()
"""
    },
    setup=("python make.py",),
    script=[
        ask("POST", "/-/permissions", b"x=1", Content_Type="application/x-www-form-urlencoded"),
        get("/-/logout"),
        get("/shop?sql=select+broken"),
        get("/shop.json?sql=select+count(*)+from+products"),
    ],
    reads=[
        get("/"),
        get("/.json"),
        get("/shop"),
        get("/shop/products"),
        get("/shop/products.json?_size=5&price__gt=3"),
        get("/shop/products.csv?_stream=on&_size=max"),
        get("/shop/products/7"),
        get("/shop/products/7.json?_shape=array"),
        get("/shop/products/999999"),
        get("/-/static/app.css"),
        get("/-/settings.json"),
        get("/-/plugins.json"),
        get("/shop.db"),
        get("/nothing"),
    ],
    routes=frozenset(
        {
            "/",
            "/-/logout",
            "/-/permissions",
            "/-/plugins",
            "/-/settings",
            "/-/static/{path}",
            "/{database}",
            "/{database}.db",
            "/{database}/{table}",
            "/{database}/{table}/{pks}",
        }
    ),
    commanded=True,
    rules=(
        DATES,
        Rule("tokens against forgery", r"(ds_csrftoken=|csrftoken\" value=\")[\w.=-]+", r"\1TOKEN"),
        Rule("milliseconds", r"(query_ms\": |Queries took |took )[\d.]+(e-\d+)?", r"\1MS"),
        Rule("lengths of what holds times", r"(?i)(content-length: )\d+", r"\1N"),
    ),
)


def _rpc(method: str, params: str, number: int = 1) -> Request:
    body = f'{{"jsonrpc": "2.0", "id": {number}, "method": "{method}", "params": {params}}}'
    return ask("POST", "/mcp", body.encode(), **_RPC)


SHOP_SERVER = """import logging
import sys

from mcp.server.mcpserver import MCPServer

server = MCPServer("shop", version="1")
log = logging.getLogger("shop")


@server.tool()
def add(a: int, b: int) -> int:
    log.warning("adding")
    return a + b


@server.tool()
async def fail(why: str) -> str:
    raise RuntimeError(why)


@server.resource("greeting://{name}")
def greeting(name: str) -> str:
    return f"Hello, {name}!"


@server.prompt()
def review(code: str) -> str:
    return f"Please review:\\n{code}"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run(transport="streamable-http", port=int(sys.argv[1]), stateless_http=True)
    else:
        server.run()
"""

INITIALIZE = (
    '{"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}'
)

MCP = Application(
    name="mcp",
    command="python server.py {port}",
    files={"server.py": SHOP_SERVER},
    script=[
        _rpc("initialize", INITIALIZE),
        get("/"),
        ask("POST", "/mcp", b"no json", **_RPC),
        ask("DELETE", "/mcp"),
    ],
    reads=[
        _rpc("tools/list", "{}"),
        _rpc("tools/call", '{"name": "add", "arguments": {"a": 1, "b": 2}}'),
        _rpc("tools/call", '{"name": "add", "arguments": {"a": "x", "b": 2}}'),
        _rpc("tools/call", '{"name": "fail", "arguments": {"why": "because"}}'),
        _rpc("resources/read", '{"uri": "greeting://you"}'),
        _rpc("prompts/get", '{"name": "review", "arguments": {"code": "1"}}'),
        _rpc("no/such", "{}"),
    ],
    routes=frozenset(
        {
            "/mcp",
        }
    ),
    rules=(DATES, UUIDS, TIMES, Rule("a time that is told once a second", r"^(\[TIME\])? ?INFO ", "INFO ")),
)

NICEGUI = Application(
    name="nicegui",
    command="python shop.py {port}",
    files={
        "shop.py": """import sys

from fastapi import Form, HTTPException, UploadFile
from fastapi.responses import StreamingResponse
from nicegui import app, ui


@ui.page("/")
def index() -> None:
    ui.label("Shop")
    ui.button("Buy", on_click=lambda: ui.notify("bought"))


@ui.page("/products/{number}")
async def product(number: int) -> None:
    ui.markdown(f"**product {number}**")


@ui.page("/broken")
def broken() -> None:
    raise RuntimeError("broken page")


@app.get("/api/products/{number}")
def read(number: int, verbose: bool = False) -> dict:
    return {"number": number, "verbose": verbose}


@app.get("/api/stream")
async def stream() -> StreamingResponse:
    async def rows():
        for row in range(50):
            yield f"row {row}\\n"

    return StreamingResponse(rows(), media_type="text/plain")


@app.post("/api/upload")
async def upload(file: UploadFile, name: str = Form("")) -> dict:
    return {"size": len(await file.read()), "name": name}


@app.get("/api/fail")
def fail() -> None:
    raise HTTPException(503, "not now")


app.add_static_files("/files", ".")
ui.run(host="127.0.0.1", port=int(sys.argv[1]), show=False, reload=False, storage_secret="fixed")
"""
    },
    script=[
        ask(
            "POST",
            "/api/upload",
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
            + b"\0\1\2" * 5000
            + b"\r\n--x--\r\n",
            Content_Type="multipart/form-data; boundary=x",
        ),
        ask("POST", "/api/upload", b"{}", Content_Type="application/json"),
    ],
    reads=[
        get("/"),
        get("/products/7"),
        get("/products/seven"),
        get("/broken"),
        get("/api/products/1?verbose=true"),
        get("/api/products/x"),
        get("/api/stream"),
        get("/api/fail"),
        get("/files/shop.py"),
        get("/files/none"),
        get("/openapi.json"),
        get("/_nicegui/none.js"),
    ],
    conversations=[
        Conversation(
            "/_nicegui_ws/socket.io/?EIO=4&transport=websocket", says=("40",), hears_first=1, hears_after=1
        ),
        Conversation("/no/such/websocket"),
        Conversation(
            "/_nicegui_ws/socket.io/?EIO=4&transport=websocket&client_id=none",
            says=("40{}", "2probe"),
            hears_first=1,
        ),
    ],
    routes=frozenset(
        {
            "/",
            "/files/{path:path}",
            "/products/{number}",
            "/api/products/{number}",
            "/api/stream",
            "/broken",
            "/api/fail",
            "/_nicegui_ws/{path}",
            "/api/upload",
        }
    ),
    noise=r"unable to perform operation on <TCPTransport closed",
    # FastAPI emits these by the OpenTelemetry API, for whoever has a provider.
    rules=(
        DATES,
        UUIDS,
        Rule("cookies of the session", r"session=[^;]+", "session=COOKIE"),
        Rule("random names", r"\"sid\":\"[\w-]+\"", '"sid":"SID"'),
        Rule("milliseconds", r"\b\d{10}\.\d+\b", "SECONDS"),
        Rule("keys of websockets", r"(?i)(sec-websocket-accept: )\S+", r"\1KEY"),
        TIMES,
    ),
)
