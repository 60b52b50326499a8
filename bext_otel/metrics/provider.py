"""The meter provider: the SDK's by its type, with instruments that are served from our cells."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from opentelemetry.metrics import Meter, NoOpMeter
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.util.types import Attributes

from bext_otel._compat import add_reader, become, consume_by, keep_scope, remove_reader
from bext_otel.bounded import within
from bext_otel.metrics.instruments.meter import BextMeter
from bext_otel.metrics.instruments.plan import Planner
from bext_otel.metrics.instruments.store import Instruments
from bext_otel.metrics.readers import Readers
from bext_otel.metrics.store.streams import Streams

__all__ = ["BextMeterProvider"]

_log = logging.getLogger("bext_otel")


class BextMeterProvider(MeterProvider):
    """A `MeterProvider` for applications and libraries that ask for one.

    `views` and `metric_readers` are the SDK's; readers get every metric, the catalogue's too. `series_limit`
    is how many attribute sets a metric shows, `scope_labels` whether `/metrics` tells whose an instrument is,
    `total_suffix` whether counters end in `_total` there.
    What `on_flush` and `on_shutdown` send, and what `share` leaves the other workers of the service, goes out
    when the application asks for it.
    """

    def __init__(
        self,
        streams: Streams,
        resource: Resource,
        *,
        series_limit: int = 2000,
        views: Sequence[Any] = (),
        metric_readers: Iterable[MetricReader] = (),
        scope_labels: bool = True,
        total_suffix: bool = True,
    ) -> None:
        self.streams = streams
        self.instruments = Instruments(
            streams, Planner(views, series_limit), scope_labels=scope_labels, total_suffix=total_suffix
        )
        self.readers = Readers(self, self.instruments)
        self._nameless: dict[InstrumentationScope, BextMeter] = {}
        # Both take seconds.
        self.on_flush: list[Callable[[float], bool]] = []
        self.on_shutdown: list[Callable[[float], None]] = []
        self.share: Callable[[], None] = lambda: None
        # The composition root ends all three signals within one deadline, so no exit handler of the
        # provider's own.
        super().__init__(resource=resource, shutdown_on_exit=False)
        consume_by(self, self.readers)
        for reader in metric_readers:
            self.add_metric_reader(reader)

    def get_meter(
        self,
        name: str,
        version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> Meter:
        """See `opentelemetry.metrics.MeterProvider.get_meter`."""
        if not name:  # it works, as the specification says; upstream's measures nothing
            meter: Any = super().get_meter("nameless", version, schema_url, attributes)
            return (
                meter if isinstance(meter, NoOpMeter) else self._without_name(version, schema_url, attributes)
            )
        meter = super().get_meter(name, version, schema_url, attributes)
        keep_scope(self, meter, lambda: InstrumentationScope(name, version, schema_url, attributes))
        become(meter, sdk.Meter, BextMeter, streams=self.streams, instruments=self.instruments)
        return meter  # type: ignore[no-any-return]  # of the API's class

    def add_metric_reader(self, metric_reader: MetricReader) -> None:
        """A reader joins, which gets every metric."""
        add_reader(self, metric_reader)

    def remove_metric_reader(self, metric_reader: MetricReader) -> None:
        """A reader leaves."""
        remove_reader(self, metric_reader)

    def _without_name(self, version: str | None, schema_url: str | None, attributes: Attributes) -> BextMeter:
        scope = InstrumentationScope("", version, schema_url, attributes)
        found = self._nameless.get(scope)
        if found is None:
            _log.warning("a meter was asked for without a name: what it measures has no scope")
            made = BextMeter(scope, self.readers)  # type: ignore[arg-type]  # as `consume_by` has it
            made.streams, made.instruments = self.streams, self.instruments
            found = self._nameless.setdefault(scope, made)
        return found

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Send everything now; whether it arrived within `timeout_millis`. A reader or an exporter that hangs
        keeps no other from it, and the caller no longer than that."""
        self.share()
        seconds = timeout_millis / 1e3
        calls: list[Callable[[], object]] = [partial(send, seconds) for send in self.on_flush]
        answers = within(seconds, [partial(self.readers.force_flush, timeout_millis), *calls])
        return all(answer is not None and answer.value is True for answer in answers)

    def shutdown(self, timeout_millis: float = 30_000) -> None:
        """Send what is there for the last time, within `timeout_millis`; nothing is measured after that."""
        seconds = timeout_millis / 1e3
        calls: list[Callable[[], object]] = [partial(send_last, seconds) for send_last in self.on_shutdown]
        within(seconds, [*calls, partial(self.readers.shutdown, timeout_millis)])
        super().shutdown(timeout_millis)
