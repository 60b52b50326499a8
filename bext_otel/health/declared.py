"""Checks that the settings declare: an address that has to answer, a port, a command."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess  # nosec B404  # a command of the settings, which only the owner can write
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from urllib.parse import urlsplit

from bext_otel.config import CheckSettings
from bext_otel.health.checks import Check

__all__ = ["declared"]

_MAX_BODY = 64 * 1024
_CHUNK = 16 * 1024
# How often it is seen whether a command has ended: nothing else says so that has a limit and leaves the exit
# code to be read.
_PAUSE_SECONDS = (0.002, 0.05)


def declared(settings: CheckSettings, timeout_seconds: float) -> Callable[[], Check] | None:
    """What asks as `settings` say, and gives up after `timeout_seconds`; None where they name nothing to ask.

    Details never tell addresses, arguments or what was answered, which may hold secrets.
    """
    if settings.url:
        return lambda: _url(settings, time.monotonic() + timeout_seconds)
    if settings.tcp:
        return lambda: _tcp(settings.tcp, timeout_seconds)
    if settings.command:
        return lambda: _command(settings.command, settings.exit_code, time.monotonic() + timeout_seconds)
    return None


def _url(settings: CheckSettings, deadline: float) -> Check:
    with closing(_connection(settings, deadline - time.monotonic())) as connection:
        parts = urlsplit(settings.url)
        target = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        connection.request("GET", target, headers={"User-Agent": "bext-otel-health", "Connection": "close"})
        sock = connection.sock  # the response takes it over
        answer = connection.getresponse()
        is_wanted = answer.status in settings.status if settings.status else 200 <= answer.status < 300
        if not is_wanted:
            return Check.unhealthy(reason="unexpected status", http_status=answer.status)
        if settings.contains and settings.contains not in _body(answer, sock, deadline):
            return Check.unhealthy(reason="expected text is missing", http_status=answer.status)
        return Check.healthy(http_status=answer.status)


def _connection(settings: CheckSettings, timeout_seconds: float) -> HTTPConnection:
    parts = urlsplit(settings.url)
    if parts.scheme == "http":
        return HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_seconds)
    context = ssl.create_default_context(cafile=settings.ca_file or None)
    return HTTPSConnection(parts.hostname or "", parts.port, timeout=timeout_seconds, context=context)


def _body(answer: HTTPResponse, sock: socket.socket | None, deadline: float) -> str:
    """Its beginning, which has until `deadline` however slowly it comes."""
    body = b""
    while len(body) < _MAX_BODY:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        if sock is not None and sock.fileno() >= 0:
            sock.settimeout(left)
        chunk = answer.read1(_CHUNK)
        if not chunk:
            break
        body += chunk
    return body[:_MAX_BODY].decode(errors="replace")


def _tcp(address: str, timeout_seconds: float) -> Check:
    host, _, port = address.rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), timeout_seconds):
        return Check.healthy()


def _command(command: Sequence[str], exit_code: int, deadline: float) -> Check:
    # A session of its own, so that all of it can be ended; no telemetry of its own, as it is none of the
    # application's work.
    process = subprocess.Popen(  # noqa: S603  # nosec B603  # named in the settings, without a shell
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "OTEL_SDK_DISABLED": "true"},
    )
    try:
        found = _exit_code(process, deadline)
    except ChildProcessError:
        process.returncode = 0  # gone already: nothing is left to wait for
        return Check.unhealthy(reason="exit code unknown: the application takes those of all its children")
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if found is None:
        return Check.unhealthy(reason="killed: past its limit")
    if found != exit_code:
        return Check.unhealthy(reason="unexpected exit code", exit_code=found)
    return Check.healthy()


def _exit_code(process: subprocess.Popen[bytes], deadline: float) -> int | None:
    """What it ended with, negative for a signal; None: it has not in time. Raises ChildProcessError if
    somebody else has waited for it, which `Popen` takes for success."""
    pause, longest = _PAUSE_SECONDS
    while True:
        if (code := _ended(process)) is not None:
            return code
        if (left := deadline - time.monotonic()) <= 0:
            return None
        time.sleep(min(pause, left))
        pause = min(2 * pause, longest)


def _ended(process: subprocess.Popen[bytes]) -> int | None:
    if not hasattr(os, "waitid"):  # macOS, before Python 3.13
        return process.poll()
    ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if ended is None:
        return None
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
