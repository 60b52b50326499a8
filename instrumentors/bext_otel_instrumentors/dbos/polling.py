"""The threads in which DBOS asks its database again and again, idle or not: what they ask is nobody's work,
and makes no spans.

Upstream's instrumentation of a database would make each query the root of a trace of its own. What those
threads start for somebody, such as a workflow from a queue, is not suppressed with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.context import attach, create_key, detach, get_current, get_value, set_value
from opentelemetry.instrumentation.utils import suppress_instrumentation

from bext_otel_instrumentors._kit.patch import Original

__all__ = ["polling", "working"]

_OUTSIDE = create_key("bext-dbos-outside")
"""The context of the thread before anything was suppressed in it."""


def polling(original: Original, /, *args: Any, **kwargs: Any) -> Any:
    """What such a thread runs."""
    token = attach(set_value(_OUTSIDE, get_current()))
    try:
        with suppress_instrumentation():
            return original(*args, **kwargs)
    finally:
        detach(token)


@contextmanager
def working() -> Iterator[None]:
    """Around work for somebody: an event loop and some threads take the context of who starts it there."""
    outside = get_value(_OUTSIDE)
    if outside is None:
        yield
        return
    token = attach(outside)  # type: ignore[arg-type]  # a value of a context is anything
    try:
        yield
    finally:
        detach(token)
