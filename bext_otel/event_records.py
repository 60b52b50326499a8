"""Log records and events at the Logs API, in as few words as they have facts.

    log = bext_otel.events("shop.orders")
    log.info("order.placed", {"order.id": 7})
    log.error("payment.failed", {"order.id": 7}, exception=error)
    if log.enabled("order.priced", severity=SeverityNumber.DEBUG):
        log.debug("order.priced", prices())

They go past logging and its levels, to whatever logger provider is set. Knows the OpenTelemetry API only.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import time_ns

from opentelemetry._logs import LogRecord, SeverityNumber, get_logger
from opentelemetry.context import Context, get_current
from opentelemetry.util.types import AnyValue

from bext_otel.scope import with_enabled

__all__ = ["Events", "events"]


class Events:
    """Emits at one instrumentation scope. Each method is a severity; `name` says what happened, always in the
    same words (`order.placed`), `attributes` are the facts, and `body` is a text for people, if there is one.

    `exception` gives the record `exception.type`, `.message` and `.stacktrace`, but for those that
    `attributes` have. `context` holds the span that the record belongs to (None: the current one).
    """

    def __init__(self, scope: str, version: str | None = None, schema_url: str | None = None) -> None:
        # The API's: it hands over to the provider as soon as there is one.
        self._logger = with_enabled(get_logger(scope, version or "", schema_url=schema_url))

    def enabled(
        self,
        name: str | None = None,
        *,
        severity: SeverityNumber = SeverityNumber.INFO,
        context: Context | None = None,
    ) -> bool:
        """Whether anybody wants such a record, so that its facts need not be found out for nothing."""
        return self._logger.enabled(context=context, severity_number=severity, event_name=name)

    def emit(
        self,
        severity: SeverityNumber,
        name: str,
        attributes: Mapping[str, AnyValue] | None = None,
        *,
        body: AnyValue = None,
        exception: BaseException | None = None,
        context: Context | None = None,
    ) -> None:
        """A record of any severity, those in between included (`SeverityNumber.INFO3`)."""
        here = get_current() if context is None else context
        if not self._logger.enabled(context=here, severity_number=severity, event_name=name):
            return
        now = time_ns()
        record = LogRecord(
            timestamp=now,
            observed_timestamp=now,
            context=here,
            severity_number=severity,
            severity_text=severity.name,
            body=body,
            attributes=dict(attributes) if attributes else None,
            event_name=name,
        )
        record.exception = exception  # older APIs take none; our provider looks for it all the same
        self._logger.emit(record)

    def trace(
        self,
        name: str,
        attributes: Mapping[str, AnyValue] | None = None,
        *,
        body: AnyValue = None,
        exception: BaseException | None = None,
        context: Context | None = None,
    ) -> None:
        """See `emit`."""
        self.emit(SeverityNumber.TRACE, name, attributes, body=body, exception=exception, context=context)

    def debug(
        self,
        name: str,
        attributes: Mapping[str, AnyValue] | None = None,
        *,
        body: AnyValue = None,
        exception: BaseException | None = None,
        context: Context | None = None,
    ) -> None:
        """See `emit`."""
        self.emit(SeverityNumber.DEBUG, name, attributes, body=body, exception=exception, context=context)

    def info(
        self,
        name: str,
        attributes: Mapping[str, AnyValue] | None = None,
        *,
        body: AnyValue = None,
        exception: BaseException | None = None,
        context: Context | None = None,
    ) -> None:
        """See `emit`."""
        self.emit(SeverityNumber.INFO, name, attributes, body=body, exception=exception, context=context)

    def warn(
        self,
        name: str,
        attributes: Mapping[str, AnyValue] | None = None,
        *,
        body: AnyValue = None,
        exception: BaseException | None = None,
        context: Context | None = None,
    ) -> None:
        """See `emit`."""
        self.emit(SeverityNumber.WARN, name, attributes, body=body, exception=exception, context=context)

    def error(
        self,
        name: str,
        attributes: Mapping[str, AnyValue] | None = None,
        *,
        body: AnyValue = None,
        exception: BaseException | None = None,
        context: Context | None = None,
    ) -> None:
        """See `emit`."""
        self.emit(SeverityNumber.ERROR, name, attributes, body=body, exception=exception, context=context)

    def fatal(
        self,
        name: str,
        attributes: Mapping[str, AnyValue] | None = None,
        *,
        body: AnyValue = None,
        exception: BaseException | None = None,
        context: Context | None = None,
    ) -> None:
        """See `emit`."""
        self.emit(SeverityNumber.FATAL, name, attributes, body=body, exception=exception, context=context)


def events(scope: str, version: str | None = None, schema_url: str | None = None) -> Events:
    """What emits records of the instrumentation scope `scope`, a library's or a module's name."""
    return Events(scope, version, schema_url)
