"""gunicorn: its own workers. Those that bring a server along (uvicorn's, aiohttp's) are that one's."""

from __future__ import annotations

from typing import Any

from bext_otel_instrumentors.http.servers.instrumentor import ServerInstrumentor, after

__all__ = ["GunicornInstrumentor"]

# Where the classes are that call a WSGI application themselves.
_OF_WSGI = frozenset(f"gunicorn.workers.{name}" for name in ("sync", "gthread", "base_async", "gtornado"))


class GunicornInstrumentor(ServerInstrumentor):
    """Instruments the application that a worker has loaded; what a master preloads stays as it is."""

    requires = ("gunicorn >= 20.1",)

    def _watch(self) -> None:
        self._at("gunicorn.workers.base", "Worker.load_wsgi", after(self._loaded))
        self._at("gunicorn.workers.gasgi", "ASGIWorker.load_wsgi", after(self._loaded_asgi))

    def _loaded(self, worker: Any) -> None:
        if _OF_WSGI.isdisjoint(base.__module__ for base in type(worker).__mro__):
            return
        if not _is_tornados(worker.wsgi):
            worker.wsgi = self._served.wsgi(worker.wsgi)
        self._serving()

    def _loaded_asgi(self, worker: Any) -> None:
        worker.asgi = self._served.asgi(worker.asgi)
        self._serving()


def _is_tornados(app: Any) -> bool:
    """Whether this is an application of Tornado's, which its worker serves as such."""
    return any(base.__module__ == "tornado.web" for base in type(app).__mro__)
