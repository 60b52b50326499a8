"""Propagators that OpenTelemetry names and packages of their own hold (entry points
`opentelemetry_propagator`).

Upstream's API ends the program at its import where `OTEL_PROPAGATORS` names one whose package is not
installed, before anybody is asked. These are found instead. Each is the package's own propagator where there
is one, and else reads and writes nothing.
"""

from __future__ import annotations

from opentelemetry.context import Context
from opentelemetry.propagators.textmap import (
    CarrierT,
    Getter,
    Setter,
    TextMapPropagator,
    default_getter,
    default_setter,
)

from bext_otel.api_environment import PROPAGATORS, found, without

__all__ = ["StandIn", "b3", "b3multi", "jaeger", "ottrace", "xray"]


class StandIn(TextMapPropagator):
    """In the place of a propagator that is not installed. Where bext-otel is set up, it is taken out, with a
    line that says so."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def line(self) -> str:
        """What there is to say of it."""
        return without(PROPAGATORS, self.name, "the others")

    def extract(
        self, carrier: CarrierT, context: Context | None = None, getter: Getter[CarrierT] = default_getter
    ) -> Context:
        """Finds nothing."""
        return Context() if context is None else context

    def inject(
        self, carrier: CarrierT, context: Context | None = None, setter: Setter[CarrierT] = default_setter
    ) -> None:
        """Writes nothing."""

    @property
    def fields(self) -> set[str]:
        """None."""
        return set()


def _propagator(name: str) -> TextMapPropagator:
    try:
        if (point := found("opentelemetry_propagator", name)) is not None:
            made: TextMapPropagator = point.load()()
            return made
    except Exception:  # noqa: S110  # nosec B110  # it is no better than one that is not installed, and upstream would end the program
        pass
    return StandIn(name)


def b3() -> TextMapPropagator:
    """B3, in one header."""
    return _propagator("b3")


def b3multi() -> TextMapPropagator:
    """B3, in several headers."""
    return _propagator("b3multi")


def jaeger() -> TextMapPropagator:
    """Jaeger's."""
    return _propagator("jaeger")


def ottrace() -> TextMapPropagator:
    """OpenTracing's."""
    return _propagator("ottrace")


def xray() -> TextMapPropagator:
    """AWS X-Ray's."""
    return _propagator("xray")
