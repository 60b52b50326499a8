"""Variables: standard ones keep their meaning and unit, BEXT_SECTION_KEY is [section] key."""

from __future__ import annotations

from pathlib import Path

import pytest

from bext_otel.config import Config, Loaded, load
from bext_otel.config.environment import STANDARD, variable
from bext_otel.config.fields import fields_of
from bext_otel.config.model import SECTIONS


def read(**environ: str) -> Loaded:
    return load(environ=environ, cwd=Path("/nonexistent"))


def test_every_setting_has_a_variable() -> None:
    """Each accepts its own default, written as text."""
    for section, struct in SECTIONS.items():
        for key, field in fields_of(struct).items():
            if not field.is_table and field.struct is None and field.default not in ("", ()):
                assert Loaded(Config(), (), "") == read(**{variable(section, key): str(field.default)})


@pytest.mark.parametrize("word", ["true", "TRUE", "1", "yes", "Yes", "on", " true "])
def test_booleans_that_are_true(word: str) -> None:
    loaded = read(BEXT_METRICS_MOUNT=word)
    assert (True, ()) == (loaded.config.metrics.mount, loaded.warnings)


@pytest.mark.parametrize("word", ["false", "False", "0", "no", "OFF"])
def test_booleans_that_are_false(word: str) -> None:
    loaded = read(BEXT_METRICS_ENABLED=word)
    assert (False, ()) == (loaded.config.metrics.enabled, loaded.warnings)


@pytest.mark.specification(
    "Beyond the rows", "Environment: any other word than `true` is false, with a warning"
)
def test_another_word_is_no_boolean() -> None:
    loaded = read(BEXT_METRICS_MOUNT="maybe")
    assert ("BEXT_METRICS_MOUNT='maybe': expected true or false; using False",) == loaded.warnings


@pytest.mark.parametrize("number", ["1e3", "5.0", "0x10", "1_000", "٣", ""])
def test_what_only_looks_like_a_whole_number_is_none(number: str) -> None:
    assert 9464 == read(BEXT_METRICS_PORT=number).config.metrics.port


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e999", "0", "-1", "fast"])
def test_no_interval_is_endless_or_nothing(number: str) -> None:
    loaded = read(OTEL_METRIC_EXPORT_INTERVAL=number)
    line = (
        f"OTEL_METRIC_EXPORT_INTERVAL={number!r}: expected a number of milliseconds from 10 to 86400000, "
        "e.g. 60000; using 60000.0"
    )
    assert (60.0, (line,)) == (loaded.config.metrics.export_interval_seconds, loaded.warnings)


def test_the_standard_interval_is_in_milliseconds() -> None:
    loaded = read(OTEL_METRIC_EXPORT_INTERVAL="1500", BEXT_METRICS_EXPORT_INTERVAL_SECONDS="7")
    assert (1.5, ()) == (loaded.config.metrics.export_interval_seconds, loaded.warnings)


@pytest.mark.parametrize(
    ("word", "disabled", "lines"),
    [("true", True, 0), ("TRUE", True, 0), ("false", False, 0), ("1", False, 1), ("", False, 0)],
)
def test_only_true_disables(word: str, disabled: bool, lines: int) -> None:
    """The specification: anything but "true" is false, and worth a warning unless it is "false"."""
    loaded = read(OTEL_SDK_DISABLED=word)
    assert (disabled, lines) == (loaded.config.telemetry.disabled, len(loaded.warnings))


def test_an_empty_variable_counts_as_not_set() -> None:
    assert Loaded(Config(), (), "") == read(
        **{row.variable: "" for row in STANDARD},
        BEXT_CONFIG="",
        OTEL_TRACES_EXPORTER="",
        BEXT_LOGGING_LEVEL=" ",
    )


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"OTEL_RESOURCE_ATTRIBUTES": "a=b, service.name = my%20shop ,c=d"}, "my shop"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=a", "OTEL_SERVICE_NAME": "b"}, "b"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=a", "BEXT_TELEMETRY_SERVICE_NAME": "b"}, "a"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.namespace=a,=,,x", "BEXT_TELEMETRY_SERVICE_NAME": "b"}, "b"),
    ],
)
def test_who_names_the_service(environ: dict[str, str], name: str) -> None:
    loaded = read(**environ)
    assert (name, ()) == (loaded.config.telemetry.service_name, loaded.warnings)


def test_a_table_is_written_as_pairs() -> None:
    loaded = read(BEXT_LOGGING_FILTERS="shop.db=debug, shop.web = warn,", BEXT_METRICS_BUDGETS="route=5")
    assert {"shop.db": "debug", "shop.web": "warn"} == loaded.config.logging.filters
    assert ({"route": 5}, ()) == (loaded.config.metrics.budgets, loaded.warnings)


def test_the_right_pairs_of_a_table_stay() -> None:
    loaded = read(BEXT_LOGGING_FILTERS="a=debug,b,c=loud,\n=x")
    assert {"a": "debug"} == loaded.config.logging.filters
    assert 3 == len(loaded.warnings)


def test_a_mistyped_variable_is_told_with_the_nearest_one() -> None:
    assert ("BEXT_METRICS_MUONT: no such setting; did you mean BEXT_METRICS_MOUNT?",) == read(
        BEXT_METRICS_MUONT="x"
    ).warnings


def test_apps_have_no_variables() -> None:
    assert (
        "BEXT_APPS_SHOP_HOSTS: apps cannot be set by variables; write [apps.NAME] in bext.config.toml",
    ) == read(BEXT_APPS_SHOP_HOSTS="x").warnings


def test_variables_of_the_bext_server_are_none_of_our_business() -> None:
    assert (
        ()
        == read(
            BEXT_UPGRADE_OLD_PID="1", BEXT_SERVER_PORT="2", BEXT_METRICSX="3", bext_metrics_prot="4"
        ).warnings
    )


def test_a_service_name_that_is_not_utf_8_is_not_used() -> None:
    loaded = read(OTEL_SERVICE_NAME="caf\udce9")
    assert ("", 1) == (loaded.config.telemetry.service_name, len(loaded.warnings))
