"""uvicorn: its command, `uvicorn.run`, `Server(Config)` and the workers for gunicorn that build on it."""

from __future__ import annotations

from typing import Any

from bext_otel_instrumentors.http.servers.instrumentor import ServerInstrumentor, after

__all__ = ["UvicornInstrumentor"]


class UvicornInstrumentor(ServerInstrumentor):
    """Instruments the application that a `Config` has loaded: what its factory has made, inside of what
    uvicorn puts around it to find a client behind proxies."""

    requires = ("uvicorn >= 0.20",)

    def _watch(self) -> None:
        self._at("uvicorn.config", "Config.load", after(self._loaded))

    def _loaded(self, config: Any) -> None:
        from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

        app = config.loaded_app
        if type(app) is ProxyHeadersMiddleware:
            app.app = self._served.asgi(app.app)
        else:
            config.loaded_app = self._served.asgi(app)
        self._serving()
