"""Answers as bytes, and how a WSGI application (PEP 3333) is asked for one."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from http import HTTPStatus
from io import BytesIO
from typing import TYPE_CHECKING, Any

from bext_otel.listener.lanes import Together
from bext_otel.listener.requests import Head

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

__all__ = ["TOGETHER", "ask", "environment", "refusal"]

TOGETHER = "bext_otel.together"
"""Key of the environment: the `Together` of those who are answered at the same time."""

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def environment(
    head: Head, body: bytes, *, client: str, server: tuple[str, int], scheme: str
) -> WSGIEnvironment:
    """What an application is told of a request."""
    told: dict[str, Any] = {
        "REQUEST_METHOD": head.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": head.path,
        "QUERY_STRING": head.query,
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1]),
        "SERVER_PROTOCOL": f"HTTP/1.{head.minor}",
        "REMOTE_ADDR": client,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.input": BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in head.fields.items():
        told[f"HTTP_{name.upper().replace('-', '_')}"] = value
    told.pop("HTTP_CONTENT_LENGTH", None)
    if body:
        told["CONTENT_LENGTH"] = str(len(body))
    if (content_type := told.pop("HTTP_CONTENT_TYPE", None)) is not None:
        told["CONTENT_TYPE"] = content_type
    return told


def ask(
    application: WSGIApplication, environ: WSGIEnvironment, *, stays: bool, together: Together | None = None
) -> list[bytes]:
    """The application's answer, ready to be sent. Never raises."""
    status, headers = "", []

    def start_response(told: str, given: list[tuple[str, str]], exc_info: Any = None) -> Any:  # noqa: ARG001
        nonlocal status, headers
        status, headers = told, given
        return body.append

    environ[TOGETHER] = together
    body: list[bytes] = []
    try:
        found: Iterable[bytes] = application(environ, start_response)
        try:
            body.extend(part for part in found if part)
        finally:
            getattr(found, "close", _nothing)()
        head = _head(status, headers, length=sum(map(len, body)), stays=stays)
    except Exception:  # the application logs what it knows, and a client is told nothing of our inside
        return refusal(500, "the answer could not be made")
    return [head, *body]


def refusal(status: int, line: str) -> list[bytes]:
    """One line for a person, whose connection ends with it."""
    body = f"{line}\n".encode(errors="replace")
    headers = [("content-type", "text/plain; charset=utf-8"), ("x-content-type-options", "nosniff")]
    return [_head(f"{status} {HTTPStatus(status).phrase}", headers, length=len(body), stays=False), body]


def _head(status: str, headers: list[tuple[str, str]], *, length: int, stays: bool) -> bytes:
    given = {name.lower() for name, _ in headers}
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers)]
    if "content-length" not in given:
        lines.append(f"content-length: {length}")
    lines += [f"date: {_date()}", "server: bext-otel", f"connection: {'keep-alive' if stays else 'close'}"]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header has more than one line")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _date() -> str:
    # In English whatever the locale is (RFC 9110, 5.6.7).
    now = time.gmtime()
    day, month = _DAYS[now.tm_wday], _MONTHS[now.tm_mon - 1]
    return time.strftime(f"{day}, %d {month} %Y %H:%M:%S GMT", now)


def _nothing() -> None:
    pass
