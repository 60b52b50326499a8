"""Werkzeug's development server, which is Flask's too."""

from __future__ import annotations

from typing import Any

from bext_otel.serving import is_aside
from bext_otel_instrumentors.http.servers.instrumentor import ServerInstrumentor, after, before

__all__ = ["WerkzeugInstrumentor"]


class WerkzeugInstrumentor(ServerInstrumentor):
    """Instruments the application of `run_simple` and `make_server`, inside of nothing, outside of the
    debugger. The process that only reloads another one has a server as well, and serves nobody."""

    requires = ("werkzeug >= 2.2",)

    def _watch(self) -> None:
        self._at("werkzeug.serving", "BaseWSGIServer.__init__", after(self._made))
        self._at("werkzeug.serving", "BaseWSGIServer.serve_forever", before(self._opens))

    def _made(self, server: Any) -> None:
        if not is_aside(server):
            server.app = self._served.wsgi(server.app)

    def _opens(self, server: Any) -> None:
        if not is_aside(server):
            self._serving()
