"""Which applications open their requests themselves: a server hands those on as they are, so that nothing is
paid twice."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any, TypeVar

from bext_otel_instrumentors.http.middleware import Middleware

__all__ = ["opening", "opens"]

F = TypeVar("F", bound=Callable[..., Any])

_MARK = "_bext_opens_requests"


def opening(call: F) -> F:
    """`call`, which opens the requests that it is called with, or says that they are not to be."""
    setattr(call, _MARK, True)
    return call


def opens(app: Any) -> bool:
    """Whether this application opens its requests itself: a middleware of ours by hand, or one of a framework
    that is instrumented and has nothing around it."""
    if isinstance(app, Middleware):
        return True
    call = app.__func__ if type(app) is MethodType else app
    if type(call) is not FunctionType:
        call = getattr(type(app), "__call__", None)  # noqa: B004  # the function is looked at
    return type(call) is FunctionType and _MARK in vars(call)  # which whoever wraps a function copies
