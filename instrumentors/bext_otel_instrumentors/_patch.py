"""Replacing attributes of classes, and putting them back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Patches"]

_MISSING: Any = object()


class Patches:
    """Attributes that were replaced, in order. `undo` puts back what was there."""

    def __init__(self) -> None:
        self._done: list[tuple[Any, str, Any, Any]] = []

    def wrap(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Replace `owner.name` by `make(what it is now)`."""
        replacement = make(getattr(owner, name))
        # An inherited attribute is not the owner's to restore.
        self._done.append((owner, name, vars(owner).get(name, _MISSING), replacement))
        setattr(owner, name, replacement)

    def undo(self) -> None:
        """Put back everything, the last replacement first. What somebody else has replaced since is left as theirs."""
        while self._done:
            owner, name, before, replacement = self._done.pop()
            if vars(owner).get(name) is not replacement:
                continue
            if before is _MISSING:
                delattr(owner, name)
            else:
                setattr(owner, name, before)
