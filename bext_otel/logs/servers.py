"""What servers log of requests of which a completion record tells: a line for each, and each crash."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

from bext_otel.covering import cover
from bext_otel.crashes import Crash, crash_of, last_crash
from bext_otel.logs.terminal import leads_to_terminal, name_of
from bext_otel.operation import is_request_logged
from bext_otel.process import Undo, on_import

__all__ = ["crash_in", "follow_raw_lines", "is_access_line", "is_of_master"]

# Loggers that say nothing but what was asked and answered.
_ACCESS = frozenset({"granian.access", "gunicorn.access", "hypercorn.access", "uvicorn.access"})
# Loggers that say other things too: what they say of a request has the request line, the status and the size.
_MIXED = frozenset({"django.server", "werkzeug"})
_CHANNELS = "django.channels.server"
_REQUEST_FACTS = 3
# How the names of the loggers begin by which servers tell that the application has raised.
_SERVERS = frozenset(
    {"_granian", "daphne", "granian", "gunicorn", "hypercorn", "uvicorn", "waitress", "werkzeug"}
)


def is_access_line(record: logging.LogRecord) -> bool:
    """Is it a server's line about a request?"""
    name = name_of(record)
    if name in _MIXED:
        return (
            isinstance(record.args, tuple)
            and len(record.args) == _REQUEST_FACTS
            and str(record.msg).rstrip().endswith('"%s" %s %s')
        )
    return name in _ACCESS or (name == _CHANNELS and str(record.msg).startswith("HTTP %(method)s"))


def is_of_master(record: logging.LogRecord) -> bool:
    """May it be said by gunicorn's master, which is about to fork, for it is said outside of any request?"""
    return name_of(record).startswith("gunicorn.") and is_request_logged() is None


def crash_in(record: logging.LogRecord) -> Crash | None:
    """The crash of a request, of which a server tells in this record; None: it tells of something else."""
    if record.levelno < logging.ERROR or name_of(record).partition(".")[0] not in _SERVERS:
        return None
    for error in _errors_in(record):
        if (crash := crash_of(error)) is not None:
            return crash
    # Some show the traceback as text, from where no exception is at hand.
    crash = last_crash()
    if crash is not None and crash.summary and _ends_with(record, crash.summary):
        return crash
    return None


def _errors_in(record: logging.LogRecord) -> Iterator[BaseException | None]:
    exc_info = record.exc_info
    if isinstance(exc_info, tuple):
        yield exc_info[1]
    yield from (each for each in record.args or () if isinstance(each, BaseException))
    yield sys.exc_info()[1]


def _ends_with(record: logging.LogRecord, summary: str) -> bool:
    try:
        return record.getMessage().rstrip().endswith(summary)
    except Exception:  # its arguments do not fit
        return False


def follow_raw_lines(is_told: Callable[[], bool]) -> Undo:
    """Keep daphne, which writes a line about each request past logging, from writing those to the terminal of
    which `is_told` says that a completion record tells. What is returned undoes it."""
    undoing = ExitStack()

    def written(original: Callable[..., None], entries: Any, *args: Any, **kwargs: Any) -> None:
        if not (leads_to_terminal(getattr(entries, "stream", None)) and is_told()):
            original(entries, *args, **kwargs)

    undoing.callback(
        on_import(
            "daphne.access",
            lambda module: undoing.callback(cover(module.AccessLogGenerator, "write_entry", written)),
        )
    )
    return undoing.close
