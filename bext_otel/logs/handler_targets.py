"""Where a handler leads, found by what it holds and not by its class: streams, consoles, other handlers,
queues."""

from __future__ import annotations

import gc
import logging
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import lru_cache, partial
from itertools import islice
from types import CodeType, FunctionType
from typing import Any, Literal, NamedTuple

from bext_otel.covering import cover
from bext_otel.process import on_import

__all__ = ["Way", "follow_listeners", "function_names_terminal", "names_terminal", "ways"]

# A handler's own few; a buffer of records is no list of handlers.
_MAX_ITEMS = 10
_COLLECTIONS = (list, tuple, set, frozenset)
# How code gets at the standard streams.
_NAMES_OF_TERMINAL = frozenset({"print", "stdout", "stderr", "__stdout__", "__stderr__", "tqdm"})

_naming_terminal: weakref.WeakKeyDictionary[type[logging.Handler], bool] = weakref.WeakKeyDictionary()
_listening: weakref.WeakSet[Any] = weakref.WeakSet()
_followed = False


class Way(NamedTuple):
    """Where a handler leads: to a stream that it writes to itself (`own`), to a handler or a stream of
    another library that gets the record in this process, now or later (`handed`), or to one that gets it
    where nobody knows who has said it: in another process, or in a thread of another library
    (`elsewhere`)."""

    to: object
    how: Literal["own", "handed", "elsewhere"]


def ways(handler: logging.Handler, level: int) -> Iterator[Way]:
    """Where a record of this level goes that the handler is given."""
    for held in [*vars(handler).values(), *_named_by_emit(handler)]:
        if type(held) in _COLLECTIONS or type(held) is dict:
            for each in islice(held.values() if type(held) is dict else held, _MAX_ITEMS):
                yield from _way_of(each, level)
        else:
            yield from _way_of(held, level)


def _way_of(held: object, level: int) -> Iterator[Way]:
    kind = type(held)
    if isinstance(held, logging.Handler):
        yield Way(held, "handed")
    elif kind.__module__.startswith("loguru."):
        yield from _loguru_ways(held, level)
    elif hasattr(kind, "put_nowait"):
        yield from _heard_behind(held, level)
    elif hasattr(kind, "file") and hasattr(kind, "print"):
        # A console, as rich has it, knows its stream only at the time.
        yield Way(getattr(held, "file", None), "own")
    elif hasattr(kind, "write"):
        yield Way(held, "own")


def names_terminal(handler: logging.Handler) -> bool:
    """Does the code of the handler's class, or of one above it, name the standard streams, or `print`? It may
    write to them then."""
    kind = type(handler)
    found = _naming_terminal.get(kind)
    if found is None:
        found = _naming_terminal[kind] = any(
            isinstance(held, FunctionType) and not _NAMES_OF_TERMINAL.isdisjoint(_names(held.__code__))
            for each in kind.__mro__
            if not each.__module__.startswith("logging")
            for held in list(vars(each).values())
        )
    return found


def function_names_terminal(function: object) -> bool:
    """The same of a function's own code."""
    return isinstance(function, FunctionType) and not _NAMES_OF_TERMINAL.isdisjoint(_names(function.__code__))


def _named_by_emit(handler: logging.Handler) -> Iterator[object]:
    """Loggers of another library that the handler's code names: who intercepts records for loguru holds
    nothing of it."""
    if "loguru" not in sys.modules:
        return
    emit = getattr(type(handler), "emit", None)
    if not isinstance(emit, FunctionType) or emit.__module__.startswith("logging"):
        return
    for name in _names(emit.__code__):
        if name == "loguru":  # imported on the spot
            yield getattr(sys.modules["loguru"], "logger", None)
        elif name in emit.__globals__ and type(emit.__globals__[name]).__module__.startswith("loguru."):
            yield emit.__globals__[name]


@lru_cache(256)
def _names(code: CodeType) -> frozenset[str]:
    return frozenset(code.co_names).union(
        *(_names(each) for each in code.co_consts if isinstance(each, CodeType))
    )


def _loguru_ways(logger: object, level: int) -> Iterator[Way]:
    core = getattr(logger, "_core", None)
    for handler in list(getattr(core, "handlers", {}).values()):
        if level >= getattr(handler, "_levelno", 0):
            stream = getattr(getattr(handler, "_sink", None), "_stream", None)
            yield Way(stream, "elsewhere" if getattr(handler, "_enqueue", False) else "handed")


def _heard_behind(queue: object, level: int) -> Iterator[Way]:
    """The handlers of the listeners that take from a queue; in a forked child, also of the parent's."""
    global _followed
    module: Any = sys.modules.get("logging.handlers")
    if module is None:
        return
    if not _followed:
        # Those that were started before we looked, if any.
        _followed = True
        found = [
            each
            for each in gc.get_referrers(module.QueueListener)
            if issubclass(type(each), module.QueueListener)
        ]
        _listening.update(each for each in found if getattr(each, "_thread", None) is not None)
    for listener in list(_listening):
        if listener.queue is queue:
            thread = getattr(listener, "_thread", None)
            for handler in listener.handlers:
                if not listener.respect_handler_level or level >= handler.level:
                    # A child has its parent's listeners, but not their threads.
                    yield Way(handler, "handed" if thread is not None and thread.is_alive() else "elsewhere")


def follow_listeners() -> Callable[[], None]:
    """Know which listeners of queues are at work; what is returned undoes it."""
    undoing = ExitStack()

    def follow(module: Any) -> None:
        for name, tell in (("start", _listening.add), ("stop", _listening.discard)):
            undoing.callback(cover(module.QueueListener, name, partial(_telling, tell)))

    undoing.callback(on_import("logging.handlers", follow))
    return undoing.close


def _telling(tell: Callable[[Any], None], original: Callable[[Any], Any], listener: Any) -> Any:
    tell(listener)
    return original(listener)
