"""Metric readers of the application's, of the SDK's interface: they get data made from our cells when they
ask for it, and cost a measurement nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import RLock
from typing import Any

from opentelemetry.sdk.metrics.export import MetricReader, MetricsData

from bext_otel._compat import preferences_of, resource_of
from bext_otel.metrics.data import metrics_data
from bext_otel.metrics.delta import DeltaState
from bext_otel.metrics.families import observed_now
from bext_otel.metrics.instruments.store import Instruments
from bext_otel.metrics.producers import production_of

__all__ = ["Readers"]

_log = logging.getLogger("bext_otel")


class Readers:
    """The readers that were added to a provider, and what each was delivered."""

    def __init__(self, provider: Any, instruments: Instruments) -> None:
        self._provider = provider
        self._instruments = instruments
        self._accounts: dict[MetricReader, DeltaState] = {}
        self.reset()

    def reset(self) -> None:
        """Start over, as a forked child does."""
        # One reader at a time: each has its deltas from what it was given last.
        self._lock = RLock()
        for account in self._accounts.values():
            account.reset()
        for reader in self._accounts:
            production_of(reader).reset()

    def add_metric_reader(self, metric_reader: MetricReader) -> None:
        """A reader joins."""
        preferences = preferences_of(metric_reader)
        self._accounts[metric_reader] = DeltaState(preferences.temporality, aligned=True)
        self._instruments.join(metric_reader, preferences)

    def remove_metric_reader(self, metric_reader: MetricReader) -> None:
        """A reader leaves."""
        self._accounts.pop(metric_reader, None)
        self._instruments.leave(metric_reader)

    def collect(self, metric_reader: MetricReader, timeout_millis: float = 10_000) -> MetricsData | None:
        """The data for a reader; None if there is nothing."""
        account = self._accounts.get(metric_reader)
        if account is None:
            return None
        self._instruments.collect()
        observed = observed_now(self._instruments.streams)
        with self._lock:
            found = metrics_data(
                self._instruments, resource_of(self._provider), observed, account, metric_reader
            )
            account.settle(delivered=True)
        found = production_of(metric_reader).complete(found, timeout_millis / 1e3)
        return found if found.resource_metrics[0].scope_metrics else None

    def force_flush(self, timeout_millis: float) -> bool:
        """Flush all of them; whether that went well."""
        return self._all(lambda reader, millis: reader.force_flush(timeout_millis=millis), timeout_millis)

    def shutdown(self, timeout_millis: float) -> bool:
        """Shut all of them down, once; whether that went well."""
        ended = self._all(lambda reader, millis: reader.shutdown(timeout_millis=millis), timeout_millis)
        for reader in tuple(self._accounts):
            self.remove_metric_reader(reader)
        return ended

    def _all(self, end: Callable[[MetricReader, float], Any], timeout_millis: float) -> bool:
        until, well = time.monotonic() + timeout_millis / 1e3, True
        for reader in tuple(self._accounts):
            try:
                answer = end(reader, max(until - time.monotonic(), 0.0) * 1e3)
            except Exception as error:  # a reader of the application's
                _log.warning("metric reader %s failed: %r", type(reader).__name__, error)
                answer = False
            well = well and answer is not False
        return well
