"""Twisted's adapter for WSGI applications: `twist web --wsgi`, and `WSGIResource` in a site of one's own."""

from __future__ import annotations

from typing import Any

from bext_otel_instrumentors.http.servers.instrumentor import ServerInstrumentor, after, before

__all__ = ["TwistedInstrumentor"]


class TwistedInstrumentor(ServerInstrumentor):
    """Instruments the application that a resource is made with. Resources of Twisted's own kind are not
    measured."""

    requires = ("twisted >= 22.1",)

    def _watch(self) -> None:
        self._at("twisted.web.server", "Site.startFactory", before(self._serving))
        self._at("twisted.web.wsgi", "WSGIResource.__init__", after(self._made))

    def _made(self, resource: Any) -> None:
        resource._application = self._served.wsgi(resource._application)
