"""What is measured: every metric, label, unit and kind of work, declared once as data.

Views, Prometheus names, the JSON document, the metric reference and the label budgets are derived from these
rows. To add a metric, add a row here. Needs the standard library only.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from bext_otel.errors import CatalogueError

__all__ = [
    "LABELS",
    "LABEL_KEYS",
    "METRICS",
    "OVERFLOW",
    "QUANTILES",
    "UNKNOWN",
    "WORKS",
    "Kind",
    "Label",
    "Merge",
    "Metric",
    "Type",
    "Work",
    "by_name",
]

Kind = Literal["counter", "up_down_counter", "gauge", "summary", "histogram"]
"""`up_down_counter` is a sum that may fall: a gauge on `/metrics`, a sum in OTLP. `summary` is quantiles of
the recent window on `/metrics`, and an exponential histogram in OTLP."""

Merge = Literal["sum", "max", "min"]
"""What the workers of a service are together, of a gauge that each of them holds for itself."""

Type = Literal["counter", "gauge", "summary", "histogram"]
"""What a metric is in Prometheus."""

QUANTILES = (0.5, 0.9, 0.95, 0.99)
"""The quantiles that every summary shows."""

UNKNOWN = "unknown"
"""Value of a label whose source had no answer."""

OVERFLOW = "otel.metric.overflow"
"""Value that stands for every label value past the label's budget: the specification's word for what is
past a limit."""

TAKEN = frozenset({"by", "context"})
"""What else is named in a call that measures."""

# Unit (UCUM) -> what the exported name ends in. A unit in braces counts things and is not part of a name.
_SUFFIXES: Mapping[str, str] = {"ms": "ms", "us": "us", "s": "seconds", "By": "bytes", "1": "ratio"}


@dataclass(frozen=True, eq=False)
class Label:
    """A dimension of metrics.

    `values` is the closed set of what it may hold, or None where configuration, route templates or code
    decide; `budget` is how many distinct values a service may show before the rest folds into `OVERFLOW` (for
    a closed set it is the size of the set).
    """

    name: str
    description: str
    values: tuple[str, ...] | None = None
    budget: int = 100

    def __post_init__(self) -> None:
        if self.values is not None:
            object.__setattr__(self, "budget", len(self.values))


@dataclass(frozen=True, eq=False)
class Metric:
    """A row: one instrument and the stream it exports.

    `name` is the instrument's dotted name, `unit` its UCUM unit. `exported` is the name on `/metrics`, in
    JSON and in OTLP (the unit is part of it, so the exported stream has an empty unit). `recent` says that
    readers also want its increase over the rate window. The values of several workers are added up, but for
    a gauge whose `merge` says otherwise.
    """

    name: str
    kind: Kind
    unit: str
    description: str
    labels: tuple[Label, ...]
    exported: str = ""
    recent: bool = False
    bounds: tuple[float, ...] = ()
    merge: Merge = "sum"

    def __post_init__(self) -> None:
        if not self.exported:
            object.__setattr__(self, "exported", _exported(self.name, self.kind, self.unit))
        if (self.kind == "histogram") != bool(self.bounds):
            raise CatalogueError(f"{self.name}: bounds belong to a histogram, and to nothing else")
        for keyword in self.keywords:
            if keyword in TAKEN or self.keywords.count(keyword) > 1:
                raise CatalogueError(
                    f"{self.name}: the label {keyword!r} could not be named in a call; give it another name"
                )

    @cached_property
    def label_names(self) -> tuple[str, ...]:
        """Label names in their declared order."""
        return tuple(label.name for label in self.labels)

    @cached_property
    def keywords(self) -> tuple[str, ...]:
        """What names the labels in a call, in their declared order: their names, with underscores for
        dots."""
        return tuple(label.name.replace(".", "_") for label in self.labels)

    @property
    def streamed(self) -> str:
        """The stream's name in OTLP: the exported one for our own rows, the standard one for those of the
        semantic conventions."""
        return self.exported if self.name.startswith("bext.") else self.name

    @property
    def streamed_unit(self) -> str:
        """The stream's unit in OTLP: empty where it is in the name, so that no translation appends it
        again."""
        return "" if self.name.startswith("bext.") else self.unit

    @property
    def type_0_0_4(self) -> Type:
        """The `# TYPE` of Prometheus text 0.0.4."""
        return "gauge" if self.kind == "up_down_counter" else self.kind

    @property
    def type_openmetrics(self) -> str:
        """The `# TYPE` of OpenMetrics; a counter there must end in `_total`, so one that does not is
        `unknown`."""
        return (
            "unknown" if self.kind == "counter" and not self.exported.endswith("_total") else self.type_0_0_4
        )


@dataclass(frozen=True, eq=False)
class Work:
    """A kind of work that takes time: what `operation()` measures and traces.

    `name` is the span's default name; `labels` are given when it starts. `duration` is recorded at its end.
    `completed`, if any, counts every end; `failed`, if any, counts those that failed. A label of these three
    that the start did not name is given before the end: `status` and `error_type` have defaults. `slow_ms` is
    the threshold past which its end is worth a warning; None: never.
    """

    name: str
    description: str
    labels: tuple[Label, ...]
    duration: Metric
    completed: Metric | None = None
    failed: Metric | None = None
    slow_ms: float | None = None


def _exported(name: str, kind: Kind, unit: str) -> str:
    """The Prometheus name: dots become underscores, a real unit ends the name once, a counter ends in
    `_total`."""
    flat = name.replace(".", "_")
    suffix = _SUFFIXES.get(unit, "")
    if suffix and not flat.endswith(f"_{suffix}"):
        flat = f"{flat}_{suffix}"
    return f"{flat}_total" if kind == "counter" else flat


def _counter(
    name: str, unit: str, description: str, *labels: Label, exported: str = "", recent: bool = False
) -> Metric:
    return Metric(name, "counter", unit, description, labels, exported=exported, recent=recent)


def _gauge(name: str, unit: str, description: str, *labels: Label) -> Metric:
    return Metric(name, "gauge", unit, description, labels)


def _up_down_counter(name: str, unit: str, description: str, *labels: Label) -> Metric:
    return Metric(name, "up_down_counter", unit, description, labels)


def _summary(name: str, unit: str, description: str, *labels: Label) -> Metric:
    return Metric(name, "summary", unit, description, labels)


# --- Labels -------------------------------------------------------------------------------------------------


def _known_methods(given: str) -> tuple[str, ...]:
    """What the variable says instead of the standard methods, as written; `_OTHER` is for those that it
    leaves out."""
    named = dict.fromkeys(
        word
        for part in given.split(",")
        if (word := part.strip()) and word.isprintable() and word != "_OTHER"
    )
    return tuple(named) or (
        "GET",
        "HEAD",
        "POST",
        "PUT",
        "DELETE",
        "CONNECT",
        "OPTIONS",
        "TRACE",
        "PATCH",
        "QUERY",
    )


METHODS = _known_methods(os.environ.get("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", ""))
"""Methods known to the HTTP semantic conventions (RFC 9110, RFC 5789, and QUERY), or those that the
conventions' variable names instead; any other one is `_OTHER`."""

APP = Label("app", "Application that the work was done for, from `[apps]`.", budget=200)
METHOD = Label(
    "method", "HTTP request method; `_OTHER` for one that is not a standard method.", (*METHODS, "_OTHER")
)
STATUS = Label("status", "HTTP response status code.", tuple(str(code) for code in range(100, 600)))
ROUTE = Label("route", "Route template of the request; `unmatched` where no route did.", budget=1000)
DIRECTION = Label("direction", "Which body was measured.", ("request", "response"))
LAYER = Label("layer", "Cache layer.", ("isr", "fragment", "layout", "tenant", UNKNOWN))
CACHE_OPERATION = Label("operation", "What was asked of the cache.", ("lookup", "store", "invalidate"))
INVALIDATED_BY = Label("method", "What selected the entries that were invalidated.", ("tag", "path", "gc"))
ERROR_TYPE = Label("error_type", "Class of the failure.", budget=50)
ENCODING = Label("encoding", "Content coding.", ("gzip", "brotli", "zstd"))
PLUGIN = Label("plugin", "Name of the plugin.", budget=200)
HOOK = Label("hook", "Hook that was called.", budget=50)
DEPLOY_STATUS = Label("status", "How the deploy ended.", ("success", "failed", "rolled_back"))
FLOW_NAME = Label("flow_name", "Name of the flow.", budget=200)
STEP = Label("step", "Name of the step, or of the task.", budget=200)
RUN_STATUS = Label("status", "How it ended.", ("success", "failed", "retried"))
CHECK = Label("check", "Name of the health check.", budget=200)
BUDGETED_LABEL = Label("label", "Label whose budget was used up.", budget=50)
LOG_SINK = Label("sink", "Where log lines go.", ("stdout", "stderr", "file", "otlp"))
LOG_DROP_REASON = Label(
    "reason",
    "Why they do not get there: nobody takes them (`stuck`, `queue_full`), or will (`closed`, `missing`, "
    "`denied`), there is no room (`disk_full`), the backend was away or refused them (`undelivered`), or "
    "`error`.",
    ("stuck", "closed", "disk_full", "missing", "denied", "queue_full", "undelivered", "error"),
)

# --- Requests -----------------------------------------------------------------------------------------------

REQUESTS = _counter(
    "bext.requests", "{request}", "Requests answered.", APP, METHOD, STATUS, ROUTE, recent=True
)
REQUESTS_ACTIVE = _up_down_counter("bext.requests.active", "{request}", "Requests in progress.", APP)
REQUEST_DURATION = _summary(
    "bext.request.duration", "ms", "Time from a request's first byte to its answer's last.", APP, ROUTE
)
REQUEST_SIZE = _summary(
    "bext.request.size", "By", "Size of request and response bodies, as sent.", APP, DIRECTION
)

# Attribute names are those of the HTTP semantic conventions (stable since 1.23), so are the advised bounds.
_HTTP_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
HTTP_METHOD = Label(
    "http.request.method",
    "HTTP request method; `_OTHER` for one that is not a standard method.",
    (*METHODS, "_OTHER"),
)
HTTP_STATUS = Label("http.response.status_code", "HTTP response status code.", budget=500)
HTTP_ROUTE = Label("http.route", "Route template of the request.", budget=1000)
URL_SCHEME = Label("url.scheme", "Scheme of the request.", ("http", "https", "ws", "wss"))
PROTOCOL_VERSION = Label("network.protocol.version", "Version of HTTP.", ("1.0", "1.1", "2", "3"))
HTTP_ERROR_TYPE = Label(
    "error.type", "Status code of a 5xx answer, or the class of an unhandled exception.", budget=50
)
HTTP_SERVER_REQUEST_DURATION = Metric(
    "http.server.request.duration",
    "histogram",
    "s",
    "Duration of HTTP server requests.",
    (HTTP_METHOD, URL_SCHEME, HTTP_STATUS, HTTP_ROUTE, PROTOCOL_VERSION, HTTP_ERROR_TYPE),
    bounds=_HTTP_BOUNDS,
)
HTTP_SERVER_ACTIVE_REQUESTS = _up_down_counter(
    "http.server.active_requests", "{request}", "HTTP server requests in progress.", HTTP_METHOD, URL_SCHEME
)

# --- Cache --------------------------------------------------------------------------------------------------

CACHE_HITS = _counter("bext.cache.hits", "{hit}", "Lookups answered by a layer.", APP, LAYER)
CACHE_MISSES = _counter("bext.cache.misses", "{miss}", "Lookups that a layer could not answer.", APP, LAYER)
CACHE_ENTRIES = _gauge("bext.cache.entries", "{entry}", "Entries held by a layer.", APP, LAYER)
CACHE_BYTES = _gauge("bext.cache.bytes", "By", "Bytes held by a layer.", APP, LAYER)
CACHE_EVICTIONS = _counter("bext.cache.evictions", "{entry}", "Entries dropped to make room.", APP, LAYER)
CACHE_INVALIDATIONS = _counter(
    "bext.cache.invalidations", "{entry}", "Entries dropped on purpose.", APP, INVALIDATED_BY
)
CACHE_DURATION = _summary(
    "bext.cache.duration", "us", "Time that a cache operation took.", APP, LAYER, CACHE_OPERATION
)

# --- Isolates -----------------------------------------------------------------------------------------------

ISOLATE_COUNT = _gauge("bext.isolate.count", "{isolate}", "Render isolates that are up.", APP)
ISOLATE_MEMORY = _gauge("bext.isolate.memory", "By", "Heap held by render isolates.", APP)
ISOLATE_RENDER_DURATION = _summary("bext.isolate.render.duration", "ms", "Time that a render took.", APP)
ISOLATE_ERRORS = _counter("bext.isolate.errors", "{error}", "Renders that failed.", APP, ERROR_TYPE)

# --- Compression --------------------------------------------------------------------------------------------

COMPRESSION_RATIO = _summary(
    "bext.compression.ratio", "1", "Compressed size over original size of a body.", APP, ENCODING
)
COMPRESSION_DURATION = _summary(
    "bext.compression.duration", "us", "Time that the compression of a body took.", APP, ENCODING
)

# --- Plugins ------------------------------------------------------------------------------------------------

PLUGIN_DURATION = _summary("bext.plugin.duration", "us", "Time that a plugin's hook took.", PLUGIN, HOOK)
PLUGIN_ERRORS = _counter("bext.plugin.errors", "{error}", "Plugin hooks that failed.", PLUGIN, HOOK)
PLUGIN_FUEL_CONSUMED = _counter(
    "bext.plugin.fuel.consumed",
    "{fuel}",
    "Fuel that a plugin consumed.",
    PLUGIN,
    exported="bext_plugin_fuel_consumed",
)

# --- Deploys ------------------------------------------------------------------------------------------------

DEPLOYS = _counter("bext.deploys", "{deploy}", "Deploys that ended.", APP, DEPLOY_STATUS)
DEPLOY_DURATION = _summary("bext.deploy.duration", "ms", "Time that a deploy took.", APP)

# --- Flows --------------------------------------------------------------------------------------------------

FLOW_ACTIVE_RUNS = _up_down_counter("bext.flow.active_runs", "{run}", "Flow runs in progress.")
FLOW_COMPLETED = _counter("bext.flow.completed", "{run}", "Flow runs that completed.")
FLOW_FAILED = _counter("bext.flow.failed", "{run}", "Flow runs that failed.")
FLOW_RUNS = _counter(
    "bext.flow.runs",
    "{run}",
    "Flow runs that ended, by flow; with `[metrics] flow_names`.",
    FLOW_NAME,
    RUN_STATUS,
)
FLOW_STEPS = _counter(
    "bext.flow.steps",
    "{step}",
    "Steps and tasks that ended, by name; with `[metrics] flow_names`.",
    FLOW_NAME,
    STEP,
    RUN_STATUS,
)
FLOW_STEP_DURATION = _summary("bext.flow.step.duration", "ms", "Time that a step of a flow took.", FLOW_NAME)

# --- Health -------------------------------------------------------------------------------------------------

HEALTH_STATUS = Metric(
    "bext.health.status",
    "gauge",
    "{status}",
    "What a health check says: 1 healthy, 0.5 degraded, 0 unhealthy; the worst of all workers.",
    (CHECK,),
    merge="min",
)
HEALTH_CHECK_DURATION = _summary("bext.health.check.duration", "ms", "Time that a health check took.", CHECK)

# --- Telemetry about telemetry ------------------------------------------------------------------------------

LABEL_OVERFLOW = _counter(
    "bext.otel.label.overflow",
    "{value}",
    "Label values folded past the budget of their label.",
    BUDGETED_LABEL,
)

LOG_LINES_DROPPED = _counter(
    "bext.otel.log.lines.dropped",
    "{line}",
    "Log lines and records that a sink could not take.",
    LOG_SINK,
    LOG_DROP_REASON,
)

# Names, units, attributes and the set of instruments are those of the semantic conventions for SDKs
# (`otel.sdk.*`, in development).
COMPONENT_TYPE = Label("otel.component.type", "Kind of processor, exporter or reader.", budget=20)
COMPONENT_NAME = Label("otel.component.name", "Which of that kind.", budget=50)
SERVER_ADDRESS = Label("server.address", "Host that is exported to.", budget=20)
SERVER_PORT = Label("server.port", "Port that is exported to.", budget=20)
FAILURE = Label("error.type", "Why it failed; without it, it did not.", budget=50)
PARENT_ORIGIN = Label("otel.span.parent.origin", "Where the span's parent is.", ("none", "local", "remote"))
SAMPLING_RESULT = Label(
    "otel.span.sampling_result", "What the sampler decided.", ("DROP", "RECORD_ONLY", "RECORD_AND_SAMPLE")
)
_PROCESSOR = (COMPONENT_TYPE, COMPONENT_NAME)
_EXPORTER = (COMPONENT_TYPE, COMPONENT_NAME, SERVER_ADDRESS, SERVER_PORT)

OTEL_SDK_SPAN_STARTED = _counter(
    "otel.sdk.span.started", "{span}", "Spans started.", PARENT_ORIGIN, SAMPLING_RESULT
)
OTEL_SDK_SPAN_LIVE = _up_down_counter(
    "otel.sdk.span.live", "{span}", "Recorded spans that have not ended.", SAMPLING_RESULT
)
OTEL_SDK_LOG_CREATED = _counter("otel.sdk.log.created", "{log_record}", "Log records made.")


def _queue(kind: str, unit: str, items: str) -> tuple[Metric, Metric, Metric]:
    name = f"otel.sdk.processor.{kind}"
    return (
        _up_down_counter(f"{name}.queue.size", unit, f"{items} that wait for export.", *_PROCESSOR),
        _up_down_counter(f"{name}.queue.capacity", unit, f"{items} that may wait for export.", *_PROCESSOR),
        _counter(
            f"{name}.processed", unit, f"{items} handed to the exporter, or dropped.", *_PROCESSOR, FAILURE
        ),
    )


def _outlet(kind: str, unit: str, items: str) -> tuple[Metric, Metric]:
    name = f"otel.sdk.exporter.{kind}"
    return (
        _up_down_counter(f"{name}.inflight", unit, f"{items} on their way to the backend.", *_EXPORTER),
        _counter(
            f"{name}.exported", unit, f"{items} whose export has ended, well or not.", *_EXPORTER, FAILURE
        ),
    )


(
    OTEL_SDK_PROCESSOR_SPAN_QUEUE_SIZE,
    OTEL_SDK_PROCESSOR_SPAN_QUEUE_CAPACITY,
    OTEL_SDK_PROCESSOR_SPAN_PROCESSED,
) = _queue("span", "{span}", "Spans")
(
    OTEL_SDK_PROCESSOR_LOG_QUEUE_SIZE,
    OTEL_SDK_PROCESSOR_LOG_QUEUE_CAPACITY,
    OTEL_SDK_PROCESSOR_LOG_PROCESSED,
) = _queue("log", "{log_record}", "Log records")
OTEL_SDK_EXPORTER_SPAN_INFLIGHT, OTEL_SDK_EXPORTER_SPAN_EXPORTED = _outlet("span", "{span}", "Spans")
OTEL_SDK_EXPORTER_LOG_INFLIGHT, OTEL_SDK_EXPORTER_LOG_EXPORTED = _outlet("log", "{log_record}", "Log records")
OTEL_SDK_EXPORTER_METRIC_DATA_POINT_INFLIGHT, OTEL_SDK_EXPORTER_METRIC_DATA_POINT_EXPORTED = _outlet(
    "metric_data_point", "{data_point}", "Data points of metrics"
)
OTEL_SDK_EXPORTER_OPERATION_DURATION = Metric(
    "otel.sdk.exporter.operation.duration",
    "histogram",
    "s",
    "Time that an export took, with its retries.",
    (*_EXPORTER, HTTP_STATUS, FAILURE),
    bounds=_HTTP_BOUNDS,
)
OTEL_SDK_METRIC_READER_COLLECTION_DURATION = Metric(
    "otel.sdk.metric_reader.collection.duration",
    "histogram",
    "s",
    "Time that reading all metrics for an export took.",
    (*_PROCESSOR, FAILURE),
    bounds=_HTTP_BOUNDS,
)

METRICS: tuple[Metric, ...] = tuple(row for row in globals().values() if isinstance(row, Metric))
"""Every row, in declared order."""

LABELS: tuple[Label, ...] = tuple({label: None for row in METRICS for label in row.labels})
"""Every label of every row, once."""

LABEL_KEYS: dict[Label, str] = {
    label: f"{row.exported}.{label.name}" for row in reversed(METRICS) for label in row.labels
}
"""What tells labels apart, two of one name too: the first metric that has it, and its name. Those of the
application's own rows come in as they are declared."""

# --- Kinds of work ------------------------------------------------------------------------------------------

CACHE = Work("bext.cache", "An operation on a cache layer.", (APP, LAYER, CACHE_OPERATION), CACHE_DURATION)
RENDER = Work(
    "bext.render",
    "A page rendered in an isolate.",
    (APP,),
    ISOLATE_RENDER_DURATION,
    failed=ISOLATE_ERRORS,
    slow_ms=100.0,
)
COMPRESSION = Work("bext.compression", "A body compressed.", (APP, ENCODING), COMPRESSION_DURATION)
PLUGIN_HOOK = Work(
    "bext.plugin.hook", "A plugin's hook called.", (PLUGIN, HOOK), PLUGIN_DURATION, failed=PLUGIN_ERRORS
)
DEPLOY = Work(
    "bext.deploy", "A version of an application deployed.", (APP,), DEPLOY_DURATION, completed=DEPLOYS
)
FLOW_STEP = Work("bext.flow.step", "A step of a durable flow.", (FLOW_NAME,), FLOW_STEP_DURATION)

WORKS: tuple[Work, ...] = tuple(row for row in globals().values() if isinstance(row, Work))
"""Every kind of work, in declared order."""


def by_name(rows: Iterable[Metric] = METRICS) -> dict[str, Metric]:
    """Rows by instrument name."""
    return {row.name: row for row in rows}
