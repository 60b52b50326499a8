"""Calls of plugins' hooks, whichever engine runs them."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry._logs import SeverityNumber

from bext_otel.catalogue import PLUGIN_FUEL_CONSUMED, PLUGIN_HOOK, UNKNOWN
from bext_otel.entries import emit
from bext_otel.operation import Operation
from bext_otel_instrumentors._kit.measured import Measured

__all__ = ["PluginCall", "plugin_name"]

_SCOPE = "bext.plugin"


def plugin_name(thing: object) -> str:
    """What the application says that a plugin's module, instance or function belongs to: its attribute
    `plugin_name`; "" if it has none.

    An attribute, so that naming needs no import of ours.
    """
    name = getattr(thing, "plugin_name", "")
    return name if isinstance(name, str) else ""


class PluginCall(Measured):
    """A call of `hook` of `plugin`. `fuel` is what it burned, None where nobody counts."""

    __slots__ = ("fuel",)

    def __init__(self, plugin: str, hook: str) -> None:
        super().__init__(PLUGIN_HOOK, plugin=plugin or UNKNOWN, hook=hook or UNKNOWN)
        self.fuel: int | None = None

    def settle(self, operation: Operation) -> None:
        """The fuel, counted with this call's span as exemplar."""
        if self.fuel is not None:
            operation.span.set_attribute("bext.fuel", self.fuel)
            operation.measure(PLUGIN_FUEL_CONSUMED, self.fuel, plugin=operation.labels["plugin"])

    def tell(self, operation: Operation, failure: str | None) -> None:
        """An error for a failure; at debug each call, at trace its fuel."""
        here = trace.set_span_in_context(operation.span)
        called = {"plugin": operation.labels["plugin"], "hook": operation.labels["hook"]}
        took = round(operation.elapsed_ms * 1e3, 1)
        if failure is not None:
            emit(
                _SCOPE,
                SeverityNumber.ERROR,
                "plugin failed",
                {**called, "error_type": failure, "duration_us": took},
                here=here,
                event="bext.plugin.failed",
            )
        else:
            emit(
                _SCOPE,
                SeverityNumber.DEBUG,
                "plugin called",
                {**called, "duration_us": took},
                here=here,
                event="bext.plugin.called",
            )
        if self.fuel is not None:
            emit(
                _SCOPE,
                SeverityNumber.TRACE,
                "plugin fuel consumed",
                {**called, "fuel": self.fuel},
                here=here,
                event="bext.plugin.fuel_consumed",
            )
