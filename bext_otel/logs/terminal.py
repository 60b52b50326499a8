"""The terminal: whose it is, ours or the application's, and what leads to it."""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from bext_otel.serving import is_serving

__all__ = ["Terminal", "leads_to_terminal", "name_of", "path"]

_STANDARD = ("stdout", "stderr")
# A stream that holds another, which holds one: enough, and an end to circles.
_MAX_DEPTH = 2
# Whoever read it has gone: a pipe's reader, a terminal that was hung up, a descriptor that was closed.
_GONE = frozenset({errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO})

_NOBODY_S = object()


class Terminal:
    """A standard stream that our lines go to (`name`: stdout or stderr), as long as it is ours.

    It is where somebody asked for it (`always`), else while this process serves and the stream is there:
    open, not the null device, and with a reader that has not gone. Otherwise both standard streams are the
    application's.
    """

    def __init__(self, name: str, *, always: bool) -> None:
        self.name = name
        self._always = always
        self._gone: object = None
        self._error: BaseException | None = None
        self._looked_at: object = None
        self._is_null = False
        # The stream that was found to be ours, and is until it is closed, replaced or fails.
        self.settled: Any = _NOBODY_S

    def is_ours(self) -> bool:
        """Do lines go there now, in the place of what the application would print? Never raises."""
        try:
            settled: Any = self.settled
            stream: Any = getattr(sys, self.name, None)
            if stream is settled:
                return not stream.closed
            if stream is not self._looked_at:
                self._is_null = not self._always and _is_null(stream)
                self._looked_at = stream
            ours = (
                stream is not None
                and not self._is_null
                and (self._error is None or stream is not self._gone)
                and (self._always or is_serving())
                and not getattr(stream, "closed", False)
            )
            if ours and type(stream) is TextIOWrapper:
                self.settled = stream
            return ours
        except Exception:  # a stream of the application's own making
            return False

    def lost_by(self) -> BaseException | None:
        """Why lines can't be written there any more; None: they can, as far as is known."""
        return (
            self._error if self._error is not None and getattr(sys, self.name, None) is self._gone else None
        )

    def failed(self, error: BaseException) -> None:
        """A line could not be written because of `error`. Where that will not change, what comes is the
        application's to print."""
        if isinstance(error, ValueError) or (isinstance(error, OSError) and error.errno in _GONE):
            self._gone, self._error = getattr(sys, self.name, None), error
            self.settled = _NOBODY_S


def path(logger: logging.Logger) -> Iterator[logging.Logger]:
    """The logger and those above it whose handlers its records reach, as Python walks."""
    found: logging.Logger | None = logger
    while found is not None:
        yield found
        found = found.parent if found.propagate else None


def name_of(record: logging.LogRecord) -> str:
    """Who says it, as text; loggers made by hand can have anything for a name."""
    name: object = record.name
    return name if isinstance(name, str) else ""


def leads_to_terminal(stream: object) -> bool:
    """Is it a standard stream, or does it lead to where one of them leads: the same terminal, pipe or file?

    One that has no descriptor leads to where the streams lead that it holds, if that is the same for all.
    """
    return _leads(stream, _MAX_DEPTH)


def _leads(stream: object, depth: int) -> bool:
    if stream is None:
        return False
    standard = [getattr(sys, shown, None) for name in _STANDARD for shown in (name, f"__{name}__")]
    if any(stream is each for each in standard):
        return True
    place = _place(stream)
    if place is not None:
        return any(place == _place(each) for each in {id(each): each for each in standard}.values())
    held = list(_held(stream)) if depth else []
    return bool(held) and all(_leads(each, depth - 1) for each in held)


def _held(stream: object) -> Iterator[object]:
    """The streams that a stream holds to write to, as the `wsgi.errors` of some servers does."""
    for value in list((getattr(stream, "__dict__", None) or {}).values()):
        values = value if type(value) in (list, tuple) else (value,)
        yield from (each for each in values if hasattr(type(each), "write"))


def _place(stream: object) -> tuple[int, int] | None:
    """What is behind a stream's descriptor; None if it has none."""
    found = _status(stream)
    return (found.st_dev, found.st_ino) if found is not None else None


def _is_null(stream: object) -> bool:
    """Does nobody get what is written to it, by the way that the process was started?"""
    found = _status(stream)
    try:
        return found is not None and os.path.samestat(found, Path(os.devnull).stat())
    except OSError:  # a jail without one
        return False


def _status(stream: Any) -> os.stat_result | None:
    try:
        number = stream.fileno()
        return os.fstat(number) if type(number) is int else None
    except (
        Exception
    ):  # no stream, or a closed one, or a stand-in of the application's that raises what it likes
        return None
