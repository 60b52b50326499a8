"""What uvicorn and gunicorn log themselves, on loggers that do not propagate: told by the chain, in the place
of their own lines."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

from bext_otel.logs.chain import Chain
from bext_otel.logs.terminal import Mute, is_printer, name_of, path, reaches_root
from bext_otel.operation import is_request_logged
from bext_otel.process import on_import

__all__ = ["emit_server_record", "has_completion_record", "watch_servers"]

# By the module whose import makes the loggers: those that tell of the server, and the one that tells of each
# request.
_SERVERS = {
    "uvicorn.config": (("uvicorn", "uvicorn.error", "uvicorn.asgi"), "uvicorn.access"),
    "gunicorn.glogging": (("gunicorn.error",), "gunicorn.access"),
}
_TOLD = frozenset(name for told, _ in _SERVERS.values() for name in told)
_ACCESS = frozenset(access for _, access in _SERVERS.values())
# By the module that has it: the logger to which a framework adds a handler where it finds none, and that
# handler, if there is but one.
_FRAMEWORKS = {"flask.logging": (None, "default_handler"), "werkzeug._internal": ("werkzeug", None)}
# How many facts werkzeug's line about a request has.
_WERKZEUGS = 3


class _Muting(logging.Filter):
    """On a logger: mutes handlers before a record gets to them. Copied or pickled, it is a filter that lets
    everything pass."""

    def __init__(self, logger: logging.Logger, mute: Mute) -> None:
        super().__init__()
        self._logger = logger
        self._mute = mute

    def __reduce__(self) -> tuple[type[logging.Filter], tuple[()]]:
        return logging.Filter, ()


class _Watch(_Muting):
    """On a server's logger: before each record, sees to it that it is printed once.

    Servers set handlers up when they start, with `dictConfig`, by hand, or by taking over each other's: there
    is no moment after which that is done. Filters of a logger are left alone by all of them, and see each
    record before the handlers do.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """See `logging.Filter`: everything passes."""
        with suppress(Exception):  # the server's own lines are better than none
            for handler in _printers(list(path(self._logger))):
                self._mute.put_on(handler)
        return True


def _printers(loggers: list[logging.Logger]) -> list[logging.Handler]:
    """The terminal's handlers on the way of a server's record; none where it propagates to the root
    logger."""
    if loggers[-1] is logging.root:
        return []
    return [handler for each in loggers for handler in each.handlers if is_printer(handler)]


def emit_server_record(chain: Chain, loggers: list[logging.Logger], record: logging.LogRecord) -> None:
    """What a server says of itself at the terminal, on loggers that do not propagate, is for the chain. Never
    raises.

    What it says outside of any request may be said by a master that is about to fork.
    """
    try:
        if name_of(record) in _TOLD and _printers(loggers) and chain.admits(record):
            chain.python(record, waits=record.name.startswith("gunicorn.") and is_request_logged() is None)
    except Exception:  # logging must not fail the work that is logged
        chain.failures += 1


class _MuteOwn(_Muting):
    """On a framework's logger: mutes the handlers of the framework's own classes, which it may make before
    any record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """See `logging.Filter`: everything passes."""
        for handler in self._logger.handlers:
            if f"{type(handler).__module__}.".startswith(f"{self._logger.name}."):
                self._mute.put_on(handler)
        return True


def _own_printers_muted(module: Any, mute: Mute) -> Callable[[], None]:
    name, handler = _FRAMEWORKS[module.__name__]
    if handler is not None:
        mute.put_on(getattr(module, handler))
    if name is None:
        return lambda: None
    logger = logging.getLogger(name)
    found = _MuteOwn(logger, mute)
    logger.addFilter(found)
    return lambda: logger.removeFilter(found)


def has_completion_record(record: logging.LogRecord) -> bool:
    """Is it a server's line about a request of which a completion record tells?"""
    return _is_access(record) and bool(is_request_logged())


def _is_access(record: logging.LogRecord) -> bool:
    """Werkzeug's development server has one logger for all: what it says of a request has the request line,
    the status and the size."""
    if record.name == "werkzeug":
        return (
            isinstance(record.args, tuple)
            and len(record.args) == _WERKZEUGS
            and str(record.msg).rstrip().endswith('"%s" %s %s')
        )
    return name_of(record) in _ACCESS


def watch_servers(is_told: Callable[[logging.LogRecord], bool]) -> Callable[[], None]:
    """Have our lines, which go to a terminal, stand in the place of the servers' own; what is returned undoes
    it.

    Likewise in that of handlers that a framework makes for who has not configured logging. Access lines are
    silent for each request of which a completion record tells (`is_told`).
    """
    undoing = ExitStack()
    mute = Mute(lambda record: name_of(record) in _TOLD or is_told(record))
    stands_in = Mute(reaches_root)
    undoing.callback(stands_in.lift)
    undoing.callback(mute.lift)

    def watch(module: Any) -> None:
        told, access = _SERVERS[module.__name__]
        for logger in map(logging.getLogger, (*told, access)):
            found = _Watch(logger, mute)
            logger.addFilter(found)
            undoing.callback(logger.removeFilter, found)

    for module in _SERVERS:
        undoing.callback(on_import(module, watch))
    for module in _FRAMEWORKS:
        undoing.callback(
            on_import(module, lambda found: undoing.callback(_own_printers_muted(found, stands_in)))
        )
    return undoing.close
