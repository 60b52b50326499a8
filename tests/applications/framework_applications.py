"""Applications of frameworks, of a dozen routes each: templates, mounts, static files, an upload, a stream, a websocket where
the framework has one, exceptions that are handled and others. All from one environment."""

from __future__ import annotations

from tests.applications.application import Application
from tests.applications.normalising import DATES, TIMES, UUIDS, Rule
from tests.applications.seeded import ask, get
from tests.applications.wire import Conversation, Request

_ENVIRONMENT = "frameworks"
_CSS = {"static/shop.css": "body { color: teal }\n" * 50}
_WEBSOCKET_KEY = Rule("keys of websockets", r"(?i)(sec-websocket-accept: )\S+", r"\1KEY")
# Of a file, which each run has its own copy of.
_FILE_TAG = Rule("tags of files", r'(?i)(etag: )(W/)?"[^"]+"', r"\1TAG")
_RULES = (DATES, TIMES, UUIDS, _WEBSOCKET_KEY, _FILE_TAG)

_FORM = (
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
    + b"\0\1\2" * 5000
    + b"\r\n--x--\r\n"
)


def _script(*more: Request) -> list[Request]:
    """What every one of them is asked once."""
    return [
        ask("POST", "/items", b'{"name": "tea"}', Content_Type="application/json"),
        ask("POST", "/items", b"no json", Content_Type="application/json"),
        ask("PUT", "/items/1", b'{"name": "green tea"}', Content_Type="application/json"),
        ask("DELETE", "/items/1"),
        ask("POST", "/uploads/a.bin", b"\0\1\2" * 30_000),
        ask("POST", "/uploads/b.bin", (b"chunk", b"ed" * 9000)),
        *more,
    ]


def _reads(*more: Request) -> list[Request]:
    """What every one of them is asked in many manners."""
    return [
        get("/"),
        get("/items"),
        get("/items/7"),
        get("/items/seven"),
        get("/search?q=tea&page=2", Accept="application/json"),
        get("/stream"),
        get("/old"),
        get("/handled"),
        get("/fail"),
        get("/teapot"),
        get("/static/shop.css"),
        get("/static/none.css"),
        *more,
    ]


LITESTAR = Application(
    name="litestar",
    environment=_ENVIRONMENT,
    command="uvicorn shop:app --host 127.0.0.1 --port {port}",
    files={
        **_CSS,
        "shop.py": """from litestar import Controller, Litestar, Request, Response, Router, WebSocket, asgi, delete, get, post, put, websocket
from litestar.exceptions import HTTPException, NotFoundException
from litestar.response import Redirect, Stream
from litestar.static_files import create_static_files_router
from litestar.types import Receive, Scope, Send


class Items(Controller):
    path = "/items"

    @get()
    async def listed(self) -> list[int]:
        return [1, 7]

    @post()
    async def made(self, data: dict) -> dict:
        return data

    @get("/{number:int}")
    async def one(self, number: int) -> dict:
        return {"number": number}

    @put("/{number:int}")
    async def changed(self, number: int, data: dict) -> dict:
        return {"number": number, **data}

    @delete("/{number:int}")
    async def removed(self, number: int) -> None:
        return None


@get("/")
async def index() -> str:
    return "shop"


@get("/search", sync_to_thread=True)
def search(q: str = "", page: int = 1) -> dict:
    return {"q": q, "page": page}


@post("/uploads/{name:str}")
async def upload(name: str, request: Request) -> dict:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
    return {"name": name, "size": size}


@get("/stream")
async def stream() -> Stream:
    async def rows():
        for row in range(50):
            yield f"row {row}\\n"

    return Stream(rows(), media_type="text/plain")


@get("/old")
async def old() -> Redirect:
    return Redirect("/items")


class Empty(Exception):
    pass


@get("/handled")
async def handled() -> None:
    raise Empty


def sold_out(request: Request, error: Exception) -> Response:
    return Response({"error": "sold out"}, status_code=503)


@get("/fail")
async def fail() -> None:
    raise LookupError("lost")


@get("/teapot")
async def teapot() -> None:
    raise HTTPException("short and stout", status_code=418)


@websocket("/rooms/{room:str}")
async def room(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_data():
        await socket.send_text(f"{socket.path_params['room']}: {text}")


@asgi("/legacy", is_mount=True, copy_scope=True)
async def legacy(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"legacy"})


app = Litestar(
    [
        index, search, upload, stream, old, handled, fail, teapot, room, legacy, Items,
        Router("/v1", route_handlers=[Items]),
        create_static_files_router("/static", ["static"]),
    ],
    exception_handlers={Empty: sold_out},
)
""",
    },
    script=_script(),
    reads=_reads(get("/v1/items/7"), get("/legacy/a/b"), get("/schema/openapi.json")),
    conversations=[Conversation("/rooms/blue", says=("a", "b"), hears_after=2), Conversation("/rooms")],
    routes=frozenset(
        {
            "/",
            "/items",
            "/items/{number}",
            "/search",
            "/uploads/{name}",
            "/stream",
            "/old",
            "/handled",
            "/fail",
            "/teapot",
            "/rooms/{room}",
            "/v1/items/{number}",
            "/legacy/{path}",
            "/static/{file_path}",
            "/schema/openapi.json",
        }
    ),
    noise=r"socket\.send\(\) raised exception",
    # Its set of methods has no order.
    rules=(*_RULES, Rule("methods", r"(?m)^(allow: ).*$", r"\1METHODS")),
)

FALCON = Application(
    name="falcon",
    environment=_ENVIRONMENT,
    command="gunicorn --workers 2 --threads 2 --bind 127.0.0.1:{port} shop:app",
    files={
        **_CSS,
        "shop.py": """import pathlib

import falcon


class Index:
    def on_get(self, req, resp):
        resp.text = "shop"


class Items:
    def on_get(self, req, resp):
        resp.media = [1, 7]

    def on_post(self, req, resp):
        resp.media = req.get_media()
        resp.status = 201


class Item:
    def on_get(self, req, resp, number):
        resp.media = {"number": number}

    def on_put(self, req, resp, number):
        resp.media = {"number": number, **req.get_media()}

    def on_delete(self, req, resp, number):
        resp.status = 204


class Search:
    def on_get(self, req, resp):
        resp.media = {"q": req.get_param("q"), "page": req.get_param_as_int("page", default=1)}


class Upload:
    def on_post(self, req, resp, name):
        resp.media = {"name": name, "size": len(req.bounded_stream.read())}


class Stream:
    def on_get(self, req, resp):
        resp.content_type = "text/plain"
        resp.stream = (f"row {row}\\n".encode() for row in range(50))


class Old:
    def on_get(self, req, resp):
        raise falcon.HTTPFound("/items")


class Empty(Exception):
    pass


class Handled:
    def on_get(self, req, resp):
        raise Empty


class Fail:
    def on_get(self, req, resp):
        raise LookupError("lost")


class Teapot:
    def on_get(self, req, resp):
        raise falcon.HTTPError(418, title="short and stout")


class Owned:
    def process_response(self, req, resp, resource, succeeded):
        resp.set_header("X-Route", req.uri_template or "none")


def sold_out(req, resp, error, params):
    resp.status = 503
    resp.media = {"error": "sold out"}


def sink(req, resp, path):
    resp.text = f"archived {path}"


app = falcon.App(middleware=[Owned()])
for path, resource in {
    "/": Index(), "/items": Items(), "/items/{number:int}": Item(), "/search": Search(), "/uploads/{name}": Upload(),
    "/stream": Stream(), "/old": Old(), "/handled": Handled(), "/fail": Fail(), "/teapot": Teapot(),
}.items():
    app.add_route(path, resource)
app.add_error_handler(Empty, sold_out)
app.add_sink(sink, r"/archive/(?P<path>.+)")
app.add_static_route("/static", pathlib.Path("static").resolve())
""",
    },
    script=_script(),
    reads=_reads(get("/archive/2020/tea")),
    routes=frozenset(
        {
            "/",
            "/items",
            "/items/{number:int}",
            "/search",
            "/uploads/{name}",
            "/stream",
            "/old",
            "/handled",
            "/fail",
            "/teapot",
            "/archive/{path}",
            "/static/{path}",
        }
    ),
    rules=_RULES,
)

FALCON_ASGI = Application(
    name="falcon-asgi",
    environment=_ENVIRONMENT,
    command="uvicorn shop:app --host 127.0.0.1 --port {port}",
    files={
        **_CSS,
        "shop.py": """import pathlib

import falcon
import falcon.asgi


class Index:
    async def on_get(self, req, resp):
        resp.text = "shop"


class Items:
    async def on_get(self, req, resp):
        resp.media = [1, 7]

    async def on_post(self, req, resp):
        resp.media = await req.get_media()
        resp.status = 201


class Item:
    async def on_get(self, req, resp, number):
        resp.media = {"number": number}

    async def on_put(self, req, resp, number):
        resp.media = {"number": number, **await req.get_media()}

    async def on_delete(self, req, resp, number):
        resp.status = 204


class Search:
    async def on_get(self, req, resp):
        resp.media = {"q": req.get_param("q"), "page": req.get_param_as_int("page", default=1)}


class Upload:
    async def on_post(self, req, resp, name):
        size = 0
        async for chunk in req.stream:
            size += len(chunk)
        resp.media = {"name": name, "size": size}


class Stream:
    async def on_get(self, req, resp):
        async def rows():
            for row in range(50):
                yield f"row {row}\\n".encode()

        resp.content_type = "text/plain"
        resp.stream = rows()


class Old:
    async def on_get(self, req, resp):
        raise falcon.HTTPFound("/items")


class Empty(Exception):
    pass


class Handled:
    async def on_get(self, req, resp):
        raise Empty


class Fail:
    async def on_get(self, req, resp):
        raise LookupError("lost")


class Teapot:
    async def on_get(self, req, resp):
        raise falcon.HTTPError(418, title="short and stout")


class Room:
    async def on_websocket(self, req, ws, room):
        await ws.accept()
        while True:
            try:
                await ws.send_text(f"{room}: {await ws.receive_text()}")
            except falcon.WebSocketDisconnected:
                return


async def sold_out(req, resp, error, params, ws=None):
    resp.status = 503
    resp.media = {"error": "sold out"}


app = falcon.asgi.App()
for path, resource in {
    "/": Index(), "/items": Items(), "/items/{number:int}": Item(), "/search": Search(), "/uploads/{name}": Upload(),
    "/stream": Stream(), "/old": Old(), "/handled": Handled(), "/fail": Fail(), "/teapot": Teapot(), "/rooms/{room}": Room(),
}.items():
    app.add_route(path, resource)
app.add_error_handler(Empty, sold_out)
app.add_static_route("/static", pathlib.Path("static").resolve())
""",
    },
    script=_script(),
    reads=_reads(),
    conversations=[Conversation("/rooms/blue", says=("a", "b"), hears_after=2), Conversation("/rooms")],
    routes=frozenset(
        {
            "/",
            "/items",
            "/items/{number:int}",
            "/search",
            "/uploads/{name}",
            "/stream",
            "/old",
            "/handled",
            "/fail",
            "/teapot",
            "/rooms/{room}",
            "/static/{path}",
        }
    ),
    rules=_RULES,
)

PYRAMID = Application(
    name="pyramid",
    environment=_ENVIRONMENT,
    command="waitress-serve --listen=127.0.0.1:{port} --ident= shop:app",
    files={
        **_CSS,
        "shop.py": """from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPFound, HTTPNotFound, HTTPServiceUnavailable, status_map
from pyramid.response import FileResponse, Response
from pyramid.view import exception_view_config, notfound_view_config, view_config


class Shelf(dict):
    pass


class Book:
    def __init__(self, name):
        self.name = name


def root(request):
    return Shelf(books=Shelf(tea=Book("tea"), cups=Book("cups")))


@view_config(route_name="index", renderer="string")
def index(request):
    return "shop"


@view_config(route_name="items", request_method="GET", renderer="json")
def listed(request):
    return [1, 7]


@view_config(route_name="items", request_method="POST", renderer="json")
def made(request):
    return request.json_body


@view_config(route_name="item", request_method="GET", renderer="json")
def one(request):
    return {"number": int(request.matchdict["number"])}


@view_config(route_name="item", request_method="PUT", renderer="json")
def changed(request):
    return {"number": request.matchdict["number"], **request.json_body}


@view_config(route_name="item", request_method="DELETE")
def removed(request):
    return Response(status=204)


@view_config(route_name="search", renderer="json")
def search(request):
    return dict(request.params)


@view_config(route_name="upload", renderer="json")
def upload(request):
    return {"name": request.matchdict["name"], "size": len(request.body)}


@view_config(route_name="stream")
def stream(request):
    return Response(app_iter=(f"row {row}\\n".encode() for row in range(50)), content_type="text/plain")


@view_config(route_name="old")
def old(request):
    raise HTTPFound("/items")


class Empty(Exception):
    pass


@view_config(route_name="handled")
def handled(request):
    raise Empty


@exception_view_config(Empty)
def sold_out(error, request):
    return HTTPServiceUnavailable()


@view_config(route_name="fail")
def fail(request):
    raise LookupError("lost")


@view_config(route_name="teapot")
def teapot(request):
    return Response("short and stout", status=418)


@view_config(context=Book)
def book(context, request):
    return Response(context.name)


@view_config(context=Book, name="edit")
def edit(context, request):
    return Response(f"edit {context.name}")


@notfound_view_config(append_slash=True)
def missing(request):
    return HTTPNotFound()


def timed(handler, registry):
    def tween(request):
        response = handler(request)
        response.headers["X-Tween"] = "passed"
        return response

    return tween


with Configurator(root_factory=root) as config:
    for name, pattern in {
        "index": "/", "items": "/items", "item": r"/items/{number:\\d+}", "search": "/search", "upload": "/uploads/{name}",
        "stream": "/stream", "old": "/old", "handled": "/handled", "fail": "/fail", "teapot": "/teapot",
    }.items():
        config.add_route(name, pattern)
    config.add_static_view("static", "static")
    config.add_tween("shop.timed")
    config.scan("shop")
    app = config.make_wsgi_app()
""",
    },
    script=_script(),
    reads=_reads(get("/books/tea"), get("/books/cups/edit"), get("/books/none")),
    routes=frozenset(
        {
            "/",
            "/items",
            r"/items/{number:\d+}",
            "/search",
            "/uploads/{name}",
            "/stream",
            "/old",
            "/handled",
            "/fail",
            "/teapot",
            "/{Book}/",
            "/{Book}/edit",
            "/static/*subpath",
        }
    ),
    rules=_RULES,
)

AIOHTTP = Application(
    name="aiohttp",
    environment=_ENVIRONMENT,
    command="python shop.py {port}",
    files={
        **_CSS,
        "shop.py": """import logging
import sys

from aiohttp import web

routes = web.RouteTableDef()


@routes.get("/")
async def index(request):
    return web.Response(text="shop")


@routes.view("/items")
class Items(web.View):
    async def get(self):
        return web.json_response([1, 7])

    async def post(self):
        return web.json_response(await self.request.json())


@routes.get(r"/items/{number:\\d+}")
async def one(request):
    return web.json_response({"number": int(request.match_info["number"])})


@routes.put(r"/items/{number:\\d+}")
async def changed(request):
    return web.json_response({"number": 1, **await request.json()})


@routes.delete(r"/items/{number:\\d+}")
async def removed(request):
    return web.Response(status=204)


@routes.get("/search")
async def search(request):
    return web.json_response(dict(request.query))


@routes.post("/uploads/{name}")
async def upload(request):
    size = 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
    return web.json_response({"name": request.match_info["name"], "size": size})


@routes.get("/stream")
async def stream(request):
    response = web.StreamResponse()
    response.enable_chunked_encoding() if request.version >= (1, 1) else None
    await response.prepare(request)
    for row in range(50):
        await response.write(f"row {row}\\n".encode())
    await response.write_eof()
    return response


@routes.get("/old")
async def old(request):
    raise web.HTTPFound("/items")


class Empty(Exception):
    pass


@routes.get("/handled")
async def handled(request):
    raise Empty


@routes.get("/fail")
async def fail(request):
    raise LookupError("lost")


@routes.get("/teapot")
async def teapot(request):
    return web.Response(text="short and stout", status=418)


@routes.get("/rooms/{room}")
async def room(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(f"{request.match_info['room']}: {message.data}")
    return socket


@web.middleware
async def sold_out(request, handler):
    try:
        return await handler(request.clone(headers=request.headers) if "clone" in request.query else request)
    except Empty:
        return web.json_response({"error": "sold out"}, status=503)


async def order(request):
    return web.Response(text=f"order {request.match_info['order']}")


admin = web.Application()
admin.router.add_get("/orders/{order}", order)
app = web.Application(middlewares=[sold_out])
app.add_routes(routes)
app.router.add_static("/static", "static")
app.add_subapp("/admin", admin)
logging.basicConfig(level=logging.INFO)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
""",
    },
    script=_script(),
    reads=_reads(get("/admin/orders/7"), get("/admin/none"), get("/search?clone=1")),
    conversations=[Conversation("/rooms/blue", says=("a", "b"), hears_after=2), Conversation("/rooms")],
    routes=frozenset(
        {
            "/",
            "/items",
            "/items/{number}",
            "/search",
            "/uploads/{name}",
            "/stream",
            "/old",
            "/handled",
            "/fail",
            "/teapot",
            "/rooms/{room}",
            "/static/{filename}",
            "/admin/orders/{order}",
        }
    ),
    # Of a client that has left, which the server hears sooner or later.
    noise=r"Error handling request from",
    rules=_RULES,
)

TORNADO = Application(
    name="tornado",
    environment=_ENVIRONMENT,
    command="python shop.py {port}",
    files={
        **_CSS,
        "shop.py": """import asyncio
import json
import sys

from tornado import options, routing, web, websocket


class Index(web.RequestHandler):
    def get(self):
        self.write("shop")


class Items(web.RequestHandler):
    def get(self):
        self.write({"items": [1, 7]})

    def post(self):
        self.write(json.loads(self.request.body))


class Item(web.RequestHandler):
    def get(self, number):
        self.write({"number": int(number)})

    async def put(self, number):
        await asyncio.sleep(0)
        self.write({"number": number, **json.loads(self.request.body)})

    def delete(self, number):
        self.set_status(204)


class Search(web.RequestHandler):
    def get(self):
        self.write({"q": self.get_query_argument("q", ""), "page": int(self.get_query_argument("page", "1"))})


@web.stream_request_body
class Upload(web.RequestHandler):
    def prepare(self):
        self.size = 0

    def data_received(self, chunk):
        self.size += len(chunk)

    def post(self, name):
        self.write({"name": name, "size": self.size})


class Stream(web.RequestHandler):
    async def get(self):
        for row in range(50):
            self.write(f"row {row}\\n")
            await self.flush()


class Old(web.RequestHandler):
    def get(self):
        self.redirect("/items")


class Handled(web.RequestHandler):
    def get(self):
        raise web.HTTPError(503, reason="Sold out")


class Fail(web.RequestHandler):
    def get(self):
        raise LookupError("lost")


class Teapot(web.RequestHandler):
    def get(self):
        self.set_status(418)
        self.finish("short and stout")


class Room(websocket.WebSocketHandler):
    def open(self, room):
        self.room = room

    def on_message(self, message):
        return self.write_message(f"{self.room}: {message}")


class Missing(web.RequestHandler):
    def prepare(self):
        self.set_status(404)
        self.finish("nothing here")


admin = web.Application([(r"/admin/orders/(?P<order>\\w+)", Items)])
app = web.Application(
    [
        (r"/", Index), (r"/items", Items), (r"/items/(?P<number>\\d+)", Item), (r"/search", Search),
        (r"/uploads/(?P<name>[^/]+)", Upload), (r"/stream", Stream), (r"/old", Old), (r"/handled", Handled),
        (r"/fail", Fail), (r"/teapot", Teapot), (r"/rooms/(?P<room>\\w+)", Room),
        (r"/moved/(.*)", web.RedirectHandler, {"url": "/items/{0}"}),
        routing.Rule(routing.PathMatches(r"/admin/.*"), admin),
    ],
    static_path="static",
    default_handler_class=Missing,
)


async def main():
    options.parse_command_line(["shop"])
    app.listen(int(sys.argv[1]), "127.0.0.1", max_body_size=1_000_000)
    await asyncio.Event().wait()


asyncio.run(main())
""",
    },
    script=_script(get("/moved/7")),
    reads=_reads(get("/admin/orders/7"), get("/admin/none")),
    conversations=[Conversation("/rooms/blue", says=("a", "b"), hears_after=2), Conversation("/rooms")],
    routes=frozenset(
        {
            "/",
            "/items",
            "/items/{number}",
            "/search",
            "/uploads/{name}",
            "/stream",
            "/old",
            "/handled",
            "/fail",
            "/teapot",
            "/rooms/{room}",
            "/moved/{arg1}",
            "/static/{arg1}",
            "/admin/orders/{order}",
        }
    ),
    # Where a client has left, which the server hears sooner or later.
    noise=r"Cannot send error response after headers written",
    rules=_RULES,
)

DASH = Application(
    name="dash",
    environment=_ENVIRONMENT,
    command="gunicorn --threads 2 --bind 127.0.0.1:{port} shop:server",
    files={
        "assets/shop.css": "body { color: teal }\n",
        "pages/home.py": """import dash
from dash import Input, Output, callback, dcc, html

dash.register_page(__name__, path="/")
layout = html.Div([dcc.Input(id="number", value="1"), html.Div(id="said")])


@callback(Output("said", "children"), Input("number", "value"))
def say(value):
    if value == "fail":
        raise LookupError("lost")
    return f"said {value}"
""",
        "pages/product.py": """import dash
from dash import html

dash.register_page(__name__, path_template="/products/<number>")


def layout(number=None, **_):
    return html.Div(f"product {number}")
""",
        "shop.py": """import dash

app = dash.Dash(__name__, use_pages=True, serve_locally=True)
app.layout = dash.html.Div([dash.page_container])
server = app.server


@server.get("/api/<int:number>")
def api(number):
    return {"number": number}
""",
    },
    script=[
        ask(
            "POST",
            "/_dash-update-component",
            b'{"output": "said.children", "outputs": {"id": "said", "property": "children"}, "changedPropIds":'
            b' ["number.value"], "inputs": [{"id": "number", "property": "value", "value": "%s"}]}' % value,
            Content_Type="application/json",
        )
        for value in (b"7", b"fail")
    ],
    reads=[
        get("/"),
        get("/products/7"),
        get("/none/such"),
        get("/_dash-layout"),
        get("/_dash-dependencies"),
        get("/assets/shop.css"),
        get("/assets/none.css"),
        get("/api/7"),
        get("/_favicon.ico"),
    ],
    routes=frozenset(
        {
            "/",
            "/<path:path>",
            "/_dash-dependencies",
            "/_dash-layout",
            "/_dash-update-component",
            "/_favicon.ico",
            "/api/<int:number>",
            "/assets/<path:filename>",
        }
    ),
    rules=(*_RULES, Rule("random ids of pages", r'"end_id":"[^"]+"', '"end_id":"ID"')),
)

GRADIO = Application(
    name="gradio",
    command="uvicorn shop:app --host 127.0.0.1 --port {port}",
    files={
        "shop.py": """import gradio
from fastapi import FastAPI

app = FastAPI()


@app.get("/api/{number}")
def api(number: int) -> dict:
    return {"number": number}


def greet(name):
    if name == "fail":
        raise LookupError("lost")
    return f"Hello, {name}!"


demo = gradio.Interface(fn=greet, inputs="text", outputs="text", api_name="greet")
app = gradio.mount_gradio_app(app, demo, path="/ui")
"""
    },
    variables={"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"},
    script=[
        ask("POST", "/ui/gradio_api/run/greet", b'{"data": ["tea"]}', Content_Type="application/json"),
        ask("POST", "/ui/gradio_api/run/greet", b'{"data": ["fail"]}', Content_Type="application/json"),
    ],
    reads=[
        get("/api/7"),
        get("/api/seven"),
        get("/ui/config"),
        get("/ui/gradio_api/info"),
        get("/ui/theme.css"),
        get("/ui/static/img/none.svg"),
        get("/none"),
    ],
    routes=frozenset(
        {
            "/api/{number}",
            "/ui/config",
            "/ui/gradio_api/info",
            "/ui/gradio_api/run/{api_name}",
            "/ui/static/{path:path}",
            "/ui/theme.css",
        }
    ),
    rules=(
        *_RULES,
        Rule("random ids of applications", r'(app_id":)\d+', r"\1ID"),
        Rule("seconds", r'(duration":)[\d.e-]+', r"\1SECONDS"),
        Rule("lengths of what holds times", r"(?i)(content-length: )\d+", r"\1N"),
    ),
)
