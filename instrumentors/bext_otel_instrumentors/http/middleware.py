"""What the middlewares that are put around an application by hand have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bext_otel_instrumentors.http.current_request import measured
from bext_otel_instrumentors.http.environment import choices
from bext_otel_instrumentors.http.exchange import Exchange
from bext_otel_instrumentors.http.hosting import ASGIMount, Hosting, WSGIMount

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

    def _answers_inside(
        self, mount: ASGIMount | WSGIMount, path: str, surroundings: Mapping[str, Any]
    ) -> bool:
        """Whether an endpoint is to answer a request that is measured, or left out, further outside; it is
        then no request to the application."""
        if not mount.owns(path) or (found := measured(surroundings)) is None:
            return False
        if isinstance(found, Exchange):
            found.withdraw()
        return True
