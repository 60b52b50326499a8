"""The standard library's server, and those that inherit from it: Django's development server, Bottle's."""

from __future__ import annotations

from typing import Any

from bext_otel.serving import is_aside
from bext_otel_instrumentors.http.servers.instrumentor import ServerInstrumentor, after

__all__ = ["WsgirefInstrumentor"]


class WsgirefInstrumentor(ServerInstrumentor):
    """Instruments the application that a server is given by `set_app`, as `make_server` does."""

    def _watch(self) -> None:
        self._at("wsgiref.simple_server", "WSGIServer.set_app", after(self._given))

    def _given(self, server: Any) -> None:
        if not is_aside(server) and not is_aside(server.application):
            server.application = self._served.wsgi(server.application)
            self._serving()
