"""What the application's handlers print of a record, and how they are kept from it where our line takes the
place of theirs.

Every handler is given records at `Handler.handle`. There, at the class, one that would print is passed over:
no filter of ours stands on a handler or a logger, and whatever an application sets up, or sets up again, is
met.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from contextvars import ContextVar
from typing import Any, TypeAlias

from bext_otel.covering import cover
from bext_otel.logs.handed_on import is_handed_on
from bext_otel.logs.handler_targets import follow_listeners, names_terminal, ways
from bext_otel.logs.hushing import hushed
from bext_otel.logs.terminal import leads_to_terminal
from bext_otel.process import Undo, on_import

__all__ = ["Passage", "Printing", "prints"]

_CallHandlers: TypeAlias = Callable[[logging.Logger, logging.LogRecord], None]
_Handle: TypeAlias = Callable[[logging.Handler, logging.LogRecord], Any]
_Key: TypeAlias = tuple[float, int | None, object, int]

# A handler that prints by way of another, which does so by way of another: enough, and an end to circles.
_MAX_DEPTH = 5
# How many records may wait in queues and buffers to be passed over there. Of more, the oldest are printed.
_MAX_WAITING = 4096


class Passage:
    """One record's way through the handlers of its logger. `silent`: they are not to print it; `printers` is
    how many of them that concerns, and are done with it. `taken`: it is emitted anyhow, so that those which
    would emit it have nothing to do."""

    __slots__ = ("printers", "record", "silent", "taken")

    def __init__(self, record: logging.LogRecord, *, silent: bool, taken: bool = False) -> None:
        self.record = record
        self.silent = silent
        self.taken = taken
        self.printers = 0


class Printing:
    """Knows which handlers print, and passes them over; from `hook` on, until what that returns is called.

    `emits` says whether a handler emits what it is given where the chain does.
    """

    def __init__(self, emits: Callable[[logging.Handler], bool]) -> None:
        self._emits = emits
        self._passage: ContextVar[Passage | None] = ContextVar("bext_otel_logs_passage", default=None)
        self._waiting: dict[_Key, None] = {}

    def hook(self) -> Undo:
        """Stand where handlers, and loguru's for records that came by way of one of them, are given
        records."""
        undoing = ExitStack()
        undoing.callback(follow_listeners())
        undoing.callback(cover(logging.Handler, "handle", self._handled))
        undoing.callback(
            on_import(
                "loguru._simple_sinks",
                lambda found: undoing.callback(cover(found.StreamSink, "write", self._written)),
            )
        )
        return undoing.close

    def take(self, passage: Passage, call: _CallHandlers, logger: logging.Logger) -> None:
        """Call a logger's handlers; what they raise gets out, and the passage says in any case what became of
        the record."""
        token = self._passage.set(passage)
        try:
            call(logger, passage.record)
        finally:
            self._passage.reset(token)

    def is_passing(self) -> bool:
        """Is a record on its way through handlers, here and now?"""
        return self._passage.get() is not None

    def can_be_silent(self, loggers: Iterable[logging.Logger], record: logging.LogRecord) -> bool:
        """Can all handlers of these loggers be kept from printing the record?

        Not where one hands it on to another process or to a thread that does not know who has said it. Those
        that hand it on within this process are remembered, on the assumption that it is to be silent. Never
        raises.
        """
        try:
            return self._find_out(loggers, record)
        except Exception:  # a filter, a handler or a stream of the application's own making: it prints
            return False

    def _find_out(self, loggers: Iterable[logging.Logger], record: logging.LogRecord) -> bool:
        handlers = [
            handler
            for logger in loggers
            for handler in logger.handlers
            if record.levelno >= handler.level and not _is_simple(handler)
        ]
        if any(_escapes(handler, record) for handler in handlers):
            return False
        if any(_hands_on(handler, record.levelno, _MAX_DEPTH) for handler in handlers):
            self._remember(record)
        return True

    def _remember(self, record: logging.LogRecord) -> None:
        self._waiting[_key(record)] = None
        if len(self._waiting) > _MAX_WAITING:
            with suppress(StopIteration, KeyError, RuntimeError):  # another thread has done it
                del self._waiting[next(iter(self._waiting))]

    def _is_remembered(self, record: logging.LogRecord) -> bool:
        try:
            return _key(record) in self._waiting
        except Exception:  # one that was made by hand, of anything
            return False

    def _handled(self, original: _Handle, handler: logging.Handler, record: logging.LogRecord) -> Any:
        passage = self._passage.get()
        if passage is None or passage.record is not record:
            if (self._waiting and self._is_remembered(record) and prints(handler)) or (
                is_handed_on() and self._emits(handler)
            ):
                return handler.filter(record)
            return original(handler, record)
        if passage.taken and self._emits(handler):
            return handler.filter(record)
        if prints(handler):
            passes = original(handler, record) if not passage.silent else handler.filter(record)
            passage.printers += bool(passes)
            return passes
        if passage.silent and names_terminal(handler):
            with hushed():
                return original(handler, record)
        return original(handler, record)

    def _written(self, original: Callable[[Any, str], None], sink: Any, message: str) -> None:
        passage = self._passage.get()
        if passage is None or not leads_to_terminal(getattr(sink, "_stream", None)):
            original(sink, message)
            return
        passage.printers += 1
        if not passage.silent:
            original(sink, message)


def _key(record: logging.LogRecord) -> _Key:
    """What a copy of the record, which a queue takes, has in common with it and with no other."""
    return record.created, record.thread, record.name, record.lineno


def _is_simple(handler: logging.Handler) -> bool:
    """Does it lead nowhere but to a stream of its own?"""
    return type(handler) in (logging.StreamHandler, logging.FileHandler, logging.NullHandler)


def prints(handler: logging.Handler) -> bool:
    """Does the handler itself write to the terminal? Never raises."""
    try:
        if isinstance(handler, logging.StreamHandler):
            return leads_to_terminal(handler.stream)
        return any(way.how == "own" and leads_to_terminal(way.to) for way in ways(handler, logging.CRITICAL))
    except Exception:  # its attributes change meanwhile, or raise what they like: it prints
        return False


def _escapes(handler: logging.Handler, record: logging.LogRecord) -> bool:
    """Will it be printed in a way that cannot be kept silent?"""
    own = prints(handler) and type(handler).handle is not logging.Handler.handle
    elsewhere = any(
        way.how == "elsewhere" and _reaches(way.to, record.levelno, _MAX_DEPTH)
        for way in ways(handler, record.levelno)
    )
    return (own or elsewhere) and bool(handler.filter(record))


def _hands_on(handler: logging.Handler, level: int, depth: int) -> bool:
    return any(
        way.how == "handed" and isinstance(way.to, logging.Handler) and _reaches(way.to, level, depth)
        for way in ways(handler, level)
    )


def _reaches(target: object, level: int, depth: int) -> bool:
    """Does a handler or stream lead to the terminal, by itself or by others?"""
    if not isinstance(target, logging.Handler):
        return leads_to_terminal(target)
    return prints(target) or (
        depth > 0 and any(_reaches(way.to, level, depth - 1) for way in ways(target, level))
    )
