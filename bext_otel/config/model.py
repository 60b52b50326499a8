"""What can be set: each setting once, with its type, range, unit, default and meaning.

Checks, messages and the settings reference in `docs/` are derived from these fields. To add a setting, add a
field here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from ipaddress import ip_network
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from bext_otel.redaction import SECRET, redact_url

__all__ = [
    "ACCESS",
    "APPS",
    "COMPUTED",
    "LEVELS",
    "NAMED",
    "SECTIONS",
    "SHARED",
    "SIGNALS",
    "AccessSettings",
    "AlertReceiver",
    "AlertRule",
    "AlertSilence",
    "AlertsSettings",
    "AppHealthSettings",
    "AppSettings",
    "CacheSettings",
    "CheckSettings",
    "Config",
    "EndpointsSettings",
    "Exporters",
    "GroupSettings",
    "HealthSettings",
    "Level",
    "LoggingSettings",
    "MetricsSettings",
    "Protocol",
    "RedactionSettings",
    "Signal",
    "Target",
    "TelemetrySettings",
    "ThresholdLevels",
    "ThresholdSettings",
]

Level = Literal["trace", "debug", "info", "warn", "error"]
"""Log levels of the platform, from the most to the least said."""

LEVELS: tuple[Level, ...] = ("trace", "debug", "info", "warn", "error")

Signal = Literal["traces", "metrics", "logs"]
"""What OpenTelemetry exports."""

SIGNALS: tuple[Signal, ...] = ("traces", "metrics", "logs")

Protocol = Literal["http/protobuf", "http/json", "grpc"]
"""How OTLP is spoken."""

COMPUTED = frozenset({"exporters"})
"""Fields of `TelemetrySettings` that are derived from standard variables, and are no settings of their
own."""

ACCESS = "logging.access"
"""The section that stands within another."""

APPS = "apps"
"""The section that is all tables by names of the user's."""

_DAY = 86_400
_URL_PATH = r"^/[^\s?#]+$"
_HOST = r"^[^\s/?#@]+$"
_PREFIX = r"^/[^\s?#]*$"
_TEMPLATE = r"^/(?:[^\s?#{}]|\{\w+\})*(?:(?<=/)\{\w+:path\})?$"
_A_PATH = 'a path that starts with "/" and holds no blank, "?" or "#"'

Seconds = Annotated[float, Meta(ge=0.01, le=_DAY, extra={"unit": "seconds"})]
Timeout = Annotated[float, Meta(ge=0.01, le=600, extra={"unit": "seconds"})]
EndpointPath = Annotated[str, Meta(pattern=_URL_PATH, extra={"expected": _A_PATH})]
HostName = Annotated[
    str, Meta(pattern=_HOST, extra={"expected": 'a host name without scheme or path, e.g. "shop.example"'})
]
PathPrefix = Annotated[str, Meta(pattern=_PREFIX, extra={"expected": f'{_A_PATH}, e.g. "/shop"'})]
Template = Annotated[
    str,
    Meta(
        pattern=_TEMPLATE,
        extra={
            "expected": 'a template that starts with "/", with `{name}` for a parameter and `{name:path}` at '
            'the end for all that is left, e.g. "/items/{item}"'
        },
    ),
]


def _is_pattern(text: str) -> bool:
    try:
        return bool(re.compile(text))
    except re.error:
        return False


def _is_time(text: str) -> bool:
    try:
        return bool(datetime.fromisoformat(text.replace("Z", "+00:00")))
    except ValueError:
        return False


def _is_trust(word: str) -> bool:
    try:
        return word in {"all", "none"} or bool(ip_network(word, strict=False))
    except ValueError:
        return False


Trusted = Annotated[
    str,
    Meta(
        extra={"expected": '"all", "none", or an address or network, e.g. "10.0.0.0/8"', "check": _is_trust}
    ),
]
_TRUST: Mapping[str, Any] = {
    "expected": '"all", "none", or a list of addresses and networks, e.g. ["10.0.0.0/8", "::1"]',
    "alone": True,
    "in_doubt": ("none",),
}
PoolPattern = Annotated[str, Meta(pattern=r"\S", extra={"expected": 'a pattern of names, e.g. "render-*"'})]
FieldName = Annotated[str, Meta(pattern=r"[^\s*]", extra={"expected": 'a name, e.g. "customer_no"'})]
Pattern = Annotated[str, Meta(min_length=1, extra={"expected": 'a regular expression, e.g. "cust-[0-9]{8}"'})]
Milliseconds = Annotated[float, Meta(ge=0, le=_DAY * 1000, extra={"unit": "milliseconds", "example": 2000})]
HttpStatus = Annotated[int, Meta(ge=100, le=599, extra={"example": 200})]
CheckName = Annotated[str, Meta(pattern=r"\S", extra={"expected": 'the name of a check, e.g. "database"'})]
Argument = Annotated[str, Meta(extra={"expected": "a text"})]
Limit = Annotated[int, Meta(ge=1, le=1_000_000, extra={"unit": "values", "example": 200})]


class MetricsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[metrics]`: what is measured, and where it is served."""

    enabled: Annotated[bool, Meta(description="Measure, and serve the metrics.")] = True
    path: Annotated[EndpointPath, Meta(description="Where metrics are served, beside `/__bext/metrics`.")] = (
        "/metrics"
    )
    include_process: Annotated[
        bool, Meta(description="Memory, CPU and open files, in `system` of the JSON document.")
    ] = True
    mount: Annotated[
        bool,
        Meta(
            description="Serve the endpoints on the application's own port, without code, before any route "
            "that the application has there; "
            "the stand-alone server then stays closed."
        ),
    ] = False
    host: Annotated[str, Meta(min_length=1, description="Address of the stand-alone server.")] = "127.0.0.1"
    port: Annotated[
        int, Meta(ge=0, le=65_535, description="Port of the stand-alone server; 0 takes any free one.")
    ] = 9464
    in_prometheus_client: Annotated[
        bool,
        Meta(
            description="Show our metrics in `prometheus_client`'s registry too, for an application that has "
            "a `/metrics` of its own and a scraper that asks for that one only. Whoever scrapes both then "
            "has everything twice."
        ),
    ] = False
    tick_seconds: Annotated[
        float, Meta(ge=0.01, le=60, description="How often windows move on.", extra={"unit": "seconds"})
    ] = 1.0
    window_seconds: Annotated[Seconds, Meta(description="How far back quantiles look.")] = 300.0
    rate_window_seconds: Annotated[Seconds, Meta(description="How far back rates, such as `rps`, look.")] = (
        60.0
    )
    export_interval_seconds: Annotated[
        Seconds, Meta(description="How often metrics are exported over OTLP.")
    ] = 60.0
    export_batch_size: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="How many data points of metrics go out in one request at most; what is more goes "
            "out in further ones. 0: as many as there are.",
            extra={"unit": "data points", "example": 5000},
        ),
    ] = 10_000
    series_limit: Annotated[
        Limit,
        Meta(
            description="How many attribute sets a metric of the application or of another library may have, "
            "in all workers together, before further ones are counted together, with "
            "`otel.metric.overflow=true`."
        ),
    ] = 2000
    flow_names: Annotated[
        bool,
        Meta(
            description="Count runs by the flow's name and status (`bext_flow_runs_total`), and steps and "
            "tasks by theirs (`bext_flow_steps_total`), each label within its budget."
        ),
    ] = False
    scope_labels: Annotated[
        bool,
        Meta(
            description="Label the series of other instruments than ours with the meter that they are of: "
            "`otel_scope_name`, `otel_scope_version`, `otel_scope_schema_url` and its attributes."
        ),
    ] = True
    body_sizes: Annotated[
        bool,
        Meta(
            description="Record `http.server.request.body.size` and `http.server.response.body.size` for "
            "each request, by method, route and status."
        ),
    ] = False
    total_suffix: Annotated[
        bool,
        Meta(
            description="End the names of other counters than ours in `_total` on the page. Without it they "
            "keep their own, and are of type `unknown` in OpenMetrics, whose counters need the suffix."
        ),
    ] = True
    resource_labels: Annotated[
        tuple[PoolPattern, ...],
        Meta(
            description="Which attributes of the resource `target_info` shows, by patterns of their names.",
            extra={"example": ["service.*", "deployment.*"], "expected": "patterns of names of attributes"},
        ),
    ] = ("*",)
    budgets: Annotated[
        Mapping[str, Limit],
        Meta(
            description="`[metrics.budgets]`: how many distinct values a label may show before the rest "
            "folds into `otel.metric.overflow`; of the catalogue's labels, and of any label of "
            "the application's own metrics by its name."
        ),
    ] = {}


class EndpointsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[endpoints]`: who may ask for metrics and health, and how."""

    metrics: Annotated[
        Literal["open", "token"],
        Meta(description="Who sees metrics: everybody who can reach them, or whoever has the token."),
    ] = "open"
    platform_paths: Annotated[
        Literal["", "open", "token", "off"],
        Meta(
            description="Who sees metrics at `/__bext/metrics`; `off` closes `/__bext/health` too. Empty: as "
            "`metrics`, but wherever a caller is not known to be on this machine it wants the token once "
            "`[metrics] path` is another than `/metrics`."
        ),
    ] = ""
    allowed_hosts: Annotated[
        tuple[HostName, ...],
        Meta(
            description="Names, beside those of loopback, by which the stand-alone server on loopback may be "
            "asked; `*.` in front stands for any subdomain.",
            extra={"example": ["metrics.shop.example"]},
        ),
    ] = ()
    certificate_file: Annotated[
        str,
        Meta(
            description="Certificate chain of the stand-alone server, in PEM, which then speaks HTTPS only; "
            "taken again when it changes. Empty: HTTP.",
            extra={"example": "/etc/bext/endpoints.pem"},
        ),
    ] = ""
    key_file: Annotated[
        str,
        Meta(
            description="Its private key, in PEM and without a passphrase; empty: in the same file.",
            extra={"example": "/etc/bext/endpoints.key"},
        ),
    ] = ""


class CheckSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[health.checks.NAME]`: one check; without `url`, `tcp` and `command`, how one of this name is asked
    that comes from code, from an entry point or from ourselves."""

    enabled: Annotated[bool, Meta(description="Ask it.")] = True
    url: Annotated[
        str,
        Meta(
            pattern=r"^(?:https?://[^\s/?#]+[^\s#]*)?$",
            description="Address that has to answer; certificates are verified, redirections are not "
            "followed, and no proxy is used.",
            extra={"expected": "an http:// or https:// URL", "example": "https://payments.example/healthz"},
        ),
    ] = ""
    status: Annotated[
        tuple[HttpStatus, ...],
        Meta(description="Statuses that `url` may answer with; empty: any from 200 to 299."),
    ] = ()
    contains: Annotated[
        str,
        Meta(
            description="Text that the first 64 kB of what `url` answers have to hold.",
            extra={"example": "ok"},
        ),
    ] = ""
    ca_file: Annotated[
        str,
        Meta(
            description="File of the authorities that may have signed the certificate of `url`; empty: the "
            "system's.",
            extra={"example": "/etc/ssl/private-ca.pem"},
        ),
    ] = ""
    tcp: Annotated[
        str,
        Meta(
            pattern=r"^(?:(?:\[[0-9A-Fa-f:.%\w]+\]|[^\s:/\[\]]+):[0-9]{1,5})?$",
            description="Address that has to take a connection.",
            extra={"expected": "host:port", "example": "queue.example:5672"},
        ),
    ] = ""
    command: Annotated[
        tuple[Argument, ...],
        Meta(
            description="Program with its arguments, without a shell; past its limit it is killed with its "
            "children.",
            extra={"example": ["/usr/bin/test", "-e", "/run/ready"]},
        ),
    ] = ()
    exit_code: Annotated[
        int, Meta(ge=0, le=255, description="Code that `command` has to exit with.", extra={"example": 0})
    ] = 0
    critical: Annotated[
        bool | None,
        Meta(
            description="The service can't do without: readiness asks for it; not set: as whoever brings it "
            "says."
        ),
    ] = None
    interval_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=_DAY,
            description="How often it is asked; 0: as whoever brings it says, or `[health] "
            "interval_seconds`.",
            extra={"unit": "seconds", "example": 10},
        ),
    ] = 0.0
    timeout_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=600,
            description="How long it may take; 0: as whoever brings it says, or `[health] timeout_seconds`.",
            extra={"unit": "seconds", "example": 2},
        ),
    ] = 0.0
    failures: Annotated[
        int,
        Meta(
            ge=0,
            le=1000,
            description="How many bad results in a row turn it; 0: as whoever brings it says, or 1.",
            extra={"example": 3},
        ),
    ] = 0
    successes: Annotated[
        int,
        Meta(
            ge=0,
            le=1000,
            description="How many good results in a row turn it back; 0: as whoever brings it says, or 1.",
            extra={"example": 2},
        ),
    ] = 0


class GroupSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[health.groups.NAME]`: some checks, served at `NAME` below `[health] path`; `live`, `ready` and
    `startup` are groups that are there in any case."""

    checks: Annotated[
        tuple[CheckName, ...],
        Meta(
            description="Names of its checks, `*` for all; one that nobody has registered is unhealthy. Not "
            "set: nothing for `live`, what is critical for `ready` and `startup`, all for others.",
            extra={"example": ["database", "queue"]},
        ),
    ] = ()
    show: Annotated[
        Literal["", "never", "token", "always"],
        Meta(
            description="Who sees its checks beside the status: nobody, who has the token, or everybody; "
            "empty: as for the whole of health."
        ),
    ] = ""
    status: Annotated[
        Mapping[str, HttpStatus],
        Meta(
            description="`[health.groups.NAME.status]`: HTTP status by status (`healthy`, `starting`, "
            "`degraded`, `unhealthy`); otherwise 503 for `unhealthy` and `starting`, and 200."
        ),
    ] = {}


class ThresholdLevels(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[health.thresholds.FIGURE]`: from where a check with such a figure is not well."""

    degraded: Annotated[
        float, Meta(ge=0, le=1e15, description="Past this it is degraded; 0: never.", extra={"example": 500})
    ] = 0.0
    unhealthy: Annotated[
        float,
        Meta(ge=0, le=1e15, description="Past this it is unhealthy; 0: never.", extra={"example": 2000}),
    ] = 0.0


class ThresholdSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[health.thresholds]`: two levels for figures that checks tell."""

    latency_ms: Annotated[ThresholdLevels, Meta(description="How long a check takes, in milliseconds.")] = (
        ThresholdLevels()
    )
    hit_rate: Annotated[
        ThresholdLevels, Meta(description="Share of lookups that caches answer of late; the less the worse.")
    ] = ThresholdLevels()
    free_mb: Annotated[ThresholdLevels, Meta(description="Free megabytes of a disk; the less the worse.")] = (
        ThresholdLevels()
    )
    lag_ms: Annotated[
        ThresholdLevels, Meta(description="How long the event loop keeps others waiting, in milliseconds.")
    ] = ThresholdLevels(degraded=500.0, unhealthy=1500.0)
    backlog: Annotated[
        ThresholdLevels, Meta(description="What waits, by a check of your own that tells `backlog`.")
    ] = ThresholdLevels()


class HealthSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[health]`: what the health endpoints say."""

    enabled: Annotated[bool, Meta(description="Serve the health endpoints.")] = True
    path: Annotated[
        EndpointPath,
        Meta(
            description="Where full health is served, beside `/__bext/health`; `/live` and `/ready` stand "
            "below it."
        ),
    ] = "/health"
    include_details: Annotated[bool, Meta(description="Show each check, not just the status.")] = True
    timeout_seconds: Annotated[
        Timeout, Meta(description="How long a check may take before it counts as unhealthy.")
    ] = 2.0
    interval_seconds: Annotated[
        Seconds,
        Meta(
            description="How often a check is asked, in the background; a result that is older than three "
            "intervals counts as failed."
        ),
    ] = 1.0
    drain_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=600,
            description="How long a process that is told to end by SIGTERM goes on serving while it says "
            "that it is not ready; 0: its server handles the signal at once.",
            extra={"unit": "seconds", "example": 10},
        ),
    ] = 0.0
    disk_path: Annotated[
        str, Meta(min_length=1, description="Directory whose disk the disk check looks at.")
    ] = "."
    data_dir: Annotated[
        str,
        Meta(
            description="Directory whose size the disk check shows, as `data_dir_mb`; empty: none.",
            extra={"example": "/var/lib/shop"},
        ),
    ] = ""
    stuck_seconds: Annotated[
        Seconds,
        Meta(
            description="How long flows may be active without that a step of any ends, before "
            "`flow_engine` is degraded."
        ),
    ] = 300.0
    disk_min_free_mb: Annotated[
        int,
        Meta(
            ge=0,
            le=2**40,
            description="Free space below which the disk check is unhealthy.",
            extra={"unit": "megabytes"},
        ),
    ] = 100
    thresholds: Annotated[
        ThresholdSettings, Meta(description="`[health.thresholds]`: two levels for figures that checks tell.")
    ] = ThresholdSettings()
    checks: Annotated[
        Mapping[str, CheckSettings],
        Meta(description="`[health.checks.NAME]`: checks, and how those of others are asked."),
    ] = {}
    groups: Annotated[
        Mapping[str, GroupSettings],
        Meta(description="`[health.groups.NAME]`: checks that are asked about together."),
    ] = {}


class LoggingSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[logging]`: what is logged, in which form, and where to."""

    enabled: Annotated[
        bool, Meta(description="Take over logging; false leaves structlog and the root logger as they are.")
    ] = True
    level: Annotated[
        Literal["", Level],
        Meta(
            description="Least level that is logged; empty: the application's own levels, and info for "
            "entries of ours."
        ),
    ] = ""
    format: Annotated[
        Literal["", "json", "pretty"],
        Meta(description="Form of a line; empty: `pretty` on a terminal, `json` everywhere else."),
    ] = ""
    output: Annotated[
        Literal["", "stdout", "stderr", "file", "none", "stdout,file", "stderr,file"],
        Meta(
            description="Where lines go; empty: to standard output while the process serves, and nowhere in "
            "one that does not; `none`: nowhere. OTLP gets records in any case."
        ),
    ] = ""
    file_path: Annotated[
        str,
        Meta(
            description="File that lines go to where `output` says `file`.",
            extra={"example": "/var/log/bext/app.log"},
        ),
    ] = ""
    max_line_kb: Annotated[
        int,
        Meta(
            ge=4,
            le=1024,
            description="How long a line is at most; of each message, field and stack trace it shows 16 kB.",
            extra={"unit": "kilobytes"},
        ),
    ] = 64
    requests: Annotated[bool, Meta(description="One line at the end of each request.")] = True
    send_request_id: Annotated[
        bool,
        Meta(
            description="Send the `request_id` of a request's entries back as `X-Request-Id`, unless the "
            "application sends one."
        ),
    ] = False
    slow_request_ms: Annotated[
        float,
        Meta(
            ge=0,
            le=_DAY * 1000,
            description="From where a request's line is a warning.",
            extra={"unit": "milliseconds"},
        ),
    ] = 500.0
    slow_routes: Annotated[
        Mapping[str, Milliseconds],
        Meta(
            description="`[logging.slow_routes]`: the same by route, as lines show it; comes before that of "
            "the app."
        ),
    ] = {}
    baggage: Annotated[
        tuple[PoolPattern, ...],
        Meta(
            description="Keys of baggage that lines show as fields, of requests whose baggage counts.",
            extra={"example": ["tenant"], "expected": "keys of baggage"},
        ),
    ] = ()
    span_fields: Annotated[
        tuple[PoolPattern, ...],
        Meta(
            description="Names of fields (`bext_otel.bind`) that the current span shows, and the request's.",
            extra={"example": ["tenant"], "expected": "names of fields"},
        ),
    ] = ()
    task_fields: Annotated[
        tuple[PoolPattern, ...],
        Meta(
            description="Names of fields that Celery tasks have from who starts them: in the message, and on "
            "the lines of a worker that has this setting too.",
            extra={"example": ["tenant"], "expected": "names of fields"},
        ),
    ] = ()
    filters: Annotated[
        Mapping[str, Level], Meta(description="`[logging.filters]`: least level by logger name.")
    ] = {}
    rotate: Annotated[bool, Meta(description="Rotate the log file by size.")] = False
    rotate_max_size_mb: Annotated[
        int, Meta(ge=1, le=2**20, description="Size at which it is rotated.", extra={"unit": "megabytes"})
    ] = 100
    rotate_max_files: Annotated[
        int, Meta(ge=1, le=10_000, description="How many rotated files are kept.", extra={"unit": "files"})
    ] = 5
    rotate_when: Annotated[
        Literal["", "hourly", "midnight"],
        Meta(
            description="Rotate the log file at the first line of each hour, or day, of local time; empty: "
            "at no time."
        ),
    ] = ""
    rotate_max_days: Annotated[
        int,
        Meta(
            ge=0,
            le=36_500,
            description="For how long rotated files are kept; 0: as long as their number allows.",
            extra={"unit": "days", "example": 14},
        ),
    ] = 0
    rotate_compress: Annotated[
        bool, Meta(description="Compress rotated files with gzip, at once and by a thread.")
    ] = False


class RedactionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[redaction]`: what is taken out of every signal beside passwords, tokens, keys, cookies and card
    numbers, which are by themselves."""

    names: Annotated[
        tuple[FieldName, ...],
        Meta(
            description="Names of fields, attributes, headers and parameters whose values are hidden, "
            "whatever they are written like (`customerNo` is `customer_no`); `*` stands for anything.",
            extra={"example": ["customer_no", "iban*"]},
        ),
    ] = ()
    patterns: Annotated[
        tuple[Pattern, ...],
        Meta(
            description="Regular expressions; what they match in any text is hidden. They are RE2's where "
            "google-re2 is installed (the extra `redaction`); without it only those count that can be "
            "matched in one way. The variable separates them by commas.",
            extra={"example": ["cust-[0-9]{8}"]},
        ),
    ] = ()
    allow: Annotated[
        tuple[FieldName, ...],
        Meta(
            description="Names whose values are left as they are, where something is taken for a secret that "
            "is none.",
            extra={"example": ["order_token", "idempotency_key"]},
        ),
    ] = ()
    callback: Annotated[
        str,
        Meta(
            pattern=r"^(?:[\w.]+:[\w.]+)?$",
            description="Function that is asked with a name and a value, for each that the other rules "
            "leave: where it answers with true, the value is hidden.",
            extra={"expected": "module:function", "example": "shop.privacy:hides"},
        ),
    ] = ""


class AccessSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[logging.access]`: the entries of requests, as `[logging] requests` asks for them."""

    format: Annotated[
        Literal["json", "combined"],
        Meta(
            description="Form of a line: that of other lines (`[logging] format`), or Apache's `combined`, "
            "with the client's address, the query (without its secrets), Referer and User-Agent."
        ),
    ] = "json"
    output: Annotated[
        Literal["", "stdout", "stderr", "file", "none"],
        Meta(
            description="Where they go; empty: where other lines do; `none`: nowhere, but OTLP. Slow and "
            "failed requests are told among other lines in any case."
        ),
    ] = ""
    path: Annotated[
        str,
        Meta(
            description='File that `output = "file"` writes to, another than `[logging] file_path`.',
            extra={"example": "/var/log/bext/access.log"},
        ),
    ] = ""
    excluded_paths: Annotated[
        tuple[EndpointPath, ...],
        Meta(
            description="Paths of which nothing is told, unless such a request is slow or fails; one that "
            "ends in `*` is the beginning of paths.",
            extra={"example": ["/ping", "/internal/*"]},
        ),
    ] = (
        "/metrics",
        "/health",
        "/health/*",
        "/__bext/*",
        "/debug/bext/*",
        "/healthz",
        "/livez",
        "/readyz",
        "/-/healthy",
        "/-/ready",
        "/ping",
        "/up",
    )
    sampling: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="Share of requests that succeeded (a status below 400) of which something is told, "
            "by whole traces; slow ones are told in any case.",
        ),
    ] = 1.0
    rotate: Annotated[
        bool,
        Meta(description="Rotate this file by size. This and what follows: if not set, as `[logging]` says."),
    ] = False
    rotate_max_size_mb: Annotated[
        int, Meta(ge=1, le=2**20, description="Size at which it is rotated.", extra={"unit": "megabytes"})
    ] = 100
    rotate_max_files: Annotated[
        int, Meta(ge=1, le=10_000, description="How many rotated files are kept.", extra={"unit": "files"})
    ] = 5
    rotate_when: Annotated[
        Literal["", "hourly", "midnight"],
        Meta(
            description="Rotate it at the first line of each hour, or day, of local time; empty: at no time."
        ),
    ] = ""
    rotate_max_days: Annotated[
        int,
        Meta(
            ge=0,
            le=36_500,
            description="For how long rotated files are kept; 0: as long as their number allows.",
            extra={"unit": "days", "example": 14},
        ),
    ] = 0
    rotate_compress: Annotated[
        bool, Meta(description="Compress rotated files with gzip, at once and by a thread.")
    ] = False


class CacheSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[cache]`: what the caches of the process are for; the bext server's own settings of this section are
    left alone."""

    layers: Annotated[
        Mapping[
            str,
            Annotated[
                Literal["isr", "fragment", "layout", "tenant", "unknown"], Meta(extra={"example": "isr"})
            ],
        ],
        Meta(
            description="`[cache.layers]`: layer of a cache by its name, which is a Django alias, a cached "
            "function, a class or module; "
            "a name that ends in `*` is the beginning of names, and of the keys by which redis-py counts as "
            "a cache."
        ),
    ] = {}
    redis_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=_DAY,
            description="How often a Redis that holds keys of `[cache.layers]` is asked how many and how "
            "large they are; 0: never.",
            extra={"unit": "seconds"},
        ),
    ] = 30.0


class Isolates(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[isolates]`: what counts as a render isolate; the bext server's own settings of this section are left
    alone."""

    pools: Annotated[
        tuple[PoolPattern, ...],
        Meta(
            description="Pools of concurrent.futures whose workers are isolates and whose tasks are "
            "renders: patterns, as of a shell, for "
            "a thread pool's `thread_name_prefix`; `processes` stands for every process pool. The variable "
            "separates them "
            "by commas; `as_isolates` opts in a pool in code.",
            extra={"example": ["render-*"]},
        ),
    ] = ()


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where one signal goes over OTLP: the complete URL (for `grpc` the address), and the protocol."""

    endpoint: str
    protocol: Protocol

    def __repr__(self) -> str:
        return f"Target(endpoint={redact_url(self.endpoint)!r}, protocol={self.protocol!r})"


class Exporters(msgspec.Struct, frozen=True, kw_only=True):
    """Who gets each signal.

    `traces`, `metrics` and `logs` name exporters (`otlp`, `console`; `prometheus` for metrics), nobody if
    empty. `targets` says where the signals that name `otlp` go. `prometheus` is False only where
    `OTEL_METRICS_EXPORTER` is given and leaves `prometheus` out. `has_lost_endpoint`: somebody named an
    endpoint that is none, and nothing is exported.
    """

    traces: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    logs: tuple[str, ...] = ()
    targets: Mapping[Signal, Target] = {}
    prometheus: bool = True
    has_lost_endpoint: bool = False


class TelemetrySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[telemetry]`: where telemetry goes."""

    disabled: Annotated[bool, Meta(description="No telemetry at all; health still answers.")] = False
    engine: Annotated[
        Literal["bext", "upstream"], Meta(description="Who measures: bext-otel, or the OpenTelemetry SDK.")
    ] = "bext"
    otlp_endpoint: Annotated[
        str,
        Meta(
            description="Where traces, metrics and logs are exported to; empty: nowhere.",
            extra={"expected": "an http:// or https:// URL with a host", "example": "http://127.0.0.1:4318"},
        ),
    ] = ""
    otlp_protocol: Annotated[Protocol, Meta(description="Protocol of the export.")] = "http/protobuf"
    service_name: Annotated[str, Meta(description="Name of the service.", extra={"example": "shop"})] = ""
    app_resolver: Annotated[
        str,
        Meta(
            pattern=r"^$|^[\w.]+:[\w.]+$",
            description="Function that maps a request's host and path to its app, instead of `[apps]`.",
            extra={"expected": '"module:function"', "example": "shop.telemetry:app_of"},
        ),
    ] = ""
    propagate_app_to: Annotated[
        tuple[HostName, ...],
        Meta(
            description="Hosts that are told the app of a call, as `bext.app` in its baggage; `*.` in front "
            "stands for any subdomain, "
            "`loopback` for this machine, `apps` for all of `[apps.NAME] hosts`. Nobody else is, and an "
            "unknown app is never told."
        ),
    ] = ("loopback", "apps")
    trust_parent: Annotated[
        tuple[Trusted, ...],
        Meta(
            description="Whose trace context and baggage count: everybody's, nobody's, or those of callers "
            "whose connection comes from one of these networks. Anybody else's trace is a link of the "
            "request's own, which is sampled as any that begins here, and their baggage ends here. One word "
            "or network needs no brackets; a wrong one trusts nobody.",
            extra=_TRUST,
        ),
    ] = ("all",)
    trust_proxies: Annotated[
        tuple[Trusted, ...],
        Meta(
            description="Whose `Forwarded`, else `X-Forwarded-For`, `-Host` and `-Proto`, say who the client "
            "is and what it asked for (`client.address`, `server.address`, `url.scheme`): nobody's, "
            "everybody's, or those of proxies whose connection comes from one of these networks.",
            extra=_TRUST,
        ),
    ] = ("none",)
    token: Annotated[
        str,
        Meta(
            pattern=r"^[!-~]*$",
            description="Bearer token for what is not for everybody, such as details of health on the "
            "application's own port; empty: not shown there.",
            extra={"secret": True, "expected": "printable ASCII characters without blanks"},
        ),
    ] = ""
    token_file: Annotated[
        str,
        Meta(
            description="File that holds such a token, read again when it changes; beside `token`, both are "
            "good.",
            extra={"example": "/run/secrets/bext-token"},
        ),
    ] = ""
    shutdown_timeout_seconds: Annotated[
        Timeout, Meta(description="How long the last export may hold up the exit of a process, in all.")
    ] = 3.0
    exporters: Exporters = Exporters()

    def __repr__(self) -> str:
        shown: dict[str, Any] = msgspec.structs.asdict(self)
        shown["token"] = SECRET if self.token else ""
        shown["otlp_endpoint"] = redact_url(self.otlp_endpoint)
        return f"Telemetry({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


class AppHealthSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[apps.NAME.health]`: when an app is not well, which degrades the service; shown at `apps/NAME` below
    `[health] path`."""

    max_error_rate: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="Share of the requests of the last minute that may fail with a status from 500 on; "
            "0: any.",
            extra={"example": 0.05},
        ),
    ] = 0.0
    max_p99_ms: Annotated[
        float,
        Meta(
            ge=0,
            le=_DAY * 1000,
            description="How long 99 of 100 recent requests may take at most; 0: any time.",
            extra={"unit": "milliseconds", "example": 1000},
        ),
    ] = 0.0
    min_requests: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            description="How many requests of the last minute make a share of them that counts.",
            extra={"unit": "requests", "example": 20},
        ),
    ] = 20
    checks: Annotated[
        tuple[CheckName, ...],
        Meta(description="Checks without which the app is not well.", extra={"example": ["database"]}),
    ] = ()


class AppSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[apps.NAME]`: one application of the process, and how its requests are recognised."""

    hosts: Annotated[
        tuple[HostName, ...],
        Meta(
            description="Host names, without port; `*.` in front stands for any subdomain.",
            extra={"example": ["shop.example"]},
        ),
    ] = ()
    paths: Annotated[
        tuple[PathPrefix, ...],
        Meta(description="Path prefixes, in whole segments.", extra={"example": ["/shop"]}),
    ] = ()
    mounts: Annotated[
        tuple[PathPrefix, ...],
        Meta(description="Paths where the app is mounted.", extra={"example": ["/shop"]}),
    ] = ()
    routes: Annotated[
        tuple[Template, ...],
        Meta(
            description="Templates of whole paths, for requests whose route no framework tells; the first "
            "that matches is the route.",
            extra={"example": ["/{database}", "/{database}/{table}", "/static/{file:path}"]},
        ),
    ] = ()
    log_level: Annotated[
        Literal["", Level],
        Meta(description="Least level that is logged for this app; empty: as `[logging] level`."),
    ] = ""
    log_bodies: Annotated[
        bool,
        Meta(
            description="At level trace, log what requests of this app and their answers hold: text only, at "
            "most 4 kB of each, redacted."
        ),
    ] = False
    slow_request_ms: Annotated[
        float,
        Meta(
            ge=-1,
            le=_DAY * 1000,
            description="From where a request's line is a warning; -1: as `[logging] slow_request_ms`.",
            extra={"unit": "milliseconds"},
        ),
    ] = -1.0
    trust_parent: Annotated[
        tuple[Trusted, ...],
        Meta(
            description="Whose trace context and baggage count in requests of this app; not set: as "
            "`[telemetry] trust_parent`.",
            extra=_TRUST,
        ),
    ] = ()
    version: Annotated[str, Meta(description="Version shown by health.", extra={"example": "1.4.2"})] = ""
    status: Annotated[
        Literal["running", "stopped", "deploying", "failed", "draining"],
        Meta(description="Status that health shows at first."),
    ] = "running"
    health: Annotated[
        AppHealthSettings, Meta(description="`[apps.NAME.health]`: when the app is not well.")
    ] = AppHealthSettings()


Ratio = Annotated[float, Meta(ge=0, le=1)]
Window = Annotated[float, Meta(ge=1, le=7 * _DAY, extra={"unit": "seconds"})]
LabelPattern = Annotated[
    str, Meta(extra={"expected": 'a regular expression, e.g. "5.."', "check": _is_pattern})
]
LabelText = Annotated[str, Meta(extra={"expected": 'a text, e.g. "payments"'})]


class AlertRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[alerts.rules.NAME]`: one rule; the name of a shipped one changes that."""

    kind: Annotated[
        Literal["threshold", "rate", "ratio", "absence", "burn_rate", "anomaly"],
        Meta(
            description="What is looked at: a value; its increase a second; `metric` over `of`, in the "
            "window; whether there is no such series; a ratio over the windows of the SRE workbook; what "
            "nothing led to expect (docs/anomalies.md)."
        ),
    ] = "threshold"
    metric: Annotated[
        str, Meta(description="Name on `/metrics`.", extra={"example": "bext_requests_total"})
    ] = ""
    of: Annotated[
        tuple[Annotated[str, Meta(extra={"expected": "a metric's name"})], ...],
        Meta(
            description="What a ratio is of: the sum of these; empty: all of `metric`, without `match`.",
            extra={"example": ["bext_cache_hits_total", "bext_cache_misses_total"]},
        ),
    ] = ()
    match: Annotated[
        Mapping[str, LabelPattern],
        Meta(description="Which series: labels whose whole value matches."),
    ] = {}
    quantile: Annotated[Ratio, Meta(description="Of a summary: 0.5, 0.9, 0.95 or 0.99; 0: none.")] = 0.0
    by: Annotated[
        tuple[Annotated[str, Meta(extra={"expected": "a label's name"})], ...],
        Meta(description="Labels to tell alerts apart by.", extra={"example": ["app", "route"]}),
    ] = ()
    comparison: Annotated[
        Literal["above", "below"], Meta(description="On which side of `limit` it is worth an alert.")
    ] = "above"
    limit: Annotated[
        float, Meta(description="The limit itself is none.", ge=-1e15, le=1e15, extra={"example": 0.05})
    ] = 0.0
    window_seconds: Annotated[
        Window, Meta(description="What a rate or a ratio looks back on; how long an anomaly fires.")
    ] = 300.0
    for_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=7 * _DAY,
            description="How long it must hold before it fires.",
            extra={"unit": "seconds"},
        ),
    ] = 0.0
    minimum: Annotated[
        float,
        Meta(ge=0, le=1e15, description="Events of `of` in the window below which a ratio says nothing."),
    ] = 1.0
    objective: Annotated[Ratio, Meta(description="Of a burn rate: the share that is to be good.")] = 0.999
    severity: Annotated[
        Literal["info", "warning", "critical"], Meta(description="The alert's label `severity`.")
    ] = "warning"
    labels: Annotated[
        Mapping[str, LabelText], Meta(description="Labels of the alert, beside those of `by`.")
    ] = {}
    description: Annotated[str, Meta(description="For people.")] = ""
    runbook_url: Annotated[
        str,
        Meta(description="Where it says what to do.", extra={"example": "https://runbooks.example/errors"}),
    ] = ""
    enabled: Annotated[bool, Meta(description="Evaluate it.")] = True


class AlertReceiver(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[alerts.receivers.NAME]`: who is told of alerts, beside the log."""

    kind: Annotated[
        Literal["webhook", "alertmanager", "slack", "command", "python"],
        Meta(
            description="What it is: JSON to any address; Alertmanager's API v2; Slack's incoming webhook; a "
            "program that reads the JSON; a function of the application's."
        ),
    ] = "webhook"
    url: Annotated[
        str,
        Meta(
            description="Where it is. Never shown, as it may be a key.",
            extra={"secret": True, "expected": "an http:// or https:// URL with a host"},
        ),
    ] = ""
    secret: Annotated[
        str,
        Meta(
            description="Signs what a webhook is sent, with its time: HMAC-SHA256.",
            extra={"secret": True, "expected": "a text"},
        ),
    ] = ""
    command: Annotated[
        tuple[Annotated[str, Meta(extra={"expected": "a text"})], ...],
        Meta(description="Program and arguments.", extra={"example": ["/usr/local/bin/page", "--stdin"]}),
    ] = ()
    function: Annotated[
        str,
        Meta(description="`module:function`, called with a list of alerts.", extra={"example": "shop:page"}),
    ] = ""
    severity: Annotated[
        Literal["info", "warning", "critical"], Meta(description="The least severity that it is told of.")
    ] = "info"
    timeout_seconds: Annotated[Timeout, Meta(description="How long a try may take.")] = 5.0
    cooldown_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=_DAY,
            description="How long after it was told that an alert fires it is not told that the same one "
            "fires again.",
            extra={"unit": "seconds"},
        ),
    ] = 300.0

    def __repr__(self) -> str:
        """Without what is secret."""
        secrets = {name: SECRET for name in ("url", "secret") if getattr(self, name)}
        shown = {**msgspec.structs.asdict(self), **secrets}
        return f"AlertReceiver({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


class AlertSilence(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[alerts.silences.NAME]`: alerts that receivers are not told of; they are logged."""

    match: Annotated[
        Mapping[str, LabelPattern], Meta(description="Labels of the alert whose whole value matches.")
    ] = {}
    until: Annotated[
        str,
        Meta(
            description="When it ends; without one, there is no silence.",
            extra={
                "expected": 'a time as text, e.g. "2030-01-31T18:00:00Z"',
                "check": lambda text: not text or _is_time(text),
            },
        ),
    ] = ""


class AlertsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[alerts]`: rules over the service's metrics, evaluated by one of its processes."""

    enabled: Annotated[bool, Meta(description="Evaluate the rules, and log what fires and resolves.")] = True
    interval_seconds: Annotated[Seconds, Meta(description="How often.")] = 15.0
    shipped: Annotated[
        bool, Meta(description="Have the rules that come with bext-otel; `bext-otel alerts list` shows them.")
    ] = True
    rules: Annotated[Mapping[str, AlertRule], Meta(description="`[alerts.rules.NAME]`: rules by name.")] = {}
    receivers: Annotated[
        Mapping[str, AlertReceiver], Meta(description="`[alerts.receivers.NAME]`: who is told, by name.")
    ] = {}
    silences: Annotated[
        Mapping[str, AlertSilence],
        Meta(description="`[alerts.silences.NAME]`: what receivers are not told of, by name."),
    ] = {}


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting, validated."""

    metrics: MetricsSettings = MetricsSettings()
    health: HealthSettings = HealthSettings()
    endpoints: EndpointsSettings = EndpointsSettings()
    logging: LoggingSettings = LoggingSettings()
    access: AccessSettings = AccessSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    cache: CacheSettings = CacheSettings()
    isolates: Isolates = Isolates()
    redaction: RedactionSettings = RedactionSettings()
    alerts: AlertsSettings = AlertsSettings()
    alert_rules: Mapping[str, Mapping[str, Any]] = {}
    """What is said of each rule by name, checked key by key; a shipped one is the rest of it."""
    apps: Mapping[str, AppSettings] = {}


SECTIONS: Mapping[str, type[msgspec.Struct]] = {
    "metrics": MetricsSettings,
    "health": HealthSettings,
    "endpoints": EndpointsSettings,
    "logging": LoggingSettings,
    ACCESS: AccessSettings,
    "telemetry": TelemetrySettings,
    "cache": CacheSettings,
    "isolates": Isolates,
    "redaction": RedactionSettings,
    "alerts": AlertsSettings,
}
"""Our sections of the file, but for `[apps.NAME]`."""

NAMED: Mapping[tuple[str, ...], str] = {
    (APPS,): "an app",
    ("health", "checks"): "a check",
    ("health", "groups"): "a group",
    ("alerts", "rules"): "a rule",
    ("alerts", "receivers"): "a receiver",
    ("alerts", "silences"): "a silence",
}
"""Tables whose entries are tables of settings, and what an entry of them is."""

SHARED = frozenset({"cache", "isolates"})
"""Sections in which the bext server has settings of its own: a key that we do not know is one of those."""
