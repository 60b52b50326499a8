"""Parts that variables name: what a package offers works, what nobody offers is one line and the default."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bext_otel.config import Signal
from bext_otel.config.upstream import correct_upstream_variables
from bext_otel.export.entry_points import choose, named_exporter
from tests.fresh import fresh
from tests.parts import offer
from tests.versions import SDK

WORK = """
import logging
from opentelemetry import metrics, trace
import bext_otel
runs = bext_otel.configure()
import shop_parts
tracer = trace.get_tracer("shop")
for name in ("keep", "leave"):
    with tracer.start_as_current_span(name) as span:
        logging.getLogger("shop").warning("here")
metrics.get_meter("shop").create_counter("sold").add(1)
runs.flush()
exported = {type(each).__name__: each for each in shop_parts.made}
"""


def test_what_a_package_offers_is_used(tmp_path: Path) -> None:
    """Exporters of all signals, sampler with its argument, id generator, resource detector."""
    offer(tmp_path)
    shown, lines = fresh(
        WORK
        + """
spans = exported["Spans"].get_finished_spans()
logs = exported["Logs"].get_finished_logs()
show([[span.name for span in spans], [span.context.span_id for span in spans], spans[0].resource.attributes["shop.shelf"],
      sorted({log.log_record.body for log in logs}), "sold" in exported["Metrics"].names])
""",
        tmp_path,
        OTEL_TRACES_EXPORTER="shop",
        OTEL_METRICS_EXPORTER="shop",
        OTEL_LOGS_EXPORTER="shop",
        OTEL_TRACES_SAMPLER="shop",
        OTEL_TRACES_SAMPLER_ARG="keep",
        OTEL_PYTHON_ID_GENERATOR="shop",
        OTEL_EXPERIMENTAL_RESOURCE_DETECTORS="shop",
    )
    assert [["keep"], [1], "4", ["here"], True] == shown
    assert ["here", "here"] == [line["message"] for line in lines]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package that offers parts, for as long as a test."""
    offer(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("shop_parts", None)


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        (
            "OTEL_TRACES_SAMPLER",
            "shop_broken",
            "OTEL_TRACES_SAMPLER: 'shop_broken' cannot be used: OSError: no licence; using the default",
        ),
        (
            "OTEL_PYTHON_ID_GENERATOR",
            "shop_wrong",
            "TypeError: it makes a Own, which is no IdGenerator; using the default",
        ),
        (
            "OTEL_PYTHON_TRACER_PROVIDER",
            "shop_broken",
            "cannot be used: OSError: no licence; using the default",
        ),
    ],
)
@pytest.mark.usefixtures("shop")
def test_what_cannot_be_made_is_one_line_and_the_default(variable: str, value: str, told: str) -> None:
    environ = {variable: value}
    assert () == correct_upstream_variables(environ)
    chosen = choose(environ)
    assert (None, None, frozenset()) == (chosen.sampler, chosen.id_generator, chosen.providers)
    (line,) = chosen.lines
    assert told in line
    assert environ.get(variable) in {None, value if variable == "OTEL_PYTHON_ID_GENERATOR" else None}


@pytest.mark.parametrize(
    ("signal", "name", "error", "told"),
    [
        ("traces", "shop_broken", OSError, "no licence"),
        ("traces", "shop_wrong", TypeError, "it is a Own, which is no SpanExporter"),
        ("metrics", "shop_reader", TypeError, "it is a InMemoryMetricReader, which is no MetricExporter"),
        ("logs", "shop_gone", LookupError, "nothing of this name is installed"),
    ],
)
@pytest.mark.usefixtures("shop")
def test_an_exporter_that_cannot_be_made_fails_like_any_other(
    signal: Signal, name: str, error: type[Exception], told: str
) -> None:
    exporter = named_exporter(signal, name)()
    with pytest.raises(error, match=told):
        exporter.export([])
    assert exporter.force_flush(1000)
    exporter.shutdown()


TYPES = """
from opentelemetry import _logs, metrics, trace
import bext_otel
bext_otel.configure()
with trace.get_tracer("shop").start_as_current_span("work"):
    pass
show([type(get()).__name__ for get in (trace.get_tracer_provider, metrics.get_meter_provider, _logs.get_logger_provider)])
"""
OURS = ["BextTracerProvider", "BextMeterProvider", "BextLoggerProvider"]


def providers(tracer: str, meter: str, logger: str) -> dict[str, str]:
    return {
        "OTEL_PYTHON_TRACER_PROVIDER": tracer,
        "OTEL_PYTHON_METER_PROVIDER": meter,
        "OTEL_PYTHON_LOGGER_PROVIDER": logger,
    }


@pytest.mark.parametrize(
    ("given", "types", "said"),
    [
        (providers("sdk_tracer_provider", "sdk_meter_provider", "sdk_logger_provider"), OURS, 0),
        (providers("", "nonsense", "nonsense"), OURS, 2),
        (providers("shop", "shop", "shop_of_nobody"), ["Tracers", "Meters", OURS[2]], 3),
    ],
)
def test_providers_are_those_that_variables_name(
    tmp_path: Path, given: dict[str, str], types: list[str], said: int
) -> None:
    """The SDK's are ours."""
    offer(tmp_path)
    shown, lines = fresh(TYPES, tmp_path, **given)
    assert types == shown
    assert said == len(lines)
    assert {line["message"].partition("_PROVIDER")[0] for line in lines} <= {
        "OTEL_PYTHON_TRACER",
        "OTEL_PYTHON_METER",
        "OTEL_PYTHON_LOGGER",
    }


def test_a_provider_that_upstream_has_made_for_a_variable_is_told_as_such(tmp_path: Path) -> None:
    """Here the application asks for a tracer before it sets bext-otel up."""
    shown, lines = fresh(
        "from opentelemetry import trace\ntrace.get_tracer('early')\n" + TYPES,
        tmp_path,
        OTEL_PYTHON_TRACER_PROVIDER="sdk_tracer_provider",
    )
    assert ["TracerProvider", *OURS[1:]] == shown
    (line,) = lines
    assert line["message"].startswith(
        "OTEL_PYTHON_TRACER_PROVIDER=sdk_tracer_provider: traces go to a provider that was there before"
    )


def test_the_applications_own_propagator_stays(tmp_path: Path) -> None:
    offer(tmp_path)
    shown, lines = fresh(
        """
        import shop_parts
        from opentelemetry.propagate import get_global_textmap, set_global_textmap
        own = shop_parts.Own()
        set_global_textmap(own)
        import bext_otel
        bext_otel.configure()
        show(get_global_textmap() is own)
        """,
        tmp_path,
    )
    assert shown
    assert [] == lines


@pytest.mark.parametrize(
    ("named", "installed", "fields", "told"),
    [
        ("xray", False, ["baggage", "traceparent", "tracestate"], ["'xray'"]),
        ("xray,b4,baggage ,baggage", False, ["baggage"], ["'b4'", "'xray'"]),
        ("xray, shop_broken", True, [], ["'shop_broken'"]),
    ],
)
def test_propagators_that_nobody_offers_are_left_out(
    tmp_path: Path, named: str, installed: bool, fields: list[str], told: list[str]
) -> None:
    if installed:
        offer(tmp_path)
    shown, lines = fresh(
        """
        import bext_otel
        bext_otel.configure()
        from opentelemetry.propagate import get_global_textmap, inject
        carrier = {}
        inject(carrier)
        show([sorted(get_global_textmap().fields), carrier])
        """,
        tmp_path,
        OTEL_PROPAGATORS=named,
    )
    assert [fields, {"own": "1"} if installed else {}] == shown
    assert len(told) == len(lines)
    for line, word in zip(lines, told, strict=True):
        assert line["message"].startswith(f"OTEL_PROPAGATORS: nothing that works has the name {word}")


CONFIGURED = """
import bext_otel
from opentelemetry import _logs, metrics, trace
runs = bext_otel.configure()
import shop_parts
for name in ("shop", "other"):
    metrics.get_meter(name).create_counter(f"{name}.sold").add(1)
spans = [trace.get_tracer(name).start_span("s") for name in ("shop", "other")]
logs = [_logs.get_logger(name) for name in ("shop", "other")]
for logger in logs:
    logger.emit(body="here")
runs.flush()
(exported,) = [each for each in shop_parts.made if isinstance(each, shop_parts.Logs)]
show([[span.is_recording() for span in spans], [logger.enabled() for logger in logs],
      [each.instrumentation_scope.name for each in exported.get_finished_logs() if each.log_record.body == "here"],
      [name for name in ("shop", "other")
       if f"{name}_sold" in runs.endpoints.reply("GET", "/metrics", "", {}, trusted=True).body.decode()]])
"""


def test_configurators_that_packages_offer_are_asked(tmp_path: Path) -> None:
    """Of tracers, meters and loggers; one that cannot be had is one line, and all of them count."""
    offer(tmp_path)
    shown, lines = fresh(
        CONFIGURED,
        tmp_path,
        OTEL_LOGS_EXPORTER="shop",
        OTEL_PYTHON_TRACER_CONFIGURATOR="shop",
        OTEL_PYTHON_METER_CONFIGURATOR="shop",
        OTEL_PYTHON_LOGGER_CONFIGURATOR="shop",
    )
    sold = ["other"] if SDK >= (1, 42) else ["shop", "other"]  # of meters, from there on
    assert ([[False, True], [False, True], ["other"], sold], []) == (shown, lines)


@pytest.mark.parametrize("name", ["shop_broken", "nobody_s"])
def test_a_configurator_that_cannot_be_had_is_one_line(tmp_path: Path, name: str) -> None:
    offer(tmp_path)
    shown, (line,) = fresh(
        CONFIGURED, tmp_path, OTEL_LOGS_EXPORTER="shop", OTEL_PYTHON_TRACER_CONFIGURATOR=name
    )
    assert [[True, True], [True, True], ["shop", "other"], ["shop", "other"]] == shown
    assert line["message"].startswith(f"OTEL_PYTHON_TRACER_CONFIGURATOR: {name!r} cannot be used: ")
