"""Variables that upstream reads at its import: what it would not take is taken out before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bext_otel import api_environment

DEFAULT = "install the package that offers it; using the default"


@pytest.fixture(autouse=True)
def nothing_told_before() -> Iterator[None]:
    api_environment.told({})
    yield
    api_environment.told({})


@pytest.mark.parametrize(
    ("variable", "given", "left", "told"),
    [
        ("OTEL_PROPAGATORS", "tracecontext", "tracecontext", []),
        ("OTEL_PROPAGATORS", "baggage, tracecontext,baggage", "baggage,tracecontext", []),
        ("OTEL_PROPAGATORS", "nobody, None", "nobody, None", []),
        ("OTEL_PROPAGATORS", ",", None, []),
        ("OTEL_PROPAGATORS", "b3", "b3", []),  # ours, told when telemetry is set up
        (
            "OTEL_PROPAGATORS",
            "nobody,baggage",
            "baggage",
            [
                (
                    "OTEL_PROPAGATORS: nothing that works has the name 'nobody'; install the package that "
                    "offers it; using baggage"
                )
            ],
        ),
        (
            "OTEL_PROPAGATORS",
            "Baggage",
            None,
            [
                (
                    "OTEL_PROPAGATORS: nothing that works has the name 'Baggage'; "
                    f"{DEFAULT.replace('the default', 'tracecontext, baggage')}"
                )
            ],
        ),
        ("OTEL_PYTHON_CONTEXT", "", None, []),
        ("OTEL_PYTHON_CONTEXT", "contextvars_context", "contextvars_context", []),
        (
            "OTEL_PYTHON_CONTEXT",
            "a\nb",
            None,
            [f"OTEL_PYTHON_CONTEXT: nothing that works has the name \"'a\\\\nb'\"; {DEFAULT}"],
        ),
        (
            "OTEL_PYTHON_METER_PROVIDER",
            "nobody",
            None,
            [f"OTEL_PYTHON_METER_PROVIDER: nothing that works has the name 'nobody'; {DEFAULT}"],
        ),
        ("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "os, process,os", "os,process", []),
        (
            "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS",
            "os,nobody",
            "os",
            [
                (
                    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS: nothing that works has the name 'nobody'; "
                    f"{DEFAULT.replace('the default', 'os')}"
                )
            ],
        ),
        ("OTEL_PYTHON_TRACER_PROVIDER", "sdk_tracer_provider", "sdk_tracer_provider", []),
        ("OTEL_PYTHON_LOGGER_PROVIDER", "sdk_logger_provider", "sdk_logger_provider", []),
    ],
)
def test_what_nobody_offers_is_taken_out_and_told(
    variable: str, given: str, left: str | None, told: list[str]
) -> None:
    environ = {variable: given}
    api_environment.correct(environ)
    assert left == environ.get(variable)
    assert told == api_environment.told(environ)


def test_the_program_tells_what_its_launcher_has_found() -> None:
    environ = {"OTEL_PYTHON_CONTEXT": "nobody"}
    api_environment.correct(environ)
    api_environment.hand_over(environ)
    api_environment.told({})  # the launcher's process is another one
    (line,) = api_environment.told(environ)
    assert line.startswith("OTEL_PYTHON_CONTEXT: ")
    assert {} == environ, "what the program starts has nothing to tell"
    assert [] == api_environment.told(environ)
