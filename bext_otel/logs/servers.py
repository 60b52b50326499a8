"""What servers log of requests of which a completion record tells: a line for each, and each crash."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Generator, Iterator, MutableMapping
from contextlib import ExitStack, closing
from typing import Any

from bext_otel.covering import cover
from bext_otel.crashes import Crash, crash_of, last_crash, leave_to_request
from bext_otel.export.record import Record
from bext_otel.logs.terminal import leads_to_terminal, name_of
from bext_otel.operation import is_request_logged
from bext_otel.process import Undo, on_import
from bext_otel.scope import is_own

__all__ = [
    "crash_in",
    "follow_raw_lines",
    "follow_raw_tracebacks",
    "is_access_line",
    "is_crash_event",
    "is_left_out",
    "is_of_master",
    "may_tell_of_requests",
]

# Loggers that say nothing but what was asked and answered.
_ACCESS = frozenset(
    {
        "aiohttp.access",
        "granian.access",
        "gunicorn.access",
        "hypercorn.access",
        "sanic.access",
        "tornado.access",
        "uvicorn.access",
    }
)
# Loggers that say other things too: what they say of a request has the request line, the status and the size.
_MIXED = frozenset({"django.server", "werkzeug"})
_CHANNELS = "django.channels.server"
_CHERRYPY = "cherrypy.access"  # one for each of its applications
_REQUEST_FACTS = 3
_CRASH_EVENT = "http.server.request.exception"  # the semantic conventions', as FastAPI has it
# The loggers by which frameworks tell of an exception that they turn into an answer, and how such a line
# begins where the logger has the application's name: Flask's, and Quart's.
_ANSWERING = frozenset(
    {"aiohttp.server", "blacksheep.server", "django.request", "sanic.error", "tornado.application"}
)
_CHERRYPY_ERRORS = "cherrypy.error"  # one for each of its applications
_ANSWERED = "Exception on "
# How the names of the loggers begin by which servers tell that the application has raised.
_SERVERS = frozenset(
    {"_granian", "cherrypy", "daphne", "granian", "gunicorn", "hypercorn", "sanic", "uvicorn"}
    | {"waitress", "werkzeug"}
)
_TELLING = _SERVERS | {"aiohttp", "blacksheep", "django", "tornado"}


def may_tell_of_requests(name: str) -> bool:
    """Is it the name of a logger by which a server or a framework says something? What others say has nothing
    to do with this module, unless it is of an exception."""
    return name.partition(".")[0] in _TELLING


def is_access_line(record: logging.LogRecord) -> bool:
    """Is it a server's line about a request?"""
    name = name_of(record)
    if name in _MIXED:
        return (
            isinstance(record.args, tuple)
            and len(record.args) == _REQUEST_FACTS
            and str(record.msg).rstrip().endswith('"%s" %s %s')
        )
    return (
        name in _ACCESS
        or name.startswith(_CHERRYPY)
        or (name == _CHANNELS and str(record.msg).startswith("HTTP %(method)s"))
    )


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


def is_left_out(record: logging.LogRecord) -> bool:
    """Is it what a framework says of an exception that it has turned into an answer? Of that the completion
    record tells, which is to be written."""
    if record.levelno < logging.ERROR or not isinstance(record.exc_info, tuple):
        return False
    name = name_of(record)
    return (
        name in _ANSWERING
        or name.startswith(_CHERRYPY_ERRORS)
        or (type(record.msg) is str and record.msg.startswith(_ANSWERED))
    ) and leave_to_request(record.exc_info[1])


def is_crash_event(record: Record) -> bool:
    """Is it the event by which a framework tells, at OpenTelemetry's Logs API, of an exception that leaves
    the application, of which the completion record is going to tell?"""
    return record.event_name == _CRASH_EVENT and not is_own(record.scope) and bool(is_request_logged())


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
    """Keep daphne and wsgiref, which write a line about each request past logging, from writing those to the
    terminal of which `is_told` says that a completion record tells. What is returned undoes it."""
    undoing = ExitStack()

    def written(original: Callable[..., None], entries: Any, *args: Any, **kwargs: Any) -> None:
        if not (leads_to_terminal(getattr(entries, "stream", None)) and is_told()):
            original(entries, *args, **kwargs)

    def logged(original: Callable[..., None], handler: Any, *args: Any, **kwargs: Any) -> None:
        # What has a `log_message` of its own, as Django's development server, logs.
        is_raw = type(handler).log_message.__module__ == "http.server"
        if not (is_raw and leads_to_terminal(sys.stderr) and is_told()):
            original(handler, *args, **kwargs)

    undoing.callback(
        on_import(
            "wsgiref.simple_server",
            lambda module: undoing.callback(cover(module.WSGIRequestHandler, "log_request", logged)),
        )
    )
    undoing.callback(
        on_import(
            "daphne.access",
            lambda module: undoing.callback(cover(module.AccessLogGenerator, "write_entry", written)),
        )
    )
    return undoing.close


def follow_raw_tracebacks(is_ours: Callable[[], bool]) -> Undo:
    """Keep werkzeug's debugger (`flask run --debug`), which writes the traceback of a crash past logging,
    from writing to the terminal, while `is_ours` says that it is ours, what a completion record tells. What
    is returned undoes it."""
    undoing = ExitStack()

    def debugged(
        original: Callable[..., Generator[bytes, None, None]],
        debugger: Any,
        environ: MutableMapping[str, Any],
        start_response: Any,
    ) -> Iterator[bytes]:
        before = last_crash()
        with closing(original(debugger, environ, start_response)) as chunks:
            for chunk in chunks:
                crash = last_crash()
                # It writes after its page.
                if crash is not None and crash is not before and crash.told and is_ours():
                    _leave_out(crash.summary, environ)
                yield chunk

    undoing.callback(
        on_import(
            "werkzeug.debug",
            lambda module: undoing.callback(cover(module.DebuggedApplication, "debug_application", debugged)),
        )
    )
    return undoing.close


def _leave_out(summary: str, environ: MutableMapping[str, Any]) -> None:
    errors = environ.get("wsgi.errors")
    if not isinstance(errors, _Without) and leads_to_terminal(errors):
        environ["wsgi.errors"] = _Without(errors, summary)


class _Without:
    """A stream, but for a traceback that ends like this."""

    def __init__(self, stream: Any, summary: str) -> None:
        self._stream = stream
        self._summary = summary

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> Any:
        """Write, unless it is that traceback."""
        if self._summary and text.rstrip().endswith(self._summary):
            return len(text)
        return self._stream.write(text)
