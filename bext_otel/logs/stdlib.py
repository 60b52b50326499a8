"""The standard library's side of the chain: one handler, at a place that an application can't take away by accident."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from bext_otel.logs.chain import Chain
from bext_otel.logs.terminal import Mute, is_printed, is_printer

__all__ = ["Attachment", "ChainHandler", "attach"]


class ChainHandler(logging.Handler):
    """Hands every record to the chain. It has no lock: the sinks have their own."""

    def __init__(self, chain: Chain) -> None:
        super().__init__()
        self._chain = chain

    def createLock(self) -> None:  # noqa: N802  # the standard library's name
        """No lock, so that no thread waits for another one's formatting."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """See `logging.Handler`; without the lock."""
        passed: Any = self.filter(record)  # since Python 3.12 a filter may answer with another record
        if isinstance(passed, logging.LogRecord):
            record = passed
        if passed:
            self.emit(record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        if self._chain.gate.admits(record.name, record.levelno):
            self._chain.python(record)

    def flush(self) -> None:
        """Nothing is buffered here."""

    def close(self) -> None:
        """Stay open: `dictConfig` and `basicConfig(force=True)` close every handler they find."""


class _Above(ChainHandler):
    """Stands above the root logger: the last to see a record that propagates.

    Where the application has printed it to `terminal` (the stream that our lines go to, None if they don't go to one), no line of ours
    stands beside. Where nothing is printed at all, Python's handler of last resort must go on printing warnings of an application
    without handlers, which Python itself stops doing as soon as it sees any handler.
    """

    def __init__(self, chain: Chain, terminal: str | None, *, prints: bool, is_told: Callable[[logging.LogRecord], bool]) -> None:
        super().__init__(chain)
        self._terminal = terminal
        self._prints = prints
        self._is_told = is_told

    def emit(self, record: logging.LogRecord) -> None:
        if self._is_told(record):
            return
        if self._chain.gate.admits(record.name, record.levelno):
            self._chain.python(record, printed=self._is_printed(record))
        last = logging.lastResort
        if not self._prints and last is not None and record.levelno >= last.level and not _has_handler(record.name):
            last.handle(record)

    def _is_printed(self, record: logging.LogRecord) -> bool:
        try:
            return self._terminal is not None and is_printed(record, self._terminal)
        except Exception:  # a filter of the application, asked a second time; a line too many is better than none
            return False


def _has_handler(name: str) -> bool:
    logger: logging.Logger | None = logging.getLogger(name) if name != "root" else logging.root
    while logger is not None and logger is not logging.root.parent:
        if logger.handlers:
            return True
        logger = logger.parent
    return False


class Attachment:
    """The chain's hold on the standard library's logging; `remove` lets go."""

    def __init__(self, chain: Chain, *, terminal: str | None, prints: bool, is_told: Callable[[logging.LogRecord], bool]) -> None:
        # Python walks from a logger to its parents until there are none. The root logger is the application's: `basicConfig` does
        # nothing where it finds a handler there, `dictConfig` and `handlers.clear()` empty it. Its parent, which it doesn't have
        # otherwise, is out of their sight.
        self._above = logging.Logger("bext_otel.logs")
        self._above.addHandler(_Above(chain, terminal, prints=prints, is_told=is_told))
        self._root_parent = logging.root.parent
        self._above.parent = self._root_parent
        logging.root.parent = self._above
        self._speak_again = _mute_basic_config() if terminal is not None else lambda: None

    def remove(self) -> None:
        """Take the handlers away again."""
        self._speak_again()
        if logging.root.parent is self._above:
            logging.root.parent = self._root_parent
        self._above.handlers.clear()


def _mute_basic_config() -> Callable[[], None]:
    """Keep silent what `logging.basicConfig` (and `logging.warning`, which calls it) makes by itself to print: our lines are there.

    Everything else that it does stands: the level, files, handlers that it was given. What is returned undoes it.
    """
    original = logging.basicConfig
    mute = Mute(lambda _: True)
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


def attach(
    chain: Chain, *, terminal: str | None, prints: bool, is_told: Callable[[logging.LogRecord], bool] = lambda _: False
) -> Attachment:
    """Let every record of the standard library's logging enter the chain, once.

    `prints` says that the chain writes lines, `terminal` to which standard stream (None: to a file, or nowhere). What `is_told` knows to be
    told by another record stays outside.
    """
    return Attachment(chain, terminal=terminal, prints=prints, is_told=is_told)
