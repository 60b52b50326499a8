"""What is told once."""

from __future__ import annotations

from collections.abc import Hashable

__all__ = ["Once"]


class Once:
    """Remembers what has been told, `most` things at most: names and texts may be made up without end, and
    past that number nothing is the first of its kind any more."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._told: set[Hashable] = set()

    def __len__(self) -> int:
        """How many things have been told."""
        return len(self._told)

    def is_first(self, what: Hashable) -> bool:
        """Whether `what` is to be told; from now on it has been."""
        if what in self._told or len(self._told) >= self._most:
            return False
        self._told.add(what)
        return True
