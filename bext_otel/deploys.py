"""Deploys of applications: how each ended, how long it took, and its steps, in one trace.

`with deploy("shop", "1.4.2") as d: ...` around whatever deploys. Needs the OpenTelemetry API only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from opentelemetry import context, propagate, trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.context import Context
from opentelemetry.trace import Span

from bext_otel.apps import clean, with_app
from bext_otel.catalogue import DEPLOY, UNKNOWN
from bext_otel.entries import emit
from bext_otel.operation import Operation, finish, show_failure, start, tracer
from bext_otel.process import Undo
from bext_otel.timing import anchor_of

__all__ = ["Deploy", "context_of", "deploy", "on_deploy"]

_told: list[Callable[[str, str, str], object]] = []

_STEP = "bext.deploy.step"
# Deploys are told of at info. One that failed is an error, as a failed request is: somebody has to look after
# it.
_BODIES: Mapping[str, tuple[SeverityNumber, str]] = {
    "success": (SeverityNumber.INFO, "deploy completed"),
    "rolled_back": (SeverityNumber.INFO, "deploy rolled back"),
    "failed": (SeverityNumber.ERROR, "deploy failed"),
}


class Deploy:
    """A deploy in progress. Without a word from the caller it succeeds, or, if its body raises, fails."""

    def __init__(self, operation: Operation, here: Context) -> None:
        self._operation = operation
        self._here = here
        self._status = ""
        self._reason = ""

    @property
    def span(self) -> Span:
        """The deploy's span."""
        return self._operation.span

    @contextmanager
    def step(self, name: str) -> Iterator[Span]:
        """Trace the body as a step of this deploy, also in another thread. What it raises passes on, and is
        the step's outcome.

        `name` is part of the span's name, so it should be one of few: "migrate", not "migrate 4711".
        """
        shown = clean(name)
        attributes = {"bext.step": shown, "bext.app": self._operation.labels["app"]}
        # Its own way of telling of exceptions leaves out Ctrl-C and its kin, and repeats the message where it
        # is not redacted.
        with tracer().start_as_current_span(
            f"{_STEP} {shown}",
            self._parent(),
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
            end_on_exit=False,
        ) as span:
            anchor = anchor_of(span)
            try:
                yield span
            except BaseException as error:
                show_failure(span, type(error).__qualname__, error)
                raise
            finally:
                span.end(anchor.now())

    def rolled_back(self, reason: str = "") -> None:
        """The version before runs again: however the body ends, the deploy was rolled back. `reason` is one
        of few, such as "unhealthy"."""
        self._status, self._reason = "rolled_back", reason

    def failed(self, reason: str = "") -> None:
        """The deploy failed, though its body may not raise. `reason` is one of few, such as an exception's
        name."""
        self._status, self._reason = "failed", reason

    def environment(self) -> dict[str, str]:
        """Variables (`TRACEPARENT` and its kin) that make the spans of a child process children of the
        current span, or of the deploy's.

        They are named as the OpenTelemetry specification has it: headers in capitals, with underscores. Empty
        while nothing is traced.
        """
        carrier: dict[str, str] = {}
        propagate.inject(carrier, self._parent())
        return {_variable(name): value for name, value in carrier.items()}

    def _parent(self) -> Context:
        """The current context where it belongs to this deploy; in a thread, which begins without one, the
        deploy's own."""
        current = trace.get_current_span().get_span_context()
        return (
            context.get_current() if current.trace_id == self.span.get_span_context().trace_id else self._here
        )

    def _end(self, error: BaseException | None) -> None:
        if isinstance(error, SystemExit) and not error.code:
            error = None  # sys.exit() after all has gone well
        if not self._status:
            self._status = "success" if error is None else "failed"
        self._operation.set(status=self._status)
        outcome: BaseException | str | None = error
        if outcome is None and self._status != "success":
            outcome = clean(self._reason) if self._reason else self._status
        finish(self._operation, outcome)
        self._tell()

    def _tell(self) -> None:
        severity, body = _BODIES[self._status]
        labels = self._operation.labels
        fields: dict[str, Any] = {"app": labels["app"], "version": labels["version"], "status": self._status}
        fields["duration_ms"] = round(self._operation.elapsed_ms, 3)
        if "error_type" in labels:
            fields["error_type"] = labels["error_type"]
        emit(DEPLOY.name, severity, body, fields, here=self._here, event="bext.deploy.ended")


@contextmanager
def deploy(app: str, version: str) -> Iterator[Deploy]:
    """Measure and trace the body as a deploy of `version` of `app`: counted by outcome, timed, one log entry
    at its end.

    The entry is at info, also of a deploy that was rolled back, and at error for one that failed.

    An exception that leaves the body passes on, and the deploy failed, unless `rolled_back()` was called;
    `sys.exit(0)` is a success. The span is a child of the current one; where there is none, of the one that
    `TRACEPARENT` in the environment names.
    """
    shown = clean(app) or UNKNOWN
    above = None if trace.get_current_span().get_span_context().is_valid else context_of(os.environ)
    operation = start(DEPLOY, context=above, app=shown, version=clean(version))
    here = with_app(shown, trace.set_span_in_context(operation.span, above))
    current = Deploy(operation, here)
    _tell(shown, clean(version), "deploying")
    token = context.attach(here)
    error: BaseException | None = None
    try:
        yield current
    except BaseException as raised:
        error = raised
        raise
    finally:
        context.detach(token)
        current._end(error)
        _tell(shown, clean(version), current._status)


def on_deploy(call: Callable[[str, str, str], object]) -> Undo:
    """Call this with app, version and `deploying`, when a deploy begins in this process, and with `success`,
    `failed` or `rolled_back` when it has ended."""
    _told.append(call)

    def undo() -> None:
        with suppress(ValueError):  # it is undone already
            _told.remove(call)

    return undo


def _tell(app: str, version: str, status: str) -> None:
    for call in tuple(_told):
        with suppress(Exception):  # the deploy goes on, whatever is made of it
            call(app, version, status)


def context_of(environ: Mapping[str, str]) -> Context:
    """The context that a parent process has put into environment variables; the current one where there is
    none."""
    fields = propagate.get_global_textmap().fields
    return propagate.extract(
        {name: environ[_variable(name)] for name in fields if _variable(name) in environ}
    )


def _variable(header: str) -> str:
    # Environment variables as context carriers, OpenTelemetry specification: capitals, and "_" for what a
    # name can't hold.
    return re.sub(r"[^A-Z0-9_]", "_", header.upper())
