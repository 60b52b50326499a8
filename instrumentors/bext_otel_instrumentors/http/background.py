"""Requests that are answered while their ASGI application still runs.

Most applications return with their last message, and nothing is left to wait for. Some fail after it:
Starlette's `BaseHTTPMiddleware` ends an answer whose stream broke as if it were complete and raises then, and
so does a background task. Such an exception is the request's, if it comes soon; a task that takes long must
not keep the request from being counted.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from contextvars import Context as Variables
from typing import Any

from opentelemetry._logs import SeverityNumber
from opentelemetry.util.types import AttributeValue

from bext_otel.entries import emit
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors.http.completion import REQUEST_SCOPE
from bext_otel_instrumentors.http.disconnect import departure
from bext_otel_instrumentors.http.exchange import Exchange
from bext_otel_instrumentors.http.routes import template

__all__ = ["log_late_failure", "watch"]

_PATIENCE_SECONDS = 0.05
_MAX_PATH = 1024


class Answered:
    """The answered requests of one event loop. One timer is for all of them, so that a request costs none of
    its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        # In the order of their answers. Each is finished soon, unless its application returns before.
        self.waiting: dict[Exchange, Mapping[str, Any]] = {}
        self.armed = False

    def arm(self, seconds: float) -> None:
        """Look at them in so many seconds."""
        self.armed = True
        # In a context of its own: the request's would live as long as the timer.
        self.loop.call_later(seconds, self._sweep, context=Variables())

    def _sweep(self) -> None:
        self.armed = False
        for exchange, scope in list(self.waiting.items()):
            left = _PATIENCE_SECONDS - exchange.seconds_since_answer()
            if left > 0:
                self.arm(left)
                return
            exchange.finish(template(exchange, scope))


class _Here(threading.local):
    answered: Answered | None = None


_here = _Here()


def watch(exchange: Exchange, scope: Mapping[str, Any]) -> None:
    """This request has its last message; its application may go on. Never raises."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # trio, where nobody would call us back
        exchange.finish(template(exchange, scope))
        return
    try:
        answered = _here.answered
        if answered is None or answered.loop is not loop:
            answered = _here.answered = Answered(loop)
        waiting = answered.waiting
        waiting[exchange] = scope
        exchange.awaited = waiting
        if not answered.armed:
            answered.arm(_PATIENCE_SECONDS)
    except Exception as error:
        report("the end of an answer", error)


def log_late_failure(exchange: Exchange, error: BaseException) -> None:
    """The application failed when its request was over: an error record in the request's trace, whose context
    is current. Never raises."""
    name = type(error).__qualname__
    try:
        if exchange.withdrawn or departure(error) is not None:
            return
        fields: dict[str, AttributeValue] = {
            "app": exchange.app,
            "method": exchange.method,
            "path": exchange.path[:_MAX_PATH],
            "status": exchange.status,
            "error_type": name,
        }
        emit(REQUEST_SCOPE, SeverityNumber.ERROR, "request failed after its answer", fields, error=error)
    except Exception as failure:
        report("a failure after an answer", failure)
