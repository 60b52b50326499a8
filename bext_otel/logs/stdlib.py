"""The standard library's side of the chain: where every logger hands a record to its handlers, and where no
application looks."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from typing import Any, TypeAlias

from bext_otel.logs.chain import Chain
from bext_otel.logs.correlation import Mark
from bext_otel.logs.terminal import Mute, is_printed, is_printer, path, reaches_root

__all__ = ["Attachment", "attach"]

_CallHandlers: TypeAlias = Callable[[logging.Logger, logging.LogRecord], None]
_Asks: TypeAlias = Callable[[logging.LogRecord], bool]
_Tells: TypeAlias = Callable[[list[logging.Logger], logging.LogRecord], None]


class Attachment:
    """The chain's hold on the standard library's logging; `remove` lets go.

    Every logger hands its records to `Logger.callHandlers`. That is where we are told of them, after the
    application's handlers. No handler of ours stands anywhere, so who asks a logger for handlers, or walks up
    to the one that has no parent, finds the application's own.

    Where the application prints a record to `terminal` (the stream that our lines go to, None if they don't
    go to one), no line of ours stands beside. Where nothing but Python's handler of last resort would print
    it, our line takes that one's place.
    """

    def __init__(
        self, chain: Chain, *, terminal: str | None, is_told: _Asks, tell_apart: _Tells, mark: Mark | None
    ) -> None:
        self._chain = chain
        self._tell_apart = tell_apart
        self._mark = mark
        self._terminal = terminal
        self._is_told = is_told
        self._unhandled: ContextVar[logging.LogRecord | None] = ContextVar(
            "bext_otel_logs_unhandled", default=None
        )
        self._last_resort = Mute(lambda record: self._unhandled.get() is record)
        self._undo = [self._last_resort.lift, self._hear()]
        if terminal is not None:
            self._undo.append(_mute_basic_config())

    def remove(self) -> None:
        """Leave Python's logging as it was found."""
        while self._undo:
            self._undo.pop()()

    def _hear(self) -> Callable[[], None]:
        original: _CallHandlers = logging.Logger.callHandlers
        active = True

        @wraps(original)
        def callHandlers(self: logging.Logger, record: logging.LogRecord) -> None:  # noqa: N802  # the standard library's name
            if active:
                heard(original, self, record)
            else:
                original(self, record)

        heard = self._heard

        def undo() -> None:
            nonlocal active
            active = False
            if logging.Logger.callHandlers is callHandlers:
                logging.Logger.callHandlers = original  # type: ignore[method-assign,assignment]

        logging.Logger.callHandlers = callHandlers  # type: ignore[method-assign]
        return undo

    def _heard(self, original: _CallHandlers, logger: logging.Logger, record: logging.LogRecord) -> None:
        if self._mark is not None:
            # One that no factory made, or the application's own.
            self._mark(record)
        loggers = list(path(logger))
        if loggers[-1] is not logging.root:
            try:
                original(logger, record)
            finally:
                self._tell_apart(loggers, record)
            return
        if self._chain.hides(record):
            return
        try:
            if self._terminal is None or any(each.handlers for each in loggers):
                original(logger, record)
            else:
                self._without_last_resort(original, logger, record)
        finally:
            self._take(logger, record)

    def _without_last_resort(
        self, original: _CallHandlers, logger: logging.Logger, record: logging.LogRecord
    ) -> None:
        last = logging.lastResort
        if last is not None and is_printer(last):
            self._last_resort.put_on(last)
        token = self._unhandled.set(record)
        try:
            original(logger, record)
        finally:
            self._unhandled.reset(token)

    def _take(self, logger: logging.Logger, record: logging.LogRecord) -> None:
        try:
            if not self._is_told(record) and self._chain.admits(record):
                self._chain.python(record, printed=self._is_printed(logger, record))
        except Exception:  # logging must not fail the work that is logged
            self._chain.failures += 1

    def _is_printed(self, logger: logging.Logger, record: logging.LogRecord) -> bool:
        try:
            return self._terminal is not None and is_printed(logger, record, self._terminal)
        except (
            Exception
        ):  # a filter of the application, asked a second time; a line too many is better than none
            return False


def _mute_basic_config() -> Callable[[], None]:
    """Keep silent what `logging.basicConfig` (and `logging.warning`, which calls it) makes by itself to
    print: our lines are there.

    Everything else that it does stands: the level, files, handlers that it was given. What is returned undoes
    it.
    """
    original = logging.basicConfig
    mute = Mute(reaches_root)
    active = True

    @wraps(original)
    def basicConfig(*args: Any, **kwargs: Any) -> None:  # noqa: N802  # the standard library's name
        before = tuple(logging.root.handlers)
        original(*args, **kwargs)
        if active and kwargs.get("handlers") is None:
            for handler in logging.root.handlers:
                if type(handler) is logging.StreamHandler and handler not in before and is_printer(handler):
                    mute.put_on(handler)

    def undo() -> None:
        nonlocal active
        active = False
        mute.lift()
        if logging.basicConfig is basicConfig:
            logging.basicConfig = original

    logging.basicConfig = basicConfig
    return undo


def _tell_nobody(loggers: list[logging.Logger], record: logging.LogRecord) -> None:
    """A logger that doesn't propagate is the application's own affair."""


def attach(
    chain: Chain,
    *,
    terminal: str | None,
    is_told: _Asks = lambda _: False,
    tell_apart: _Tells = _tell_nobody,
    mark: Mark | None = None,
) -> Attachment:
    """Let every record of the standard library's logging enter the chain, once.

    `terminal` is the standard stream that lines go to (None: to a file, or nowhere). What `is_told` knows to
    be told by another record stays outside. `tell_apart` is told of what doesn't propagate to the root
    logger, and of the loggers on its way. `mark` sees each record before any handler does.
    """
    return Attachment(chain, terminal=terminal, is_told=is_told, tell_apart=tell_apart, mark=mark)
