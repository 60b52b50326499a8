"""Events that another library's sink hands on to the standard library's logging, which have been told by
then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["handing_on", "is_handed_on"]

_handing: ContextVar[bool] = ContextVar("bext_otel_logs_handing_on", default=False)

is_handed_on: Callable[[], bool] = _handing.get
"""Is what is said here told already?"""


@contextmanager
def handing_on() -> Iterator[None]:
    """What the body says by the standard library's logging is told already."""
    token = _handing.set(True)
    try:
        yield
    finally:
        _handing.reset(token)
