"""OpenTelemetry distribution for the bext platform: what an application uses in code, which is little."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import bext_otel.api_environment  # isort: skip  # noqa: F401  # corrects what upstream's API reads at its import, which comes next

from bext_otel.helpers import is_helper

# The launcher comes here in a helper of multiprocessing too, which has nothing to measure and nobody's time.
if not is_helper(sys.orig_argv):
    from bext_otel.declarations import metric, work
    from bext_otel.fields import bind, bound
    from bext_otel.operation import count, operation, record

if TYPE_CHECKING:
    from bext_otel.deploys import deploy
    from bext_otel.distro import configure, running
    from bext_otel.event_records import events
    from bext_otel.flows import flow, step
    from bext_otel.mounting import asgi_app, blueprint, drain, register_check, wsgi_app

__all__ = [
    "asgi_app",
    "bind",
    "blueprint",
    "bound",
    "configure",
    "count",
    "deploy",
    "drain",
    "events",
    "flow",
    "metric",
    "operation",
    "record",
    "register_check",
    "running",
    "step",
    "work",
    "wsgi_app",
]

# An application that states facts needs the OpenTelemetry API only; the SDK and Flask are imported when they
# are asked for.
_LATER = {
    "asgi_app": "mounting",
    "blueprint": "mounting",
    "configure": "distro",
    "deploy": "deploys",
    "events": "event_records",
    "flow": "flows",
    "drain": "mounting",
    "register_check": "mounting",
    "running": "distro",
    "step": "flows",
    "wsgi_app": "mounting",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
