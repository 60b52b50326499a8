"""What the instrumentors have in common."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Collection, Mapping
from typing import Any

from opentelemetry.instrumentation.environment_variables import OTEL_PYTHON_DISTRO
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]  # upstream turned checking off there

from bext_otel_instrumentors._kit.patch import Patches
from bext_otel_instrumentors.http.hosting import Hosting

__all__ = ["HostingInstrumentor", "Instrumentor"]


class Instrumentor(BaseInstrumentor):  # type: ignore[misc]  # as above
    """Instruments a library by replacing attributes of its classes, so that it matters not when an
    application is made.

    Doing it twice does nothing, without a word: an application may ask for what has been done for it. Undoing
    puts everything back.
    """

    requires: tuple[str, ...] = ()
    """The library, in the versions that are known (PEP 508); empty where it is part of Python."""

    _patches: Patches

    def instrumentation_dependencies(self) -> Collection[str]:
        """What `requires` says, for upstream."""
        return self.requires

    def instrument(self, **kwargs: Any) -> Any:
        """As upstream's, which warns of a second time. Under another distribution than ours, which a variable
        asks for, its loader gets nothing of ours."""
        if _is_anothers(kwargs):
            return None
        return None if self.is_instrumented_by_opentelemetry else super().instrument(**kwargs)

    @abstractmethod
    def _patch(self, patches: Patches) -> None:
        """Replace what is to be replaced."""

    def _instrument(self, **kwargs: Any) -> None:
        self._patches = Patches()
        try:
            self._patch(self._patches)
        except BaseException:
            self._patches.undo()
            raise

    def _uninstrument(self, **kwargs: Any) -> None:  # upstream's signature
        self._patches.undo()


def _is_anothers(given: Mapping[str, Any]) -> bool:
    """Whether it is the loader of another distribution that asks, by what it gives, and not the application
    or ours."""
    asked = os.environ.get(OTEL_PYTHON_DISTRO) or "bext"
    return asked != "bext" and "skip_dep_check" in given and "disabled" not in given


class HostingInstrumentor(Instrumentor):
    """Instruments a library whose applications serve.

    `instrument(asgi=..., wsgi=..., on_serving=...)`: see `Hosting`; `upstream=True` has upstream's middleware
    make the span, around ours; `disabled` names libraries that are to be left alone.
    """

    _hosting: Hosting
    _upstream = False
    _disabled: frozenset[str] = frozenset()

    def _instrument(self, **kwargs: Any) -> None:
        self._hosting = Hosting(
            **{name: kwargs.get(name) for name in ("asgi", "wsgi", "on_serving", "on_ending")}
        )
        self._upstream = kwargs.get("upstream", False)
        self._disabled = kwargs.get("disabled", frozenset())
        super()._instrument(**kwargs)
