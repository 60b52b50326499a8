"""Crashes of requests: an exception that left the application, of which the server tells as well, when it no
longer knows which request it was."""

from __future__ import annotations

import traceback
from collections import OrderedDict
from contextlib import suppress
from contextvars import ContextVar
from typing import NamedTuple

from opentelemetry.context import Context

__all__ = [
    "Crash",
    "context_of",
    "crash_of",
    "is_left_to_request",
    "last_crash",
    "leave_to_request",
    "note_answered",
    "note_crash",
    "note_leaving",
]

# Some servers tell of it from another task than the request's.
_MAX_RECENT = 64


class Crash(NamedTuple):
    """An exception that ended a request, without holding on to it: `summary` is the last line of its
    traceback. `context` is the request's: its span and its app. `told` says that its completion record has
    the traceback."""

    identity: int
    kind: type[BaseException]
    summary: str
    context: Context
    told: bool


# The work that an exception has left which nobody caught, by the exception's identity: taken by who tells of
# it.
_left: OrderedDict[int, tuple[type[BaseException], Context]] = OrderedDict()

_last: ContextVar[Crash | None] = ContextVar("bext_otel_crash", default=None)
_recent: OrderedDict[int, Crash] = OrderedDict()


def note_crash(error: BaseException, context: Context, *, told: bool) -> None:
    """A request ended by `error`."""
    crash = Crash(id(error), type(error), _summary(error), context, told)
    _last.set(crash)
    _recent[crash.identity] = crash
    if len(_recent) > _MAX_RECENT:
        with suppress(KeyError):  # another thread has done it
            _recent.popitem(last=False)


def crash_of(error: BaseException | None) -> Crash | None:
    """The crash of a request by this very exception, which must be alive; None: it has ended none lately."""
    for crash in (_last.get(), _recent.get(id(error))):
        if crash is not None and (id(error), type(error)) == (crash.identity, crash.kind):
            return crash
    return None


def last_crash() -> Crash | None:
    """That of the last request that crashed here; None: none did."""
    return _last.get()


def note_leaving(error: BaseException, context: Context) -> None:
    """Work that a thread does for somebody ends by `error`, which nobody will catch; its context was
    `context`."""
    _left[id(error)] = (type(error), context)
    if len(_left) > _MAX_RECENT:
        with suppress(KeyError):  # another thread has done it
            _left.popitem(last=False)


def context_of(error: BaseException | None) -> Context | None:
    """The context of the work that this very exception has ended, which must be alive; None: nobody knows, or
    it was asked for before."""
    kind, context = _left.pop(id(error), (None, None))
    return context if kind is type(error) else None


# Exceptions that a framework has turned into answers, whose requests go on; by identity, for the request
# holds them. True: the framework's line was left out.
_answered: OrderedDict[int, bool] = OrderedDict()


def note_answered(error: BaseException) -> None:
    """A framework turns `error` into an answer, and will tell of it; its request goes on, and is going to be
    told of too."""
    _answered[id(error)] = False
    if len(_answered) > _MAX_RECENT:
        with suppress(KeyError):  # another thread has done it
            _answered.popitem(last=False)


def leave_to_request(error: BaseException | None) -> bool:
    """Leave it to the record of the request to tell of `error`; whether there is such a request."""
    if error is None or id(error) not in _answered:
        return False
    _answered[id(error)] = True
    return True


def is_left_to_request(error: BaseException | None) -> bool:
    """Whether the request that ends has to tell of `error`, because nobody else has. To be asked once."""
    return error is not None and _answered.pop(id(error), False)


def _summary(error: BaseException) -> str:
    try:
        return traceback.format_exception_only(error)[-1].strip()
    except Exception:  # it cannot be shown as text
        return ""
