"""Waitress: its command, `serve` and `create_server`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from bext_otel.serving import is_aside
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors.http.servers.instrumentor import ServerInstrumentor

__all__ = ["WaitressInstrumentor"]


class WaitressInstrumentor(ServerInstrumentor):
    """Instruments the application that a server is made with, inside of what waitress puts around it to find
    a client behind proxies."""

    requires = ("waitress >= 2.1",)

    def _watch(self) -> None:
        self._at("waitress.server", "BaseWSGIServer.__init__", self._making)

    def _making(self, original: Callable[..., None]) -> Callable[..., None]:
        @wraps(original)
        def __init__(server: Any, application: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807  # it becomes that method
            if is_aside(server):
                original(server, application, *args, **kwargs)
                return
            try:
                application = self._served.wsgi(application)
            except Exception as error:
                report("the application of a server", error)
            original(server, application, *args, **kwargs)
            self._serving()

        return __init__
