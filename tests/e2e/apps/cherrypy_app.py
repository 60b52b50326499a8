"""A CherryPy application: page handlers, arguments in the path, methods, files, a stream and an error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import cherrypy


@cherrypy.popargs("name")
class Users:
    @cherrypy.expose
    def index(self, name: str) -> str:
        return name

    @cherrypy.expose
    def orders(self, name: str) -> str:
        return name


@cherrypy.expose
class Resource:
    def GET(self, number: str) -> str:
        return number


class Root:
    users = Users()
    resource = Resource()
    _cp_config = {"tools.trailing_slash.on": False}

    @cherrypy.expose
    def index(self) -> str:
        return "tea"

    @cherrypy.expose
    def first(self) -> str:
        return "tea"

    @cherrypy.expose
    def tea(self, number: str) -> str:
        return f"tea {number}"

    @cherrypy.expose
    def files(self, *path: str) -> str:
        return "/".join(path)

    @cherrypy.expose
    def uploads(self, name: str) -> str:
        return str(len(cherrypy.request.body.read()))

    @cherrypy.expose
    def stream(self) -> Iterator[bytes]:
        yield from [b"abc"] * 3

    stream._cp_config = {"response.stream": True}

    @cherrypy.expose
    def forbidden(self) -> str:
        raise cherrypy.HTTPError(403)

    @cherrypy.expose
    def fails(self) -> str:
        raise LookupError("no tea")


SETTINGS = {
    "/resource": {"request.dispatch": cherrypy.dispatch.MethodDispatcher()},
    "/static": {"tools.staticdir.on": True, "tools.staticdir.dir": str(Path(__file__).parent)},
}

if __name__ == "__main__":
    cherrypy.config.update({"server.socket_port": int(sys.argv[1])})
    cherrypy.tree.mount(Root(), "/shop", SETTINGS)
    cherrypy.quickstart(Root(), "/", SETTINGS)
else:
    app = cherrypy.Application(Root(), "", SETTINGS)
    cherrypy.config.update({"engine.autoreload.on": False})
