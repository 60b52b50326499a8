"""What uvicorn and gunicorn log themselves, on loggers that do not propagate: told by the chain, in the place of their own lines."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from bext_otel.logs.chain import Chain
from bext_otel.logs.stdlib import ChainHandler
from bext_otel.logs.terminal import Mute, is_printer, path
from bext_otel.operation import is_request_told
from bext_otel.process import on_import

__all__ = ["is_told_otherwise", "watch_servers"]

# By the module whose import makes the loggers: those that tell of the server, and the one that tells of each request.
_SERVERS = {
    "uvicorn.config": (("uvicorn", "uvicorn.error", "uvicorn.asgi"), "uvicorn.access"),
    "gunicorn.glogging": (("gunicorn.error",), "gunicorn.access"),
}
_TOLD = frozenset(name for told, _ in _SERVERS.values() for name in told)
_ACCESS = frozenset(access for _, access in _SERVERS.values())
# How many facts werkzeug's line about a request has.
_WERKZEUGS = 3


class _ServerHandler(ChainHandler):
    """Tells what a server says of itself. What it says outside of any request may be said by a master that is about to fork."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.name in _TOLD and self._chain.gate.admits(record.name, record.levelno):
            self._chain.python(record, waits=record.name.startswith("gunicorn.") and is_request_told() is None)


class _Watch(logging.Filter):
    """On a server's logger: before each record, sees to it that the chain gets it, and that it is printed once.

    Servers set handlers up when they start, with `dictConfig`, by hand, or by taking over each other's: there is no moment after which
    that is done. Filters of a logger are left alone by all of them, and see each record before the handlers do.
    """

    def __init__(self, logger: logging.Logger, handler: logging.Handler | None, mute: Mute | None) -> None:
        super().__init__()
        self._logger = logger
        self._handler = handler
        self._mute = mute

    def filter(self, record: logging.LogRecord) -> bool:
        """See `logging.Filter`: everything passes."""
        try:
            self._set_up()
        except Exception:  # the server's own lines are better than none
            return True
        return True

    def _set_up(self) -> None:
        loggers = list(path(self._logger))
        last = loggers[-1]
        printers = [handler for each in loggers for handler in each.handlers if is_printer(handler)]
        if logging.root in loggers or not printers:
            # The chain gets it above the root; or it is none of the terminal's.
            self.remove()
            return
        if self._handler is not None and self._handler not in last.handlers:
            last.addHandler(self._handler)
        if self._mute is not None:
            for handler in printers:
                self._mute.put_on(handler)

    def remove(self) -> None:
        """Leave the handlers of the logger, and of those above it."""
        if self._handler is not None:
            for each in path(self._logger):
                each.removeHandler(self._handler)


def is_told_otherwise(record: logging.LogRecord) -> bool:
    """Is it a server's line about a request of which a completion record tells?"""
    return _is_access(record) and bool(is_request_told())


def _is_access(record: logging.LogRecord) -> bool:
    """Werkzeug's development server has one logger for all: what it says of a request has the request line, the status and the size."""
    if record.name == "werkzeug":
        return isinstance(record.args, tuple) and len(record.args) == _WERKZEUGS and str(record.msg).rstrip().endswith('"%s" %s %s')
    return record.name in _ACCESS


def watch_servers(chain: Chain, *, on_terminal: bool, tells_requests: bool) -> Callable[[], None]:
    """Let the servers' records enter the chain as soon as a server is imported; what is returned undoes it.

    If our lines go to a terminal (`on_terminal`), they stand in the place of the servers' own; their access lines are then silent for
    each request of which a completion record tells (`tells_requests`).
    """
    undoing = ExitStack()
    mute = Mute(lambda record: record.name in _TOLD or (tells_requests and is_told_otherwise(record)))
    undoing.callback(mute.lift)
    handler = _ServerHandler(chain)

    def watch(told: tuple[str, ...], access: str, _: object) -> None:
        for name in (*told, access):
            logger = logging.getLogger(name)
            found = _Watch(logger, None if name == access else handler, mute if on_terminal else None)
            logger.addFilter(found)
            undoing.callback(found.remove)
            undoing.callback(logger.removeFilter, found)

    for module, (told, access) in _SERVERS.items():
        undoing.callback(on_import(module, partial(watch, told, access)))
    return undoing.close
