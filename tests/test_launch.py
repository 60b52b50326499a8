"""What the launcher learns from us: which distribution to take."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

_CODE = """
import json, os, sys
import bext_otel.launch
chosen = {name: os.environ.get(name) for name in ("OTEL_PYTHON_DISTRO", "OTEL_PYTHON_CONFIGURATOR")}
print(json.dumps([chosen, [name for name in sys.modules if name.startswith("opentelemetry.sdk")]]))
"""


@pytest.mark.parametrize(
    ("given", "distro", "configurator"),
    [
        ({}, "bext", None),
        ({"OTEL_PYTHON_DISTRO": "bext"}, "bext", None),
        ({"OTEL_PYTHON_DISTRO": "distro"}, "distro", "configurator"),
        ({"OTEL_PYTHON_DISTRO": "distro", "OTEL_PYTHON_CONFIGURATOR": "own"}, "distro", "own"),
        ({"OTEL_PYTHON_DISTRO": "vendor"}, "vendor", None),
    ],
)
def test_whoever_has_chosen_keeps_the_choice(
    given: dict[str, str], distro: str, configurator: str | None
) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", _CODE], env={**environ, **given}, capture_output=True, text=True, check=True
    )
    chosen, sdk = json.loads(done.stdout)
    assert {"OTEL_PYTHON_DISTRO": distro, "OTEL_PYTHON_CONFIGURATOR": configurator} == chosen
    assert [] == sdk, "the launcher loads nothing of what it launches"


@pytest.mark.parametrize(
    ("group", "names"),
    [
        ("opentelemetry_distro", {"bext"}),
        ("opentelemetry_configurator", {"bext"}),
        ("opentelemetry_instrumentor", {"bext_starlette", "bext_flask", "bext_django"}),
        ("opentelemetry_environment_variables", {"bext"}),
    ],
)
def test_every_entry_point_is_installed_and_loads(group: str, names: set[str]) -> None:
    ours = {point.name: point for point in entry_points(group=group) if point.value.startswith("bext_otel")}
    assert names <= ours.keys()
    for point in ours.values():
        if group != "opentelemetry_environment_variables":
            assert callable(point.load())
