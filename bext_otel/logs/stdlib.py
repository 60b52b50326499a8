"""The standard library's side of the chain: one handler, and a place for it that an application can't take away by accident."""

from __future__ import annotations

import logging
from typing import Any

from bext_otel.logs.chain import Chain

__all__ = ["Attachment", "attach"]


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


class _Fallback(ChainHandler):
    """Stands above the root logger, and takes what the root's own handler doesn't get any more.

    `visible` is that handler, or None where nothing is printed; then Python's handler of last resort must go on printing warnings of
    an application without handlers, which Python itself stops doing as soon as it sees any handler.
    """

    def __init__(self, chain: Chain, visible: ChainHandler | None) -> None:
        super().__init__(chain)
        self._visible = visible

    def emit(self, record: logging.LogRecord) -> None:
        if self._visible is not None and self._visible in logging.root.handlers:
            return
        super().emit(record)
        last = logging.lastResort
        if self._visible is None and last is not None and record.levelno >= last.level and not _has_handler(record.name):
            last.handle(record)


def _has_handler(name: str) -> bool:
    logger: logging.Logger | None = logging.getLogger(name) if name != "root" else logging.root
    while logger is not None and logger is not logging.root.parent:
        if logger.handlers:
            return True
        logger = logger.parent
    return False


class Attachment:
    """The chain's hold on the standard library's logging; `remove` lets go."""

    def __init__(self, chain: Chain, *, prints: bool) -> None:
        self._visible = ChainHandler(chain) if prints else None
        # Python walks from a logger to its parents until there are none. `dictConfig`, `basicConfig(force=True)` and `handlers.clear()`
        # empty the root logger; its parent, which it doesn't have otherwise, is out of their reach.
        self._above = logging.Logger("bext_otel.logs")
        self._above.addHandler(_Fallback(chain, self._visible))
        self._root_parent = logging.root.parent
        self._above.parent = self._root_parent
        logging.root.parent = self._above
        if self._visible is not None:
            # On the root itself, so that a later `basicConfig` finds logging configured, and no event is printed twice.
            logging.root.addHandler(self._visible)

    def remove(self) -> None:
        """Take the handlers away again."""
        if self._visible is not None:
            logging.root.removeHandler(self._visible)
        if logging.root.parent is self._above:
            logging.root.parent = self._root_parent
        self._above.handlers.clear()


def attach(chain: Chain, *, prints: bool) -> Attachment:
    """Let every record of the standard library's logging enter the chain, once. `prints` says that the chain writes lines."""
    return Attachment(chain, prints=prints)
