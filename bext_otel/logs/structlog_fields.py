"""structlog's context variables, on the lines of others: what is bound there is bound here too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from contextvars import ContextVar
from typing import Any

from opentelemetry import context

from bext_otel import fields
from bext_otel.covering import cover
from bext_otel.fields import HOLDER
from bext_otel.process import Undo, on_import

__all__ = ["follow_structlog"]

_UNSET = object()


def follow_structlog() -> Undo:
    """Have fields of structlog's `contextvars` be ours, until what is returned is called.

    They are read where a line is said. What is bound in a request is told to the request besides, which ends
    where those variables may not reach.
    """
    undoing = ExitStack()
    undoing.callback(on_import("structlog.contextvars", lambda module: undoing.callback(_follow(module))))
    return undoing.close


def _follow(module: Any) -> Undo:
    variables: Mapping[str, ContextVar[Any]] = getattr(module, "_CONTEXT_VARS", {})
    prefix = str(getattr(module, "STRUCTLOG_KEY_PREFIX", "structlog_"))

    def here() -> Mapping[str, Any]:
        found: dict[str, Any] = {}
        for name, variable in tuple(variables.items()):
            value = variable.get(_UNSET)
            if value is not _UNSET and value is not Ellipsis:
                found[name.removeprefix(prefix)] = value
        return found

    def bound(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        fields.read_too(here)
        if context.get_current().get(HOLDER) is not None:
            fields.keep_all(kwargs)
        return original(*args, **kwargs)

    def unbound(original: Callable[..., Any], *names: str) -> Any:
        fields.let_go(names)
        return original(*names)

    def cleared(original: Callable[..., Any]) -> Any:
        fields.let_go(here())
        return original()

    undoing = ExitStack()
    for name, function in (
        ("bind_contextvars", bound),
        ("unbind_contextvars", unbound),
        ("clear_contextvars", cleared),
    ):
        undoing.callback(cover(module, name, function))
    if variables:
        fields.read_too(here)
    undoing.callback(fields.read_too, None)
    return undoing.close
