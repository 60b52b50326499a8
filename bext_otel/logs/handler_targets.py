"""Where a handler hands records on to, found by what it holds and not by its class: other handlers, streams,
consoles, queues."""

from __future__ import annotations

import gc
import logging
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import wraps
from itertools import islice
from types import CodeType, FunctionType
from typing import Any

from bext_otel.process import on_import

__all__ = ["follow_listeners", "ways"]

# A handler's own few; a buffer of records is no list of handlers.
_MAX_ITEMS = 10

_listening: weakref.WeakSet[Any] = weakref.WeakSet()
_followed = False


def ways(handler: logging.Handler, level: int) -> Iterator[object]:
    """The handlers that get what this one is given at `level`, and the streams that it may write to."""
    for held in [*vars(handler).values(), *_named_by_emit(handler)]:
        if isinstance(held, logging.Handler):
            yield held
        elif type(held) in (list, tuple, set, frozenset):
            yield from (each for each in islice(held, _MAX_ITEMS) if isinstance(each, logging.Handler))
        elif type(held).__module__.startswith("loguru."):
            yield from _loguru_streams(held, level)
        elif hasattr(type(held), "put_nowait"):
            yield from _heard_behind(held, level)
        elif hasattr(type(held), "file") and hasattr(type(held), "print"):
            # A console, as rich has it, knows its stream only at the time.
            yield getattr(held, "file", None)
        elif hasattr(type(held), "write"):
            yield held


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


def _names(code: CodeType) -> set[str]:
    return {
        *code.co_names,
        *(name for each in code.co_consts if isinstance(each, CodeType) for name in _names(each)),
    }


def _loguru_streams(logger: object, level: int) -> Iterator[object]:
    core = getattr(logger, "_core", None)
    for handler in list(getattr(core, "handlers", {}).values()):
        if level >= getattr(handler, "_levelno", 0):
            yield getattr(getattr(handler, "_sink", None), "_stream", None)


def _heard_behind(queue: object, level: int) -> Iterator[logging.Handler]:
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
            for handler in listener.handlers:
                if not listener.respect_handler_level or level >= handler.level:
                    yield handler


def follow_listeners() -> Callable[[], None]:
    """Know which listeners of queues are at work; what is returned undoes it."""
    undoing = ExitStack()

    def follow(module: Any) -> None:
        undoing.callback(_replaced(module.QueueListener, "start", _listening.add))
        undoing.callback(_replaced(module.QueueListener, "stop", _listening.discard))

    undoing.callback(on_import("logging.handlers", follow))
    return undoing.close


def _replaced(owner: type[Any], name: str, tell: Callable[[Any], None]) -> Callable[[], None]:
    original = getattr(owner, name)

    @wraps(original)
    def replacement(self: Any, *args: Any, **kwargs: Any) -> Any:
        tell(self)
        return original(self, *args, **kwargs)

    setattr(owner, name, replacement)

    def undo() -> None:
        if getattr(owner, name) is replacement:
            setattr(owner, name, original)

    return undo
