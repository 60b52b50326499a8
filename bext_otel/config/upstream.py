"""Standard variables that upstream reads by itself: what it would not take is taken out of the environment
before it looks.

Upstream raises for some of these when its SDK is imported or when the first span ends, which would cost all
telemetry or hurt the application, and passes over others in silence. OpenTelemetry specification,
"Environment Variable Specification", says what each takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import TypeAlias

from bext_otel.api_environment import found
from bext_otel.config.report import Given, SettingsReport
from bext_otel.config.variables import not_honoured

__all__ = [
    "ID_GENERATOR",
    "ID_GENERATORS",
    "OWN_SAMPLERS",
    "SAMPLER",
    "SAMPLERS",
    "SDK_SAMPLERS",
    "correct_upstream_variables",
]

SAMPLER = "OTEL_TRACES_SAMPLER"
SAMPLERS = "opentelemetry_traces_sampler"
SDK_SAMPLERS = ("always_on", "always_off", "parentbased_always_on", "parentbased_always_off")
"""Samplers that the SDK makes by itself."""

OWN_SAMPLERS = ("traceidratio", "parentbased_traceidratio", "jaeger_remote", "parentbased_jaeger_remote")
"""Samplers that we make; others are offered by packages."""

ID_GENERATOR = "OTEL_PYTHON_ID_GENERATOR"
ID_GENERATORS = "opentelemetry_id_generator"

Check: TypeAlias = "tuple[str, Callable[[str], bool]]"

_INSTEAD = "treated as not set"


def _whole(least: int) -> Callable[[str], bool]:
    return lambda text: text.isascii() and text.isdecimal() and len(text) < 19 and int(text) >= least


def _number(text: str, low: float, high: float) -> bool:
    try:
        return low <= float(text) <= high
    except ValueError:
        return False


def _one_of(*known: str) -> Check:
    return f"one of {', '.join(known)}", lambda text: text.lower() in known


def _offered(group: str, *known: str) -> Check:
    """One of these, or what another package offers by its exact name."""
    return (
        f"one of {', '.join(known)}, or what a package offers",
        lambda text: text.lower() in known or found(group, text) is not None,
    )


# Upstream takes an empty limit for none.
_LIMIT: Check = ("a whole number, 0 or more", lambda text: not text or _whole(0)(text))
_POSITIVE: Check = ("a whole number, 1 or more", _whole(1))
_MILLISECONDS: Check = ("a positive whole number of milliseconds, e.g. 5000", _whole(1))
_SECONDS: Check = ("a positive number of seconds, e.g. 10", lambda text: _number(text, 1e-3, 86_400))
_SHARE: Check = ("a number from 0 to 1, e.g. 0.1", lambda text: _number(text, 0, 1))
_SIGNALS = ("", "TRACES_", "METRICS_", "LOGS_")
# In any case, by the specification; upstream takes some of them in lower case only.
_WORDS: Mapping[str, tuple[str, ...]] = {
    **{f"OTEL_EXPORTER_OTLP_{signal}COMPRESSION": ("gzip", "deflate", "none") for signal in _SIGNALS},
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": ("cumulative", "delta", "lowmemory"),
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": (
        "explicit_bucket_histogram",
        "base2_exponential_bucket_histogram",
    ),
    "OTEL_METRICS_EXEMPLAR_FILTER": ("always_on", "always_off", "trace_based"),
}

CHECKS: Mapping[str, Check] = {
    **dict.fromkeys(
        (
            "OTEL_ATTRIBUTE_COUNT_LIMIT",
            "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
            "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
            "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
            "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT",
            "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT",
            "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
            "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
            "OTEL_SPAN_EVENT_COUNT_LIMIT",
            "OTEL_SPAN_LINK_COUNT_LIMIT",
        ),
        _LIMIT,
    ),
    **{
        f"OTEL_{kind}_{name}": _POSITIVE
        for kind in ("BSP", "BLRP")
        for name in ("MAX_QUEUE_SIZE", "MAX_EXPORT_BATCH_SIZE")
    },
    **{
        f"OTEL_{kind}_{name}": _MILLISECONDS
        for kind in ("BSP", "BLRP")
        for name in ("SCHEDULE_DELAY", "EXPORT_TIMEOUT")
    },
    **{f"OTEL_EXPORTER_OTLP_{signal}TIMEOUT": _SECONDS for signal in _SIGNALS},
    **{name: _one_of(*words) for name, words in _WORDS.items()},
    SAMPLER: _offered(SAMPLERS, *SDK_SAMPLERS, *OWN_SAMPLERS),
    ID_GENERATOR: _offered(ID_GENERATORS, "random"),
    "OTEL_METRIC_EXPORT_TIMEOUT": _MILLISECONDS,
}

_RATIO_SAMPLERS = frozenset({"traceidratio", "parentbased_traceidratio"})
# Upstream's defaults; a smaller queue or a larger batch contradicts the other one's.
_QUEUE_SIZE = 2048
_BATCH_SIZE = 512


def correct_upstream_variables(environ: MutableMapping[str, str]) -> tuple[str, ...]:
    """Take out what upstream would not take, so that its defaults hold; one line for each."""
    report = SettingsReport()
    for name, (expected, holds) in CHECKS.items():
        _check(environ, name, expected, holds, report)
    for name in _WORDS:
        if name in environ:
            environ[name] = environ[name].strip().lower()
    if environ.get("OTEL_TRACES_SAMPLER", "").strip().lower() in _RATIO_SAMPLERS:
        _check(environ, "OTEL_TRACES_SAMPLER_ARG", *_SHARE, report)
        environ.setdefault("OTEL_TRACES_SAMPLER_ARG", "1.0")  # upstream's default, which it would tell about
    for kind in ("BSP", "BLRP"):
        _fit_batch_into_queue(environ, kind, report)
    for signal in _SIGNALS:
        _keep_pairs(environ, f"OTEL_EXPORTER_OTLP_{signal}HEADERS", report)
    _keep_pairs(environ, "OTEL_RESOURCE_ATTRIBUTES", report)
    # We always tell how telemetry fares; with this, the SDK would tell the same once more.
    environ.pop("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", None)
    for line in not_honoured(environ):
        report.say(line)
    return report.lines(lambda _: None)


def _check(
    environ: MutableMapping[str, str],
    name: str,
    expected: str,
    holds: Callable[[str], bool],
    report: SettingsReport,
) -> None:
    raw = environ.get(name)
    if raw is None or holds(raw.strip()):
        return
    del environ[name]  # an empty one counts as not set, but upstream does not take it
    if raw.strip():
        report.wrong(Given((), raw, name, text=True), expected, instead=_INSTEAD)


def _fit_batch_into_queue(environ: MutableMapping[str, str], kind: str, report: SettingsReport) -> None:
    queue, batch = f"OTEL_{kind}_MAX_QUEUE_SIZE", f"OTEL_{kind}_MAX_EXPORT_BATCH_SIZE"
    room = int(environ.get(queue, _QUEUE_SIZE))
    if int(environ.get(batch, _BATCH_SIZE)) <= room:
        return
    if batch in environ:
        report.wrong(
            Given((), environ[batch], batch, text=True),
            f"at most {queue}, which is {room}",
            instead=f"using {room}",
        )
    environ[batch] = str(room)


def _keep_pairs(environ: MutableMapping[str, str], name: str, report: SettingsReport) -> None:
    """Keep the entries of a list that are name=value. Others are not shown: a header may be a secret."""
    entries = environ.get(name, "").split(",")
    wrong = list(_wrong_places(entries))
    if not wrong:
        return
    environ[name] = ",".join(entry for place, entry in enumerate(entries, 1) if place not in wrong)
    if not environ[name]:
        del environ[name]
    places = ", ".join(map(str, wrong[:10]))
    report.say(f"{name}: expected name=value,name=value; left out, by place: {places}")


def _wrong_places(entries: list[str]) -> Iterator[int]:
    for place, entry in enumerate(entries, 1):
        key, equals, _ = entry.partition("=")
        if entry.strip() and not (key.strip() and equals):
            yield place
