"""What handlers of others print to the terminal, and how one of them is kept silent for as long as our lines
take their place."""

from __future__ import annotations

import logging
import os
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from bext_otel.logs.handler_targets import ways

__all__ = ["Mute", "is_printed", "is_printer", "name_of", "path", "reaches_root"]

_STANDARD = ("stdout", "stderr")
# A handler that prints by way of another, which does so by way of another: enough, and an end to circles.
_MAX_DEPTH = 5


def path(logger: logging.Logger) -> Iterator[logging.Logger]:
    """The logger and those above it whose handlers its records reach, as Python walks."""
    found: logging.Logger | None = logger
    while found is not None:
        yield found
        found = found.parent if found.propagate else None


def name_of(record: logging.LogRecord) -> str:
    """Who says it, as text; loggers made by hand can have anything for a name."""
    name: object = record.name
    return name if isinstance(name, str) else ""


def reaches_root(record: logging.LogRecord) -> bool:
    """Does the record propagate to the root logger, by the name of who says it?"""
    logger = logging.root.manager.loggerDict.get(name_of(record))
    return not isinstance(logger, logging.Logger) or any(each is logging.root for each in path(logger))


def is_printer(handler: logging.Handler, *streams: str) -> bool:
    """Does the handler itself print to one of these standard streams (by default, to any)?"""
    return isinstance(handler, logging.StreamHandler) and _leads_to(handler.stream, streams or _STANDARD)


def is_printed(logger: logging.Logger, record: logging.LogRecord, stream: str) -> bool:
    """Have the application's handlers printed the record to where this standard stream leads, or will they?

    By themselves, or by way of others: of a queue and its listener, a buffer's target, a console, another
    logging library.
    """
    return any(
        record.levelno >= handler.level and _prints(handler, record, (stream,), _MAX_DEPTH)
        for each in path(logger)
        for handler in each.handlers
    )


def _prints(
    handler: logging.Handler, record: logging.LogRecord, streams: tuple[str, ...], depth: int
) -> bool:
    if handler.filters and not handler.filter(record):
        return False
    if isinstance(handler, logging.StreamHandler) and _leads_to(handler.stream, streams):
        return True
    if isinstance(handler, logging.FileHandler) or not depth:
        return False
    return any(
        _prints(way, record, streams, depth - 1)
        if isinstance(way, logging.Handler)
        else _leads_to(way, streams)
        for way in ways(handler, record.levelno)
    )


def _leads_to(stream: object, names: tuple[str, ...]) -> bool:
    """Is it one of the standard streams, or does it lead to where one of them leads: the same terminal, pipe
    or file?"""
    if stream is None:
        return False
    standard = [getattr(sys, shown, None) for name in names for shown in (name, f"__{name}__")]
    if any(stream is each for each in standard):
        return True
    place = _place(stream)
    return place is not None and any(
        place == _place(each) for each in {id(each): each for each in standard}.values()
    )


def _place(stream: Any) -> tuple[int, int] | None:
    """What is behind a stream's descriptor; None if it has none."""
    try:
        number = stream.fileno()
        found = os.fstat(number) if type(number) is int else None
    except (
        Exception
    ):  # no stream, or a closed one, or a stand-in of the application's that raises what it likes
        return None
    return (found.st_dev, found.st_ino) if found is not None else None


class Mute(logging.Filter):
    """A filter that keeps handlers from printing the records that `applies` says; `lift` takes it off all of
    them.

    A copy of a handler has it too; where one is pickled, a filter stands in its place that lets everything
    through.
    """

    def __init__(self, applies: Callable[[logging.LogRecord], bool]) -> None:
        super().__init__()
        self._applies = applies
        self._muted: weakref.WeakSet[logging.Handler] = weakref.WeakSet()

    def __deepcopy__(self, memo: object) -> Mute:
        return self

    def __reduce__(self) -> tuple[type[logging.Filter], tuple[()]]:
        return logging.Filter, ()

    def put_on(self, handler: logging.Handler) -> None:
        """Mute a handler; once is enough."""
        if self not in handler.filters:
            handler.addFilter(self)
            self._muted.add(handler)

    def filter(self, record: logging.LogRecord) -> bool:
        """See `logging.Filter`."""
        return not self._applies(record)

    def lift(self) -> None:
        """The handlers print as before, and copies of them."""
        self._applies = lambda _: False
        for handler in list(self._muted):
            handler.removeFilter(self)
        self._muted.clear()
