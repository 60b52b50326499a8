"""Applications of frameworks that turn what `/boom` raises into an answer, and log it themselves; `/body`
answers what it is sent. `python -m crashing_frameworks NAME PORT` serves those with a server of their own."""

from __future__ import annotations

import asyncio
import sys
from typing import Any


def boom() -> None:
    raise RuntimeError("out of coffee")


def flask_app() -> Any:
    import flask

    app = flask.Flask("shop")
    app.add_url_rule("/boom", "boom", boom)
    app.add_url_rule("/", "index", lambda: "ok")
    return app


def quart_app() -> Any:
    import quart

    app = quart.Quart("shop")

    @app.get("/boom")
    async def raising() -> None:
        boom()

    @app.get("/")
    async def index() -> str:
        return "ok"

    return app


def blacksheep_app() -> Any:
    from blacksheep import Application

    app = Application()

    @app.router.get("/boom")
    async def raising() -> None:
        boom()

    @app.router.get("/")
    async def index() -> str:
        return "ok"

    return app


def cherrypy_app() -> Any:
    import cherrypy

    class Root:
        @cherrypy.expose
        def boom(self) -> None:
            boom()

        @cherrypy.expose
        def index(self) -> str:
            return "ok"

    cherrypy.config.update({"environment": "embedded"})
    return cherrypy.tree.mount(Root(), "/")


def fastapi_app() -> Any:
    from fastapi import FastAPI

    app = FastAPI()
    app.add_api_route("/boom", boom)
    app.add_api_route("/", lambda: "ok")
    return app


def serve_aiohttp(port: int) -> None:
    from aiohttp import web

    async def raising(_: web.Request) -> web.Response:
        boom()
        return web.Response()

    async def index(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def body(request: web.Request) -> web.Response:
        return web.json_response({"got": await request.json(), "password": "hunter2"})

    app = web.Application()
    app.router.add_get("/boom", raising)
    app.router.add_get("/", index)
    app.router.add_post("/body", body)
    web.run_app(app, host="127.0.0.1", port=port)


def serve_tornado(port: int) -> None:
    import tornado.web

    class Raising(tornado.web.RequestHandler):
        def get(self) -> None:
            boom()

    class Index(tornado.web.RequestHandler):
        def get(self) -> None:
            self.write("ok")

        def post(self) -> None:
            self.write({"got": tornado.escape.json_decode(self.request.body), "password": "hunter2"})

    async def serving() -> None:
        app = tornado.web.Application([("/boom", Raising), ("/", Index), ("/body", Index)])
        app.listen(port, "127.0.0.1")
        await asyncio.Event().wait()

    asyncio.run(serving())


def serve_sanic(port: int) -> None:
    from sanic import Sanic, json, text

    app = Sanic("shop")

    @app.get("/boom")
    async def raising(_: Any) -> None:
        boom()

    @app.get("/")
    async def index(_: Any) -> Any:
        return text("ok")

    @app.post("/body")
    async def body(request: Any) -> Any:
        return json({"got": request.json, "password": "hunter2"})

    app.run(host="127.0.0.1", port=port, single_process=True)


if __name__ == "__main__":
    globals()[f"serve_{sys.argv[1]}"](int(sys.argv[2]))
