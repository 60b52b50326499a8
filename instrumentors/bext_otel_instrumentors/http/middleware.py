"""What the middlewares that are put around an application by hand have in common."""

from __future__ import annotations

from typing import Any

from bext_otel_instrumentors.http.environment import choices
from bext_otel_instrumentors.http.hosting import Hosting

__all__ = ["Middleware"]


class Middleware:
    """Instruments one application by hand. Put it outside of everything else.

    `mount` answers requests for endpoints before the application, `on_serving` hears that the process serves:
    see `Hosting`.
    """

    def __init__(self, app: Any, hosting: Hosting, interface: str) -> None:
        self.app = app
        self._hosting = hosting
        self._hosting.made()
        self._chosen = choices(interface)
