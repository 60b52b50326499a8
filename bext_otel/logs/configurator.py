"""Which loggers of the Logs API count, and from which severity on (specification, "LoggerConfigurator")."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from opentelemetry._logs import SeverityNumber
from opentelemetry.context import Context
from opentelemetry.trace import get_current_span

__all__ = ["LoggerConfig", "normalized"]


@dataclass(frozen=True)
class LoggerConfig:
    """What holds for the records of an instrumentation scope.

    `is_enabled` False: there are none. One with a severity below `minimum_severity`, a number of the data
    model's (`SeverityNumber.WARN.value`), is dropped, and one without severity is not. `trace_based` drops
    those that belong to a span that is not sampled.
    """

    is_enabled: bool = True
    minimum_severity: int = 0
    trace_based: bool = False

    def passes(self, severity: SeverityNumber | None, context: Context | None) -> bool:
        """Whether a record counts that belongs to the span of `context` (None: the current one)."""
        if not self.is_enabled:
            return False
        number = 0 if severity is None else severity.value
        if 0 < number < self.minimum_severity:
            return False
        if not self.trace_based:
            return True
        span = get_current_span(context).get_span_context()
        return not span.is_valid or span.trace_flags.sampled


def normalized(configurator: Callable[[Any], Any]) -> Callable[[Any], LoggerConfig]:
    """A configurator that answers with ours, whatever object of these facts another one answers with."""

    def configure(scope: Any) -> LoggerConfig:
        found = configurator(scope)
        if isinstance(found, LoggerConfig):
            return found
        return LoggerConfig(
            bool(getattr(found, "is_enabled", True)),
            _number(getattr(found, "minimum_severity", None)),
            bool(getattr(found, "trace_based", False)),
        )

    return configure


def _number(severity: Any) -> int:
    return int(getattr(severity, "value", severity) or 0)
