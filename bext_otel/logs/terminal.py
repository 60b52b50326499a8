"""What handlers of others print to the terminal, and how one of them is kept silent for as long as our lines take their place."""

from __future__ import annotations

import logging
import sys
import weakref
from collections.abc import Callable, Iterator

__all__ = ["Mute", "is_printed", "is_printer", "path"]


def path(logger: logging.Logger) -> Iterator[logging.Logger]:
    """The logger and those above it whose handlers its records reach, as Python walks."""
    found: logging.Logger | None = logger
    while found is not None:
        yield found
        found = found.parent if found.propagate else None


def is_printer(handler: logging.Handler, *streams: str) -> bool:
    """Does the handler print to one of these standard streams (by default, to any)?"""
    if not isinstance(handler, logging.StreamHandler):
        return False
    stream = handler.stream
    return stream is not None and any(
        stream is getattr(sys, name, None) or stream is getattr(sys, f"__{name}__", None) for name in streams or ("stdout", "stderr")
    )


def is_printed(record: logging.LogRecord, stream: str) -> bool:
    """Has a handler of the application, on its way through the loggers, printed the record to this stream already?"""
    logger = logging.root.manager.loggerDict.get(record.name)
    for each in path(logger if isinstance(logger, logging.Logger) else logging.root):
        for handler in each.handlers:
            if record.levelno >= handler.level and is_printer(handler, stream) and (not handler.filters or handler.filter(record)):
                return True
    return False


class Mute(logging.Filter):
    """A filter that keeps handlers from printing the records that `applies` says; `lift` takes it off all of them."""

    def __init__(self, applies: Callable[[logging.LogRecord], bool]) -> None:
        super().__init__()
        self._applies = applies
        self._muted: weakref.WeakSet[logging.Handler] = weakref.WeakSet()

    def put_on(self, handler: logging.Handler) -> None:
        """Mute a handler; once is enough."""
        if self not in handler.filters:
            handler.addFilter(self)
            self._muted.add(handler)

    def filter(self, record: logging.LogRecord) -> bool:
        """See `logging.Filter`."""
        return not self._applies(record)

    def lift(self) -> None:
        """The handlers print as before."""
        for handler in list(self._muted):
            handler.removeFilter(self)
        self._muted.clear()
