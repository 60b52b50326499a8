"""What an application mounts and registers in code: the endpoints as a Flask blueprint, as an ASGI or WSGI
app, and health checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bext_otel.distro import configure, running
from bext_otel.endpoints.asgi import ASGIEndpoints
from bext_otel.endpoints.wsgi import WSGIEndpoints
from bext_otel.health.probes import Ask

if TYPE_CHECKING:
    from flask import Blueprint

__all__ = ["asgi_app", "blueprint", "drain", "register_check", "wsgi_app"]


def blueprint() -> Blueprint:
    """The endpoints for a Flask application: `app.register_blueprint(bext_otel.blueprint())`. Sets telemetry
    up if nobody has."""
    from bext_otel.endpoints.flask import (
        blueprint as made,
    )  # Flask takes a while to import, and few mount a blueprint

    return made(configure().endpoints)


def asgi_app() -> ASGIEndpoints:
    """The endpoints as an ASGI application: `Mount("/ops", bext_otel.asgi_app())`. Sets telemetry up if
    nobody has."""
    return ASGIEndpoints(configure().endpoints)


def wsgi_app() -> WSGIEndpoints:
    """The endpoints as a WSGI application to mount. Sets telemetry up if nobody has."""
    return WSGIEndpoints(configure().endpoints)


def register_check(
    name: str,
    probe: Ask,
    *,
    critical: bool | None = None,
    timeout_seconds: float | None = None,
    interval_seconds: float | None = None,
    failures: int = 1,
    successes: int = 1,
) -> None:
    """Let `/health` ask `probe` too, under `name`, in the place of one of the same name; without telemetry in
    this process, do nothing.

    It is called in a thread of ours, or, a coroutine function, awaited in the event loop that runs where it
    is registered, or in one of its own. It returns nothing or True for healthy, False for unhealthy, a
    mapping of details, or a `bext_otel.health.Check`; what it raises is unhealthy. `critical` says that the
    service can't do without: readiness asks for it. It is unhealthy past `timeout_seconds` (default:
    `[health] timeout_seconds`), and asked each `interval_seconds` (`[health] interval_seconds`). `failures`
    results in a row turn it for the worse, `successes` back. Raises ConfigError for what can't be asked so.
    """
    runs = running()
    if runs is not None:
        runs.health.register(
            name,
            probe,
            critical=critical,
            timeout_seconds=timeout_seconds,
            interval_seconds=interval_seconds,
            failures=failures,
            successes=successes,
        )


def drain() -> None:
    """This process ends soon: readiness says no from now on, while liveness stays and requests are served."""
    runs = running()
    if runs is not None:
        runs.health.drain()
