"""gevent's own WSGI server."""

from __future__ import annotations

from typing import Any

from bext_otel_instrumentors.http.servers.instrumentor import ServerInstrumentor, after

__all__ = ["GeventInstrumentor"]


class GeventInstrumentor(ServerInstrumentor):
    """Instruments the application that a server is made with."""

    requires = ("gevent >= 21.1",)

    def _watch(self) -> None:
        self._at("gevent.pywsgi", "WSGIServer.__init__", after(self._made))

    def _made(self, server: Any) -> None:
        # Without one, a class of its own may have it.
        if (application := vars(server).get("application")) is not None:
            server.application = self._served.wsgi(application)
        self._serving()
