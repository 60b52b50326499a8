"""From a call of a logger to the chain, past the standard library's record: where no handler, filter, factory
or class of the application's would ever see that, it is half of what a line costs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from bext_otel.covering import replace
from bext_otel.logs.chain import OWN_FIELDS, Chain
from bext_otel.logs.handed_on import is_handed_on
from bext_otel.process import Undo

__all__ = ["is_unheard", "take_shortcut"]

# What stands between `_log` and the handlers; where others stand at one of these, be it at one logger alone,
# they want to be told.
_ON_THE_WAY = ("callHandlers", "filter", "findCaller", "handle", "makeRecord")
_NAMES_ON_THE_WAY = frozenset(_ON_THE_WAY)
_KINDS = frozenset({logging.Logger, logging.RootLogger})
_COUNTS_EVERY_FRAME = sys.version_info < (3, 11)


def is_unheard(logger: logging.Logger) -> bool:
    """Is there no handler up to the root?"""
    found: logging.Logger | None = logger
    while found is not logging.root:
        if found is None or found.handlers or not found.propagate:
            return False
        found = found.parent
    return not found.handlers


def take_shortcut(
    chain: Chain, *, is_ordinary: Callable[[str], bool], is_terminal_ours: Callable[[], bool]
) -> Undo:
    """Have what loggers of the standard library's own classes say go straight to the chain, as far as nobody
    could tell; what is returned undoes it.

    `is_ordinary` says by a logger's name that it is no server's, and none of ours. Called when all else
    stands at `logging.Logger` that belongs to us.
    """
    kind = logging.Logger
    original, active = kind._log, True
    last_resort = logging.lastResort
    way = tuple(getattr(kind, name) for name in _ON_THE_WAY)

    def is_free(logger: logging.Logger) -> bool:
        return (
            type(logger) in _KINDS
            and _NAMES_ON_THE_WAY.isdisjoint(vars(logger))
            and not logger.filters
            and not logger.disabled
            and is_unheard(logger)
            and logging.lastResort is last_resort
            and logging.getLogRecordFactory() is logging.LogRecord
            and (kind.callHandlers, kind.filter, kind.findCaller, kind.handle, kind.makeRecord) == way
        )

    @wraps(original)
    def log(
        self: logging.Logger,
        level: int,
        msg: object,
        args: Any,
        exc_info: Any = None,
        extra: Mapping[str, object] | None = None,
        stack_info: bool = False,
        stacklevel: int = 1,
    ) -> None:
        if (
            active
            and not exc_info
            and not stack_info
            and type(msg) is str
            and type(level) is int
            and (extra is None or (type(extra) is dict and OWN_FIELDS.isdisjoint(extra)))
            and type(self.name) is str
            and is_ordinary(self.name)
            and is_free(self)
            and not is_handed_on()
            and is_terminal_ours()
            and chain.gate.admits(self.name, level)
            and (said := _formatted(msg, args) if args else msg) is not None
        ):
            chain.say(self.name, level, said, extra)
            return
        # We are one more caller.
        more = stacklevel > 1 if _COUNTS_EVERY_FRAME else True
        original(self, level, msg, args, exc_info, extra, stack_info, stacklevel + more)

    put_back = replace(kind, "_log", log)

    def undo() -> None:
        nonlocal active
        active = False
        put_back()

    return undo if all(_is_pythons(each) for each in (original, *way[1:])) else _undone(undo)


def _undone(undo: Undo) -> Undo:
    undo()
    return lambda: None


def _is_pythons(function: object) -> bool:
    return getattr(function, "__globals__", None) is vars(logging)


def _formatted(message: str, args: Any) -> str | None:
    """As a record formats it; None where the arguments do not fit."""
    if len(args) == 1 and isinstance(args[0], Mapping) and args[0]:
        args = args[0]
    try:
        return str(message % args)
    except Exception:  # the record is made, and shows both
        return None
