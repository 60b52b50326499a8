"""How much directories of files hold that caches keep their entries in: entries and bytes, counted once for
all who share them.

They are looked at when metrics are read, each every few seconds at most, and no further than is quick: past
some thousand files it is the first of them that count.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import islice
from typing import Protocol

from bext_otel.catalogue import CACHE_BYTES, CACHE_ENTRIES
from bext_otel.operation import observe
from bext_otel_instrumentors._kit.guard import report

__all__ = ["Directories", "User", "directories"]

_EVERY_SECONDS = 10.0
_MOST_FILES = 10_000
# Files whose size is asked for, evenly spread; their mean stands for all of them.
_MOST_SIZES = 100
_MOST_DIRECTORIES = 16


class User(Protocol):
    """Whose a cache is, and whether it has been used here: another worker may use it, and knows better whose
    it is."""

    app: str
    layer: str
    used: bool


class _Directory:
    def __init__(self, path: str, user: User, belongs: Callable[[str], bool], group: str) -> None:
        self.path = path
        self.user = user
        self.group = group
        self.undoing = ExitStack()
        self._belongs = belongs
        self._held = 0, 0
        self._until = 0.0

    def held(self) -> tuple[int, int]:
        """Entries and bytes, as of the last look."""
        now = time.monotonic()
        if now >= self._until:
            self._until = now + _EVERY_SECONDS
            self._held = self._look()
        return self._held

    def _look(self) -> tuple[int, int]:
        try:
            with os.scandir(self.path) as found:
                files = [
                    file for file in islice(found, _MOST_FILES) if self._belongs(file.name) and file.is_file()
                ]
        except OSError:  # not there yet, or no longer
            return 0, 0
        sizes = []
        for file in files[:: -(-len(files) // _MOST_SIZES) or 1]:
            try:
                sizes.append(file.stat().st_size)
            except OSError:  # dropped meanwhile
                continue
        return len(files), round(sum(sizes) * len(files) / len(sizes)) if sizes else 0


class Directories:
    """Directories that caches use, by their paths."""

    def __init__(self) -> None:
        self._known: dict[str, _Directory] = {}

    def add(self, path: str, user: User, belongs: Callable[[str], bool], *, group: str) -> None:
        """Report what the files in `path` hold whose names belong to the cache, until its `group` is
        forgotten. Twice is once."""
        if path in self._known or len(self._known) >= _MOST_DIRECTORIES:
            return
        directory = self._known[path] = _Directory(path, user, belongs, group)

        def held(which: int) -> Iterator[tuple[float, tuple[str, ...]]]:
            if user.used:
                try:
                    yield directory.held()[which], (user.app, user.layer)
                except Exception as error:  # the guard's only purpose
                    report("a directory of a cache", error)

        directory.undoing.callback(
            observe(CACHE_ENTRIES, partial(held, 0), "app", "layer", shared=f"file://{path}")
        )
        directory.undoing.callback(
            observe(CACHE_BYTES, partial(held, 1), "app", "layer", shared=f"file://{path}")
        )

    def user(self, path: str) -> User | None:
        """Whose a directory is; None if it is not reported."""
        directory = self._known.get(path)
        return directory.user if directory is not None else None

    def forget(self, group: str) -> None:
        """Report the directories of a group no longer."""
        for path, directory in list(self._known.items()):
            if directory.group == group:
                self._known.pop(path).undoing.close()


directories = Directories()
"""Those of this process."""
