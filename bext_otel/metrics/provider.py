"""The meter provider: the SDK's own, with the catalogue's rows served from cells."""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry.metrics import Meter, NoOpMeter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.util.types import Attributes

from bext_otel._compat import admit_measurements, collecting_in_turn, hear_measurements, start_metrics_over
from bext_otel.metrics.store.instruments import CatalogueMeter
from bext_otel.metrics.store.streams import Streams
from bext_otel.metrics.third_party.cardinality import CARDINALITY_LIMIT
from bext_otel.metrics.third_party.sdk_instruments import SdkInstrumentReader

__all__ = ["BextMeterProvider"]


class BextMeterProvider(MeterProvider):
    """A `MeterProvider` for applications and libraries that ask for one: only the catalogue's instruments
    differ.

    It has one reader, `foreign`, which collects what is not the catalogue's. Applications may add readers of
    their own; the catalogue's instruments do not reach those. What `on_flush` and `on_shutdown` send, and
    what `share` leaves the other workers of the service, goes out when the application asks for it.
    """

    def __init__(
        self, streams: Streams, resource: Resource, *, cardinality_limit: int = CARDINALITY_LIMIT
    ) -> None:
        self.streams = streams
        self.foreign = SdkInstrumentReader(cardinality_limit)
        # Both take seconds.
        self.on_flush: list[Callable[[float], bool]] = []
        self.on_shutdown: list[Callable[[float], None]] = []
        self.share: Callable[[], None] = lambda: None
        # The composition root ends all three signals within one deadline, so no exit handler of the
        # provider's own.
        super().__init__(metric_readers=[self.foreign], resource=resource, shutdown_on_exit=False)
        hear_measurements(self, lambda: self.foreign.on_measurement())  # noqa: PLW0108  a reading sets it later
        admit_measurements(self, self.foreign, self.foreign.admit)
        self.foreign.turns = collecting_in_turn(self)
        self.foreign.forget = self._start_over

    def _start_over(self) -> None:
        start_metrics_over(self, self.foreign)
        self.foreign.turns = collecting_in_turn(self)

    def get_meter(
        self,
        name: str,
        version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> Meter:
        """See `opentelemetry.metrics.MeterProvider.get_meter`."""
        other = super().get_meter(name, version, schema_url, attributes)
        if isinstance(other, NoOpMeter):  # after shutdown
            return other
        return CatalogueMeter(self.streams, other, name, version, schema_url)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Send everything now; whether it arrived. An export takes as long as its exporter tries
        (`OTEL_EXPORTER_OTLP_TIMEOUT`)."""
        self.share()
        collected = super().force_flush(timeout_millis)
        return all([collected, *(send(timeout_millis / 1e3) for send in self.on_flush)])

    def shutdown(self, timeout_millis: float = 30_000) -> None:
        """Send what is there for the last time; nothing is measured after that."""
        for send_last in self.on_shutdown:
            send_last(timeout_millis / 1e3)
        super().shutdown(timeout_millis)
