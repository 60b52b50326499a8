"""Upstream's instrumentation of Tornado within a request that is measured: its client is left to it, and
handlers only where the application gave it a provider of its own, or it has instrumented them before."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from opentelemetry import trace

from bext_otel_instrumentors._kit.patch import Patches
from bext_otel_instrumentors.http.exchange import Exchange, current

__all__ = ["UPSTREAM", "cover", "meet"]

UPSTREAM = "opentelemetry.instrumentation.tornado"

# Its mark on a class of handlers that it instruments.
_PATCHED = "_otel_patched_key"


def cover(patches: Patches, module: Any) -> None:
    """Have it instrument no handler from now on."""
    patches.wrap(module, "patch_handler_class", _standing_down)


def meet(exchange: Exchange, handler: Any) -> None:
    """A handler of this class is to answer."""
    if getattr(handler, _PATCHED, False):
        exchange.meet_upstream()


def _standing_down(original: Callable[..., bool]) -> Callable[..., bool]:
    @wraps(original)
    def patch_handler_class(tracer: Any, server_histograms: Any, cls: Any, *args: Any, **kwargs: Any) -> bool:
        if _is_of_process(tracer):
            return False
        patched = original(tracer, server_histograms, cls, *args, **kwargs)
        if (exchange := current()) is not None:
            meet(exchange, cls)
        return patched

    return patch_handler_class


def _is_of_process(tracer: Any) -> bool:
    """Whether this tracer is of the provider that everybody gets."""
    ours = trace.get_tracer("bext_otel")
    return type(tracer) is type(ours) and getattr(tracer, "resource", None) is getattr(ours, "resource", None)
