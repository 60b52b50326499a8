"""Connexion: every application, made before or after, outside of its middlewares; route templates from the
routers of Starlette that it routes by, and from Flask."""

from __future__ import annotations

from bext_otel_instrumentors._kit.patch import Patches
from bext_otel_instrumentors.http.framework import UNROUTED
from bext_otel_instrumentors.http.frameworks.instrumentor import FrameworkInstrumentor

__all__ = ["ConnexionInstrumentor"]


class ConnexionInstrumentor(FrameworkInstrumentor):
    """Instruments Connexion 3, whose applications are ASGI; those of version 2 are Flask's.
    `instrument(asgi=..., on_serving=...)`: see `Hosting`."""

    requires = ("connexion >= 3.0",)
    library = "connexion"

    def _patch(self, patches: Patches) -> None:
        patches.when_imported(
            "connexion.middleware.main", lambda module: self._cover_asgi(module.ConnexionMiddleware, UNROUTED)
        )
