"""Every variable that upstream documents, and what becomes of it here. `docs/environment.md` and the lines
about variables that are not honoured are derived from this table; a test compares it with what upstream's
packages read, and names for each row the test that shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

__all__ = ["VARIABLES", "Treatment", "Variable", "not_honoured"]

Treatment = Literal["bext-otel", "SDK", "exporter", "launcher", "instrumentor", "not honoured"]
"""Who honours a variable; `instrumentor` is upstream's of the library in question, also under bext-otel. `not
honoured` is one line."""


class Variable(msgspec.Struct, frozen=True):
    """A variable, or several that differ in a word: `{A,B}` stands for either, `{LIBRARY}` for any library.

    `meaning` is what it does, or why it does nothing. `silent` is a value that nobody needs to hear of, as
    what it asks for is so anyway.
    """

    name: str
    by: Treatment
    meaning: str
    silent: str = ""

    def names(self) -> list[str]:
        """All that the row stands for; `{LIBRARY}` stays."""
        before, _, rest = self.name.partition("{")
        words, _, after = rest.partition("}")
        return [f"{before}{word}{after}" for word in words.split(",")] if "," in words else [self.name]


_TABLE: tuple[tuple[Treatment, Mapping[str, str]], ...] = (
    (
        "bext-otel",
        {
            "OTEL_SDK_DISABLED": "no telemetry; health still answers",
            "OTEL_SERVICE_NAME": "name of the service",
            "OTEL_LOG_LEVEL": "level of what OpenTelemetry and bext-otel say of themselves",
            "OTEL_PYTHON_{TRACER,METER,LOGGER}_PROVIDER": (
                "`sdk_tracer_provider`, `sdk_meter_provider` and `sdk_logger_provider` are ours; the signal "
                "goes to another one that is named, past bext-otel, and a line says so"
            ),
            "OTEL_TRACES_SAMPLER": (
                "which spans are kept: the specification's samplers, `jaeger_remote` and "
                "`parentbased_jaeger_remote` too, and entry points; a share is told to others (`ot=th:...` "
                "in the tracestate)"
            ),
            "OTEL_TRACES_SAMPLER_ARG": (
                "the sampler's argument: a share; "
                "`endpoint=...,pollingIntervalMs=...,initialSamplingRate=...`; what the entry point takes"
            ),
            "OTEL_PYTHON_ID_GENERATOR": "entry point that makes the ids of spans and traces",
            "OTEL_{TRACES,METRICS,LOGS}_EXPORTER": (
                "who gets the signal: `otlp`, `console`, `none`, entry points, or several; `zipkin` and "
                "`otlp/stdout` are `zipkin_json` and `otlp_json_file`, where those are installed"
            ),
            "OTEL_PYTHON_{TRACER,METER,LOGGER}_CONFIGURATOR": (
                "entry point that says which instrumentation scopes count"
            ),
            "OTEL_EXPORTER_PROMETHEUS_HOST": "address of the stand-alone server",
            "OTEL_EXPORTER_PROMETHEUS_PORT": "port of the stand-alone server",
            "OTEL_METRIC_EXPORT_INTERVAL": "milliseconds between two exports of metrics",
            "OTEL_METRIC_EXPORT_TIMEOUT": (
                "milliseconds that an export of metrics may take, with all that waits for it"
            ),
            "OTEL_METRICS_EXEMPLAR_FILTER": "which measurements become exemplars",
            "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": "how telemetry fares is always told, once",
        },
    ),
    (
        "SDK",
        {
            "OTEL_RESOURCE_ATTRIBUTES": "who speaks: `key=value,key=value`",
            "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": (
                "entry points that find more of that; what is missing is one line"
            ),
            "OTEL_PROPAGATORS": (
                "what context travels in; a name that is not there is one line, but ends upstream's launcher"
            ),
            "OTEL_PYTHON_CONTEXT": (
                "where the context is kept; a name that is not there is one line, and a traceback of "
                "upstream's launcher"
            ),
            "OTEL_ATTRIBUTE_COUNT_LIMIT": (
                "most attributes of a span, an event, a link or a log record, where no other limit is set"
            ),
            "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "most attributes of a span",
            "OTEL_SPAN_EVENT_COUNT_LIMIT": "most events of a span",
            "OTEL_SPAN_LINK_COUNT_LIMIT": "most links of a span",
            "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": "most attributes of an event",
            "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": "most attributes of a link",
            "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT": "most attributes of a log record",
            "OTEL_{,SPAN_,LOGRECORD_}ATTRIBUTE_VALUE_LENGTH_LIMIT": (
                "characters of an attribute, of a span's, of a log record's, that are kept"
            ),
            "OTEL_{BSP,BLRP}_SCHEDULE_DELAY": "milliseconds between two exports of spans, of log records",
            "OTEL_{BSP,BLRP}_MAX_QUEUE_SIZE": (
                "spans, log records, that wait at most; what finds no room is counted"
            ),
            "OTEL_{BSP,BLRP}_MAX_EXPORT_BATCH_SIZE": (
                "most spans, log records, in one export, not more than the queue holds"
            ),
        },
    ),
    (
        "bext-otel",
        {
            "OTEL_EXPORTER_OTLP_{,TRACES_,METRICS_,LOGS_}ENDPOINT": (
                "where telemetry goes; nothing is exported without"
            ),
            "OTEL_EXPORTER_OTLP_{,TRACES_,METRICS_,LOGS_}PROTOCOL": (
                "`http/protobuf`, `http/json` or `grpc`"
            ),
            "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": (
                "of histograms without a view; our durations, sizes and ratios are exponential anyway"
            ),
        },
    ),
    (
        "exporter",
        {
            "OTEL_EXPORTER_OTLP_{,TRACES_,METRICS_,LOGS_}HEADERS": (
                "headers of the export: `name=value,name=value`"
            ),
            "OTEL_EXPORTER_OTLP_{,TRACES_,METRICS_,LOGS_}TIMEOUT": (
                "seconds that an export may take, with all that is tried again; the specification says "
                "milliseconds, and upstream's exporters read seconds, of which every setting here is made"
            ),
            "OTEL_EXPORTER_OTLP_{,TRACES_,METRICS_,LOGS_}COMPRESSION": ("`gzip`, `deflate` or `none`"),
            "OTEL_EXPORTER_OTLP_{,TRACES_,METRICS_,LOGS_}CERTIFICATE": (
                "file with the certificates that are trusted"
            ),
            "OTEL_EXPORTER_OTLP_{,TRACES_,METRICS_,LOGS_}CLIENT_KEY": ("file with the client's key"),
            "OTEL_EXPORTER_OTLP_{,TRACES_,METRICS_,LOGS_}CLIENT_CERTIFICATE": (
                "file with the client's certificate"
            ),
            "OTEL_EXPORTER_OTLP_{,TRACES_,METRICS_,LOGS_}INSECURE": (
                "gRPC without TLS where the endpoint has no scheme"
            ),
            "OTEL_PYTHON_EXPORTER_OTLP_HTTP_{,TRACES_,METRICS_,LOGS_}CREDENTIAL_PROVIDER": (
                "entry point that makes the credentials of the export over HTTP"
            ),
            "OTEL_PYTHON_EXPORTER_OTLP_GRPC_{,TRACES_,METRICS_,LOGS_}CREDENTIAL_PROVIDER": (
                "entry point that makes the credentials of the export over gRPC"
            ),
            "OTEL_PYTHON_EXPORTER_OTLP_GRPC_RETRYABLE_ERROR_CODES": (
                "status codes upon which an export over gRPC is tried again"
            ),
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "`cumulative`, `delta` or `lowmemory`",
            "OTEL_EXPORTER_ZIPKIN_{ENDPOINT,TIMEOUT}": (
                "where Zipkin's exporter sends to, and the seconds that this may take; "
                "`OTEL_TRACES_EXPORTER=zipkin_json`, where it is installed"
            ),
        },
    ),
    (
        "launcher",
        {
            "OTEL_PYTHON_DISTRO": "which distribution is taken; `bext` if not set",
            "OTEL_PYTHON_CONFIGURATOR": "who sets the SDK up; `bext` if not set",
            "OTEL_PYTHON_AUTO_INSTRUMENTATION_EXPERIMENTAL_GEVENT_PATCH": (
                "`patch_all` has gevent patch first"
            ),
        },
    ),
    (
        "bext-otel",
        {
            "OTEL_{,EXPERIMENTAL_}CONFIG_FILE": (
                "declarative configuration, a file that decides instead of the SDK's other variables; wants "
                "the extra `config`"
            ),
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "libraries that are left alone, by upstream's names",
            "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS": (
                "methods of requests that are told by their name, with commas between, instead of the "
                "standard ones; others are `_OTHER`"
            ),
            "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_{REQUEST,RESPONSE}": (
                "headers of requests, of answers, that a span shows"
            ),
            "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS": (
                "headers whose values are not shown"
            ),
            "OTEL_PYTHON_EXCLUDED_URLS": "requests that leave nothing",
            "OTEL_PYTHON_{LIBRARY}_EXCLUDED_URLS": (
                "the same of one framework; of outgoing calls, upstream's"
            ),
            "OTEL_PYTHON_LOG_CODE_ATTRIBUTES": (
                "`true` has records of logging say where they were made: `code.file.path`, "
                "`code.function.name`, `code.line.number`"
            ),
            "OTEL_PYTHON_LOG_CORRELATION": (
                "the trace's ids on log records, for an application's own formats"
            ),
            "OTEL_PYTHON_LOG_FORMAT": "with `OTEL_PYTHON_LOG_CORRELATION`, the format",
            "OTEL_PYTHON_LOG_LEVEL": "with `OTEL_PYTHON_LOG_CORRELATION`, the level",
        },
    ),
    (
        "instrumentor",
        {
            "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_{REQUEST,RESPONSE}": (
                "headers of outgoing requests, of answers to them, that a span shows"
            ),
            "OTEL_SEMCONV_STABILITY_OPT_IN": "conventions of outgoing calls; `http,database` if not set",
            "OTEL_PYTHON_{TORNADO,FALCON}_TRACED_REQUEST_ATTRS": "attributes of requests that a span shows",
            "OTEL_PYTHON_ASYNCIO_COROUTINE_NAMES_TO_TRACE": "coroutines of which there are spans",
            "OTEL_PYTHON_ASYNCIO_FUTURE_TRACE_ENABLED": "whether there are spans of futures",
            "OTEL_PYTHON_ASYNCIO_TO_THREAD_FUNCTION_NAMES_TO_TRACE": (
                "functions in threads of which there are spans"
            ),
            "OTEL_PYTHON_GRPC_EXCLUDED_SERVICES": "gRPC services that leave nothing",
            "OTEL_PYTHON_SYSTEM_METRICS_EXCLUDED_METRICS": "metrics of the system that are left out",
            "OTEL_INSTRUMENTATION_AWS_LAMBDA_FLUSH_TIMEOUT": "milliseconds that a flush may take",
            "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": (
                "whether messages to and of models are told"
            ),
        },
    ),
    (
        "not honoured",
        {
            "OTEL_{BSP,BLRP}_EXPORT_TIMEOUT": (
                "upstream reads it and does nothing with it; OTEL_EXPORTER_OTLP_TIMEOUT bounds an export"
            ),
            "OTEL_PYTHON_INSTRUMENTATION_HTTP_CAPTURE_ALL_METHODS": (
                "for outgoing requests it is; methods of requests that come in are those of "
                "OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS"
            ),
            "OTEL_PYTHON_{LOG_AUTO_INSTRUMENTATION,LOGGING_AUTO_INSTRUMENTATION_ENABLED}": (
                "logging is taken over as a whole; [logging] enabled = false leaves it alone"
            ),
            "OTEL_PYTHON_LOG_HANDLER_LEVEL": "[logging] level says which records there are",
            "OTEL_PYTHON_DJANGO_INSTRUMENT": (
                "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=django leaves Django alone"
            ),
            "OTEL_PYTHON_DJANGO_MIDDLEWARE_POSITION": "bext-otel stands around Django's middleware",
            "OTEL_PYTHON_DJANGO_TRACED_REQUEST_ATTRS": (
                "a span shows headers that OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST names, "
                "and no others of Django's attributes"
            ),
        },
    ),
)

# By name, what asks for nothing but what is so anyway.
_SILENT: Mapping[str, str] = {
    "OTEL_PYTHON_INSTRUMENTATION_HTTP_CAPTURE_ALL_METHODS": "false",
    "OTEL_PYTHON_{LOG_AUTO_INSTRUMENTATION,LOGGING_AUTO_INSTRUMENTATION_ENABLED}": "true",
    "OTEL_PYTHON_LOG_HANDLER_LEVEL": "notset",
    "OTEL_PYTHON_DJANGO_INSTRUMENT": "true",
}

VARIABLES: tuple[Variable, ...] = tuple(
    Variable(name, by, meaning, _SILENT.get(name, ""))
    for by, rows in _TABLE
    for name, meaning in rows.items()
)
"""Every row, in the order of the reference."""


def not_honoured(environ: Mapping[str, str]) -> Iterator[str]:
    """One line for each variable that is set and that nobody honours. The value is not shown: nobody has
    looked at it."""
    for row in VARIABLES:
        if row.by != "not honoured":
            continue
        for name in row.names():
            value = environ.get(name, "").strip()
            if value and value.lower() != row.silent:
                yield f"{name} is not honoured: {row.meaning}"
