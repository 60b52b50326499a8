"""Cheroot, which is CherryPy's server too."""

from __future__ import annotations

from typing import Any

from bext_otel_instrumentors.http.servers.instrumentor import ServerInstrumentor, after

__all__ = ["CherootInstrumentor"]


class CherootInstrumentor(ServerInstrumentor):
    """Instruments the application that a server is made with."""

    requires = ("cheroot >= 8.0",)

    def _watch(self) -> None:
        self._at("cheroot.wsgi", "Server.__init__", after(self._made))

    def _made(self, server: Any) -> None:
        server.wsgi_app = self._served.wsgi(server.wsgi_app)
        self._serving()
