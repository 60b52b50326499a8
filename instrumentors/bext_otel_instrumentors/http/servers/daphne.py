"""Daphne: its command, and Channels' development server."""

from __future__ import annotations

from typing import Any

from bext_otel_instrumentors.http.servers.instrumentor import ServerInstrumentor, after

__all__ = ["DaphneInstrumentor"]


class DaphneInstrumentor(ServerInstrumentor):
    """Instruments the application that a server is made with."""

    requires = ("daphne >= 3.0",)

    def _watch(self) -> None:
        self._at("daphne.server", "Server.__init__", after(self._made))

    def _made(self, server: Any) -> None:
        server.application = self._served.asgi(server.application)
        self._serving()
