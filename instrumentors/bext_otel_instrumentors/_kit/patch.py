"""Replacing attributes of classes, and putting them back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from typing import Any, TypeAlias

from bext_otel.covering import replace
from bext_otel.process import Imported, on_import

__all__ = ["Original", "Patches", "around"]

Original: TypeAlias = Callable[..., Any]
"""What is replaced: a function, or a method."""


def around(watched: Callable[..., Any]) -> Callable[[Original], Any]:
    """What replaces a function by `watched`, which is given the original and then the arguments; for
    `Patches.wrap`."""

    def make(original: Original) -> Any:
        @wraps(original)
        def function(*args: Any, **kwargs: Any) -> Any:
            return watched(original, *args, **kwargs)

        return function

    return make


class Patches(ExitStack):
    """What an instrumentation does, and what undoes it: attributes that were replaced, imports that are
    waited for, and any `callback`."""

    def wrap(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Replace `owner.name` by `make(what it is now)`."""
        self.callback(replace(owner, name, make(getattr(owner, name))))

    def when_imported(self, name: str, cover: Imported) -> None:
        """Call `cover` with the module `name`: now if it is imported, else as soon as it is, so that we
        import it for nobody."""
        self.callback(on_import(name, cover))

    def undo(self) -> None:
        """Undo everything, the last first. What somebody else has replaced since is left as theirs."""
        self.close()
