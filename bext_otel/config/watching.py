"""The settings again, when their file has changed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeAlias

from bext_otel.config.loading import Loaded

__all__ = ["ChangedFile"]

_State: TypeAlias = "tuple[int, int, int, int] | None"

# Who writes a file in place is in the middle of it for a moment, and one that is replaced may be missing.
_SETTLED_SECONDS = 1.0


class ChangedFile:
    """Looks whether the file that `loaded` came from is another one than then, by its link's target, inode,
    size and time of change: also one that was renamed to its name, or that a symbolic link on the way leads
    to now, as the `..data` of a Kubernetes volume does.

    `load` reads the settings again. A look is one system call while nothing has changed.
    """

    def __init__(
        self, loaded: Loaded, load: Callable[[], Loaded], *, clock: Callable[[], float] = time.time
    ) -> None:
        self.path = loaded.path
        self._load = load
        self._clock = clock
        self._state = _state_of(self.path)
        self._troubled_at: float | None = None
        self._told: set[str] = {*loaded.warnings, loaded.problem}

    def has_changed(self) -> bool:
        """Whether there is something to look at."""
        return _state_of(self.path) != self._state

    def look(self) -> tuple[Loaded | None, tuple[str, ...]]:
        """The settings if the file has changed and can be read, else None; and what is wrong with it that was
        not said before, a line each. Never raises."""
        state = _state_of(self.path)
        if state == self._state:
            return None, ()
        try:
            loaded = self._load()
        except (
            Exception
        ) as error:  # what was given in code was right before, and is the application's to change
            self._state = state
            return None, self._new([f"{self.path!r} is not read again: {type(error).__name__}: {error}"])
        problem = loaded.problem or ("" if state is not None else f"{self.path!r}: no such file")
        if problem:
            now = self._clock()
            if self._troubled_at is None:
                self._troubled_at = now
            if now - self._troubled_at < _SETTLED_SECONDS:
                return None, ()
            self._state, self._troubled_at = state, None
            return None, self._new([f"{problem}; the levels stay as they are"])
        self._state, self._troubled_at = state, None
        return loaded, self._new(loaded.warnings)

    def _new(self, lines: list[str] | tuple[str, ...]) -> tuple[str, ...]:
        new = tuple(line for line in lines if line not in self._told)
        # What is said of this content is said again once it was right meanwhile.
        self._told = set(lines)
        return new


def _state_of(path: str) -> _State:
    try:
        found = os.stat(path)  # noqa: PTH116  # a call each second; a Path takes as long to make
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev
