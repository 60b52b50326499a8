"""The logs signal's way out: what takes the records, and sends them; nothing exists before the first one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter

from bext_otel.export.batching import MAX_ENCODED, Batches, QueueLimits
from bext_otel.export.delivery import queue_of
from bext_otel.export.origins import Encoded, size_of
from bext_otel.export.otlp import EncodedExporter
from bext_otel.export.packs import EncodedPack
from bext_otel.export.record import Record
from bext_otel.export.record_encoder import RecordEncoder

__all__ = ["RecordSink", "record_batches"]

RecordSink: TypeAlias = Callable[[Record], object]
"""Takes a record that is to be exported; may raise for one that cannot be written."""


def record_batches(
    exporter: LogRecordExporter | EncodedExporter,
    sending: Any = None,
    limits: QueueLimits | None = None,
) -> tuple[Batches[Any], RecordSink]:
    """Batches of records, as `OTEL_BLRP_*` say, and what takes the records; those of OTLP are encoded as they
    come. `sending` stands around the exporter, if anything does."""
    through: Any = sending if sending is not None else exporter
    if isinstance(exporter, EncodedExporter):
        limits = limits or QueueLimits.from_environment("BLRP", delay_ms=1000, queue_size=MAX_ENCODED)
        encoded: Batches[Encoded] = Batches(
            through, exporter.delivery.queue, limits, weigh=size_of, pack=EncodedPack
        )
        encode, add = RecordEncoder(exporter.origins).encode, encoded.add
        return encoded, lambda record: add(encode(record))
    limits = limits or QueueLimits.from_environment("BLRP", delay_ms=1000)
    queue = queue_of(exporter, "log records", "OTEL_BLRP_MAX_QUEUE_SIZE")
    records: Batches[ReadableLogRecord] = Batches(through, queue, limits)
    return records, lambda record: records.add(record.readable())
