"""Hypercorn: its command and `serve`, on asyncio and on trio, with applications of either interface."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors.http.servers.instrumentor import ServerInstrumentor

__all__ = ["HypercornInstrumentor"]


class HypercornInstrumentor(ServerInstrumentor):
    """Instruments the application of each worker, when its lifespan begins; a WSGI application in the thread
    that calls it."""

    requires = ("hypercorn >= 0.15",)

    def _watch(self) -> None:
        for loop in ("asyncio", "trio"):
            self._at(f"hypercorn.{loop}.lifespan", "Lifespan.__init__", self._beginning)

    def _beginning(self, original: Callable[..., None]) -> Callable[..., None]:
        @wraps(original)
        def __init__(lifespan: Any, app: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807  # it becomes that method
            try:
                self._cover_application(app)
            except Exception as error:
                report("the application of a server", error)
            original(lifespan, app, *args, **kwargs)

        return __init__

    def _cover_application(self, wrapper: Any) -> None:
        from hypercorn.app_wrappers import ASGIWrapper, WSGIWrapper

        # The same object is what answers the requests.
        if isinstance(wrapper, ASGIWrapper):
            wrapper.app = self._served.asgi(wrapper.app)
        elif isinstance(wrapper, WSGIWrapper):
            wrapper.app = self._served.wsgi(wrapper.app)
        self._serving()
