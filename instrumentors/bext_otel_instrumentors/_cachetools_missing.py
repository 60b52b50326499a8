"""Classes of the application's own that make missing values in `__missing__`, which cachetools answers with as if it had hit."""

from __future__ import annotations

import threading
import weakref
from functools import wraps
from types import FunctionType
from typing import Any

from bext_otel_instrumentors._guard import report

__all__ = ["begin", "forget", "made"]


class _Making(threading.local):
    """Whether `__missing__` has made a value since this thread's last lookup began."""

    made = False


_making = _Making()
_watched: weakref.WeakSet[type] = weakref.WeakSet()
_ours: weakref.WeakSet[Any] = weakref.WeakSet()


def begin(kind: type) -> None:
    """A lookup begins in a cache of a class that has a `__missing__`."""
    _making.made = False
    try:
        if kind.__missing__ not in _ours:  # type: ignore[attr-defined]  # it has one
            _watch(next(one for one in kind.__mro__ if "__missing__" in vars(one)))
    except Exception as error:  # classes can be anything
        report("values that a cache makes", error)


def made() -> bool:
    """Whether what was looked up last was made just now."""
    return _making.made


def forget() -> None:
    """Put back every method that was watched, unless somebody else has replaced it since."""
    for owner in list(_watched):
        method = vars(owner).get("__missing__")
        if method in _ours:
            owner.__missing__ = method.__wrapped__  # type: ignore[attr-defined, union-attr]  # as above
    _watched.clear()


def _watch(owner: type) -> None:
    original = vars(owner)["__missing__"]
    if not isinstance(original, FunctionType):
        return

    @wraps(original)
    def __missing__(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N807  # it becomes that method
        value = original(self, *args, **kwargs)
        _making.made = True  # last of all, as it may have looked up others
        return value

    _ours.add(__missing__)
    _watched.add(owner)
    owner.__missing__ = __missing__  # type: ignore[attr-defined]  # as above
