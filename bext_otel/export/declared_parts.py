"""Parts of the SDK's interfaces that a declarative configuration describes: ours where we have one,
upstream's by its own factories, and what packages offer by entry points, with their properties."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler

from bext_otel._compat import declared_part, instrument_classes
from bext_otel.api_environment import found
from bext_otel.config.upstream import ID_GENERATORS, SAMPLERS
from bext_otel.export.declared_keys import Keys
from bext_otel.metrics.views import StreamView, limited
from bext_otel.traces.ratio import ConsistentRatio

__all__ = ["configurator", "id_generator", "metric_reader", "plugin", "processor", "sampler", "view"]

# What upstream's exporters and processors are not told.
_NOT_TAKEN = ("tls", "encoding", "export_timeout", "producers", "max_export_batch_size_development")
_PARENTS = (
    "root",
    "remote_parent_sampled",
    "remote_parent_not_sampled",
    "local_parent_sampled",
    "local_parent_not_sampled",
)


@dataclass(frozen=True)
class ScopeConfig:
    """What a configurator says of a scope."""

    is_enabled: bool = True
    minimum_severity: int = 0
    trace_based: bool = False


def plugin(group: str, name: str, properties: Mapping[str, Any]) -> Any:
    """What another package offers by an entry point, made with its properties. Raises where it cannot be."""
    point = found(group, name)
    if point is None:
        raise LookupError(f"nothing of the name {name!r} is installed ({group})")
    return point.load()(**properties)


def sampler(keys: Keys) -> Sampler:
    """Raises where there is none."""
    for name, make in _SAMPLERS.items():
        if (part := keys.part(name)) is not None:
            return make(part)
    if keys.part("composite_development") is not None:
        made: Sampler = declared_part("sampler", keys.whole())
        return made
    if (other := keys.other()) is not None:
        theirs: Sampler = plugin(SAMPLERS, *other)
        return theirs
    raise ValueError("there is no sampler in it")


def _ratio(keys: Keys) -> Sampler:
    share = keys.value("ratio")
    return ConsistentRatio(1.0 if share is None else float(share))


def _parent_based(keys: Keys) -> Sampler:
    made = {name: sampler(part) for name in _PARENTS if (part := keys.part(name)) is not None}
    return ParentBased(**{"root": ALWAYS_ON, **made})


def _remote(keys: Keys) -> Sampler:
    from bext_otel.export.remote_sampler import RemoteSampler

    initial, rate = keys.part("initial_sampler"), 1.0
    if initial is not None and initial.part("always_off") is not None:
        rate = 0.0
    elif initial is not None and (share := initial.part("trace_id_ratio_based")) is not None:
        rate = float(share.value("ratio") or 0.0)
    elif initial is not None:
        initial.part("always_on")
    return RemoteSampler(keys.value("endpoint"), (keys.value("interval") or 60_000) / 1e3, rate)


_SAMPLERS: Mapping[str, Callable[[Keys], Sampler]] = {
    "always_on": lambda _: ALWAYS_ON,
    "always_off": lambda _: ALWAYS_OFF,
    "trace_id_ratio_based": _ratio,
    "probability_development": _ratio,
    "parent_based": _parent_based,
    "jaeger_remote_development": _remote,
}


def id_generator(keys: Keys) -> Any:
    """None for the default's, which is random."""
    if (other := keys.other()) is not None:
        return plugin(ID_GENERATORS, *other)
    keys.part("random")
    return None


def processor(keys: Keys, kind: str) -> Any:
    """A processor of spans (`span_processor`) or of records (`log_record_processor`), as upstream makes it.
    Raises where it does not."""
    return declared_part(kind, keys.whole(*_NOT_TAKEN))


def metric_reader(keys: Keys) -> Any:
    """A reader, as upstream makes it. Raises where it does not."""
    (kind,) = [part for name in ("periodic", "pull") if (part := keys.part(name)) is not None] or [keys]
    limits = kind.part("cardinality_limits")
    reader = declared_part("metric_reader", keys.whole(*_NOT_TAKEN))
    return reader if limits is None else limited(reader, _limits(limits))


def _limits(keys: Keys) -> dict[type, int]:
    default = keys.value("default")
    found = {kind: keys.value(name) or default for name, kind in instrument_classes().items()}
    return {kind: limit for kind, limit in found.items() if limit is not None}


def view(keys: Keys) -> StreamView:
    """Raises where its aggregation is none."""
    select, stream = keys.part("selector"), keys.part("stream")
    assert select is not None  # the schema wants both
    assert stream is not None
    kept = stream.part("attribute_keys")
    included = None if kept is None else kept.value("included")
    aggregation = stream.part("aggregation")
    kind = select.value("instrument_type")
    return StreamView(
        instrument_type=None if kind is None else instrument_classes()[kind],
        instrument_name=select.value("instrument_name"),
        instrument_unit=select.value("unit"),
        meter_name=select.value("meter_name"),
        meter_version=select.value("meter_version"),
        meter_schema_url=select.value("meter_schema_url"),
        name=stream.value("name"),
        description=stream.value("description"),
        attribute_keys=None if included is None else set(included),
        excluded_attribute_keys=(kept.value("excluded") or ()) if kept is not None else (),
        aggregation=None if aggregation is None else declared_part("aggregation", aggregation.whole()),
        aggregation_cardinality_limit=stream.value("aggregation_cardinality_limit"),
    )


def configurator(keys: Keys, name: str) -> Callable[[Any], ScopeConfig]:
    """What says for a scope whether it counts, by patterns of its name under the key `name`; the first that
    matches holds."""
    rules = []
    for rule in keys.parts(name):
        pattern = rule.value("name")
        rules.append((pattern, _scope_config(rule.part("config"))))
    default = _scope_config(keys.part("default_config"))

    def configure(scope: Any) -> ScopeConfig:
        return next((config for pattern, config in rules if fnmatchcase(scope.name, pattern)), default)

    return configure


def _scope_config(keys: Keys | None) -> ScopeConfig:
    if keys is None:
        return ScopeConfig()
    severity, enabled = None, keys.value("enabled")
    if hasattr(keys.model, "minimum_severity"):  # a logger's
        severity = keys.value("minimum_severity")
        trace_based = bool(keys.value("trace_based"))
    else:
        trace_based = False
    minimum = 0 if severity is None else SeverityNumber[severity.upper()].value
    return ScopeConfig(enabled is not False, minimum, trace_based)
