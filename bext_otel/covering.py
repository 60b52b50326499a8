"""Having something called instead of a function or a method, until that is undone."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

from bext_otel.process import Undo

__all__ = ["cover", "replace"]

_MISSING: Any = object()


def cover(owner: Any, name: str, around: Callable[..., Any]) -> Undo:
    """Have `around` called instead of a function of a module, or a method of a class, with what it stands
    before as its first argument.

    What is returned undoes it. Where somebody else has put something in our place since, that stays, and from
    there on it is as if we were not there.
    """
    original = getattr(owner, name)
    active = True

    if inspect.iscoroutinefunction(original):

        @wraps(original)
        async def replacement(*args: Any, **kwargs: Any) -> Any:
            return await (around(original, *args, **kwargs) if active else original(*args, **kwargs))

    else:

        @wraps(original)
        def replacement(*args: Any, **kwargs: Any) -> Any:
            return around(original, *args, **kwargs) if active else original(*args, **kwargs)

    put_back = replace(owner, name, replacement)

    def undo() -> None:
        nonlocal active
        active = False
        put_back()

    return undo


def replace(owner: Any, name: str, replacement: Any) -> Undo:
    """Put `replacement` in the place of an attribute of a module or a class. What is returned puts back what
    was there, unless somebody else has put something in our place since."""
    # An inherited attribute is not the owner's to restore.
    before = vars(owner).get(name, _MISSING)
    setattr(owner, name, replacement)

    def put_back() -> None:
        if vars(owner).get(name) is not replacement:
            return
        if before is _MISSING:
            delattr(owner, name)
        else:
            setattr(owner, name, before)

    return put_back
