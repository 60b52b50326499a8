"""Who an instrument is: its meter, and its kind, name, unit and description there."""

from __future__ import annotations

import logging
import re
from functools import cache
from typing import Any

import msgspec
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from bext_otel._compat import SDK_INSTRUMENTS, InstrumentKind
from bext_otel.catalogue import Metric
from bext_otel.once import Once

__all__ = ["Identity", "identified", "tell"]

_log = logging.getLogger("bext_otel")

# OpenTelemetry specification, metrics API, "Instrument name syntax" and "Instrument unit".
_NAME = re.compile(r"[a-zA-Z][-_./a-zA-Z0-9]{0,254}")
_UNIT = re.compile(r"[\x00-\x7F]{0,63}")

_once = Once(1000)


class Identity(msgspec.Struct, frozen=True):
    """An instrument, spelled as its first maker spells it. `bounds` are advice and tell nobody apart. `row`
    is that of the catalogue which a view changes."""

    scope: InstrumentationScope
    kind: InstrumentKind
    name: str
    unit: str
    description: str
    bounds: tuple[float, ...] | None = None
    row: Metric | None = None

    @property
    def key(self) -> tuple[str, str, str, str]:
        """The same for all that are one instrument of a meter."""
        return self.kind, self.name.lower(), self.unit, self.description

    def probe(self) -> Any:
        """What a view of the SDK's can look at: an instrument of the SDK's that measures nothing."""
        probe: Any = object.__new__(_probe_of(self.kind))
        probe.name, probe.unit, probe.description = self.name.lower(), self.unit, self.description
        probe.instrumentation_scope = self.scope
        return probe


@cache
def _probe_of(kind: InstrumentKind) -> type:
    made = SDK_INSTRUMENTS[kind]
    return type(made.__name__, (made,), {})


def identified(
    scope: InstrumentationScope,
    kind: InstrumentKind,
    name: Any,
    unit: Any,
    description: Any,
    bounds: tuple[float, ...] | None = None,
    row: Metric | None = None,
) -> Identity:
    """The identity of what an application asks for; what is not as the specification has it is told, and
    works."""
    shown, said = str(name or ""), "" if unit is None else str(unit)
    if not _NAME.fullmatch(shown):
        tell(
            shown,
            "is no name of the specification's (ASCII letters, digits, _ . - /, a letter first, "
            "255 characters at most): backends may not take it",
        )
    if not _UNIT.fullmatch(said):
        tell(
            shown,
            f"has a unit that is no ASCII text of 63 characters at most: {said[:64]!r}; it has none now",
        )
        said = ""
    return Identity(scope, kind, shown, said, "" if description is None else str(description), bounds, row)


def tell(name: str, what: str) -> None:
    """One line about an instrument."""
    if _once.is_first((name, what)):
        _log.warning("metric %s %s", name or "without a name", what)
