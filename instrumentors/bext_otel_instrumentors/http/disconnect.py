"""A client that leaves: how that is known, and what it makes of a request. One place for HTTP and for
websockets.

It is known by the message that says so, by the server that refuses to send, and by what servers and
frameworks raise then. What the application fails at for a reason of its own stays its failure, also after the
client left.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any, NamedTuple

from bext_otel.entries import type_of

__all__ = ["CLIENT_CLOSED_REQUEST", "Outcome", "departure", "is_input_error", "outcome"]

CLIENT_CLOSED_REQUEST = 499
"""Status that counts a request whose client went away before any answer; nginx's, since HTTP has none."""

_FAILED = 500
_LEFT = "ClientDisconnect"

# Told by the name of a class or of one that it derives from, since no framework is a requirement.
_DISCONNECTED = frozenset(
    {
        "ClientDisconnect",  # Starlette
        "ClientDisconnected",  # uvicorn, werkzeug
        "WebSocketDisconnect",  # Starlette
        "WebSocketDisconnected",  # Falcon
        "UnreadablePostError",  # Django, where a body breaks off
        "RequestAborted",  # Django
    }
)
# How servers and frameworks stop what is not wanted any more; trio's class is `Cancelled`.
_STOPPED = frozenset({"CancelledError", "Cancelled", "GeneratorExit"})

# A RuntimeError of Starlette's that only follows from a client that left: nobody answered, or somebody went
# on receiving.
_CONSEQUENCES = (
    "No response returned.",
    "once a disconnect message has been received",
    "WebSocket is not connected",
)

# What servers written in C say where a body cannot be read: uWSGI, mod_wsgi.
_INPUT_ERRORS = ("wsgi.input", "request data read error")

_MAX_DEPTH = 16
_MAX_ERRORS = 100


class Outcome(NamedTuple):
    """What became of a request: `counted` is the status that metrics count, `shown` the span's (0: none was
    sent), `error_type` what ended it, `failed` whether that is a failure of the application."""

    counted: int
    shown: int
    error_type: str | None
    failed: bool


def outcome(
    status: int, error: BaseException | None, left_at: int | None, parting: BaseException | None
) -> Outcome:
    """What became of a request whose answer has this status (0: none) and that ended with `error`.

    `left_at` is the status that was sent when the client left, None if it is not known to have left;
    `parting` is what the server raised when it could not send.
    """
    if error is None:
        if left_at == 0 and not 0 < status < _FAILED:
            # With nobody left to read it, a 5xx is what a framework makes of the news.
            return Outcome(CLIENT_CLOSED_REQUEST, 0, _LEFT, failed=False)
        if status == 0:
            # A server answers 500 for an application that does not.
            return Outcome(_FAILED, _FAILED, str(_FAILED), failed=True)
        return Outcome(status, status, str(status) if status >= _FAILED else None, failed=status >= _FAILED)
    name = departure(error, left=left_at is not None, parting=parting)
    if name is not None:
        if 0 < status < _FAILED:
            return Outcome(status, status, name, failed=False)
        return Outcome(CLIENT_CLOSED_REQUEST, 0, name, failed=False)
    return Outcome(max(status, _FAILED), status or _FAILED, type_of(error), failed=True)


def departure(
    error: BaseException, *, left: bool = False, parting: BaseException | None = None
) -> str | None:
    """The name of what says that `error` comes from a client that left (with `left` it is known to have);
    None if it does not.

    A group does if all that is in it does. Of what an exception was raised from only a disconnection counts:
    a timeout is raised from a cancellation, and is the application's.
    """
    names = [_departure(each, left, parting) for each in _leaves(error)]
    return names[0] if names and all(names) else None


def _departure(error: BaseException, left: bool, parting: BaseException | None) -> str | None:
    name = type(error).__qualname__
    if error is parting or not _STOPPED.isdisjoint(_names(error)) or _is_disconnection(error):
        return name
    cause = error.__cause__
    if cause is not None and (cause is parting or _is_disconnection(cause)):
        return name
    if left and isinstance(error, RuntimeError) and any(text in str(error) for text in _CONSEQUENCES):
        return _LEFT
    return None


def _names(error: BaseException) -> list[str]:
    return [kind.__name__ for kind in type(error).__mro__]


def _is_disconnection(error: BaseException) -> bool:
    return not _DISCONNECTED.isdisjoint(_names(error))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """What is in a group, in groups within it too; an exception that is no group is alone. The backport's
    groups are groups."""
    waiting: list[tuple[BaseException, int]] = [(error, 0)]
    found = 0
    while waiting and found < _MAX_ERRORS:
        each, depth = waiting.pop(0)
        inner = getattr(each, "exceptions", None) if "BaseExceptionGroup" in _names(each) else None
        if inner and depth < _MAX_DEPTH:
            waiting.extend((one, depth + 1) for one in inner)
        else:
            found += 1
            yield each
    if waiting:
        yield waiting[0][0]


def is_input_error(error: BaseException, stream: Any) -> bool:
    """Whether `error` was raised where the body of a WSGI request (`stream`) is read: a client that left in
    the middle of it.

    A connection of the application's own breaks by the same classes, so it is looked where it was raised.
    """
    if not isinstance(error, OSError) or stream is None:
        return False
    if any(text in str(error) for text in _INPUT_ERRORS):
        return True
    readers = {id(stream), id(getattr(stream, "raw", stream))}
    traceback: TracebackType | None = error.__traceback__
    while traceback is not None:
        if id(traceback.tb_frame.f_locals.get("self", readers)) in readers:
            return True
        traceback = traceback.tb_next
    return False
