"""`ASGIMiddleware`, at the place where applications import it from; see `http.asgi`."""

from bext_otel_instrumentors.http.asgi import ASGIMiddleware

__all__ = ["ASGIMiddleware"]
