"""Granian: ASGI and WSGI applications, in processes, threads and embedded. RSGI, its own interface, is not
measured, and says so."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors.http.servers.instrumentor import ServerInstrumentor

__all__ = ["GranianInstrumentor"]

_log = logging.getLogger("bext_otel")

# By what its workers, of each kind, make of an application.
_CALLS = {"_asgi_call_wrap": "asgi", "_wsgi_call_wrap": "wsgi", "_rsgi_call_wrap": "rsgi"}


class GranianInstrumentor(ServerInstrumentor):
    """Instruments the application that a worker has loaded."""

    requires = ("granian >= 2.0",)

    def _watch(self) -> None:
        for kind in ("mp", "mt", "embed"):
            for name, interface in _CALLS.items():
                if (kind, interface) != ("embed", "wsgi"):  # which has none
                    self._at(f"granian.server.{kind}", name, partial(self._given, interface))
        self._at("granian.asgi", "LifespanProtocol.__init__", partial(self._given_lifespan))

    def _given(self, interface: str, original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def call_wrap(callback: Any, *args: Any, **kwargs: Any) -> Any:
            return original(self._application(interface, callback), *args, **kwargs)

        return call_wrap

    def _given_lifespan(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def __init__(protocol: Any, callable: Any) -> None:  # noqa: A002, N807  # Granian's name, and its method
            original(protocol, self._application("asgi", callable))

        return __init__

    def _application(self, interface: str, app: Any) -> Any:
        try:
            if interface == "rsgi":
                _log.warning(
                    "granian serves by RSGI, which is not instrumented: no request is measured; "
                    "--interface asgi or wsgi is"
                )
            else:
                app = getattr(self._served, interface)(app)
            self._serving()
        except Exception as error:
            report("the application of a server", error)
        return app
