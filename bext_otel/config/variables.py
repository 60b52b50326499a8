"""Every variable that upstream documents, and what becomes of it here. `docs/environment.md` and the lines
about variables that are not honoured are derived from these rows; a test compares them with what upstream's
packages read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["VARIABLES", "Treatment", "Variable", "not_honoured"]

Treatment = Literal["bext-otel", "SDK", "exporter", "launcher", "instrumentor", "not honoured"]
"""Who honours a variable; `instrumentor` is upstream's of the library in question, also under bext-otel. `not
honoured` is one line."""


@dataclass(frozen=True)
class Variable:
    """A variable, or several that differ in a word: `{SIGNAL}` stands for TRACES, METRICS and LOGS,
    `{LIBRARY}` for any.

    `meaning` is what it does, or why it does nothing. `tested` names the test that shows it. `silent` are
    values that nobody needs to hear of, as what they ask for is so anyway.
    """

    name: str
    by: Treatment
    meaning: str
    tested: str = ""
    silent: frozenset[str] = frozenset()

    def names(self) -> list[str]:
        """All that the row stands for; `{LIBRARY}` stays."""
        return (
            [self.name.replace("{SIGNAL}", signal) for signal in SIGNALS]
            if "{SIGNAL}" in self.name
            else [self.name]
        )


SIGNALS = ("TRACES", "METRICS", "LOGS")

_CONFIG = "tests/config/test_loading.py"
_EXPORTERS = "tests/config/test_exporters.py"
_UPSTREAM = "tests/config/test_upstream.py"
_VARIABLES = "tests/config/test_variables.py"
_CHOSEN = "tests/export/test_entry_points.py"
_CHOICES = "tests/instrumentors/http/test_environment.py"
_OUTGOING = "tests/test_distro.py"
_CHECKED = f"{_UPSTREAM}::test_upstream_takes_whatever_is_left"
_USED = f"{_CHOSEN}::test_what_a_package_offers_is_used"
_READ = f"{_VARIABLES}::test_the_exporters_read_their_variables_by_themselves"
_TOLD = f"{_VARIABLES}::test_what_is_not_honoured_is_one_line"
_LIMITED = f"{_VARIABLES}::test_the_limits_of_spans_hold"

_FALSE = frozenset({"false"})
_TRUE = frozenset({"true"})


def _limits() -> Iterator[Variable]:
    for name, what in {
        "ATTRIBUTE_COUNT_LIMIT": (
            "attributes of a span, an event, a link or a log record, where no other limit is set"
        ),
        "SPAN_ATTRIBUTE_COUNT_LIMIT": "attributes of a span",
        "SPAN_EVENT_COUNT_LIMIT": "events of a span",
        "SPAN_LINK_COUNT_LIMIT": "links of a span",
        "EVENT_ATTRIBUTE_COUNT_LIMIT": "attributes of an event",
        "LINK_ATTRIBUTE_COUNT_LIMIT": "attributes of a link",
        "LOGRECORD_ATTRIBUTE_COUNT_LIMIT": "attributes of a log record",
    }.items():
        yield Variable(
            f"OTEL_{name}", "SDK", f"most {what}", _CHECKED if name.startswith("LOGRECORD") else _LIMITED
        )
    for name, what in {
        "ATTRIBUTE": "an attribute",
        "SPAN_ATTRIBUTE": "a span's attribute",
        "LOGRECORD_ATTRIBUTE": "a log record's",
    }.items():
        yield Variable(
            f"OTEL_{name}_VALUE_LENGTH_LIMIT", "SDK", f"characters of {what} that are kept", _CHECKED
        )


def _batches() -> Iterator[Variable]:
    for kind, what in {"BSP": "spans", "BLRP": "log records"}.items():
        yield Variable(
            f"OTEL_{kind}_SCHEDULE_DELAY", "SDK", f"milliseconds between two exports of {what}", _CHECKED
        )
        yield Variable(
            f"OTEL_{kind}_MAX_QUEUE_SIZE",
            "SDK",
            f"{what} that wait at most; what finds no room is counted",
            _CHECKED,
        )
        batch = f"{_UPSTREAM}::test_a_batch_fits_into_its_queue"
        yield Variable(
            f"OTEL_{kind}_MAX_EXPORT_BATCH_SIZE",
            "SDK",
            f"most {what} in one export, not more than the queue holds",
            batch,
        )
        why = "upstream reads it and does nothing with it; OTEL_EXPORTER_OTLP_TIMEOUT bounds an export"
        yield Variable(f"OTEL_{kind}_EXPORT_TIMEOUT", "not honoured", why, _TOLD)


def _otlp() -> Iterator[Variable]:
    for signal in ("", "{SIGNAL}_"):
        of = " of one signal" if signal else ""
        start = f"OTEL_EXPORTER_OTLP_{signal}"
        own = (
            "test_an_endpoint_of_one_signal_is_used_as_it_is"
            if signal
            else "test_one_endpoint_gets_every_signal"
        )
        yield Variable(
            f"{start}ENDPOINT",
            "bext-otel",
            f"where telemetry{of} goes; nothing is exported without",
            f"{_EXPORTERS}::{own}",
        )
        protocol = "test_a_signal_may_have_a_protocol_of_its_own" if signal else "test_json_is_not_spoken"
        yield Variable(
            f"{start}PROTOCOL",
            "bext-otel",
            f"`http/protobuf` or `grpc`, for export{of}",
            f"{_EXPORTERS}::{protocol}",
        )
        yield Variable(
            f"{start}HEADERS", "exporter", f"headers of the export{of}: `name=value,name=value`", _READ
        )
        yield Variable(
            f"{start}TIMEOUT",
            "exporter",
            f"seconds that an export{of} may take, with all that is tried again",
            _READ,
        )
        yield Variable(
            f"{start}COMPRESSION", "exporter", f"`gzip`, `deflate` or `none`, for export{of}", _READ
        )
        yield Variable(
            f"{start}CERTIFICATE",
            "exporter",
            f"file with the certificates that are trusted, for export{of}",
            _READ,
        )
        yield Variable(f"{start}CLIENT_KEY", "exporter", f"file with the client's key, for export{of}", _READ)
        yield Variable(
            f"{start}CLIENT_CERTIFICATE",
            "exporter",
            f"file with the client's certificate, for export{of}",
            _READ,
        )
        yield Variable(
            f"{start}INSECURE",
            "exporter",
            f"gRPC without TLS where the endpoint has no scheme, for export{of}",
            _READ,
        )
        for transport in ("HTTP", "GRPC"):
            name = f"OTEL_PYTHON_EXPORTER_OTLP_{transport}_{signal}CREDENTIAL_PROVIDER"
            yield Variable(
                name,
                "exporter",
                f"entry point that makes the credentials of the export{of} over {transport}",
                _READ,
            )
    codes = "status codes upon which an export over gRPC is tried again"
    yield Variable("OTEL_PYTHON_EXPORTER_OTLP_GRPC_RETRYABLE_ERROR_CODES", "exporter", codes, _READ)
    preference = "tests/export/test_delta.py"
    yield Variable(
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        "exporter",
        "`cumulative`, `delta` or `lowmemory`",
        preference,
    )
    yield Variable(
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
        "bext-otel",
        "our durations, sizes and ratios are exponential anyway; other histograms keep their bounds, and a "
        "line says so",
        f"{_VARIABLES}::test_exponential_histograms_are_told",
    )


def _contrib() -> Iterator[Variable]:
    start = "OTEL_INSTRUMENTATION_HTTP_"
    yield Variable(
        f"{start}KNOWN_METHODS",
        "bext-otel",
        "methods of requests that are told by their name, with commas between, instead of the standard "
        "ones; others are `_OTHER`",
        "tests/instrumentors/http/test_wsgi.py::test_the_known_methods_are_those_that_the_variable_names_instead",
    )
    for which, what in {"SERVER_REQUEST": "of requests", "SERVER_RESPONSE": "of answers"}.items():
        yield Variable(
            f"{start}CAPTURE_HEADERS_{which}", "bext-otel", f"headers {what} that a span shows", _CHOICES
        )
    for which, what in {
        "CLIENT_REQUEST": "of outgoing requests",
        "CLIENT_RESPONSE": "of answers to them",
    }.items():
        yield Variable(f"{start}CAPTURE_HEADERS_{which}", "instrumentor", f"headers {what} that a span shows")
    yield Variable(
        f"{start}CAPTURE_HEADERS_SANITIZE_FIELDS", "bext-otel", "headers whose values are not shown", _CHOICES
    )
    yield Variable(
        "OTEL_PYTHON_INSTRUMENTATION_HTTP_CAPTURE_ALL_METHODS",
        "not honoured",
        f"for outgoing requests it is; methods of requests that come in are those of {start}KNOWN_METHODS",
        _TOLD,
        _FALSE,
    )
    yield Variable("OTEL_PYTHON_EXCLUDED_URLS", "bext-otel", "requests that leave nothing", _CHOICES)
    yield Variable(
        "OTEL_PYTHON_{LIBRARY}_EXCLUDED_URLS",
        "bext-otel",
        "the same of one framework; of outgoing calls, upstream's",
        _CHOICES,
    )
    yield Variable(
        "OTEL_SEMCONV_STABILITY_OPT_IN",
        "instrumentor",
        "conventions of outgoing calls; `http,database` if not set",
        _OUTGOING,
    )
    yield Variable(
        "OTEL_PYTHON_LOG_CORRELATION",
        "bext-otel",
        "the trace's ids on log records, for an application's own formats",
    )
    yield Variable("OTEL_PYTHON_LOG_FORMAT", "bext-otel", "with `OTEL_PYTHON_LOG_CORRELATION`, the format")
    yield Variable("OTEL_PYTHON_LOG_LEVEL", "bext-otel", "with `OTEL_PYTHON_LOG_CORRELATION`, the level")
    chain = "logging is taken over as a whole; [logging] enabled = false leaves it alone"
    for name in ("OTEL_PYTHON_LOG_AUTO_INSTRUMENTATION", "OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED"):
        yield Variable(name, "not honoured", chain, _TOLD, _TRUE)
    yield Variable(
        "OTEL_PYTHON_LOG_HANDLER_LEVEL",
        "not honoured",
        "[logging] level says which records there are",
        _TOLD,
        frozenset({"notset"}),
    )
    yield Variable(
        "OTEL_PYTHON_LOG_CODE_ATTRIBUTES",
        "not honoured",
        "records do not say where they were made",
        _TOLD,
        _FALSE,
    )
    yield Variable(
        "OTEL_PYTHON_DJANGO_INSTRUMENT",
        "not honoured",
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=django leaves Django alone",
        _TOLD,
        _TRUE,
    )
    yield Variable(
        "OTEL_PYTHON_DJANGO_MIDDLEWARE_POSITION",
        "not honoured",
        "bext-otel stands around Django's middleware",
        _TOLD,
    )
    attributes = (
        "a span shows headers that OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST names, "
        "and no others of Django's attributes"
    )
    yield Variable("OTEL_PYTHON_DJANGO_TRACED_REQUEST_ATTRS", "not honoured", attributes, _TOLD)
    for library in ("TORNADO", "FALCON"):
        yield Variable(
            f"OTEL_PYTHON_{library}_TRACED_REQUEST_ATTRS",
            "instrumentor",
            "attributes of requests that a span shows",
        )
    yield Variable(
        "OTEL_PYTHON_ASYNCIO_COROUTINE_NAMES_TO_TRACE", "instrumentor", "coroutines of which there are spans"
    )
    yield Variable(
        "OTEL_PYTHON_ASYNCIO_FUTURE_TRACE_ENABLED", "instrumentor", "whether there are spans of futures"
    )
    yield Variable(
        "OTEL_PYTHON_ASYNCIO_TO_THREAD_FUNCTION_NAMES_TO_TRACE",
        "instrumentor",
        "functions in threads of which there are spans",
    )
    yield Variable("OTEL_PYTHON_GRPC_EXCLUDED_SERVICES", "instrumentor", "gRPC services that leave nothing")
    yield Variable(
        "OTEL_PYTHON_SYSTEM_METRICS_EXCLUDED_METRICS",
        "instrumentor",
        "metrics of the system that are left out",
    )
    yield Variable(
        "OTEL_INSTRUMENTATION_AWS_LAMBDA_FLUSH_TIMEOUT", "instrumentor", "milliseconds that a flush may take"
    )
    yield Variable(
        "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT",
        "instrumentor",
        "whether messages to and of models are told",
    )


def _rows() -> Iterator[Variable]:
    yield Variable("OTEL_SDK_DISABLED", "bext-otel", "no telemetry; health still answers", _CONFIG)
    yield Variable("OTEL_SERVICE_NAME", "bext-otel", "name of the service", _CONFIG)
    yield Variable(
        "OTEL_RESOURCE_ATTRIBUTES",
        "SDK",
        "who speaks: `key=value,key=value`",
        "tests/export/test_resource.py",
    )
    yield Variable(
        "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS",
        "SDK",
        "entry points that find more of that; what is missing is one line",
        _USED,
    )
    yield Variable(
        "OTEL_LOG_LEVEL",
        "bext-otel",
        "level of what OpenTelemetry and bext-otel say of themselves",
        f"{_CONFIG}::test_the_level_of_our_own_lines",
    )
    for kind, signal in {"TRACER": "spans", "METER": "metrics", "LOGGER": "log records"}.items():
        yield Variable(
            f"OTEL_PYTHON_{kind}_PROVIDER",
            "bext-otel",
            f"`sdk_{kind.lower()}_provider` is ours; {signal} go to another one that is named, past "
            "bext-otel, and a line says so",
            f"{_CHOSEN}::test_providers_are_those_that_variables_name",
        )
        why = "upstream's experiment; OTEL_PYTHON_DISABLED_INSTRUMENTATIONS turns libraries off"
        yield Variable(f"OTEL_PYTHON_{kind}_CONFIGURATOR", "not honoured", why, _TOLD)
    left_out = "test_propagators_that_nobody_offers_are_left_out"
    yield Variable(
        "OTEL_PROPAGATORS",
        "SDK",
        "what context travels in; a name that is not there is one line, but ends upstream's launcher",
        f"{_CHOSEN}::{left_out}",
    )
    taken_out = "tests/test_api_environment.py::test_what_nobody_offers_is_taken_out_and_told"
    yield Variable(
        "OTEL_PYTHON_CONTEXT",
        "SDK",
        "where the context is kept; a name that is not there is one line, and a traceback of upstream's "
        "launcher",
        taken_out,
    )
    yield Variable(
        "OTEL_TRACES_SAMPLER",
        "bext-otel",
        "which spans are kept: the SDK's samplers, and entry points",
        _USED,
    )
    yield Variable(
        "OTEL_TRACES_SAMPLER_ARG",
        "bext-otel",
        "the sampler's argument; a share, or what the entry point takes",
        _USED,
    )
    yield Variable(
        "OTEL_PYTHON_ID_GENERATOR", "bext-otel", "entry point that makes the ids of spans and traces", _USED
    )
    yield Variable(
        "OTEL_{SIGNAL}_EXPORTER",
        "bext-otel",
        "who gets the signal: `otlp`, `console`, `none`, entry points, or several",
        _USED,
    )
    yield Variable("OTEL_EXPORTER_PROMETHEUS_HOST", "bext-otel", "address of the stand-alone server", _CONFIG)
    yield Variable("OTEL_EXPORTER_PROMETHEUS_PORT", "bext-otel", "port of the stand-alone server", _CONFIG)
    for what, unit in {
        "ENDPOINT": "where Zipkin's exporter sends to",
        "TIMEOUT": "seconds that its export may take",
    }.items():
        yield Variable(
            f"OTEL_EXPORTER_ZIPKIN_{what}",
            "exporter",
            f"{unit}; `OTEL_TRACES_EXPORTER=zipkin_json`, where it is installed",
        )
    yield Variable(
        "OTEL_METRIC_EXPORT_INTERVAL", "bext-otel", "milliseconds between two exports of metrics", _CONFIG
    )
    bounds = "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT bounds an export of metrics"
    yield Variable("OTEL_METRIC_EXPORT_TIMEOUT", "not honoured", bounds, _TOLD)
    yield Variable(
        "OTEL_METRICS_EXEMPLAR_FILTER",
        "bext-otel",
        "which measurements become exemplars; for those of our own metrics, `always_on` is as `trace_based`",
        f"{_VARIABLES}::test_exemplars_are_shown_unless_the_filter_lets_none_through",
    )
    yield Variable(
        "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED",
        "bext-otel",
        "how telemetry fares is always told, once",
        f"{_UPSTREAM}::test_what_the_sdk_tells_of_itself_is_told_once",
    )
    files = "settings are in variables and in bext.config.toml"
    yield Variable("OTEL_CONFIG_FILE", "not honoured", files, _TOLD)
    yield Variable("OTEL_EXPERIMENTAL_CONFIG_FILE", "not honoured", files, _TOLD)
    yield from _limits()
    yield from _batches()
    yield from _otlp()
    chosen = "tests/test_launch.py::test_whoever_has_chosen_keeps_the_choice"
    yield Variable("OTEL_PYTHON_DISTRO", "launcher", "which distribution is taken; `bext` if not set", chosen)
    yield Variable("OTEL_PYTHON_CONFIGURATOR", "launcher", "who sets the SDK up; `bext` if not set", chosen)
    yield Variable(
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS",
        "bext-otel",
        "libraries that are left alone, by upstream's names",
        "tests/test_distro.py::test_an_instrumentation_is_turned_off_by_upstreams_name_too",
    )
    yield Variable(
        "OTEL_PYTHON_AUTO_INSTRUMENTATION_EXPERIMENTAL_GEVENT_PATCH",
        "launcher",
        "`patch_all` has gevent patch first",
    )
    yield from _contrib()


VARIABLES: tuple[Variable, ...] = tuple(_rows())
"""Every row, in the order of the reference."""


def not_honoured(environ: Mapping[str, str]) -> Iterator[str]:
    """One line for each variable that is set and that nobody honours. The value is not shown: nobody has
    looked at it."""
    for row in VARIABLES:
        if row.by != "not honoured":
            continue
        for name in row.names():
            value = environ.get(name, "").strip()
            if value and value.lower() not in row.silent:
                yield f"{name} is not honoured: {row.meaning}"
