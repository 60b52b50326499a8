"""What the instrumentors of servers have in common."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from bext_otel_instrumentors._kit.base import HostingInstrumentor
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors._kit.patch import Original, Patches
from bext_otel_instrumentors.http.servers.served import Served

__all__ = ["ServerInstrumentor", "after", "before"]

_log = logging.getLogger("bext_otel")


class ServerInstrumentor(HostingInstrumentor):
    """Instruments a server as soon as it is imported: whatever application it is given, its requests are
    measured where the server calls it. `instrument(asgi=..., wsgi=..., on_serving=...)`: see `Hosting`.

    Applications that were given to a server before are served as they were.
    """

    _served: Served

    @abstractmethod
    def _watch(self) -> None:
        """Say what is covered, by `_at`."""

    def _patch(self, patches: Patches) -> None:
        self._served = served = Served(self._hosting, upstream=self._upstream)
        patches.callback(setattr, served, "ended", True)
        self._watch()

    def _at(self, module: str, name: str, make: Callable[[Original], Any]) -> None:
        """Replace a function, or a method, of a module of the server's by what `make` makes of it, once that
        is imported."""
        self._patches.when_imported(module, partial(self._cover, name, make))

    def _cover(self, name: str, make: Callable[[Original], Any], module: Any) -> None:
        path, _, attribute = name.rpartition(".")
        owner = getattr(module, path, None) if path else module
        if callable(getattr(owner, attribute, None)):
            self._patches.wrap(owner, attribute, make)
        else:
            _log.warning(
                "instrumentation %s: this version of %s has no %s; it serves, and what it serves is measured "
                "where an instrumented framework answers",
                f"bext_{module.__name__.partition('.')[0]}",
                module.__name__.partition(".")[0],
                f"{module.__name__}.{name}",
            )

    def _serving(self, _: object = None) -> None:
        self._hosting.made()


def after(told: Callable[[Any], object]) -> Callable[[Original], Any]:
    """A method that tells `told` of its object when it is through."""

    def make(original: Original) -> Any:
        @wraps(original)
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            answer = original(self, *args, **kwargs)
            _tell(told, self)
            return answer

        return method

    return make


def before(told: Callable[[Any], object]) -> Callable[[Original], Any]:
    """A method that tells `told` of its object when it is called."""

    def make(original: Original) -> Any:
        @wraps(original)
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            _tell(told, self)
            return original(self, *args, **kwargs)

        return method

    return make


def _tell(told: Callable[[Any], object], server: Any) -> None:
    try:
        told(server)
    except Exception as error:
        report("the application of a server", error)
