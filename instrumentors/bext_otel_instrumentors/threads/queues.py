"""`queue.Queue` and its kin, and janus's: a thread that serves whoever puts something into one works for the
one who put it, and not for the request that it was started in.

Nothing is put beside an item: the context of who put it is kept here, and only for queues that such a thread
has taken something from.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary

from opentelemetry import context, trace
from opentelemetry.context import Context

from bext_otel_instrumentors._kit.patch import Patches

__all__ = ["cover", "working"]

_EMPTY = Context()
_QUEUES = ("Queue", "LifoQueue", "PriorityQueue")


# What a thread works in: the context that it was started in, or that of what it has taken last; None where no
# request has started it. A context variable, since under gevent a thread's own variables may be those of all.
_given: ContextVar[Context | None] = ContextVar("bext-otel-given", default=None)


class _Contexts:
    """In which contexts the items of one queue were put, by their identity: the same object may have been put
    often. Used under the queue's own lock."""

    def __init__(self) -> None:
        self._known: dict[int, deque[Context]] = {}
        self._count = 0

    def put(self, item: object, here: Context, size: int) -> None:
        """`item` was put in context `here`; the queue has `size` items now."""
        if self._count >= size:  # somebody has emptied it behind its back
            self._known.clear()
            self._count = 0
        self._known.setdefault(id(item), deque()).append(here)
        self._count += 1

    def taken(self, item: object) -> Context | None:
        """The context that `item` was put in; None where that is not known."""
        known = self._known.get(id(item))
        if known is None:
            return None
        self._count -= 1
        here = known.popleft()
        if not known:
            del self._known[id(item)]
        return here


_served: WeakKeyDictionary[Any, _Contexts] = WeakKeyDictionary()


@contextmanager
def working(here: Context) -> Iterator[None]:
    """A thread works in this context, until it takes from a queue what was put in another."""
    token, before = context.attach(here), _given.set(here)
    try:
        yield
    finally:
        _given.reset(before)
        context.detach(token)


def cover(patches: Patches) -> None:
    """Patch the queues; janus's as soon as they are imported."""
    patches.callback(_served.clear)
    _cover(patches, queue)
    patches.when_imported("janus", lambda janus: _cover(patches, janus))


def _cover(patches: Patches, module: Any) -> None:
    # Both are called with the queue's lock held, and are what its kinds replace.
    for name in _QUEUES:
        with suppress(TypeError):  # gevent's, in the place of Python's, are written in C
            patches.wrap(getattr(module, name), "_put", _putting)
            patches.wrap(getattr(module, name), "_get", _getting)


def _putting(original: Callable[[Any, Any], None]) -> Callable[[Any, Any], None]:
    @wraps(original)
    def _put(self: Any, item: Any) -> None:
        original(self, item)
        if _served:
            with suppress(Exception):  # a queue of another make; its lock is held, so nothing is logged
                if (contexts := _served.get(self)) is not None:
                    contexts.put(item, context.get_current(), self._qsize())

    return _put


def _getting(original: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @wraps(original)
    def _get(self: Any) -> Any:
        item = original(self)
        if _served or _given.get() is not None:
            with suppress(Exception):  # likewise
                _taken(self, item)
        return item

    return _get


def _taken(served: Any, item: object) -> None:
    contexts = _served.get(served)
    put_in = None if contexts is None else contexts.taken(item)
    given = _given.get()
    if given is None:
        return
    if contexts is None:
        _served[served] = _Contexts()
    # Within a span of its own, a thread goes on with what it is doing.
    if context.get_current() is not given:
        return
    if not put_in:
        if contexts is None or trace.get_current_span(given).is_recording():
            return  # the first one, or work for the request that started it
        put_in = _EMPTY
    context.attach(put_in)
    _given.set(put_in)
