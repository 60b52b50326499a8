"""`WSGIMiddleware`, at the place where applications import it from; see `http.wsgi`."""

from bext_otel_instrumentors.http.wsgi import WSGIMiddleware

__all__ = ["WSGIMiddleware"]
