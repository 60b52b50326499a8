"""Log record processors of the application's: each hears of each record, and may change it for those
after it."""

from __future__ import annotations

import logging
from functools import partial

from opentelemetry._logs import SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from bext_otel.bounded import within
from bext_otel.entries import message_of
from bext_otel.once import Once

__all__ = ["Processors"]

_log = logging.getLogger("bext_otel.logs.processors")


class Processors(LogRecordProcessor):
    """What one of them raises is one line and counted in `failures`, and goes to nobody."""

    def __init__(self) -> None:
        self.failures = 0
        self._all: tuple[LogRecordProcessor, ...] = ()
        self._once = Once(8)

    def add(self, processor: LogRecordProcessor) -> None:
        """One more, the last in line."""
        self._all = (*self._all, processor)

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """See `LogRecordProcessor`."""
        for each in self._all:
            try:
                each.on_emit(log_record)
            except Exception as error:  # whoever logs hears nothing of it
                self._failed(each, error)

    def enabled(
        self,
        *,
        context: Context | None = None,
        instrumentation_scope: InstrumentationScope | None = None,
        severity_number: SeverityNumber | None = None,
        event_name: str | None = None,
    ) -> bool:
        """Whether any of them wants such a record."""
        for each in self._all:
            try:
                if each.enabled(
                    context=context,
                    instrumentation_scope=instrumentation_scope,
                    severity_number=severity_number,
                    event_name=event_name,
                ):
                    return True
            except Exception as error:  # as above; one that cannot tell gets the record
                self._failed(each, error)
                return True
        return False

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Whether all of them sent what they have in time."""
        flushed = within(
            timeout_millis / 1e3, [partial(each.force_flush, timeout_millis) for each in self._all]
        )
        return all(each is not None and each.value is not False for each in flushed)

    def shutdown(self) -> None:
        """See `end`."""
        self.end(30.0)

    def end(self, seconds: float) -> None:
        """End all of them within so many seconds. Once."""
        ended, self._all = self._all, ()
        within(seconds, [each.shutdown for each in ended])

    def _failed(self, part: LogRecordProcessor, error: Exception) -> None:
        self.tell(f"a log record processor fails: {type(part).__qualname__}", error)

    def tell(self, what: str, error: Exception) -> None:
        """Count a failure; the first ones of each kind are lines."""
        self.failures += 1
        text = f"{what}: {type(error).__name__}: {message_of(error)}"
        if self._once.is_first(text[:110]):  # the line is a record itself, and does not come back
            _log.warning("%s; the application goes on", text[:330])
