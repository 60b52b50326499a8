"""Celery: chains, groups and chords are runs of flows, their tasks steps; a plain task is a run of one step;
all of a run is in one trace.

A flow is named after its first task, or by the caller: `apply_async(headers={"bext_flow": "checkout"})`.
Celery tells nobody when a group without a chord is over, so there each branch that ends counts as a run
completed or failed; as active it counts once. All this holds for those that are executed at once, too
(`task_always_eager`, `apply`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from opentelemetry import _logs, metrics, trace

from bext_otel import threads
from bext_otel.runs import also_active
from bext_otel_instrumentors._kit.base import HostingInstrumentor
from bext_otel_instrumentors._kit.carrying import apart
from bext_otel_instrumentors._kit.guard import report
from bext_otel_instrumentors._kit.patch import Patches, around
from bext_otel_instrumentors.celery import steps
from bext_otel_instrumentors.celery.active import ActiveRuns
from bext_otel_instrumentors.celery.eager import at_once, at_once_together
from bext_otel_instrumentors.celery.messages import before_publish, publishing, sending

__all__ = ["CeleryInstrumentor"]

# A worker's child leaves without running exit handlers; what it still has to tell may hold it up no longer
# than this.
_FLUSH_SECONDS = 3.0


class CeleryInstrumentor(HostingInstrumentor):
    """Instruments Celery as soon as it is imported, in publishers and in workers with any pool."""

    # Celery 5, whose messages have headers
    requires = ("celery >= 5.3, < 6",)

    def _instrument(self, **kwargs: Any) -> None:
        self._forget: Callable[[], None] | None = None
        super()._instrument(**kwargs)

    def _patch(self, patches: Patches) -> None:
        patches.when_imported("celery.app.base", self._cover_app)
        patches.when_imported("celery.canvas", self._cover_canvas)
        # Each task that falls due is a trace, and not part of what the scheduler was started in.
        patches.when_imported("celery.beat", lambda beat: patches.wrap(beat.Scheduler, "apply_async", apart))

    def _uninstrument(self, **kwargs: Any) -> None:
        if self._forget is not None:
            self._forget()
        super()._uninstrument(**kwargs)

    def _cover_canvas(self, module: Any) -> None:
        self._patches.wrap(module.group, "apply_async", around(publishing))
        self._patches.wrap(module._chord, "apply_async", around(publishing))
        self._patches.wrap(module.group, "apply", at_once_together)
        self._patches.wrap(module._chord, "apply", at_once)
        self._patches.wrap(module._chain, "apply", at_once)

    def _cover_app(self, module: Any) -> None:
        from celery import signals

        self._patches.wrap(module.Celery, "send_task", around(sending))
        for signal, receiver in (
            (signals.before_task_publish, before_publish),
            (signals.task_prerun, steps.before_run),
            (signals.task_postrun, steps.after_run),
            (signals.task_failure, steps.failed_elsewhere),
            (signals.task_revoked, steps.revoked),
            (signals.worker_init, self._worker_begins),
            (signals.worker_ready, self._worker_ready),
            (signals.worker_process_init, steps.in_child),
            (signals.worker_process_shutdown, _flush),
        ):
            self._connect(signal, receiver)

    def _connect(self, signal: Any, receiver: Callable[..., None]) -> None:
        signal.connect(receiver, weak=False)
        self._patches.callback(signal.disconnect, receiver)

    def _worker_begins(self, **_: Any) -> None:
        """The main process of a worker, before its pool."""
        from celery import signals

        active = ActiveRuns()
        self._connect(signals.task_received, active.received)
        if self._forget is not None:
            self._forget()
        self._forget = also_active(active)

    def _worker_ready(self, **_: Any) -> None:
        """It lives longer than its children, so it is the one to show the service's metrics."""
        self._hosting.made()


def _flush(**_: Any) -> None:
    """Side by side: a signal that waits in vain takes none of the others' time."""
    until = time.monotonic() + _FLUSH_SECONDS
    flushing = [
        (provider, threads.start(_flush_one, provider, _FLUSH_SECONDS, name="bext-otel-celery-flush"))
        for provider in (
            trace.get_tracer_provider(),
            metrics.get_meter_provider(),
            _logs.get_logger_provider(),
        )
    ]
    for provider, thread in flushing:
        left = max(until - time.monotonic(), 0.0)
        if thread is not None:
            thread.join(left)
        else:
            _flush_one(provider, left)


def _flush_one(provider: Any, seconds: float) -> None:
    try:
        if (flush := getattr(provider, "force_flush", None)) is not None:
            flush(max(1, round(seconds * 1000)))
    except Exception as error:  # the child ends all the same
        report("the end of a worker's process", error)
