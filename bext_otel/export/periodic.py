"""Metrics on their way out: the cells as the SDK's data, sent at an interval."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from contextvars import ContextVar
from itertools import count
from math import inf
from time import monotonic, perf_counter, sleep

from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.resources import Resource

from bext_otel import threads
from bext_otel.bounded import within
from bext_otel.export.batching import INLINE_SECONDS, Pauses
from bext_otel.export.delivery import Delivery
from bext_otel.export.metric_batches import batches_of
from bext_otel.export.sender import NO_TIME, Sender, sender
from bext_otel.metrics import data
from bext_otel.metrics.data import Observed
from bext_otel.metrics.delta import DeltaState, exporter_temporality
from bext_otel.metrics.producers import NO_PRODUCTION, Production
from bext_otel.metrics.reader import SnapshotReader

__all__ = ["MetricExport", "metrics_data"]

# Instruments of the semantic conventions by which an SDK tells of itself.
_OF_ITSELF = "otel.sdk."
# Milliseconds that an export may take, where nobody has less time (specification, "Periodic exporting
# MetricReader"); exporters themselves give up after 10 s.
_PATIENCE, _PATIENCE_MILLISECONDS = "OTEL_METRIC_EXPORT_TIMEOUT", 30_000.0
_exports: ContextVar[frozenset[object]] = ContextVar("bext_otel_exports", default=frozenset())
_LAST_PAUSE_SECONDS = 0.1


def metrics_data(
    reading: SnapshotReader, resource: Resource, account: DeltaState | None = None
) -> MetricsData:
    """This process's own part of the metrics; see `bext_otel.metrics.data.metrics_data`."""
    return _data(reading, resource, _ask(reading), account)


def _ask(reading: SnapshotReader) -> Observed:
    """Have the application's callbacks say what is now; no lock is held meanwhile, since they may do
    anything, and flush too."""
    reading.instruments.collect()
    return reading.observed()


def _data(
    reading: SnapshotReader, resource: Resource, observed: Observed, account: DeltaState | None
) -> MetricsData:
    return data.metrics_data(reading.instruments, resource, observed, account)


def _metrics(told: MetricsData) -> Iterator[sdk.Metric]:
    return (
        metric
        for resource in told.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    )


def _points(told: MetricsData) -> int:
    return sum(len(metric.data.data_points) for metric in _metrics(told))


def _patience_seconds() -> float:
    # What is no such number has been told, and taken out of the environment, when the settings were loaded.
    with suppress(ValueError):
        return max(float(os.environ.get(_PATIENCE) or _PATIENCE_MILLISECONDS), 1.0) / 1e3
    return _PATIENCE_MILLISECONDS / 1e3


class MetricExport:
    """Sends the metrics of `resource` every `interval_seconds`, in the thread of `through`, which is joined
    at the first measurement. `batch_size` is how many data points go out in one request at most; 0: as many
    as there are. `production` is what goes out with them, or does not."""

    def __init__(
        self,
        reading: SnapshotReader,
        resource: Resource,
        exporter: MetricExporter,
        delivery: Delivery,
        interval_seconds: float,
        *,
        batch_size: int = 0,
        production: Production = NO_PRODUCTION,
        through: Sender = sender,
    ) -> None:
        self._sender = through
        self._reading = reading
        self.resource = resource
        self._exporter = exporter
        self._delivery = delivery
        self._interval_seconds = interval_seconds
        self._batch_size = batch_size
        self._production = production
        self._patience_seconds = _patience_seconds()
        self._account = DeltaState(exporter_temporality(exporter))
        # What failed is sent again with what has come since: nothing is lost but a moment's figures.
        delivery.keeps = True
        self._pauses = Pauses()
        self.reset()

    def reset(self) -> None:
        """Start over without a thread, as a forked child does."""
        self._joined = False
        self._has_begun = False
        self._is_handed_over = False
        self._until: float | None = None
        self._due_at = monotonic() + self._interval_seconds
        self._make()
        self._account.reset()
        self._production.reset()

    def _make(self) -> None:
        # Anew when a thread is joined: gevent's workers patch `threading` after the fork, and a lock of the
        # system's that is held while gevent waits for the network would stop all there is.
        self._ended = threading.Event()
        self._closed = False
        # Held, for good, by who sends for the last time.
        self._last = threading.Lock()
        self._sending = threading.Lock()
        # In the context of an export, and so of the callbacks that it asks in threads of their own.
        self._mark = object()
        # Readings and exports, by number.
        self._numbers = count(1)
        self._newest = self._exports = self._points = 0
        self._arrived = True

    def start(self) -> None:
        """Begin to send; once. Where no thread can be had, `send_if_due` is for somebody else to call."""
        self._has_begun = True
        if not self._joined and self._until is None and not self._sending.locked():
            self._make()
            due_at, self._due_at = self._due_at, monotonic() + self._interval_seconds
            self._joined = self._sender.join(self)
            if not self._joined:
                self._due_at = due_at

    def send_if_due(self) -> None:
        """Send if the interval is over and no thread does; for a moment at most."""
        if (
            not self._joined
            and self._has_begun
            and monotonic() >= self._due_at
            and not self._sending.locked()
        ):
            sent = self.send(timeout_seconds=INLINE_SECONDS)
            self._due_at = monotonic() + self._interval_seconds
            if sent:
                self._pauses.reset()
            else:  # who does not answer costs the application time: ever more seldom
                self._due_at += self._interval_seconds * self._pauses.next()

    def send(self, *, of_itself: bool = True, timeout_seconds: float = inf) -> bool:
        """Send now; whether it arrived. Without `of_itself`, nothing is sent if that would be telemetry about
        telemetry alone.

        Waits at most `timeout_seconds`, and `OTEL_METRIC_EXPORT_TIMEOUT`, for an export under way, and gives
        an exporter of ours as much. A callback or an exporter that flushes is
        part of that very export: it is told that nothing has arrived yet, and what it measured
        goes with that export or the next.
        """
        within = _exports.get()
        if self._mark in within or (self._closed and self._ended.is_set()):
            return False  # an exporter that has been shut down takes nothing (specification, "Shutdown")
        token = _exports.set(within | {self._mark})
        try:
            return self._send(of_itself, min(timeout_seconds, self._patience_seconds))
        except (
            Exception
        ) as error:  # the thread that sends must go on, and an application that flushes is not to blame
            self._delivery.unread(error)
            return False
        finally:
            _exports.reset(token)

    def _send(self, of_itself: bool, timeout_seconds: float) -> bool:
        first = number = next(self._numbers)
        while True:
            exports, began = self._exports, perf_counter()
            observed = _ask(self._reading)
            if not self._sending.acquire(timeout=timeout_seconds):
                return False
            try:
                if (
                    self._newest > first
                ):  # somebody began to read after this call, and has sent what it was about
                    return self._arrived
                if exports == self._exports:
                    self._newest, self._exports = number, exports + 1
                    self._arrived = self._export(observed, began, of_itself, timeout_seconds)
                    return self._arrived
            finally:
                self._sending.release()
            # What was read may be older than what somebody has sent meanwhile, and would look like a series
            # that has begun anew.
            number = next(self._numbers)

    def _export(self, observed: Observed, began: float, of_itself: bool, timeout_seconds: float) -> bool:
        told = _data(self._reading, self.resource, observed, self._account)
        told = self._production.complete(told, timeout_seconds / 2)
        self._delivery.readings.append((perf_counter() - began, "", 0))
        if not of_itself and all(m.name.startswith(_OF_ITSELF) for m in _metrics(told)):
            return True
        lost, any_arrived, self._points = set[int](), False, 0
        batches = list(batches_of(told, self._batch_size))
        until, left = monotonic() + timeout_seconds, timeout_seconds
        for batch in batches:
            if self._points and self._delivery.kept:  # who does not answer now gets the rest another time
                arrived = False
            else:
                arrived = self._export_batch(batch, left)
                left = max(until - monotonic(), 0.0)
            any_arrived = any_arrived or arrived
            if not arrived:
                self._points += _points(batch)
                if len(batches) > 1:
                    lost |= {id(point) for metric in _metrics(batch) for point in metric.data.data_points}
        self._account.settle(delivered=any_arrived or not batches, lost=lost)
        return not self._points

    def _export_batch(self, batch: MetricsData, seconds: float) -> bool:
        self._delivery.limit(seconds)
        return self._delivery.attempt(
            _points(batch), lambda: self._exporter.export(batch, seconds * 1e3) is MetricExportResult.SUCCESS
        )

    def begin_end(self, timeout_seconds: float) -> bool:
        """Begin to send for the last time; whether a thread is at it."""
        if self._until is None:
            self._delivery.is_ending = True
            self._until = monotonic() + timeout_seconds
            self._is_handed_over = self._joined and self._sender.take(self)
        return self._is_handed_over

    def flush(self, timeout_seconds: float) -> bool:
        """Send now, and have the exporter send what it holds; whether all of it arrived. See `send`, and
        `_send_last` for what is not sent."""
        until = monotonic() + timeout_seconds
        arrived = self.send(of_itself=self._has_begun, timeout_seconds=timeout_seconds)
        if self._closed:
            return arrived
        left = max(until - monotonic(), 0.0)
        return self._exporter.force_flush(left * 1e3) and arrived

    def shutdown(self, timeout_seconds: float) -> None:
        """Send what is there for the last time, and end. Once.

        After `timeout_seconds` the exporter is told to give up, for which it has as long as was left of them,
        and a moment at least; one that hangs is left behind in a daemon thread.
        """
        if self._closed:
            return
        self._closed = True
        until = monotonic() + timeout_seconds
        # Whoever was handed the last export may be through with it already.
        if (
            not self._ended.is_set()
            and not self.begin_end(timeout_seconds)
            and threads.start(self._send_last, name="bext-otel-metric-export-last") is None
        ):
            self._send_last()
        self._ended.wait(timeout_seconds)
        self._ended.set()
        self._sender.leave(self)
        left = max(until - monotonic(), _LAST_PAUSE_SECONDS)
        within(left, [lambda: self._exporter.shutdown(timeout_millis=left * 1e3)])

    def _send_last(self) -> None:
        """Send, and again while that fails and there is time; once, by whoever comes first."""
        if not self._last.acquire(blocking=False):
            return
        pauses = Pauses(_LAST_PAUSE_SECONDS, 1.0)
        try:
            while (left := self._left()) > 0 and not self._ended.is_set():
                # A process in which nothing was measured, such as a server's master, has to tell nothing but
                # how its telemetry fares: that is neither worth a wait at its end nor one more instance of
                # the service.
                if self.send(of_itself=self._has_begun, timeout_seconds=left) or not self._delivery.kept:
                    return
                sleep(max(min(pauses.next(), self._left()), 0.0))
        finally:
            if not self._arrived and self._delivery.kept:
                self._delivery.give_up(self._points)
            self._ended.set()

    def _left(self) -> float:
        return (self._until or 0.0) - monotonic()

    def pause(self) -> float:
        """See `Member`."""
        if self._until is not None:
            return inf if self._last.locked() else NO_TIME
        return max(self._due_at - monotonic(), NO_TIME)

    def work(self) -> None:
        """See `Member`."""
        if self._until is not None:
            self._send_last()
            return
        if monotonic() < self._due_at:
            return
        pause = self._interval_seconds
        if self.send() or not self._delivery.kept:
            self._pauses.reset()
        else:
            pause = min(self._pauses.next(self._delivery.pause_seconds), pause)
        self._due_at = monotonic() + pause
