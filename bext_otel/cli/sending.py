"""Traffic, sent in order at a bounded pace."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException

from bext_otel.cli.platform import Request

__all__ = ["Sent", "send"]


@dataclass
class Sent:
    """What became of the requests: how many were answered, with a 5xx among them, and how many got no
    answer."""

    answered: int = 0
    failed: int = 0
    unanswered: int = 0


def send(
    requests: Iterable[Request],
    port: int,
    *,
    per_second: float,
    on_each: Callable[[Sent], None],
    seconds: float = 30.0,
) -> Sent:
    """Send requests to this machine one after the other, at most `per_second`; each may take `seconds`.
    `on_each` is told after each."""
    sent = Sent()
    pause = threading.Event()
    connection = HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        for request in requests:
            due = time.monotonic() + 1 / per_second
            status = _exchange(connection, request)
            sent.answered += status is not None
            sent.unanswered += status is None
            sent.failed += status is not None and status >= 500
            on_each(sent)
            pause.wait(max(0.0, due - time.monotonic()))
    finally:
        connection.close()
    return sent


def _exchange(connection: HTTPConnection, request: Request) -> int | None:
    """The status of the answer, or None if there was none. The connection is kept if it can be."""
    try:
        connection.request(request.method, request.path, request.body or None, dict(request.headers))
        response = connection.getresponse()
        response.read()
    except (OSError, HTTPException):
        # Closed, it opens anew at the next request.
        connection.close()
        return None
    return response.status
