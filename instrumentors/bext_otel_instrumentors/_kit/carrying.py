"""What a piece of work takes along into another thread or process: whose it is, and the span that caused
it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar

from opentelemetry import context, propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN

from bext_otel.apps import current_app, with_app
from bext_otel.request_facts import facts_of, with_facts
from bext_otel_instrumentors._kit.guard import report

__all__ = ["apart", "in_context", "packed", "rooted", "unpacked", "unpacked_in"]


R = TypeVar("R")

_EMPTY = Context()
# No headers: what is packed is read by us alone.
_ROUTE, _REQUEST_ID = "bext route", "bext request id"


def in_context(here: Context, function: Callable[..., R], /, *args: Any, **kwargs: Any) -> R:
    """What `function` returns or raises, with `here` as the current context."""
    token = context.attach(here)
    try:
        return function(*args, **kwargs)
    finally:
        context.detach(token)


def rooted(here: Context) -> Context:
    """`here` without its span, so that what begins in it is a trace of its own."""
    return trace.set_span_in_context(INVALID_SPAN, here)


def apart(original: Callable[..., R]) -> Callable[..., R]:
    """`original`, called in an empty context: what it does is nobody's in particular, whoever calls it."""

    @wraps(original)
    def call(*args: Any, **kwargs: Any) -> R:
        return (
            in_context(_EMPTY, original, *args, **kwargs)
            if context.get_current()
            else original(*args, **kwargs)
        )

    return call


def packed() -> tuple[str, dict[str, str]]:
    """The current app ("": none) and what the propagators say of the current context, beside the facts of its
    request; both can be pickled."""
    carrier: dict[str, str] = {}
    try:
        propagate.inject(carrier)
    except Exception as error:  # a propagator of the application's own
        report("a propagator", error)
    route, request_id = facts_of(context.get_current())
    if route is not None:
        carrier[_ROUTE] = route
    if request_id is not None:
        carrier[_REQUEST_ID] = request_id
    return current_app() or "", carrier


def unpacked(app: str, carrier: Mapping[str, str]) -> Context:
    """The context that was packed, with nothing of the current one."""
    try:
        here = propagate.extract(carrier, context=Context())
        here = with_facts(carrier.get(_ROUTE), carrier.get(_REQUEST_ID), here)
        return with_app(app, here) if app else here
    except Exception as error:  # as above
        report("a propagator", error)
        return Context()


def unpacked_in(
    app: str, carrier: Mapping[str, str], function: Callable[..., R], /, *args: Any, **kwargs: Any
) -> R:
    """What `function` returns or raises in the context that was packed; for the worker's side."""
    return in_context(unpacked(app, carrier), function, *args, **kwargs)
