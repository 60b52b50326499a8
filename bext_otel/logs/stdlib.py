"""The standard library's side of the chain: where every logger hands a record to its handlers, and where no
application looks."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import lru_cache, wraps
from typing import TypeAlias

from bext_otel.covering import replace
from bext_otel.logs.chain import Chain
from bext_otel.logs.correlation import Mark
from bext_otel.logs.handed_on import is_handed_on
from bext_otel.logs.outputs import write_stderr
from bext_otel.logs.printing import Passage, Printing
from bext_otel.logs.servers import crash_in, is_access_line, is_left_out, is_of_master, may_tell_of_requests
from bext_otel.logs.shortcut import is_unheard, take_shortcut
from bext_otel.logs.terminal import Terminal, name_of, path

__all__ = ["Attachment", "attach"]

_CallHandlers: TypeAlias = Callable[[logging.Logger, logging.LogRecord], None]
_Asks: TypeAlias = Callable[[], bool]

_OWN = frozenset({"bext_otel", "bext_otel_instrumentors"})
_formatter = logging.Formatter("%(message)s")
_LAST_RESORT = logging.lastResort


@lru_cache(1024)
def _is_ordinary(name: str) -> bool:
    """Is it the name of a logger that is neither one of ours nor a server's?"""
    return name.partition(".")[0] not in _OWN and not may_tell_of_requests(name)


class Attachment:
    """The chain's hold on the standard library's logging; `remove` lets go.

    Every logger hands its records to `Logger.callHandlers`. That is where we are told of them, after the
    application's handlers. No handler of ours stands anywhere, so who asks a logger for handlers, or walks up
    to the one that has no parent, finds the application's own.

    While `terminal` is ours (None: it never is), a record that the chain takes is our line there, and
    handlers that would print it are passed over. What a logger says that does not propagate is the
    application's own affair, unless it is printed.
    """

    def __init__(
        self,
        chain: Chain,
        *,
        terminal: Terminal | None,
        is_completed: _Asks,
        to_file: bool,
        mark: Mark | None,
    ) -> None:
        self._chain = chain
        self._terminal = terminal
        self._is_completed = is_completed
        self._to_file = to_file
        self._mark = mark
        self._printing = Printing(chain.is_fed_by)
        self._undoing = ExitStack()
        self._undoing.callback(self._printing.hook())
        # Others who stand there, as error trackers do, want to be told.
        self._is_pythons = getattr(logging.Logger.callHandlers, "__globals__", None) is vars(logging)
        self._undoing.callback(self._stand_at_loggers())
        if self._is_pythons and mark is None:
            self._undoing.callback(
                take_shortcut(chain, is_ordinary=_is_ordinary, is_terminal_ours=self._is_terminal_ours)
            )

    def _stand_at_loggers(self) -> Callable[[], None]:
        # As `cover` does it, but without arguments of any kind, since this is called for every record.
        original, heard, active = logging.Logger.callHandlers, self._heard, True

        @wraps(original)
        def call_handlers(self: logging.Logger, record: logging.LogRecord) -> None:
            if active:
                heard(original, self, record)
            else:
                original(self, record)

        put_back = replace(logging.Logger, "callHandlers", call_handlers)

        def undo() -> None:
            nonlocal active
            active = False
            put_back()

        return undo

    def remove(self) -> None:
        """Leave Python's logging as it was found."""
        self._undoing.close()

    def is_passing(self) -> bool:
        """Is a record on its way through handlers, here and now?"""
        return self._printing.is_passing()

    def _heard(self, original: _CallHandlers, logger: logging.Logger, record: logging.LogRecord) -> None:
        if self._mark is not None:
            # One that no factory made, or the application's own.
            self._mark(record)
        name = record.name
        if type(name) is str and _is_ordinary(name):
            if (
                self._is_pythons
                and logging.lastResort is _LAST_RESORT
                and type(record.levelno) is int
                and not record.exc_info
                and is_unheard(logger)
                and not is_handed_on()
            ):
                ours = self._is_terminal_ours()
                if (ours or record.levelno < logging.WARNING) and self._chain.admits(record):
                    # Nobody else is to be asked.
                    self._chain.python(record, heard=ours)
                    return
        elif name_of(record).partition(".")[0] in _OWN:
            self._say(original, logger, record)
            return
        loggers = list(path(logger))
        propagates = loggers[-1] is logging.root
        if propagates and self._chain.hides(record):
            return
        taken, told = self._becomes(record, propagates=propagates)
        ours = self._is_terminal_ours()
        silent = (taken or told) and ours and self._printing.can_be_silent(loggers, record)
        passage = Passage(record, silent=silent, taken=(taken or is_handed_on()) and propagates)
        try:
            self._printing.take(passage, original, logger)
        finally:
            if taken and (propagates or passage.printers):
                self._take(record, printed=not silent and (ours or passage.printers > 0))

    def _is_terminal_ours(self) -> bool:
        return self._terminal is not None and self._terminal.is_ours()

    def _becomes(self, record: logging.LogRecord, *, propagates: bool) -> tuple[bool, bool]:
        """Does the chain take it, or has it been told by the completion record of a request?"""
        try:
            if is_handed_on():
                return False, True
            if is_access_line(record):
                told = self._is_completed()
                return propagates and not told and self._chain.admits(record), told
            if record.exc_info and self._is_completed() and is_left_out(record):
                # What the application prints by itself is not ours to leave out.
                return False, self._is_terminal_ours()
            crash = crash_in(record)
            told = crash is not None and crash.told
            return not told and self._chain.admits(record), told
        except Exception:  # logging must not fail the work that is logged
            self._chain.failures += 1
            return False, False

    def _take(self, record: logging.LogRecord, *, printed: bool) -> None:
        try:
            crash = crash_in(record)
            self._chain.python(
                record,
                printed=printed,
                waits=is_of_master(record),
                context=crash.context if crash is not None else None,
            )
        except Exception:  # logging must not fail the work that is logged
            self._chain.failures += 1

    def _say(self, original: _CallHandlers, logger: logging.Logger, record: logging.LogRecord) -> None:
        """What we say ourselves is our line, or where lines go nowhere, a warning on standard error; or else
        somebody listens at our own loggers, who says it."""
        ours = self._is_terminal_ours()
        heard = any(each.handlers for each in path(logger) if each is not logging.root)
        admitted = self._chain.admits(record)
        passage = Passage(record, silent=ours or not heard, taken=admitted)
        try:
            if heard or record.levelno >= logging.root.level:  # our level is lower than the application's
                self._printing.take(passage, original, logger)
        finally:
            if admitted:
                self._take(record, printed=False)
            if not (ours or heard or self._to_file) and record.levelno >= logging.WARNING:
                with suppress(Exception):  # its arguments do not fit
                    write_stderr(_formatter.format(record))


def attach(
    chain: Chain,
    *,
    terminal: Terminal | None,
    to_file: bool = False,
    is_completed: _Asks = lambda: False,
    mark: Mark | None = None,
) -> Attachment:
    """Let every record of the standard library's logging enter the chain, once.

    `terminal` is where our lines go while it is ours (None: they go nowhere, or `to_file`). `is_completed`
    says whether a completion record tells of the request of which a server's line does. `mark` sees each
    record before any handler does.
    """
    return Attachment(chain, terminal=terminal, is_completed=is_completed, to_file=to_file, mark=mark)
