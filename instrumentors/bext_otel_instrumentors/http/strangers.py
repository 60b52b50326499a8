"""What upstream's middlewares, which read a parent themselves, are not to see of a caller who is not trusted.

The application finds the headers as they were sent.
"""

from __future__ import annotations

from typing import Any

from opentelemetry import propagate

from bext_otel.operation import settings
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors.http.incoming import Interface

__all__ = ["hide", "restore"]

_HELD = "bext_otel.headers"


def hide(interface: Interface, surroundings: Any) -> None:
    """Take the headers of all propagators out of a scope or environ whose sender is not trusted, until
    `restore`. Never raises."""
    trusts = settings().trusts
    if trusts is None:
        return
    try:
        resolver, line = settings().resolver, interface.read(surroundings)[0]
        app = "" if resolver is None else resolver(line[5], line[2])
        if not trusts(app, interface.address(surroundings, interface.carrier(surroundings))):
            names = {name.lower() for name in propagate.get_global_textmap().fields}
            (_hide_in_scope if interface.asgi else _hide_in_environ)(surroundings, names)
    except Exception as error:
        report("a caller who may not be trusted", error)


def restore(surroundings: Any) -> None:
    """Put back what was hidden in this scope or environ."""
    held = surroundings.pop(_HELD, None)
    if held is not None:
        surroundings.update(held)


def _hide_in_scope(scope: Any, names: set[str]) -> None:
    headers = scope["headers"]
    scope["headers"] = [
        (name, value) for name, value in headers if name.decode("latin-1").lower() not in names
    ]
    scope[_HELD] = {"headers": headers}


def _hide_in_environ(environ: Any, names: set[str]) -> None:
    keys = {f"HTTP_{name.upper().replace('-', '_')}" for name in names} & environ.keys()
    environ[_HELD] = {key: environ.pop(key) for key in keys}
