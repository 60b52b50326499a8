"""Layers of settings: who wins, what is said of what is wrong, and what happens then."""

from __future__ import annotations

import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bext_otel.config import AppSettings, Config, Loaded, load
from bext_otel.config.model import Exporters, TelemetrySettings
from bext_otel.errors import ConfigError

SnapshotReader = Callable[..., Loaded]

TOKEN = "correct-horse-battery"


@pytest.fixture
def read(tmp_path: Path) -> SnapshotReader:
    """Reads settings from this text as the file, these variables, and nothing of the machine."""

    def reading(text: str = "", explicit: dict[str, Any] | None = None, **environ: str) -> Loaded:
        (tmp_path / "bext.config.toml").write_text(text, encoding="utf-8")
        return load(explicit, environ=environ, cwd=tmp_path)

    return reading


def from_code(explicit: dict[str, Any]) -> Config:
    return load(explicit, environ={}, cwd=Path("/nonexistent")).config


def test_without_any_source_everything_is_default(tmp_path: Path) -> None:
    assert Loaded(Config(), (), "") == load(environ={}, cwd=tmp_path)


def test_an_empty_file_changes_nothing(read: SnapshotReader) -> None:
    assert Config() == read("").config


def test_the_file_says_which_it_was(read: SnapshotReader, tmp_path: Path) -> None:
    assert str(tmp_path / "bext.config.toml") == read("").source


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([], 9464),
        (["file"], 1),
        (["file", "bext"], 2),
        (["file", "bext", "otel"], 3),
        (["file", "bext", "otel", "explicit"], 4),
        (["file", "otel"], 3),
        (["bext", "explicit"], 4),
    ],
)
def test_each_layer_comes_before_those_below(read: SnapshotReader, layers: list[str], expected: int) -> None:
    """Explicit arguments, OTEL_*, BEXT_*, the file, defaults."""
    text = "[metrics]\nport = 1" if "file" in layers else ""
    environ = {"BEXT_METRICS_PORT": "2"} if "bext" in layers else {}
    if "otel" in layers:
        environ["OTEL_EXPORTER_PROMETHEUS_PORT"] = "3"
    loaded = read(text, {"metrics": {"port": 4}} if "explicit" in layers else None, **environ)
    assert (expected, ()) == (loaded.config.metrics.port, loaded.warnings)


def test_layers_of_a_table_add_up(read: SnapshotReader) -> None:
    loaded = read(
        "[metrics.budgets]\nroute = 10\napp = 11",
        {"metrics": {"budgets": {"plugin": 13}}},
        BEXT_METRICS_BUDGETS="app=12",
    )
    assert ({"route": 10, "app": 12, "plugin": 13}, ()) == (loaded.config.metrics.budgets, loaded.warnings)


def test_layers_of_an_app_add_up(read: SnapshotReader) -> None:
    loaded = read('[apps.shop]\nhosts = ["shop.example"]', {"apps": {"shop": {"version": "2"}}})
    assert {"shop": AppSettings(hosts=("shop.example",), version="2")} == loaded.config.apps


def test_an_app_of_which_nothing_is_said_exists(read: SnapshotReader) -> None:
    assert {"shop": AppSettings()} == read("[apps.shop]").config.apps


def test_apps_keep_the_order_of_the_file(read: SnapshotReader) -> None:
    assert ["b", "a", "c"] == list(read("[apps.b]\n[apps.a]\n[apps.c]").config.apps)


def test_every_section_of_the_file_is_read(read: SnapshotReader) -> None:
    loaded = read(
        """
        [metrics]
        mount = true
        window_seconds = 60
        [health]
        timeout_seconds = 0.5
        [logging]
        level = "WARNING"
        format = "pretty"
        filters = { "shop.db" = "debug" }
        [telemetry]
        engine = "upstream"
        otlp_endpoint = "http://127.0.0.1:4318"
        token = "abc"
        [apps.api]
        paths = ["/api"]
        log_level = "debug"
        """
    )
    config = loaded.config
    assert () == loaded.warnings
    assert (True, 60.0) == (config.metrics.mount, config.metrics.window_seconds)
    assert 0.5 == config.health.timeout_seconds
    assert ("warn", "pretty", {"shop.db": "debug"}) == (
        config.logging.level,
        config.logging.format,
        config.logging.filters,
    )
    assert ("upstream", "abc") == (config.telemetry.engine, config.telemetry.token)
    assert AppSettings(paths=("/api",), log_level="debug") == config.apps["api"]


WRONG = [
    (
        "[metrics]\nport = 70000",
        "[metrics] port = 70000: expected a whole number from 0 to 65535, e.g. 9464; using 9464",
    ),
    (
        "[metrics]\nport = true",
        "[metrics] port = True: expected a whole number from 0 to 65535, e.g. 9464; using 9464",
    ),
    ('[metrics]\nenabled = "yes"', "[metrics] enabled = 'yes': expected true or false; using True"),
    (
        "[metrics]\ntick_seconds = nan",
        "[metrics] tick_seconds = nan: expected a number of seconds from 0.01 to 60, e.g. 1; using 1.0",
    ),
    (
        "[metrics]\ntick_seconds = inf",
        "[metrics] tick_seconds = inf: expected a number of seconds from 0.01 to 60, e.g. 1; using 1.0",
    ),
    (
        "[logging]\nslow_request_ms = -1",
        (
            "[logging] slow_request_ms = -1: expected a number of milliseconds from 0 to 86400000, e.g. 500; "
            "using 500.0"
        ),
    ),
    (
        '[logging]\nlevel = "loud"',
        (
            '[logging] level = \'loud\': expected one of "trace", "debug", "info", "warn", "error"; treated as '
            "not set"
        ),
    ),
    (
        "[logging]\nlevel = 1979-05-27",
        '[logging] level = datetime.date(1979, 5, 27): expected one of "trace", ',
    ),
    (
        '[health]\npath = "health"',
        (
            '[health] path = \'health\': expected a path that starts with "/" and holds no blank, "?" or "#", '
            "e.g. "
        ),
    ),
    (
        '[telemetry]\notlp_endpoint = "not a URL"',
        "[telemetry] otlp_endpoint = 'not a URL': expected an http:// or https:// URL with a host, e.g. ",
    ),
    (
        "[telemetry]\nservice_name = 3",
        '[telemetry] service_name = 3: expected a text, e.g. "shop"; treated as not set',
    ),
    (
        '[logging]\noutput = "file"',
        "[logging] output = 'file': expected [logging] file_path to say which file, e.g. ",
    ),
    ('[logging]\noutput = ["stdout", "syslog"]', "[logging] output = ['stdout', 'syslog']: expected one of "),
    ('[logging]\nrotate_when = "daily"', "[logging] rotate_when = 'daily': expected one of "),
    ("[logging.filters]\nshop = 1", '[logging.filters] shop = 1: expected one of "trace", '),
    ('logging = "loud"', "[logging]: expected a table, not str; ignored"),
    ("[metrics]\nbudgets = 3", "[metrics.budgets]: expected a table, not int; ignored"),
    ("[apps]\nshop = 3", "[apps.shop]: expected a table, not int; ignored"),
    (
        "[metrics.budgets]\nroute = 0",
        "[metrics.budgets] route = 0: expected a whole number of values from 1 to 1000000, e.g. 200; ",
    ),
    (
        "[metrics.budgets]\nroutes = 5",
        "[metrics.budgets] routes: no metric has a label of this name; did you mean route?; ignored",
    ),
    (
        '[apps.shop]\nhosts = "shop.example"',
        "[apps.shop] hosts = 'shop.example': expected a list, e.g. [\"shop.example\"]; treated as not set",
    ),
    (
        '[apps.shop]\nhosts = ["https://shop.example/"]',
        (
            "[apps.shop] hosts[0] = 'https://shop.example/': expected a host name without scheme or path, e.g. "
            '"shop.example"; ignored'
        ),
    ),
    (
        '[apps.shop]\npaths = ["shop"]',
        "[apps.shop] paths[0] = 'shop': expected a path that starts with \"/\"",
    ),
    (
        '[apps.a]\nhosts = ["x"]\n[apps.b]\nhosts = ["X"]',
        "[apps.b] hosts: host 'X' belongs to [apps.a] already; give each app its own",
    ),
    (
        '[apps.a]\npaths = ["/x"]\n[apps.b]\nmounts = ["/x/"]',
        "[apps.b] mounts: path '/x/' belongs to [apps.a] already; give each app its own",
    ),
    ("[logging]\nlevle = 1", "[logging] levle: no such setting; did you mean level?"),
    ("[apps.shop]\nhost = 1", "[apps.shop] host: no such setting; did you mean hosts?"),
    (
        "[telemetry]\nexporters = 1",
        "[telemetry] exporters: no such setting; known are app_resolver, disabled, engine, ",
    ),
    (
        '[health]\npath = "/metrics"',
        "[health] path = '/metrics': expected another path than that of the other endpoint; using '/health'",
    ),
    (
        '[metrics]\npath = "/health"',
        "[metrics] path = '/health': expected another path than that of the other endpoint; using '/metrics'",
    ),
    ('[apps."we\\nird"]\nx = 1', '[apps."we\\nird"] x: no such setting; known are '),
]


@pytest.mark.parametrize(("text", "line"), WRONG)
def test_what_is_wrong_in_the_file_is_one_line_and_the_default(
    read: SnapshotReader, text: str, line: str
) -> None:
    """The line names the setting, the value and the remedy; nothing is raised."""
    loaded = read(text)
    assert 1 == len(loaded.warnings)
    assert line == loaded.warnings[0][: len(line)]
    assert [] == loaded.warnings[0].splitlines()[1:]
    # That nothing is exported for it, health tells.
    exporters = Exporters(has_lost_endpoint="otlp_endpoint" in text)
    assert Config(telemetry=TelemetrySettings(exporters=exporters)) == Config(
        metrics=loaded.config.metrics,
        health=loaded.config.health,
        logging=loaded.config.logging,
        telemetry=loaded.config.telemetry,
    )


def test_both_endpoints_on_one_path_leaves_the_one_that_can_stay(read: SnapshotReader) -> None:
    loaded = read('[metrics]\npath = "/health"\n[health]\npath = "/health"')
    assert ("/metrics", "/health", 1) == (
        loaded.config.metrics.path,
        loaded.config.health.path,
        len(loaded.warnings),
    )


def test_a_path_given_in_code_stays_where_the_file_claims_it_too(read: SnapshotReader) -> None:
    loaded = read('[metrics]\npath = "/x"', {"health": {"path": "/x"}})
    assert ("/metrics", "/x", 1) == (
        loaded.config.metrics.path,
        loaded.config.health.path,
        len(loaded.warnings),
    )


def test_a_wrong_value_leaves_what_the_layer_below_says(read: SnapshotReader) -> None:
    loaded = read("[metrics]\nport = 1234", BEXT_METRICS_PORT="many")
    assert 1234 == loaded.config.metrics.port
    assert (
        "BEXT_METRICS_PORT='many': expected a whole number from 0 to 65535, e.g. 9464; using 1234",
    ) == loaded.warnings


def test_a_wrong_endpoint_leaves_the_one_of_the_file(read: SnapshotReader) -> None:
    loaded = read(
        '[telemetry]\notlp_endpoint = "http://collector:4318"', OTEL_EXPORTER_OTLP_ENDPOINT="collector"
    )
    assert ("http://collector:4318", 1) == (loaded.config.telemetry.otlp_endpoint, len(loaded.warnings))


def test_the_right_elements_of_a_list_stay(read: SnapshotReader) -> None:
    loaded = read('[apps.shop]\nhosts = ["shop.example", 3, "a b"]')
    assert (("shop.example",), 2) == (loaded.config.apps["shop"].hosts, len(loaded.warnings))


def test_sections_of_others_are_none_of_our_business(read: SnapshotReader) -> None:
    assert () == read('[server]\nport = 1\n[tls]\ncert = "x"\n[waf.rules]\nx = []').warnings


def test_a_thousand_wrong_settings_are_not_a_thousand_lines(read: SnapshotReader) -> None:
    loaded = read("[logging]\n" + "\n".join(f"x{number} = 1" for number in range(1000)))
    assert (101, "900 more settings are wrong; correct these first") == (
        len(loaded.warnings),
        loaded.warnings[-1],
    )


EXPLICIT_WRONG: list[tuple[dict[str, Any], str]] = [
    (
        {"logging": {"slow_request_ms": "fast"}},
        "[logging] slow_request_ms = 'fast': expected a number of milliseconds from 0",
    ),
    ({"logging": {"level": None}}, "[logging] level = None: expected one of"),
    ({"logging": {"levle": "info"}}, "[logging] levle: no such setting; did you mean level?"),
    ({"loging": {}}, "[loging]: no such setting; did you mean logging?"),
    ({"logging": "info"}, "[logging]: expected a table, not str"),
    ({"metrics": {"port": "9464"}}, "[metrics] port = '9464': expected a whole number"),
    (
        {"metrics": {"budgets": {"rote": 3}}},
        "[metrics.budgets] rote: no metric has a label of this name; did you mean route?",
    ),
    (
        {"telemetry": {"otlp_endpoint": "collector:4317"}},
        "[telemetry] otlp_endpoint = 'collector:4317': expected an http:// or https:// URL",
    ),
    ({"apps": {"": {}}}, "[apps]: '' is no name of an app"),
    ({"apps": {7: {}}}, "[apps]: 7 is no name of an app"),
    ({"apps": {"shop": {"hosts": ["a/b"]}}}, "[apps.shop] hosts[0] = 'a/b': expected a host name"),
    (
        {"apps": {"shop": {"hosts": ["a"]}, "api": {"hosts": ["a"]}}},
        "[apps.api] hosts: host 'a' belongs to [apps.shop] already",
    ),
    ({"logging": {"output": "file"}}, "[logging] output = 'file': expected [logging] file_path"),
    (
        {"endpoints": {"key_file": "/k.pem"}},
        "[endpoints] key_file = '/k.pem': expected [endpoints] certificate_file beside it",
    ),
    (
        {"telemetry": {"service_name": "a\0b"}},
        "[telemetry] service_name = 'a\\x00b': expected text in UTF-8, without NUL",
    ),
    (
        {"telemetry": {"service_name": "\udc80"}},
        "[telemetry] service_name = '\\udc80': expected text in UTF-8, without NUL",
    ),
]


@pytest.mark.parametrize(("explicit", "message"), EXPLICIT_WRONG)
def test_what_is_wrong_in_code_is_raised(explicit: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        from_code(explicit)
    assert message == str(raised.value)[: len(message)]


def test_code_may_give_structs_and_paths() -> None:
    config = from_code(
        {
            "logging": {"output": "file", "file_path": Path("/tmp/app.log")},
            "apps": {"shop": AppSettings(hosts=("shop.example",))},
        }
    )
    assert ("/tmp/app.log", {"shop": AppSettings(hosts=("shop.example",))}) == (
        config.logging.file_path,
        config.apps,
    )


def test_the_token_is_never_shown(read: SnapshotReader) -> None:
    """Neither in any repr, nor in a line about a wrong token, a wrong name for it, or a wrong endpoint that
    holds it."""
    right = read(BEXT_TELEMETRY_TOKEN=TOKEN)
    assert TOKEN == right.config.telemetry.token
    endpoint = f"htp://user:{TOKEN}@collector?token={TOKEN}"
    wrong = [
        read(f'[telemetry]\ntoken = "{TOKEN} x"'),
        read(f'[telemetry]\ntoken = ["{TOKEN}"]'),
        read(f'[telemetry]\ntokn = "{TOKEN}"'),
        read(f'telemetry = "{TOKEN}"'),
        read(f'[logging]\nlevel = {{ token = "{TOKEN}" }}'),
        read(BEXT_TELEMETRY_TOKEN=f"{TOKEN} x"),
        read(BEXT_TELEMETRY_TOKN=TOKEN),
        read(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint),
        read(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=endpoint),
    ]
    assert [1] * len(wrong) == [len(loaded.warnings) for loaded in wrong]
    assert [] == [loaded for loaded in (right, *wrong) if TOKEN in repr(loaded)]


def test_a_wrong_token_in_code_is_not_shown_either() -> None:
    with pytest.raises(ConfigError, match=r"token = \*\*\*: expected") as raised:
        from_code({"telemetry": {"token": f"{TOKEN} x"}})
    assert TOKEN not in str(raised.value)


def test_an_endpoint_is_shown_without_its_secrets() -> None:
    config = from_code({"telemetry": {"otlp_endpoint": f"https://user:{TOKEN}@collector/?token={TOKEN}"}})
    assert TOKEN in config.telemetry.otlp_endpoint
    assert TOKEN not in repr(config)


KEYS = (
    st.sampled_from(
        [
            "metrics",
            "health",
            "logging",
            "telemetry",
            "apps",
            "path",
            "level",
            "hosts",
            "budgets",
            "token",
            "port",
        ]
    )
    | st.text()
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)  # a busy machine is no failure
@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_code_gets_settings_or_a_config_error(explicit: dict[str, Any]) -> None:
    """Nothing else is ever raised."""
    try:
        config = from_code(explicit)
    except ConfigError as error:
        assert str(error).isprintable()  # noqa: PT017  # any message is right
    else:
        assert config == from_code(explicit)


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.dictionaries(
        st.sampled_from(
            [
                *(
                    "OTEL_SDK_DISABLED",
                    "OTEL_SERVICE_NAME",
                    "OTEL_RESOURCE_ATTRIBUTES",
                    "OTEL_METRIC_EXPORT_INTERVAL",
                ),
                *(
                    "OTEL_EXPORTER_OTLP_ENDPOINT",
                    "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
                    "OTEL_EXPORTER_OTLP_PROTOCOL",
                ),
                *(
                    "OTEL_METRICS_EXPORTER",
                    "OTEL_TRACES_EXPORTER",
                    "OTEL_EXPORTER_PROMETHEUS_PORT",
                    "BEXT_CONFIG",
                ),
                *(
                    "BEXT_METRICS_BUDGETS",
                    "BEXT_LOGGING_LEVEL",
                    "BEXT_LOGGING_SLOW_REQUEST_MS",
                    "BEXT_METRICS_MOUNT",
                ),
            ]
        )
        | st.text(string.ascii_uppercase + "_", min_size=1).map("BEXT_LOGGING_".__add__),
        st.text(st.characters(blacklist_characters="\0")),
    )
)
def test_no_environment_raises(environ: dict[str, str]) -> None:
    loaded = load(environ=environ, cwd=Path("/nonexistent"))
    assert all(line.isprintable() for line in loaded.warnings)


@settings(deadline=None)  # a busy machine is no failure
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_file_raises(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("settings")
    (folder / "bext.config.toml").write_bytes(content)
    assert all(line.isprintable() for line in load(environ={}, cwd=folder).warnings)


def test_the_level_of_our_own_lines() -> None:
    """`OTEL_LOG_LEVEL` is that of the SDK's own log, which is upstream's and ours."""
    loaded = load(
        environ={"OTEL_LOG_LEVEL": "WARNING", "BEXT_LOGGING_FILTERS": "bext_otel=debug,shop=info"},
        cwd=Path("/nonexistent"),
    )
    assert ({"opentelemetry": "warn", "bext_otel": "warn", "shop": "info"}, ()) == (
        loaded.config.logging.filters,
        loaded.warnings,
    )


@pytest.mark.parametrize("output", ['"stdout,file"', '"file, STDOUT"', '["file", "stdout"]'])
def test_several_outputs_are_named_in_any_order_and_in_either_form(read: SnapshotReader, output: str) -> None:
    loaded = read(f'[logging]\noutput = {output}\nfile_path = "/var/log/app.log"\n')
    assert ("stdout,file", ()) == (loaded.config.logging.output, loaded.warnings)


def test_without_a_path_the_file_is_left_out_of_several_outputs(read: SnapshotReader) -> None:
    loaded = read('[logging]\noutput = ["stderr", "file"]\n')
    line = "[logging] output = 'stderr,file': expected [logging] file_path to say which file, e.g. "
    assert ("stderr", [line]) == (
        loaded.config.logging.output,
        [each[: len(line)] for each in loaded.warnings],
    )
