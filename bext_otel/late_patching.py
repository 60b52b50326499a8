"""When gevent replaces what threads are made of, in a process that has some already.

A thread that runs across that knows itself by a number that `threading` has no more, and what it starts
afterwards is a greenlet of its own, which ends with it. So whoever has a thread ends it before, and begins
again after.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from bext_otel.process import Undo, on_import

__all__ = ["on_patching"]


class _Listener:
    """Hears of each step of gevent's, and of events of others that go the same way (`zope.event`)."""

    def __init__(self, kind: type, before: Callable[[], None], after: Callable[[], None]) -> None:
        self._kind = kind
        self._before = before
        self._after = after
        self._whole = False

    def __call__(self, event: Any) -> None:
        if not isinstance(event, self._kind):
            return
        step, module = type(event).__name__, getattr(event, "module_name", "")
        with suppress(Exception):  # the application goes on patching, whatever telemetry makes of it
            if step == "GeventWillPatchAllEvent":
                self._whole = True
            elif step == "GeventWillPatchModuleEvent" and module == "_thread":
                self._before()
            elif step == "GeventDidPatchAllEvent":
                self._whole = False
                self._after()
            elif step == "GeventDidPatchModuleEvent" and module == "threading" and not self._whole:
                self._after()


def on_patching(*, before: Callable[[], None], after: Callable[[], None]) -> Undo:
    """Call these around every patching of `threading` by gevent (`patch_all`, `patch_thread`), until the
    answer is called. Nothing that they raise gets out. `after` may come without a `before`, where `patch_all`
    leaves threads as they are."""
    undone: list[Undo] = []

    def listen(events: Any) -> None:
        listener = _Listener(events.GeventPatchEvent, before, after)
        events.subscribers.append(listener)

        def stop() -> None:
            with suppress(ValueError):  # it is undone already
                events.subscribers.remove(listener)

        undone.append(stop)

    undone.append(on_import("gevent.events", listen))

    def undo() -> None:
        for each in tuple(undone):
            each()

    return undo
