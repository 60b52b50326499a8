"""The logs signal's way out: what takes the records, and sends them; nothing exists before the first one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeAlias

from opentelemetry.context import Context
from opentelemetry.sdk._logs import ReadableLogRecord, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter
from opentelemetry.sdk.resources import Resource

from bext_otel.export.batching import MAX_ENCODED, Batches, QueueLimits
from bext_otel.export.delivery import queue_of
from bext_otel.export.origins import Encoded, size_of
from bext_otel.export.otlp import EncodedExporter
from bext_otel.export.packs import EncodedPack
from bext_otel.export.record_encoder import RecordEncoder

__all__ = ["RecordSink", "record_batches"]

RecordSink: TypeAlias = Callable[[ReadWriteLogRecord], object]
"""Takes a record that is to be exported; may raise for one that cannot be written."""

_NO_CONTEXT = Context()


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
    return records, lambda record: records.add(_readable(record))


def _readable(record: ReadWriteLogRecord) -> ReadableLogRecord:
    # A copy without the context, which may hold a whole request.
    log = copy.copy(record.log_record)
    log.context = _NO_CONTEXT
    return ReadableLogRecord(
        log_record=log,
        resource=record.resource if record.resource is not None else Resource.create({}),
        instrumentation_scope=record.instrumentation_scope,
        limits=record.limits,
    )
