"""What an application mounts in code: the endpoints as a Flask blueprint, as an ASGI or WSGI app, and health to register checks with."""

from __future__ import annotations

from flask import Blueprint

from bext_otel.distro import runtime
from bext_otel.faces.asgi import ASGIEndpoints
from bext_otel.faces.blueprint import blueprint as _blueprint
from bext_otel.faces.wsgi import WSGIEndpoints
from bext_otel.health.evaluation import Health

__all__ = ["asgi_app", "blueprint", "health", "wsgi_app"]


def blueprint() -> Blueprint:
    """The endpoints for a Flask application: `app.register_blueprint(bext_otel.blueprint())`."""
    return _blueprint(runtime().endpoints)


def asgi_app() -> ASGIEndpoints:
    """The endpoints as an ASGI application to mount: `Mount("/ops", bext_otel.asgi_app())`."""
    return ASGIEndpoints(runtime().endpoints)


def wsgi_app() -> WSGIEndpoints:
    """The endpoints as a WSGI application to mount."""
    return WSGIEndpoints(runtime().endpoints)


def health() -> Health:
    """The process's health: `bext_otel.health().register("database", probe)`."""
    return runtime().health
