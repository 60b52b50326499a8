"""What each record passes, in order: completion, the processors of users, our sinks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

from opentelemetry._logs import SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from bext_otel.bounded import within
from bext_otel.logs.sinks import Completion

__all__ = ["Processors"]

_log = logging.getLogger("bext_otel.logs.processors")

_END_SECONDS = 30.0
_MAX_TOLD = 8


class Processors(LogRecordProcessor):
    """In the place of the SDK's multi-processor. What a user's processor changes, the sinks and the users'
    processors after it see; what it raises is one line and counted in `failures`, and goes to nobody."""

    def __init__(self, completion: Completion, sinks: Sequence[LogRecordProcessor]) -> None:
        self.failures = 0
        self._completion = completion
        self._users: tuple[LogRecordProcessor, ...] = ()
        self._sinks = tuple(sinks)
        self._told: set[str] = set()

    def add_log_record_processor(self, log_record_processor: LogRecordProcessor) -> None:
        """One of a user's."""
        self._users = (*self._users, log_record_processor)

    def add_sink(self, sink: LogRecordProcessor) -> None:
        """One of ours, to which records go last."""
        self._sinks = (*self._sinks, sink)

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """See `LogRecordProcessor`."""
        self._completion.on_emit(log_record)
        if self._users:
            for user in self._users:
                try:
                    user.on_emit(log_record)
                except Exception as error:  # whoever logs hears nothing of it
                    self._failed(user, error)
            self._completion.check(log_record)
        for sink in self._sinks:
            sink.on_emit(log_record)

    def enabled(
        self,
        *,
        context: Context | None = None,
        instrumentation_scope: InstrumentationScope | None = None,
        severity_number: SeverityNumber | None = None,
        event_name: str | None = None,
    ) -> bool:
        """Whether anybody wants such a record."""
        for each in (*self._sinks, *self._users):
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
        seconds = timeout_millis / 1e3
        # Those of ours keep to their time, and need no thread of their own for that.
        arrived = [bool(sink.force_flush(timeout_millis)) for sink in self._sinks]
        flushed = within(seconds, [partial(user.force_flush, timeout_millis) for user in self._users])
        return all(arrived) and all(each is not None and each.value is not False for each in flushed)

    def shutdown(self) -> None:
        """End all of them."""
        for sink in self._sinks:
            sink.shutdown()
        self.end_users(_END_SECONDS)

    def end_users(self, seconds: float) -> None:
        """End those of users, within so many seconds. Once."""
        users, self._users = self._users, ()
        within(seconds, [user.shutdown for user in users])

    def _failed(self, part: LogRecordProcessor, error: Exception) -> None:
        self.failures += 1
        text = f"{type(part).__qualname__}: {type(error).__name__}: {error}"
        if len(self._told) < _MAX_TOLD and text[:80] not in self._told:
            # First, because the line is a record itself.
            self._told.add(text[:80])
            _log.warning("a log record processor fails: %s; the application goes on", text[:300])
